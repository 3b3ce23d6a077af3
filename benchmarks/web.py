"""The web app under load: `python -m benchmarks.web [--kind sqlite|postgresql] [--json]`.

Method. A home with 10,000 runs, 100,000 traces, a run of 1,000,000 points of one metric and a log of 100,000 lines is
made through the services (the rows of the runs in bulk), a real `tunix-rt serve` serves it to a real headless Chromium
of 1,280 x 800, and each bar of the web app is measured there; server and browser share the machine.

- First load: gzipped bytes of the JavaScript that a cold start on the home page fetches; time of the first contentful
  paint with an empty cache on a CPU slowed four times, the median of `--rounds`.
- Reaction: real clicks, keys and wheel turns; the longest time from an event to the next paint (Event Timing; to 8 ms,
  what is below 16 ms counts as 16), and the longest task of the page meanwhile, which would hold the next event up.
  Beside it, how long what was asked for takes to stand there, with the pause that a typing reader is given (250 ms).
- Memory: the page's heap after a collection, before and after scrolling a list from its first row to its last.
- Flood: 20,000 lines a second for `--flood` seconds come into a running run's log while its reader types and scrolls;
  the time between frames.
- Chart: from the click on a run to its drawn curve, the app being loaded; and the API's part of it.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright
from tests.e2e.conftest import launched

from benchmarks import servers
from benchmarks.servers import Place, Server
from benchmarks.web_home import LINES, Seeded, flood, seed

SLOWED = 4
SEEN = """
window.seen = {events: [], tasks: [], frames: []}
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.seen.events.push(entry.duration)
}).observe({ type: 'event', durationThreshold: 16 })
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.seen.tasks.push(entry.duration)
}).observe({ type: 'longtask' })
"""
FRAMES = """
() => {
  let last = performance.now()
  Object.assign(window.seen, { frames: [], on: true })
  const next = (now) => {
    window.seen.frames.push(now - last)
    last = now
    if (window.seen.on) requestAnimationFrame(next)
  }
  requestAnimationFrame(next)
}
"""
DRAWN = """
() => {
  window.drawn = new Promise((done) => addEventListener('click', () => {
    const began = performance.now()
    const end = () => done(performance.now() - began)
    const look = () => requestAnimationFrame(document.querySelector('.chart canvas') ? end : look)
    look()
  }, { capture: true, once: true }))
}
"""
AT = """
() => {
  const box = document.querySelector('.table-scroll')
  const rows = box.querySelectorAll('tr[data-index]')
  const foot = document.querySelector('.table-foot').innerText
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 5 && /^[\\d,]+ rows?$/.test(foot)
  return [Number(rows[rows.length - 1].dataset.index) + 1, atEnd]
}
"""


@dataclass
class Table:
    """What was measured: what, figure, unit, bar (None: none)."""

    rows: list[tuple[str, float, str, float | None]] = field(default_factory=list)

    def add(self, what: str, figure: float, unit: str, bar: float | None = None) -> None:
        """A figure."""
        self.rows.append((what, figure, unit, bar))
        verdict = "" if bar is None else "ok" if figure <= bar else "OVER"
        print(f"{what:<62} {figure:>10,.1f} {unit:<4} {'' if bar is None else f'bar {bar:g}':<9} {verdict}", flush=True)


def page_of(browser: Browser, server: Server) -> Page:
    """A page of its own context, with a cold cache, that notes how long events take."""
    page = browser.new_context(viewport={"width": 1280, "height": 800}, base_url=server.url).new_page()
    page.add_init_script(SEEN)
    page.set_default_timeout(60_000)
    return page


def ready(page: Page, path: str) -> None:
    """Go to a page and wait until it stands there."""
    page.goto(path)
    page.wait_for_selector("h1")
    page.locator(".skeleton").first.wait_for(state="detached")
    page.wait_for_timeout(500)


def reaction(page: Page, table: Table, what: str, act: Callable[[], Any], stands: str | None = None) -> None:
    """Measure an action.

    Args:
        page: where.
        table: for the figures.
        what: its name.
        act: does it.
        stands: a function in JavaScript that is true once the answer is there.
    """
    page.evaluate("() => { seen.events = []; seen.tasks = [] }")
    began = time.perf_counter()
    act()
    if stands is not None:
        page.wait_for_function(stands, polling="raf")
    took = time.perf_counter() - began
    page.wait_for_timeout(300)
    events, tasks = page.evaluate("[seen.events, seen.tasks]")
    table.add(f"{what}: event to paint", max(events, default=16), "ms", 100)
    table.add(f"{what}: longest task", max(tasks, default=50), "ms", 100)
    if stands is not None:
        table.add(f"{what}: the answer stands there", 1000 * took, "ms")


def heap_mib(page: Page) -> float:
    """The page's heap after a collection."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")["usedSize"]
    session.detach()
    return float(used) / 2**20


def first_load(browser: Browser, server: Server, table: Table, rounds: int) -> None:
    """What a cold start fetches, and when it first paints."""
    paints = []
    for _ in range(rounds):
        page = page_of(browser, server)
        session = page.context.new_cdp_session(page)
        sizes: dict[str, float] = {}
        scripts: set[str] = set()
        session.on(
            "Network.responseReceived", lambda e, s=scripts: s.add(e["requestId"]) if e["type"] == "Script" else None
        )
        session.on("Network.loadingFinished", lambda e, s=sizes: s.update({e["requestId"]: e["encodedDataLength"]}))
        session.send("Network.enable")
        session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWED})
        page.goto("/")
        page.wait_for_selector("h1")
        paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        page.wait_for_timeout(500)
        kib = sum(size for key, size in sizes.items() if key in scripts) / 1024
        page.context.close()
    table.add("first load: gzipped JavaScript", kib, "KiB", 130)
    table.add(f"first contentful paint, CPU slowed {SLOWED} times, median", statistics.median(paints), "ms", 1000)
    table.add("  the slowest of them", max(paints), "ms")


def scrolled(page: Page, table: Table, name: str) -> None:
    """Scroll a list to its end by the wheel, and see what it costs."""
    before = heap_mib(page)
    page.evaluate("() => { seen.events = []; seen.tasks = [] }")
    page.locator(".table-scroll").first.hover()
    began, rows, at_end = time.perf_counter(), 0, False
    while not at_end and time.perf_counter() - began < 240:
        page.mouse.wheel(0, 3000)
        page.wait_for_timeout(30)
        rows, at_end = page.evaluate(AT)
    events, tasks = page.evaluate("[seen.events, seen.tasks]")
    events, tasks = events or [16], tasks or [50]
    table.add(f"{name}: scrolled over {rows:,} rows, event to paint, p99", servers.percentile(events, 0.99), "ms", 100)
    table.add(f"{name}: scrolling, event to paint, the slowest of all", max(events), "ms")
    table.add(f"{name}: scrolling, longest task", max(tasks), "ms")
    table.add(f"{name}: heap before", before, "MiB")
    table.add(f"{name}: heap after", heap_mib(page), "MiB")
    table.add(f"{name}: rows in the document", page.locator("tr[data-index]").count(), "rows", 200)


def lists(page: Page, table: Table) -> None:
    """The lists of runs and of traces."""
    some = "() => document.querySelectorAll('tr[data-index]').length > 0"
    ready(page, "/runs")
    condition = page.get_by_label("Metric or parameter")
    fewer = "() => document.querySelectorAll('tr[data-index]').length > 0 && location.search.includes('where=')"
    reaction(page, table, "runs: typing a filter", lambda: condition.press_sequentially("loss<0.2", delay=30), fewer)
    condition.fill("")
    page.wait_for_timeout(1000)
    for column in ("Loss", "Took"):
        header = page.locator("th button", has_text=column).first
        sorted_by = (
            "() => document.querySelector('th[aria-sort]') && document.querySelectorAll('tr[data-index]').length > 0"
        )
        reaction(page, table, f"runs: sorting by {column}", header.click, sorted_by)
    scrolled(page, table, "runs")
    back = page.locator(".table-scroll").first
    back.evaluate("box => box.scrollTo(0, 0)")
    page.wait_for_timeout(300)
    reaction(
        page,
        table,
        "runs: opening one",
        page.locator("tr[data-index] a").first.click,
        "() => /runs\\/./.test(location.pathname)",
    )
    ready(page, "/traces")
    words = page.get_by_role("searchbox").first
    reaction(page, table, "traces: typing words", lambda: words.press_sequentially("natalia 4711", delay=30), some)
    words.fill("")
    page.wait_for_timeout(1000)
    scrolled(page, table, "traces")
    back.evaluate("box => box.scrollTo(0, 0)")
    page.wait_for_timeout(300)
    reaction(
        page,
        table,
        "traces: opening one",
        page.locator("tr[data-index] a").first.click,
        "() => /traces\\/./.test(location.pathname)",
    )


def log(page: Page, table: Table, seeded: Seeded) -> None:
    """A log of 100,000 lines."""
    ready(page, f"/runs/{seeded.long}?tab=logs")
    page.wait_for_function(f"() => document.querySelector('.log-view').innerText.includes('{LINES:,} lines')")
    words = page.get_by_role("searchbox", name="Search")
    count = "() => /\\d of [1-9]/.test(document.querySelector('.log-bar').innerText)"
    reaction(page, table, "log: the first search", lambda: words.press_sequentially("t", delay=50), count)
    reaction(page, table, "log: typing words", lambda: words.press_sequentially("okens per", delay=50), count)
    reaction(page, table, "log: the next match", lambda: words.press("Enter"))
    reaction(
        page,
        table,
        "log: seldom words",
        lambda: words.fill("99999 step"),
        "() => /of 1\\b/.test(document.querySelector('.log-bar').innerText)",
    )
    reaction(page, table, "log: to the first error", page.get_by_role("button", name="First error").click)
    words.fill("loss")
    only = page.get_by_label("Only lines that match")
    reaction(page, table, "log: only lines that match", only.click)
    reaction(page, table, "log: typing words, only those", lambda: words.press_sequentially(", ", delay=50), count)
    only.click()
    words.fill("")
    lines = page.get_by_role("log")
    lines.focus()
    reaction(page, table, "log: to the end", lambda: lines.press("End"))
    table.add("log: heap", heap_mib(page), "MiB")


def flooded(page: Page, table: Table, where: Place, seeded: Seeded, seconds: float) -> None:
    """20,000 lines a second."""
    ready(page, f"/runs/{seeded.live}?tab=logs")
    page.evaluate("() => { seen.events = []; seen.tasks = [] }")
    page.evaluate(FRAMES)
    writer = threading.Thread(target=lambda: asyncio.run(flood(where, seeded.live, seconds)))
    writer.start()
    words = page.get_by_role("searchbox", name="Search")
    while writer.is_alive():
        words.press_sequentially("step", delay=80)
        words.fill("")
    page.wait_for_timeout(500)
    frames, events, tasks = page.evaluate("() => { seen.on = false; return [seen.frames, seen.events, seen.tasks] }")
    table.add("flood of 20,000 lines/s: between frames, p99", servers.percentile(frames, 0.99), "ms", 100)
    table.add("flood: typing, event to paint", max(events, default=16), "ms", 100)
    table.add("flood: longest task", max(tasks, default=50), "ms")


def chart(page: Page, table: Table, server: Server, seeded: Seeded, rounds: int) -> None:
    """A million points, from the click on."""
    with servers.client(server) as api:
        asked = []
        for _ in range(rounds):
            began = time.perf_counter()
            api.get(f"/api/tunix/runs/{seeded.long}/metrics?max_points=1200").raise_for_status()
            asked.append(1000 * (time.perf_counter() - began))
    table.add("a million points: the API's answer, median", statistics.median(asked), "ms", 300)
    ready(page, f"/runs/{seeded.long}")
    page.wait_for_selector(".chart canvas")
    took = []
    for _ in range(rounds):
        ready(page, "/runs")
        page.wait_for_timeout(2500)  # a reader looks before he clicks; the other pages are fetched meanwhile
        page.evaluate(DRAWN)
        page.locator(f"a[href='/runs/{seeded.long}']").click()
        took.append(page.evaluate("window.drawn"))
    table.add("a million points: from the click to the chart, median", statistics.median(took), "ms", 300)


@contextlib.contextmanager
def served(kind: str) -> Iterator[tuple[Place, Server]]:
    """A server on a fresh home."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(servers.postgres()) if kind == "postgresql" else None
        where = servers.place(kind, folder, database)
        yield where, stack.enter_context(servers.serve(where))


def measure(
    where: Place, server: Server, seeded: Seeded, table: Table, wanted: Sequence[str], rounds: int, flooding: float
) -> None:
    """Measure what is wanted in a browser of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**launched())
        if "load" in wanted:
            first_load(browser, server, table, rounds)
        if "lists" in wanted:
            lists(page_of(browser, server), table)
        if "log" in wanted:
            log(page_of(browser, server), table, seeded)
        if "flood" in wanted:
            flooded(page_of(browser, server), table, where, seeded, flooding)
        if "chart" in wanted:
            chart(page_of(browser, server), table, server, seeded, rounds)
        browser.close()


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description="The web app under load.")
    parser.add_argument("--kind", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flood", type=float, default=5.0)
    parser.add_argument("--only", nargs="*", choices=["load", "lists", "log", "flood", "chart"], default=None)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    wanted = given.only or ["load", "lists", "log", "flood", "chart"]
    table = Table()
    with served(given.kind) as (where, server):
        began = time.perf_counter()
        with servers.client(server) as api:
            seeded = asyncio.run(seed(where, api))
        print(
            f"{given.kind}: filled in {time.perf_counter() - began:.0f} s; load {os.getloadavg()[0]:.1f}",
            file=sys.stderr,
        )
        measure(where, server, seeded, table, wanted, given.rounds, given.flood)
    if given.json:
        print(json.dumps(table.rows))


if __name__ == "__main__":
    main()

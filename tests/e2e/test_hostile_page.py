"""Hostile pages in a real browser: on other ports and sites, without an origin, and on a rebound name."""

import json
import os
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserType, Frame, Page, expect

from tests import ports
from tests.e2e.conftest import PATIENCE_MS, at
from tests.evaluation.make import answers, jsonl, questions
from tests.make import trace
from tests.runs.system import System, until

WEB = Path(__file__).parents[2] / "web"
API: dict[str, Any] = json.loads((WEB / "openapi.json").read_text())
UNSAFE = ("post", "put", "patch", "delete")
PROBES = ("/api/health", "/api/ready", "/metrics")
LISTS = (
    *(
        "/api/traces",
        "/api/datasets",
        "/api/tunix/runs",
        "/api/eval-sets",
        "/api/evaluations",
        "/api/tunix/evaluations",
    ),
    *("/api/models", "/api/regression/baselines"),
)
COUNT = re.compile(
    r'http_request_duration_seconds_count\{method="(POST|PUT|PATCH|DELETE)",.*status="(?P<status>\d+)"\} (?P<count>\S+)'
)
HOSTILE = b"<!doctype html><title>hostile</title><iframe sandbox='allow-scripts allow-forms' srcdoc='nested'></iframe>"
# By every way that a page has to send an unsafe request: with and without a preflight, as a form, as a beacon.
ATTACK = """async ({address, attempts}) => {
  const refused = []
  for (const {method, path, body} of attempts) {
    const url = address + path
    if (method === 'POST') {
      const simple = {method, body, mode: 'no-cors', credentials: 'include', headers: {'Content-Type': 'text/plain'}}
      await fetch(url, simple).catch(() => null)  // the request arrives; the answer is not for this page
      navigator.sendBeacon(url, body)
      const form = Object.assign(document.createElement('form'), {method, action: url, enctype: 'text/plain'})
      const field = Object.assign(document.createElement('textarea'), {name: body.slice(0, 1), value: body.slice(1)})
      const frame = Object.assign(document.createElement('iframe'), {name: `frame${refused.length}`})
      form.target = frame.name
      form.append(field)
      document.body.append(frame, form)
      const loaded = new Promise((done) => frame.addEventListener('load', done))
      form.submit()
      await loaded
      frame.remove()
    }
    const sent = fetch(url, {method, body, headers: {'Content-Type': 'application/json'}})
    refused.push(await sent.then(() => false, () => true))
  }
  return refused
}"""
# A page on a rebound name has the server's own origin, so it reads every status.
REBOUND = """async ({attempts}) => {
  const statuses = []
  for (const {method, path, body} of attempts) {
    const headers = {'Content-Type': 'application/json'}
    statuses.push((await fetch(path, method === 'GET' ? {} : {method, body, headers})).status)
  }
  return statuses
}"""


@dataclass(frozen=True)
class Target:
    """A served system with a record of each kind, and requests that would change it."""

    system: System
    attempts: list[dict[str, str]]
    working: list[tuple[str, str, str]]

    def records(self) -> dict[str, Any]:
        """All records, as a program reads them."""
        return {path: self.system.get(path) for path in LISTS}

    def answered(self) -> Counter[str]:
        """How many requests with unsafe methods the server has answered, by status."""
        counts: Counter[str] = Counter()
        for line in self.system.api.get("/metrics").text.splitlines():
            if found := COUNT.match(line):
                counts[found["status"]] += int(float(found["count"]))
        return counts


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    """A system without workers, so that nothing but requests changes it."""
    system = System(tmp_path)
    try:
        system.serve(workers=0)
        yield _filled(system)
    finally:
        system.close()


def _filled(system: System) -> Target:
    dataset = system.data_set()
    run = system.submit(dataset, "pending", max_attempts=1)
    eval_set = system.api.post("/api/eval-sets", params={"name": "sums"}, content=jsonl(questions())).json()["name"]
    query = {"name": "mine", "eval_set": eval_set}
    evaluation = system.api.post("/api/evaluations", params=query, content=jsonl(answers())).json()["id"]
    ids = {"key": dataset, "id": run, "run_id": run, "evaluation_id": evaluation, "judge": "exact"}
    ids |= {"name": "sums", "version": "1", "alias": "production"}
    # One for each thing that a web page could do: they are known to work for a program.
    working = [
        ("POST", "/api/traces/import?format=trace", jsonl([trace(1)]).decode()),
        ("POST", "/api/datasets/build", json.dumps({"name": "hostile"})),
        ("POST", f"/api/evaluations?name=hostile&eval_set={eval_set}", jsonl(answers()).decode()),
        ("POST", f"/api/tunix/runs/{run}/cancel", "{}"),
    ]
    attempts = [
        {"method": method.upper(), "path": path.format(**ids), "body": "{}"}
        for path, routes in API["paths"].items()
        for method in UNSAFE
        if method in routes
    ]
    assert len(attempts) > 20
    worked = [{"method": method, "path": path, "body": body} for method, path, body in working]
    return Target(system, worked + attempts, working)


class _HostilePage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(HOSTILE)))
        self.end_headers()
        self.wfile.write(HOSTILE)

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def hostile_server(port: int = 0) -> Iterator[int]:
    """Serve hostile pages on another port, or where our server is yet to start; yields the port."""
    with ThreadingHTTPServer(("127.0.0.1", port), _HostilePage) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def hostile() -> Iterator[int]:
    """The port of a hostile server."""
    with hostile_server() as port:
        yield port


@pytest.fixture(scope="module")
def deceived(browser_type: BrowserType, browser_type_launch_args: dict[str, Any]) -> Iterator[Browser]:
    """A browser for which the name evil.test is this machine."""
    rules = ["--host-resolver-rules=MAP evil.test 127.0.0.1", "--no-proxy-server"]
    arguments = {**browser_type_launch_args, "args": [*browser_type_launch_args["args"], *rules]}
    browser = browser_type.launch(**arguments)
    yield browser
    browser.close()


def _work_for_a_program(target: Target) -> None:
    before = target.records()
    for method, path, body in target.working:
        answer = target.system.api.request(method, path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code < 300, (path, answer.text)
    assert target.records() != before


@pytest.mark.parametrize("origin", ["http://127.0.0.1:{}", "http://localhost:{}", "http://evil.test:{}", "null"])
def test_a_page_of_another_origin_changes_nothing(target: Target, hostile: int, deceived: Browser, origin: str) -> None:
    before, answered_before = target.records(), target.answered()
    page = deceived.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto((origin if origin != "null" else "http://evil.test:{}").format(hostile))
    frame: Page | Frame = page.frames[1] if origin == "null" else page
    assert frame.evaluate("origin") == origin.format(hostile)
    refused = frame.evaluate(ATTACK, {"address": f"http://127.0.0.1:{target.system.port}", "attempts": target.attempts})
    assert all(refused)
    posts = sum(attempt["method"] == "POST" for attempt in target.attempts)
    until(lambda: (target.answered() - answered_before).total() >= 3 * posts, "the beacons")
    assert target.answered() - answered_before == Counter({"403": 3 * posts})
    page.close()
    assert target.records() == before
    _work_for_a_program(target)


def test_a_page_on_a_rebound_name_reads_and_changes_nothing(target: Target, deceived: Browser) -> None:
    before = target.records()
    address = f"http://evil.test:{target.system.port}"
    page = deceived.new_page()
    page.set_default_timeout(PATIENCE_MS)
    answer = page.goto(address)
    assert answer is not None
    assert (answer.status, answer.json()["code"]) == (421, "unknown_host")
    with target.system.away(workers=0), hostile_server(target.system.port):
        page.goto(address)  # from now on the name is this machine's
        assert page.title() == "hostile"
    safe = [{"method": "GET", "path": path, "body": ""} for path, routes in API["paths"].items() if "get" in routes]
    safe += [{"method": "GET", "path": path, "body": ""} for path in ("/", "/openapi.json", "/docs", "/docs.js")]
    attempts = target.attempts + safe
    statuses = page.evaluate(REBOUND, {"attempts": attempts})
    for attempt, status in zip(attempts, statuses, strict=True):
        expected = (200, 503) if attempt["path"] in PROBES else (421,)
        assert status in expected, attempt
    page.close()
    assert target.records() == before
    _work_for_a_program(target)


def test_the_description_of_the_api_loads_from_this_server_alone_and_sends_requests(played: System, page: Page) -> None:
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    page.goto(at(played, "/docs"))
    health = page.locator("#operations-default-health_api_health_get, [id*='api_health_get']").first
    expect(health).to_be_visible()
    health.locator("button").first.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(health.get_by_text("healthy").first).to_be_visible()
    assert len(loaded) > 4
    assert [url for url in loaded if not url.startswith((at(played, "/"), "data:"))] == []


def test_the_apps_development_server_passes_unsafe_requests_on(played: System) -> None:
    with ports.reserve() as reserved:
        port = ports.number(reserved)
    words = ["node", "node_modules/vite/bin/vite.js", "--host", "127.0.0.1", "--strictPort", "--port", str(port)]
    environment = os.environ | {"TUNIX_RT_URL": at(played, "")}
    server = subprocess.Popen(words, cwd=WEB, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"

        def posted() -> httpx.Response | None:
            assert server.poll() is None
            headers = {"origin": address, "sec-fetch-site": "same-origin"}
            try:
                return httpx.post(f"{address}/api/traces", json=trace(77), headers=headers, timeout=60)
            except httpx.TransportError:
                return None

        assert until(posted, "the development server answers").status_code in (200, 201)
        foreign = httpx.post(
            f"{address}/api/traces", json=trace(78), headers={"origin": "http://evil.test"}, timeout=60
        )
        assert foreign.status_code == 403
    finally:
        server.terminate()
        server.wait()

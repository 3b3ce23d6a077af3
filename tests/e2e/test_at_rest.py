"""A screen that nobody touches asks the server for nothing: what changes comes by the one stream of events."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request

from tests.e2e.conftest import PATIENCE_MS, at
from tests.e2e.seed import SCREENS, seed
from tests.runs.system import System

ROUTES = Path(__file__).parents[2] / "web" / "src" / "features"
WIDTHS = (390, 740, 1440)
HEIGHT = 844
ROWS = 1_300
"""More traces than the window of a list holds: one that shows them all would fetch and drop them for ever."""
REST_SECONDS = 3.0
AHEAD_MS = 60_000
"""How far a screen's clock is moved, past the timers that would ask again."""
STREAM = "/api/events"
MOST_ROWS = 100


@pytest.fixture(scope="module")
def screens(played: System) -> dict[str, str]:
    """Every screen's address, with data in place; no run is under way."""
    found = seed(played, rows=ROWS)
    return {name: at(played, path.format(**found)) for name, path in SCREENS.items()}


def routes() -> list[str]:
    """The paths of the app's pages, a fixed one before one with a name in it."""
    found = [path for file in ROUTES.glob("*/routes.ts") for path in re.findall(r"path: '([^']+)'", file.read_text())]
    return sorted(found, key=lambda path: ":" in path)


def test_every_page_of_the_app_is_among_the_screens() -> None:
    def route_of(screen: str) -> str | None:
        path = screen.partition("?")[0]
        return next((each for each in routes() if re.fullmatch(re.sub(r":\w+", "[^/]+", each), path)), None)

    missing = set(routes()) - {route_of(screen) for screen in SCREENS.values()}
    assert not missing, f"add to SCREENS in tests/e2e/seed.py: {sorted(missing)}"


class Watched:
    """A screen in a context of its own, since a context has few connections and each screen holds one open."""

    def __init__(self, browser: Browser, name: str, address: str) -> None:
        self.name = name
        self.requests: list[str] = []
        self.last_request = time.monotonic()
        self.context: BrowserContext = browser.new_context(viewport={"width": WIDTHS[0], "height": HEIGHT})
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("request", self._count)
        self.page.clock.install()
        self.page.goto(address, wait_until="commit")

    def _count(self, request: Request) -> None:
        self.requests.append(f"{request.method} {request.url}")
        self.last_request = time.monotonic()

    def wait_until_shown(self) -> None:
        """Wait until the screen shows its content."""
        self.page.wait_for_selector("h1")
        self.page.locator(".skeleton").first.wait_for(state="detached")

    def resize(self, width: int) -> None:
        """Give the screen another width; what it asks for on that account counts as activity."""
        self.page.set_viewport_size({"width": width, "height": HEIGHT})
        self.last_request = time.monotonic()

    @property
    def rests(self) -> bool:
        """No request was sent lately."""
        return time.monotonic() - self.last_request > REST_SECONDS


@pytest.fixture(scope="module")
def watched(browser: Browser, screens: dict[str, str]) -> Iterator[list[Watched]]:
    """All screens at once: they load and rest side by side."""
    found: list[Watched] = []
    try:
        found += [Watched(browser, name, address) for name, address in screens.items()]
        for each in found:
            each.wait_until_shown()
            each.page.clock.run_for(5_000)  # other pages' code is fetched once a page has settled
        yield found
    finally:
        for each in found:
            each.context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_screen_at_rest_sends_no_request_and_draws_only_what_is_in_view(
    watched: list[Watched], page: Page, width: int
) -> None:
    for each in watched:
        each.resize(width)
    wait_until_all_rest(watched, page)
    sent = sent_while(watched, lambda: page.wait_for_timeout(REST_SECONDS * 1000))
    assert sent == {}

    rows = {each.name: each.page.locator("tbody tr").count() for each in watched}
    assert {name: count for name, count in rows.items() if count > MOST_ROWS} == {}


def test_no_timer_of_a_screen_asks_again(watched: list[Watched], page: Page) -> None:
    wait_until_all_rest(watched, page)

    def a_minute_passes() -> None:
        for each in watched:
            each.page.clock.run_for(AHEAD_MS)
        page.wait_for_timeout(1_000)

    sent = sent_while(watched, a_minute_passes)
    # By the moved clock the stream was silent for too long: it is opened again.
    polls = {name: [one for one in requests if STREAM not in one] for name, requests in sent.items()}
    assert {name: requests for name, requests in polls.items() if requests} == {}


def wait_until_all_rest(watched: list[Watched], page: Page) -> None:
    """Wait until no screen sends requests, or until patience ends."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not all(each.rests for each in watched) and time.monotonic() < deadline:
        page.wait_for_timeout(200)


def sent_while(watched: list[Watched], act: Callable[[], None]) -> dict[str, list[str]]:
    """The requests that screens send while something is done."""
    before = [len(each.requests) for each in watched]
    act()
    sent = {each.name: each.requests[count:] for each, count in zip(watched, before, strict=True)}
    return {name: requests for name, requests in sent.items() if requests}

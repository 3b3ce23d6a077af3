"""A real browser before a real server, with its workers and database: what the browser's tests share."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.runs import quick
from tests.runs.system import System
from tunix_rt import web

PATIENCE_MS = 120_000
PLAYED = (quick.__file__, "played")


def chromium() -> str | None:
    """Where the browser is: E2E_CHROMIUM, else the system's; None: Playwright's own.

    Debian's start script is passed over: it fails where findmnt lists no /dev/shm or several, and its flags are for
    people at a screen.
    """
    names = ("/usr/lib/chromium/chromium", "chromium", "chromium-browser", "google-chrome")
    return os.environ.get("E2E_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def launched() -> dict[str, Any]:
    """How the browser is started; as root it has no sandbox."""
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    return {"executable_path": chromium(), "args": arguments}


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """See pytest-playwright."""
    return {**browser_type_launch_args, **launched()}


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    """The app must be built: the server gives out what lies in the package."""
    assert (web.DIST / web.INDEX).exists(), "the web app is not built: run make web"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A served system whose trainings are played: 20 steps a second."""
    found = System(tmp_path_factory.mktemp("played"), command=PLAYED)
    try:
        found.serve(workers=1)
        yield found
    finally:
        found.close()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A served system that trains in earnest."""
    found = System(tmp_path_factory.mktemp("trained"))
    try:
        found.serve(workers=1)
        yield found
    finally:
        found.close()


@pytest.fixture(scope="module")
def dataset(played: System) -> str:
    """A data set of that system."""
    return played.data_set()


@pytest.fixture(autouse=True)
def patient(page: Page) -> Iterator[list[str]]:
    """Waits as long as a busy machine takes; a test in which the browser reports a fault fails."""
    faults: list[str] = []
    page.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda told: faults.append(told.text) if _fault(told.type, told.text) else None)
    yield faults
    assert not faults, faults


def _fault(kind: str, text: str) -> bool:
    # A refused or lost request is told by the browser too; what the page makes of it is what tests look at.
    return kind == "error" and "Failed to load resource" not in text and "net::ERR" not in text


def at(system: System, path: str) -> str:
    """An address of a system's web app."""
    return f"http://127.0.0.1:{system.port}{path}"


def axe() -> str:
    """axe-core, from the web app's packages."""
    return (Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js").read_text()

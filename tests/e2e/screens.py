"""Pictures of every screen, in light and dark, on a desk and on a phone: `make screens` puts them into .cache/screens.

A seeded system of real processes is served for it, whose trainings are played.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.e2e.conftest import PLAYED, at, launched
from tests.e2e.seed import SCREENS, seed
from tests.runs.system import System, until

OUT = Path(__file__).parents[2] / ".cache" / "screens"
WIDTHS = (1280, 390)
THEMES: tuple[Any, ...] = ("light", "dark")


@contextmanager
def seeded() -> Iterator[tuple[System, dict[str, str]]]:
    """A system with something on every screen, and the addresses of its screens by name."""
    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder), command=PLAYED)
        try:
            system.serve(workers=1)
            found = seed(system, rows=400)
            live = system.submit(found["dataset"], "live", config={"steps": 20_000, "seed": 3})
            system.submit(found["dataset"], "waits", config={"seed": 4})
            until(lambda: system.status(live) == "running", "running")
            yield system, {name: path.format(**found) for name, path in SCREENS.items()} | {"run-live": f"/runs/{live}"}
        finally:
            system.close()


def picture(page: Page, address: str, file: Path) -> bool:
    """Take one; False where there is no such page."""
    page.goto(address)
    page.wait_for_selector("h1")
    page.locator(".skeleton").first.wait_for(state="detached")
    page.wait_for_timeout(600)
    if page.get_by_role("heading", name="Nothing here").count() and "/no/such/page" not in address:
        return False
    page.screenshot(path=file)
    return True


def main(only: list[str]) -> None:
    """Take all pictures, or those of the screens named."""
    OUT.mkdir(parents=True, exist_ok=True)
    with seeded() as (system, all_screens), sync_playwright() as playwright:
        browser = playwright.chromium.launch(**launched())
        missing = set()
        for theme in THEMES:
            for width in WIDTHS:
                page = browser.new_context(
                    viewport={"width": width, "height": 844 if width < 500 else 800}, color_scheme=theme
                ).new_page()
                for name, path in all_screens.items():
                    if only and name not in only:
                        continue
                    if not picture(page, at(system, path), OUT / f"{name}-{theme}-{width}.png"):
                        missing.add(name)
        browser.close()
    print(
        f"{len(list(OUT.glob('*.png')))} pictures in {OUT}" + (f"; no such page: {sorted(missing)}" if missing else "")
    )


if __name__ == "__main__":
    main(sys.argv[1:])

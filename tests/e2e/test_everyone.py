"""For everyone: the keyboard alone, screen readers, light and dark, narrow screens."""

import json
import re
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import at, axe
from tests.e2e.seed import SCREENS, seed
from tests.runs.system import System

BACKGROUNDS: dict[Literal["light", "dark"], str] = {"light": "rgb(246, 247, 249)", "dark": "rgb(15, 17, 21)"}


@pytest.fixture(scope="module")
def seeded(played: System) -> dict[str, str]:
    """Something on every screen."""
    return seed(played)


@pytest.fixture
def run(seeded: dict[str, str]) -> str:
    """A run that is over."""
    return seeded["run"]


def test_the_keyboard_alone_leads_from_the_start_to_a_runs_logs(played: System, run: str, page: Page) -> None:
    page.goto(at(played, "/"))
    expect(page.get_by_role("heading", name="Home")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Control+k")
    search = page.get_by_role("combobox", name=re.compile("^Search pages"))
    expect(search).to_be_focused()
    page.keyboard.type("runs")
    expect(page.get_by_role("option", name="Runs", exact=True)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    expect(page.locator("main")).to_be_focused()

    page.keyboard.press("Control+k")
    page.keyboard.type(run)
    expect(page.get_by_role("listbox").get_by_role("option").first).to_contain_text(run[:8])
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(run))
    tab = page.get_by_role("tab", name="Overview")
    for _ in range(30):
        page.keyboard.press("Tab")
        if tab.evaluate("tab => tab === document.activeElement"):
            break
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Logs")).to_be_focused()
    log = page.get_by_role("log")
    expect(log).to_contain_text("step 1")
    for _ in range(10):
        page.keyboard.press("Tab")
        if log.evaluate("log => log === document.activeElement"):
            break
    page.keyboard.press("End")  # a run that is over is shown from its first line
    expect(log).to_contain_text("step 60")


def test_a_dialog_keeps_the_focus_and_escape_gives_it_back(played: System, run: str, page: Page) -> None:
    page.goto(at(played, f"/runs/{run}"))
    retry = page.get_by_role("button", name="Retry")
    retry.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(retry).to_be_focused()


def test_axe_finds_no_serious_fault_on_any_screen_light_or_dark(
    played: System, seeded: dict[str, str], page: Page
) -> None:
    script, found = axe(), []
    for screen, path in SCREENS.items():
        page.goto(at(played, path.format(**seeded)))
        page.wait_for_selector("h1")
        expect(page.locator(".skeleton")).to_have_count(0)
        page.evaluate(script)  # by the debugger: the page's own policy would not let it in
        for theme, background in BACKGROUNDS.items():
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            expect(page.locator("body")).to_have_css("background-color", background)
            result = page.evaluate("axe.run({resultTypes: ['violations']})")
            found += [
                f"{screen}, {theme}: {fault['id']}: {node['target']} {node['failureSummary'][:200]}"
                for fault in result["violations"]
                if fault["impact"] in ("serious", "critical")
                for node in fault["nodes"][:3]
            ]
    assert not found, json.dumps(found, indent=1)


def test_on_a_phone_the_navigation_folds_and_nothing_is_wider_than_the_screen(
    played: System, seeded: dict[str, str], page: Page
) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for screen, path in SCREENS.items():
        page.goto(at(played, path.format(**seeded)))
        page.wait_for_selector("h1")
        expect(page.locator(".skeleton")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, screen
        assert page.evaluate("document.querySelector('main').scrollWidth") <= 390, screen
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("navigation").get_by_role("link", name="Runs").click()
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    expect(page.get_by_role("navigation")).to_be_hidden()


def test_the_chosen_theme_is_kept(played: System, page: Page) -> None:
    page.goto(at(played, "/"))
    page.get_by_label("Theme").select_option("dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == BACKGROUNDS["dark"]

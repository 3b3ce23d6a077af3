"""Runs in the browser: a newcomer's first one, cancel and retry, logs that outlive the server, errors."""

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import at
from tests.make import TINY
from tests.runs.system import System


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A served system that trains in earnest."""
    found = System(tmp_path_factory.mktemp("trained"))
    try:
        found.serve(workers=1)
        yield found
    finally:
        found.close()


def test_a_newcomer_is_led_to_a_first_run_checks_it_and_watches_it_to_its_end(trained: System, page: Page) -> None:
    page.goto(at(trained, "/"))
    expect(page.get_by_text("Bring in traces")).to_be_visible()
    trained.data_set(rows=60)

    page.goto(at(trained, "/runs"))
    page.get_by_role("link", name="Start a run").first.click()
    start = page.get_by_role("button", name="Start the run")
    expect(start).to_be_disabled()
    page.get_by_label("Data set").select_option("sums-v1")
    page.get_by_label("steps", exact=True).fill("12")
    page.get_by_text("All other settings").click()
    for name, size in TINY.items():
        page.get_by_label(name.replace("_", " "), exact=True).fill(str(size))
    page.get_by_role("button", name="Check", exact=True).click()
    expect(page.get_by_text("Memory at the peak of a step")).to_be_visible()
    expect(start).to_be_enabled()

    page.get_by_label("seed", exact=True).fill("3")
    expect(start).to_be_disabled()  # what is started is what was checked
    page.get_by_role("button", name="Check", exact=True).click()
    expect(start).to_be_enabled()
    start.click()

    expect(page).to_have_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    expect(page.locator(".title-line")).to_contain_text("completed")
    expect(page.get_by_text("step 12 of 12")).to_be_visible()
    expect(page.locator(".chart canvas").first).to_be_visible()

    page.get_by_role("tab", name="Logs").click()
    expect(page.get_by_role("log")).to_contain_text("step 12/12")
    page.get_by_role("searchbox", name="Search").fill("evaluation")
    page.get_by_role("tab", name="Files").click()
    expect(page.get_by_text("checkpoints/step-00000012", exact=True)).to_be_visible()
    page.get_by_role("tab", name="Config").click()
    expect(page.get_by_role("row", name=re.compile("^seed 3"))).to_be_visible()
    page.get_by_role("tab", name="History").click()
    expect(page.get_by_role("row")).to_have_count(4)  # the head, waiting, running, completed

    page.go_back()
    expect(page).to_have_url(re.compile("tab=config"))


def test_a_run_is_cancelled_and_done_again(played: System, dataset: str, page: Page) -> None:
    run = played.submit(dataset, "to-cancel", config={"steps": 2000})
    page.goto(at(played, f"/runs/{run}"))
    expect(page.locator(".title-line")).to_contain_text("running")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator(".title-line")).to_contain_text("cancelled")  # told by the stream: nothing was loaded again
    page.get_by_role("button", name="Retry").click()
    page.get_by_label("From the start").check()
    page.get_by_role("button", name="Start the new run").click()
    expect(page).not_to_have_url(re.compile(run))
    expect(page.get_by_text("Retry of")).to_be_visible()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator(".title-line")).to_contain_text("cancelled")


def test_logs_go_on_after_the_server_was_killed_and_came_back(played: System, dataset: str, page: Page) -> None:
    run = played.submit(dataset, "to-survive", config={"steps": 200})
    page.goto(at(played, f"/runs/{run}?tab=logs"))
    log = page.get_by_role("log")
    expect(log).to_contain_text("step 3")
    played.servers[-1].kill()
    played.servers[-1].wait()
    expect(page.get_by_text("Connecting again")).to_be_visible()
    time.sleep(0.5)
    played.serve(workers=1)
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    expect(page.locator(".title-line")).to_contain_text("completed")
    expect(log).to_contain_text("step 200")
    page.get_by_role("searchbox", name="Search").fill("step 1")
    whole = played.wrote(run, "stdout").decode().splitlines()
    matching = sum("step 1" in line for line in whole)
    page.get_by_role("searchbox", name="Search").press("Enter")
    expect(page.get_by_text(f"1 of {matching}", exact=True)).to_be_visible()  # not a line lost, none twice


def test_the_list_follows_what_happens_and_its_filters_are_in_the_address(
    played: System, dataset: str, page: Page
) -> None:
    page.goto(at(played, "/runs?status=completed"))
    expect(page.get_by_role("button", name="completed")).to_have_attribute("aria-pressed", "true")
    run = played.submit(dataset, "to-appear", config={"steps": 3, "seed": 77})
    expect(page.locator(f'a[href="/runs/{run}"]')).to_be_visible()  # it appears when it is completed
    page.get_by_role("button", name="completed").click()
    page.get_by_role("button", name="failed").click()
    expect(page).to_have_url(re.compile(r"\?status=failed$"))
    page.get_by_label("Metric or parameter").fill("param.seed=77")
    expect(page.get_by_text("No run matches")).to_be_visible()
    page.get_by_role("button", name="failed").click()
    expect(page.locator(f'a[href="/runs/{run}"]')).to_be_visible()
    expect(page.get_by_text("1 row", exact=True)).to_be_visible()


def test_a_problem_shows_what_the_server_said(played: System, page: Page) -> None:
    page.goto(at(played, "/runs/019ab3f2-0000-7000-8000-000000000000"))
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("There is no run")
    expect(alert).to_contain_text("Request id")
    page.goto(at(played, "/runs?where=nonsense"))
    expect(page.get_by_role("alert")).to_contain_text("nonsense")
    page.goto(at(played, "/no/such/page"))
    expect(page.get_by_text("There is no page at /no/such/page.")).to_be_visible()

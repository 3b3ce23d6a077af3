"""A newcomer's whole way in the browser, from a file of traces to the board, with nothing prepared."""

import json
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.e2e.conftest import at
from tests.make import TINY
from tests.runs.system import System


def traces(folder: Path) -> Path:
    """A file of sums with one line that is no trace."""
    path = folder / "sums.jsonl"
    lines = [
        json.dumps(
            {
                "trace_version": "1.0",
                "prompt": f"What is {a} + {b}?",
                "steps": [{"i": 0, "type": "compute", "content": f"{a} + {b} = {a + b}"}],
                "final_answer": str(a + b),
            }
        )
        for a in range(10)
        for b in range(20)
    ]
    path.write_text("\n".join([*lines[:3], "this is no trace", *lines[3:]]) + "\n")
    return path


def start(page: Page, steps: int) -> None:
    """Fill the form of a run in, check it, start it and wait for its end."""
    page.get_by_label("steps", exact=True).fill(str(steps))
    page.get_by_text("All other settings").click()
    for name, size in TINY.items():
        page.get_by_label(name.replace("_", " "), exact=True).fill(str(size))
    page.get_by_role("button", name="Check", exact=True).click()
    expect(page.get_by_text("Memory at the peak of a step")).to_be_visible()
    page.get_by_role("button", name="Start the run").click()
    expect(page).to_have_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    expect(page.locator(".title-line")).to_contain_text("completed")
    expect(page.locator(".chart canvas").first).to_be_visible()


def test_a_newcomer_gets_from_a_file_to_the_board_by_what_the_screens_offer(
    trained: System, page: Page, tmp_path: Path
) -> None:
    page.goto(at(trained, "/"))
    page.get_by_role("link", name="Add traces").first.click()
    page.locator("input[type=file]").set_input_files(traces(tmp_path))
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("1 of 201 lines is bad; nothing was stored")
    expect(page.get_by_role("row", name=re.compile("^4 "))).to_contain_text("this is no trace")
    page.get_by_role("button", name="Import, leaving out the bad lines").click()
    expect(page.get_by_role("status").filter(has_text="200 new")).to_be_visible()

    page.get_by_role("link", name="Build a data set").last.click()
    page.get_by_label("Name", exact=True).fill("sums")
    page.get_by_label("Share of eval in percent").fill("25")
    expect(page.get_by_role("status").filter(has_text="200 traces")).to_be_visible()
    page.get_by_role("button", name="Seal it").click()
    expect(page.get_by_role("heading", name="sums-v1")).to_be_visible()

    page.get_by_role("button", name="Make an eval set").click()
    page.get_by_role("dialog").get_by_label("Name").fill("held-out")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_label("Evaluate on", exact=True)).to_have_value("held-out")
    expect(page.get_by_label("Data set", exact=True)).to_have_value("sums-v1")
    start(page, 12)
    first = page.url.rpartition("/")[2]

    page.goto(at(trained, "/runs/new?dataset=sums-v1&eval_set=held-out"))
    start(page, 2)

    page.goto(at(trained, "/leaderboard"))
    board = page.get_by_role("table", name=re.compile("^Board of held-out"))
    expect(board.get_by_role("row")).to_have_count(3)  # evaluated without anyone asking; the head is one
    for box in board.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("link", name="Compare the two").click()
    expect(page.get_by_text("These items cannot tell")).to_be_visible()

    page.goto(at(trained, f"/runs/{first}"))
    page.locator('main a[href^="/evaluations/"]').first.click()
    expect(page).to_have_url(re.compile("/evaluations/"))
    page.get_by_role("tab", name="Items").click()
    expect(page.get_by_text("What is").first).to_be_visible()

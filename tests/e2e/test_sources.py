"""The sources of traces in the app: suggested by a file, filtered by, and set for one, some and all of a filter."""

import json
import re
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import at
from tests.make import trace
from tests.runs.system import System


def jsonl(*numbers: int) -> bytes:
    """Traces whose meta names no source."""
    return b"".join(json.dumps(trace(number)).encode() + b"\n" for number in numbers)


def stored(system: System, *numbers: int) -> None:
    """Traces without a source."""
    answer = system.api.post("/api/traces/import", content=jsonl(*numbers))
    assert answer.json()["source"] == "none", answer.text


def options(page: Page) -> Locator:
    """The choices of the filter by source."""
    return page.get_by_role("search").get_by_label("Source").locator("option")


def set_source(page: Page, name: str, count: str) -> None:
    """Fill in the dialog, which is open, and wait until it is done."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Source").fill(name)
    dialog.get_by_role("button", name=f"Set for {count}").click()
    expect(page.get_by_text(f"Source set for {count}")).to_be_visible()
    expect(dialog).to_have_count(0)


def test_the_source_is_set_for_all_of_a_filter_for_some_and_for_one(played: System, page: Page) -> None:
    stored(played, *range(100, 105))
    page.goto(at(played, "/traces"))
    expect(options(page)).to_have_text(["all", "none (5)"])
    page.get_by_role("search").get_by_label("Source").select_option("none")
    expect(page).to_have_url(re.compile(r"source=none"))

    page.get_by_role("button", name="Set source of all").click()
    expect(page.get_by_role("dialog")).to_contain_text("All 5 traces that match the filters get this source.")
    set_source(page, "sums", "5 traces")
    expect(page).to_have_url(re.compile(r"source=sums"))
    expect(options(page)).to_have_text(["all", "sums (5)"])

    boxes = page.get_by_role("checkbox", name=re.compile("^Choose trace"))
    for place in range(3):
        boxes.nth(place).check()
    page.get_by_role("button", name="Set source", exact=True).click()
    set_source(page, "few", "3 traces")
    expect(options(page)).to_have_text(["all", "few (3)", "sums (2)"])
    expect(page.locator("tr[data-index]")).to_have_count(2)

    page.locator("tr[data-index] a").first.click()
    page.get_by_role("button", name="Set source").click()
    set_source(page, "none", "1 trace")
    expect(page.get_by_role("link", name="none")).to_have_attribute("href", "/traces?source=none")


def test_a_change_elsewhere_shows_in_the_list_and_its_filter(played: System, page: Page) -> None:
    stored(played, 200)
    page.goto(at(played, "/traces?q=200"))
    expect(page.locator("tr[data-index]")).to_contain_text("none")
    expect(options(page)).to_have_text(["all", "none (1)"])
    answer = played.api.post("/api/traces/set-source", json={"source": "elsewhere", "filters": {"q": "200"}})
    assert answer.json() == {"changed": 1, "unchanged": 0}
    expect(page.locator("tr[data-index]")).to_contain_text("elsewhere")
    expect(options(page)).to_have_text(["all", "elsewhere (1)"])


def test_a_file_suggests_the_source_of_its_traces(played: System, page: Page, tmp_path: Path) -> None:
    stored(played, 300)
    file = tmp_path / "homework.jsonl"
    file.write_bytes(jsonl(300, 301))
    page.goto(at(played, "/traces/new"))
    choose = page.locator("input[type=file]")
    choose.set_input_files(file)
    source = page.get_by_label("Source")
    expect(source).to_have_value("homework")
    expect(page.get_by_text("The source is the file’s name;")).to_be_visible()
    page.get_by_role("button", name="Import", exact=True).click()
    done = page.get_by_role("status").filter(has_text="already there")
    expect(done).to_contain_text("Source: homework; set for 1 already there without a source")
    done.get_by_role("link", name="See the traces").click()
    expect(page).to_have_url(re.compile(r"/traces\?source=homework"))
    expect(page.locator("tr[data-index]")).to_have_count(2)

    page.goto(at(played, "/traces/new"))
    file.write_bytes(jsonl(302))
    choose.set_input_files(file)
    source.fill("")
    expect(page.get_by_text("The traces get no source, whatever")).to_be_visible()
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("Source: none")).to_be_visible()


def test_a_data_set_is_built_of_traces_without_a_source(played: System, page: Page) -> None:
    stored(played, *range(400, 410))
    count = played.api.get("/api/traces/source-counts?source=none").json()["total"]
    page.goto(at(played, "/datasets/new"))
    page.get_by_label("Name", exact=True).fill("unnamed")
    page.get_by_label("Source").select_option("none")
    expect(page.get_by_label("Source").locator("option:checked")).to_have_text(f"none ({count})")
    page.get_by_role("button", name="Seal it").click()
    expect(page).to_have_url(re.compile("/datasets/unnamed-v1"))
    manifest = played.get("/api/datasets/unnamed-v1")
    assert (manifest["filters"], manifest["trace_count"]) == ({"source": "none"}, count)

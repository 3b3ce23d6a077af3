"""Predictions brought to the app: with the file that says how they were decoded, and without it."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import at
from tests.evaluation.make import answers, decoded_lines, jsonl, questions, write_described
from tests.runs.system import System
from tunix_rt.training.decoding import Decoding

WARM = Decoding(temperature=1.5, seed=7)


@pytest.fixture(autouse=True, scope="module")
def eval_set(played: System) -> None:
    """The eval set `uploaded`."""
    stored = played.api.post("/api/eval-sets", params={"name": "uploaded"}, content=jsonl(questions()))
    assert stored.status_code in (200, 201), stored.text


def choose(system: System, page: Page, *paths: Path, name: str) -> None:
    """Fill in the form of an upload, and send it."""
    page.goto(at(system, "/evaluations?upload=yes"))
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Eval set").select_option("uploaded")
    dialog.get_by_label("Predictions").set_input_files(paths)
    dialog.get_by_label("Name on the board").fill(name)
    dialog.get_by_role("button", name="Evaluate", exact=True).click()


def test_uploads_are_placed_by_what_the_file_says_of_its_decoding(played: System, page: Page, tmp_path: Path) -> None:
    alone, other, silent = (tmp_path / f"{name}.jsonl" for name in ("alone", "other", "silent"))
    alone.write_bytes(decoded_lines(WARM, right=30))
    choose(played, page, alone, name="by its lines")
    expect(page).to_have_url(re.compile("/evaluations/[0-9a-f-]{36}$"))
    expect(page.get_by_text(f"decoding {WARM.digest[:19]}")).to_be_visible()

    write_described(other, decoded_lines(WARM), WARM)
    sidecar = other.with_name("other.jsonl.meta.json")
    choose(played, page, other, sidecar, name="by its meta file")
    expect(page).to_have_url(re.compile("/evaluations/[0-9a-f-]{36}$"))
    expect(page.get_by_text("temperature 1.5, at most 256 new tokens").first).to_be_visible()

    silent.write_bytes(jsonl(answers()))
    choose(played, page, silent, name="says nothing")
    expect(page).to_have_url(re.compile("/evaluations/[0-9a-f-]{36}$"))

    page.goto(at(played, "/leaderboard?eval_set=uploaded"))
    known = page.get_by_role("table", name=re.compile("temperature 1.5, at most 256 new tokens$"))
    expect(known.get_by_role("row")).to_have_count(3)
    expect(known).to_contain_text("by its lines")
    expect(known).to_contain_text("by its meta file")
    unknown = page.get_by_role("table", name=re.compile("decoding unknown$"))
    expect(unknown.get_by_role("row")).to_have_count(2)


def test_what_contradicts_the_file_or_answers_twice_is_refused_with_the_place(
    played: System, page: Page, tmp_path: Path
) -> None:
    doubled, moved = tmp_path / "doubled.jsonl", tmp_path / "moved.jsonl"
    doubled.write_bytes(jsonl([*answers(), *answers()[38:]]))
    choose(played, page, doubled, name="twice")
    expect(page.get_by_role("alert")).to_contain_text("2 lines repeat an answer")
    expect(page.get_by_role("alert")).to_contain_text("repeats id 'q38' (sample 0), first on line 39")

    write_described(moved, decoded_lines(WARM), WARM, predictions="sha256:" + "0" * 64)
    choose(played, page, moved, moved.with_name("moved.jsonl.meta.json"), name="moved")
    expect(page.get_by_role("alert")).to_contain_text("moved.jsonl.meta.json does not belong to moved.jsonl")

    page.get_by_role("dialog").get_by_label("Predictions").set_input_files([doubled, moved])
    expect(page.get_by_text("Choose one file of predictions")).to_be_visible()
    expect(page.get_by_role("button", name="Evaluate", exact=True)).to_be_disabled()
    listed = played.get("/api/evaluations", q="uploaded")["data"]
    assert not {row["name"] for row in listed} & {"twice", "moved"}

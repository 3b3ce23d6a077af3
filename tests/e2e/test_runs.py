"""Runs in the browser: a newcomer's first one, cancel and retry, logs that outlive the server, errors."""

import re
import signal

from playwright.sync_api import Page, expect

from tests.e2e.conftest import at
from tests.evaluation.make import answers, jsonl, questions
from tests.make import TINY
from tests.runs.system import System, until
from tunix_rt.evaluation import generation
from tunix_rt.training.decoding import Decoding


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


def test_a_run_saves_when_it_is_asked_is_cancelled_and_gone_on_with(played: System, dataset: str, page: Page) -> None:
    run = played.submit(dataset, "to-cancel", config={"steps": 2000})
    page.goto(at(played, f"/runs/{run}"))
    expect(page.locator(".title-line")).to_contain_text("running")
    page.get_by_role("button", name="Checkpoint now").click()
    expect(page.get_by_text(re.compile(r"The checkpoint of step \d+ is saved"))).to_be_visible()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator(".title-line")).to_contain_text("cancelled")  # told by the stream: nothing was loaded again
    expect(page.get_by_role("button", name="Retry from start")).to_be_enabled()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("dialog")).to_contain_text("Go on from step")
    page.get_by_role("button", name="Start the new run").click()
    expect(page).not_to_have_url(re.compile(run))
    page.get_by_role("tab", name="Lineage").click()
    expect(page.get_by_text("this goes on from its last checkpoint")).to_be_visible()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator(".title-line")).to_contain_text("cancelled")


def test_runs_are_compared_and_their_samples_looked_at_by_step(played: System, dataset: str, page: Page) -> None:
    runs = [
        played.submit(dataset, f"to-compare-{seed}", config={"steps": 40, "samples": 1, "seed": seed})
        for seed in (1, 2)
    ]
    until(lambda: all(played.status(run) == "completed" for run in runs), "completed")
    page.goto(at(played, f"/runs/{runs[0]}?tab=samples"))
    expect(page.get_by_role("heading", name="step 20")).to_be_visible()
    expect(page.locator("ins").first).to_have_text("40")
    expect(page.locator("del").first).to_have_text("20")
    page.get_by_role("link", name="Compare…").click()
    expect(page.get_by_role("heading", name="With which one?")).to_be_visible()
    page.get_by_label("Add a run").select_option(runs[1])
    expect(page).to_have_url(re.compile(f"run={runs[0]}&run={runs[1]}"))
    config = page.get_by_role("region", name="Config").get_by_role("row")
    expect(config).to_have_count(2)  # the head, and what differs
    expect(config.last).to_contain_text("seed")
    expect(page.locator(".chart canvas").first).to_be_visible()
    expect(page.get_by_text("was not evaluated").first).to_be_visible()


def legend(page: Page, share: float) -> dict[str, str]:
    """What the first chart's legend says where the pointer is, at a share of its width."""
    chart = page.locator(".chart-first .chart")
    over = chart.locator(".u-over")
    box = over.bounding_box()
    assert box is not None
    over.hover(position={"x": box["width"] * share, "y": box["height"] / 2})
    rows = chart.locator(".u-series")
    names, values = (rows.locator(part).all_inner_texts() for part in (".u-label", ".u-value"))
    return dict(zip(names, values, strict=True))


def test_a_chart_says_what_was_measured_and_of_what_is_smoothed_by_how_much(
    played: System, dataset: str, page: Page
) -> None:
    run, other = (played.submit(dataset, f"to-read-{seed}", config={"steps": 60, "seed": seed}) for seed in (5, 6))
    until(lambda: played.status(run) == played.status(other) == "completed", "completed")
    found = played.get(f"/api/tunix/runs/{run}/metrics", keys="loss", smooth=0.6)
    measured, smoothed = dict(found["series"]["loss"]), dict(found["smoothed"]["series"]["loss"])
    compared = f"/runs/compare?run={run}&run={other}"
    for address, name in ((f"/runs/{run}", "loss"), (compared, f"{run[:8]}…{run[-4:]}")):
        page.goto(at(played, address))
        expect(page.locator(".chart-first canvas")).to_be_visible()
        for share in (0.02, 0.1, 0.5, 0.95):
            said = legend(page, share)
            assert said.keys() >= {"step", name}
            assert not any("smoothed" in each for each in said), "not unless it is asked for"
            assert said[name] == f"{measured[int(said['step'])]:.4g}"

        page.get_by_label("Smoothing").fill("0.6")
        expect(page).to_have_url(re.compile("smooth=0.6"))
        expect(page.locator(".chart-first .u-label", has_text=f"{name} (smoothed 0.6)")).to_be_visible()
        for share in (0.02, 0.1, 0.5, 0.95):
            said = legend(page, share)
            step = int(said["step"])
            assert said[name] == f"{measured[step]:.4g}"
            assert said[f"{name} (smoothed 0.6)"] == f"{smoothed[step]:.4g}"


def test_logs_go_on_after_the_server_was_killed_and_came_back(played: System, dataset: str, page: Page) -> None:
    run = played.submit(dataset, "to-survive", config={"steps": 200})
    page.goto(at(played, f"/runs/{run}?tab=logs"))
    log = page.get_by_role("log")
    expect(log).to_contain_text("step 3")
    with played.away(by=signal.SIGKILL):
        expect(page.get_by_text("Connecting again")).to_be_visible()
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


def test_a_dry_run_stands_nowhere_among_the_runs_unless_it_is_asked_for(
    played: System, dataset: str, page: Page
) -> None:
    page.goto(at(played, "/system"))
    page.evaluate("localStorage.setItem('seen', '2020-01-01T00:00:00Z')")  # home shows what ended since then
    dry = played.submit(dataset, "dry", dry_run=True, config={"steps": 1, "seed": 8})
    run = played.submit(dataset, "not-dry", config={"steps": 1, "seed": 8})
    until(lambda: played.status(dry) == played.status(run) == "completed", "completed")
    for address in ("/", "/runs", "/runs?status=completed"):
        page.goto(at(played, address))
        expect(page.locator(f'a[href="/runs/{run}"]').first).to_be_visible()
        expect(page.locator(f'a[href="/runs/{dry}"]')).to_have_count(0)
    page.goto(at(played, "/runs"))
    page.get_by_role("search").get_by_label("Kind").select_option("dry runs")
    expect(page).to_have_url(re.compile(r"\?mode=dry-run$"))
    page.locator(f'a[href="/runs/{dry}"]').click()
    expect(page.locator(".title-line")).to_contain_text("dry run")
    expect(page.get_by_text("trains nothing")).to_be_visible()


def test_an_evaluation_that_waits_says_so_everywhere_and_comes_before_the_next_training(
    played: System, dataset: str, page: Page
) -> None:
    run, other = (played.submit(dataset, f"to-wait-{seed}", config={"steps": 1, "seed": seed}) for seed in (11, 12))
    until(lambda: played.status(run) == played.status(other) == "completed", "completed")
    page.goto(at(played, f"/runs/{run}?tab=lineage"))
    expect(page.get_by_text("It was not evaluated.")).to_be_visible()

    busy = played.submit(dataset, "busy", config={"steps": 20_000})
    until(lambda: played.status(busy) == "running", "running")
    training = played.submit(dataset, "urgent", config={"steps": 1}, priority=1000)
    eval_set = played.api.post("/api/eval-sets", params={"name": "waited"}, content=jsonl(questions())).json()
    output = generation.place(played.folder_of(run), eval_set["digest"], Decoding())
    output.parent.mkdir()
    output.write_bytes(jsonl(answers()))  # a played training leaves no model; the other one cannot be evaluated
    for each in (run, other):
        asked = played.post(f"/api/tunix/runs/{each}/evaluate?mode=async", {"eval_set": eval_set["name"]})
        assert asked.status_code == 202, asked.text

    head = page.locator(".title-line")
    expect(head).to_contain_text("evaluation waiting, next in the queue")  # nothing was loaded again
    expect(page.get_by_text("It was not evaluated.")).to_have_count(0)
    for address, region in (("/", "Waiting"), ("/evaluations", "Evaluations to come")):
        page.goto(at(played, address))
        waiting = page.get_by_role("region", name=region)
        expect(waiting.get_by_text("evaluation waiting, next in the queue")).to_be_visible()
        expect(waiting.get_by_text("evaluation waiting, 1 before it")).to_be_visible()
    waiting.locator(f'a[href="/runs/{run}"]').click()
    expect(head).to_contain_text("evaluation waiting")
    assert played.post(f"/api/tunix/runs/{busy}/cancel").status_code == 202
    expect(page.get_by_role("link", name="100.0 %")).to_be_visible()
    expect(head).not_to_contain_text("evaluation")
    until(lambda: played.status(training) == "completed", "completed")
    evaluated = played.get(f"/api/tunix/runs/{run}/evaluation")["created_at"]
    assert evaluated < played.get(f"/api/tunix/runs/{training}")["started_at"], "in spite of its priority"

    page.goto(at(played, f"/runs/{other}"))
    expect(head).to_contain_text("evaluation failed")
    expect(page.get_by_text("Its evaluation failed:")).to_be_visible()
    page.goto(at(played, "/"))
    expect(page.get_by_role("region", name="Failed lately").locator(f'a[href="/runs/{other}"]')).to_be_visible()


def test_a_problem_shows_what_the_server_said(played: System, page: Page) -> None:
    page.goto(at(played, "/runs/019ab3f2-0000-7000-8000-000000000000"))
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("There is no run")
    expect(alert).to_contain_text("Request id")
    page.goto(at(played, "/runs?where=nonsense"))
    expect(page.get_by_role("alert")).to_contain_text("nonsense")
    page.goto(at(played, "/no/such/page"))
    expect(page.get_by_text("There is no page at /no/such/page.")).to_be_visible()


def test_a_conflict_is_told_where_it_was_asked_for_with_what_to_do(played: System, dataset: str, page: Page) -> None:
    held = played.get(f"/api/datasets/{dataset}/traces", limit=1)["data"][0]["id"]
    page.goto(at(played, f"/traces/{held}"))
    page.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Delete").click()
    expect(dialog.get_by_role("alert")).to_contain_text("A data set holds the trace")
    assert played.get(f"/api/traces/{held}")["id"] == held


def test_a_server_that_is_away_is_told_and_tried_again(played: System, dataset: str, page: Page) -> None:
    page.goto(at(played, "/datasets"))
    version, alert = page.get_by_role("link", name=dataset).first, page.get_by_role("alert")
    expect(version).to_be_visible()
    with played.away():
        page.get_by_role("searchbox", name="Name").fill("sums")  # a question that was not asked before
        expect(alert).to_contain_text("tunix-rt serve")
    alert.get_by_role("button", name="Try again").click()
    expect(alert).to_have_count(0)
    expect(version).to_be_visible()

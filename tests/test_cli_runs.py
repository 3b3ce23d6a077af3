"""`tunix-rt runs` against a server of the test's own: what is asked, what is shown, which exit code."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.logserver import Answer, Server, document, serving
from tests.test_cli import Shell
from tunix_rt.cli import run_list

RUN = "019b0c0e-1234-7000-8000-000000000001"
OTHER = "019b0c0e-1234-7000-8fff-000000000002"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(output=[("stdout", b"trained\n")]) as found:
        yield found


@pytest.fixture
def shell(server: Server, tmp_path: Path) -> Shell:
    found = Shell(tmp_path)
    found.environment["TUNIX_RT_URL"] = server.url
    (tmp_path / "config.yaml").write_text("dataset: sums-v1\nengine: tunix\nsteps: 10\nmodel: {layers: 1}\n")
    return found


def accepted(**about: Any) -> dict[str, Any]:
    return {
        "run_id": RUN,
        "status": "pending",
        "status_reason": None,
        "mode": "local",
        "created_at": "2026-01-31T12:00:00.000000Z",
        "links": {},
        **about,
    }


def row(run_id: str = RUN, **about: Any) -> dict[str, Any]:
    found = accepted(run_id=run_id, dataset_key="sums-v1", model_id="scratch", engine="tunix", attempt=1)
    found |= {"started_at": None, "completed_at": None, "duration_seconds": None, "score": None}
    return found | {"progress": None, "metrics": {}} | about


def page(*rows: Any, cursor: str | None = None) -> Answer:
    return document({"data": rows, "pagination": {"limit": 20, "next_cursor": cursor}})


# --- submit -----------------------------------------------------------------------------------------------------


def test_submit_sends_what_was_written_and_no_default(server: Server, shell: Shell) -> None:
    server.answers = [document(accepted(status_reason="no worker is running"), 202)]
    done = shell(
        *("runs", "submit", "config.yaml", "--set", "model.width=32", "--priority", 5, "--max-attempts", 2),
        *("--timeout-seconds", 60, "--eval-set", "held-out", "--idempotency-key", "mine"),
    )
    assert (done.returncode, done.stdout) == (0, f"{RUN}\n")
    assert "no worker is running" in done.stderr
    assert f"tunix-rt runs logs {RUN} -f" in done.stderr
    [asked] = server.asked
    assert (asked.method, asked.target) == ("POST", "/api/tunix/run?mode=async")
    assert asked.headers["idempotency-key"] == "mine"
    assert json.loads(asked.body) == {
        "dataset_key": "sums-v1",
        "engine": "tunix",
        "dry_run": False,
        "config": {"steps": 10, "model": {"layers": 1, "width": 32}},
        "priority": 5,
        "max_attempts": 2,
        "timeout_seconds": 60.0,
        "eval_set": "held-out",
    }


def test_options_go_before_the_config(server: Server, shell: Shell) -> None:
    server.answers = [document(accepted(), 202)]
    (shell.folder / "config.yaml").write_text("{model_id: base, dataset: sums-v1}")
    words = ("--dataset", "other-v2", "--model-id", "tuned@best", "--engine", "torch")
    assert shell.json("runs", "submit", "config.yaml", *words)["run_id"] == RUN
    assert json.loads(server.asked[0].body) == {
        "dataset_key": "other-v2",
        "model_id": "tuned@best",
        "engine": "torch",
        "dry_run": False,
        "config": {},
    }


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("failed", 1), ("cancelled", 1)])
def test_a_run_that_is_followed_ends_as_the_run_does(server: Server, shell: Shell, status: str, code: int) -> None:
    server.answers, server.status = [document(accepted(), 202)], status
    done = shell("runs", "submit", "config.yaml", "-f")
    assert (done.returncode, done.stdout) == (code, f"{RUN}\ntrained\n")
    assert (f"The run is {status}." in done.stderr) == bool(code)


def test_followed_in_json_every_line_is_a_document(server: Server, shell: Shell) -> None:
    server.answers = [document(accepted(), 202)]
    done = shell("runs", "submit", "config.yaml", "-f", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line.get("event") for line in lines] == [None, "status", "log", "end"]


def test_a_dry_run_shows_its_checks_and_fails_with_them(server: Server, shell: Shell) -> None:
    counts = {"rows": {"total": 1200, "trained": 1190, "truncated": 0, "rejected": {"overlong": 10}}}
    checks: dict[str, Any] = {
        "ok": True,
        "config": {"ok": True, "batch_size": 32, "model": {"layers": 1}},
        "ledger": {"ok": True, "train": counts, "eval": None},
        "disk": {"ok": True, "needed_bytes": 2**21, "free_bytes": 2**31},
    }
    server.answers = [document(accepted(status="completed", mode="dry-run", checks=checks))]
    done = shell("runs", "submit", "config.yaml", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == [
        "config\tok\tbatch_size 32",
        "ledger\tok\ttrain 1,190 of 1,200 rows (10 left out)",
        "disk\tok\tneeded 2.0 MiB, free 2.00 GiB",
    ]
    assert server.asked[0].target == "/api/tunix/run"
    assert json.loads(server.asked[0].body)["dry_run"] is True
    problem = {"code": "bad_input", "detail": "No room.", "hint": "Make some.", "faults": []}
    checks |= {"ok": False, "disk": {"ok": False, "problem": problem}, "plan": {"ok": None}}
    server.answers = [document(accepted(status="failed", mode="dry-run", checks=checks)) for _ in range(2)]
    done = shell("runs", "submit", "config.yaml", "--dry-run")
    assert (done.returncode, "disk\tFAILED\tNo room." in done.stdout, "plan\tnot checked" in done.stdout) == (
        1,
        True,
        True,
    )
    assert ("It would not start: No room." in done.stderr, "Make some." in done.stderr) == (True, True)
    done = shell("runs", "submit", "config.yaml", "--dry-run", "--json")
    assert (done.returncode, json.loads(done.stdout)["checks"]) == (1, checks)


# --- list -------------------------------------------------------------------------------------------------------


def test_the_list_asks_in_the_words_of_the_api_page_by_page(server: Server, shell: Shell) -> None:
    server.answers = [page(row(OTHER), cursor="next"), page(row())]
    words = (
        "--status",
        "failed",
        "--status",
        "timeout",
        "--dataset",
        "a b",
        "--created-after",
        "2026-01-31",
        "--param",
        "data.max_length=5",
    )
    metrics = ("loss<0.5", "eval.loss <= 1", "step>=2", "score!=0", "n=3", "n==4")
    found = shell.json("runs", "list", *words, *(word for text in metrics for word in ("--metric", text)))
    assert [item["run_id"] for item in found] == [OTHER, RUN]
    paging = ("limit=20", "limit=19&cursor=next")
    assert [asked.target for asked in server.asked] == [
        f"/api/tunix/runs?status=failed&status=timeout&dataset_key=a+b&created_after=2026-01-31T00%3A00%3A00%2B00%3A00&{part}&param.data.max_length=5"
        "&metric.loss%3C0.5&metric.eval.loss%3C=1&metric.step%3E=2&metric.score%21=0&metric.n=3&metric.n=4"
        for part in paging
    ]


def test_the_list_shows_a_line_for_each_run_with_ids_that_differ(server: Server, shell: Shell) -> None:
    running = row(OTHER, status="running", metrics={"loss": 0.123456}, duration_seconds=3725.0)
    server.answers = [page(running | {"progress": {"step": 3, "total_steps": 10, "eta_seconds": None}}, row())]
    lines = shell("runs", "list").stdout.splitlines()
    assert lines[1].split("\t") == [
        *("019b0c0e-1234-7000-8f", "running", "sums-v1", "scratch", "local", "2026-01-31T12:00:00"),
        *("1 h 2 min", "1", "3", "0.1235"),
    ]
    assert lines[2].split("\t")[0] == "019b0c0e-1234-7000-80"


def test_an_empty_list_says_that_dry_runs_are_not_in_it_and_how_to_see_them(server: Server, shell: Shell) -> None:
    server.answers = [page(), page(), page()]
    done = shell("runs", "list", "--status", "failed")
    assert "runs list --mode dry-run" in done.stderr
    assert "--mode dry-run" not in shell("runs", "list", "--mode", "all").stderr
    shell("runs", "list", "--mode", "dry-run")
    assert [asked.target for asked in server.asked] == [
        "/api/tunix/runs?status=failed&limit=20",
        "/api/tunix/runs?mode=all&limit=20",
        "/api/tunix/runs?mode=dry-run&limit=20",
    ]


def test_a_short_id_keeps_its_time_and_tells_the_shown_apart() -> None:
    assert run_list.short([]) == run_list.short([RUN]) == 13
    assert run_list.short([RUN, OTHER]) == len("019b0c0e-1234-7000-8f")
    assert run_list.short([RUN, RUN]) == 13


# --- one run ----------------------------------------------------------------------------------------------------


def detail(**about: Any) -> dict[str, Any]:
    found = row() | {"status_reason": None, "queued_at": "2026-01-31T12:00:00.000000Z", "wait_seconds": 0.01}
    found |= {"priority": 0, "timeout_seconds": None, "exit_code": None, "crash_reason": None, "max_attempts": 3}
    found |= {"worker": "box-1", "eval_set": None, "retry_of": None, "from_start": False, "dataset_digest": "sha256:0"}
    found |= {"config": {"steps": 10}, "provenance": {}, "result": None, "events": [], "links": {}}
    return found | {"stdout": "", "stderr": "", "evaluation": evaluation("none")} | about


def evaluation(state: str, **about: Any) -> dict[str, Any]:
    return {"state": state, "eval_set": "sums", "before": None, "reason": None, "evaluation_id": None, **about}


def test_a_run_says_where_its_evaluation_is(server: Server, shell: Shell) -> None:
    for status, of_run, said in (
        ("running", evaluation("planned"), "on sums when it completes"),
        ("completed", evaluation("waiting", before=2), "waiting, 2 before it"),
        ("completed", evaluation("waiting", before=0, reason="no worker"), "waiting, next in the queue (no worker)"),
        ("completed", evaluation("running"), "running"),
        ("completed", evaluation("failed", reason="too long."), "failed: too long. Evaluate it again: tunix-rt runs"),
        ("completed", evaluation("done", evaluation_id=OTHER), OTHER),
        ("completed", evaluation("none"), f"none. Evaluate it: tunix-rt runs evaluate {RUN[:13]}"),
        ("failed", evaluation("none"), None),
    ):
        server.answers = [document(detail(status=status, evaluation=of_run))]
        done = shell("runs", "show", RUN)
        assert done.returncode == 0, done.stderr
        shown = [line.split(maxsplit=1)[1] for line in done.stdout.splitlines() if line.startswith("  evaluation ")]
        assert [line.startswith(said or "") for line in shown] == ([] if said is None else [True]), shown


def test_the_list_of_evaluations_tells_which_are_still_to_come(server: Server, shell: Shell) -> None:
    queue = [evaluation("waiting", before=2, run_id=RUN), evaluation("failed", reason="no model", run_id=OTHER)]
    server.answers = [page(), page(*queue), page(), page(*queue)]
    done = shell("evaluations", "list")
    assert done.stderr.splitlines()[:2] == [
        f"Evaluation of run {RUN[:13]} on sums: waiting, 2 before it",
        f"Evaluation of run {OTHER[:13]} on sums: failed: no model. Evaluate it again: "
        f"tunix-rt runs evaluate {OTHER[:13]}",
    ]
    assert shell.json("evaluations", "list") == {"evaluations": [], "queue": queue}


def test_a_run_is_shown_with_its_history_and_nothing_in_it_is_obeyed(server: Server, shell: Shell) -> None:
    events = [
        {"time": "2026-01-31T12:00:00.000000Z", "from": None, "to": "pending", "actor": "api", "reason": None},
        {
            "time": "2026-01-31T12:00:01.000000Z",
            "from": "pending",
            "to": "running",
            "actor": "box-1",
            "reason": "\x1b[2J",
        },
    ]
    progress = {"step": 3, "total_steps": 10, "eta_seconds": 61.0}
    found = detail(status="running", progress=progress, metrics={"loss": "NaN"}, crash_reason="killed by SIGKILL")
    found["events"] = events
    tail = "".join(f"line {number}\n" for number in range(30)) + "1 %\r99 %\r\n\x1b]0;title\x07"
    server.answers = [document(found | {"stdout": tail, "stderr": ""})]
    done = shell("runs", "show", RUN[:8])
    assert done.returncode == 0, done.stderr
    assert server.asked[0].target == f"/api/tunix/runs/{RUN[:8]}"
    for text in (
        "step 3 of 10, 1 min 1 s left",
        "new -> pending",
        "config     steps=10\n",
        "pending -> running",
        "\\x1b[2J",
        "loss NaN",
    ):
        assert text in done.stdout
    assert "killed by SIGKILL" in done.stdout
    assert done.stdout.endswith("  line 29\n  99 %\n  \\x1b]0;title\\x07\n")
    assert "line 10\n" not in done.stdout


def test_samples_are_shown_by_step_with_what_was_cut_off(server: Server, shell: Shell) -> None:
    def said(step: int, output: str, reason: str) -> dict[str, Any]:
        return {"step": step, "prompt": "1+1?", "output": output, "finish_reason": reason, "created_at": None}

    server.answers = [page(said(20, "1. 1 + 1 = 2\nAnswer: 2", "stop"), said(10, "11\x1b[2J", "length")), page()]
    done = shell("runs", "samples", RUN)
    assert done.stdout.splitlines() == [
        *("step 20", "  1+1?", "    1. 1 + 1 = 2", "    Answer: 2"),
        *("step 10", "  1+1?", "    11\\x1b[2J … (cut off)"),
    ]
    assert server.asked[0].target == f"/api/tunix/runs/{RUN}/samples?limit=20"
    assert "samples: 2" in shell("runs", "samples", RUN).stderr


def test_a_checkpoint_is_asked_for_and_where_to_see_it_is_said(server: Server, shell: Shell) -> None:
    server.answers = [document(accepted(status="running"), 202)]
    done = shell("runs", "checkpoint", RUN)
    assert (done.returncode, done.stdout) == (0, f"{RUN}  running\n")
    assert f"runs artifacts {RUN}" in done.stderr
    assert [asked.target for asked in server.asked] == [f"/api/tunix/runs/{RUN}/checkpoint"]


def test_cancel_and_retry_say_what_comes_next(server: Server, shell: Shell) -> None:
    server.answers = [document(accepted(status="cancel_requested"), 202), document(accepted(run_id=OTHER), 202)]
    done = shell("runs", "cancel", RUN)
    assert (done.returncode, done.stdout) == (0, f"{RUN}  cancel_requested\n")
    done = shell("runs", "retry", RUN, "--from-start")
    assert (done.returncode, done.stdout) == (0, f"{OTHER}\n")
    assert [asked.target for asked in server.asked] == [f"/api/tunix/runs/{RUN}/{word}" for word in ("cancel", "retry")]
    assert json.loads(server.asked[1].body) == {"from_start": True}


def test_files_are_listed_fetched_and_their_digest_is_checked(server: Server, shell: Shell) -> None:
    content = b"weights" * 1000
    entry = {"path": "model/a b.bin", "size": 7000, "sha256": hashlib.sha256(content).hexdigest(), "kind": "model"}
    listed = document({"data": [entry]})
    server.answers = [listed, listed, Answer(content=content), listed, Answer(content=content[1:]), listed]
    assert shell("runs", "artifacts", RUN).stdout.splitlines()[1].startswith("model/a b.bin\tmodel\t7000\t")
    words = ("runs", "artifacts", RUN, "--download", "model/a b.bin")
    assert shell(*words).returncode == 0
    assert (shell.folder / "a b.bin").read_bytes() == content
    assert server.asked[2].target == f"/api/tunix/runs/{RUN}/artifacts/model/a%20b.bin"
    done = shell(*words, "-o", "bad.bin")
    assert (done.returncode, "another digest" in done.stderr) == (1, True)
    assert not (shell.folder / "bad.bin").exists()
    done = shell("runs", "artifacts", RUN, "--download", "model/ab.bin")
    assert (done.returncode, "Did you mean 'model/a b.bin'?" in done.stderr) == (3, True)


def test_figures_are_summed_up_or_listed_point_by_point(server: Server, shell: Shell) -> None:
    series = {"loss": [[1, 4.0], [2, "NaN"], [3, 0.5]], "empty": []}
    server.answers = [document({"series": series}), document({"series": {"loss": series["loss"]}})]
    assert shell("runs", "metrics", RUN).stdout.splitlines()[1:] == ["loss\t3\t4\t0.5\t0.5\t4\t3"]
    done = shell("runs", "metrics", RUN, "--key", "loss", "--max-points", 100)
    assert done.stdout.splitlines()[1:] == ["loss\t1\t4.0", "loss\t2\tNaN", "loss\t3\t0.5"]
    assert server.asked[1].query == {"keys": "loss", "max_points": "100"}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["submit", "none.yaml"], 3, "no config file none.yaml"),
        (["submit", "bad.yaml"], 1, "bad.yaml:2: not YAML"),
        (["submit", "config.yaml", "--set", "stepz=3"], 1, "Did you mean 'steps'?"),
        (["submit", "bare.yaml"], 1, "--dataset KEY"),
        (["submit", "config.yaml", "--dry-run", "-f"], 2, "nothing to wait for"),
        (["list", "--metric", "loss"], 2, "Example: --metric 'loss<0.5'"),
        (["list", "--metric", "loss<low"], 2, "'low' is not a number"),
        (["list", "--metric", "loss<nan"], 2, "'nan' is not a number"),
        (["list", "--param", "steps"], 2, "not NAME=VALUE"),
        (["list", "--created-after", "noon"], 2, "--created-after 'noon' is not a time"),
        (["list", "--status", "done"], 2, "'done' is not one of"),
        (["artifacts", RUN, "-o", "x"], 2, "--download PATH"),
        (["artifacts", RUN, "--download", "x", "-o", "-", "--json"], 2, "name a file"),
    ],
)
def test_a_mistake_is_told_before_anything_is_asked(
    server: Server, shell: Shell, words: list[str], code: int, says: str
) -> None:
    (shell.folder / "bad.yaml").write_text("steps: 3\nmodel: {layers: [}\n")
    (shell.folder / "bare.yaml").write_text("")
    done = shell("runs", *words)
    assert done.returncode == code
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert server.asked == []

"""The training child: exit codes, signals at any moment, and one `end` event whatever happens."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.training.bare import COMMAND
from tests.training.make import files, run_folder
from tunix_rt.base.errors import DiskFull, Problem, Unavailable
from tunix_rt.training import child, events, folder, signals
from tunix_rt.training.folder import RunFolder
from tunix_rt.training.record import recorded

LAST = 24


def start(run: Path, *words: str, bare: bool = True) -> "subprocess.Popen[str]":
    """A child on a run directory, `bare` of PyTorch; SIGTERM is blocked until it is ready for it."""
    python = COMMAND if bare else [sys.executable, "-m"]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        return subprocess.Popen(
            [*python, "tunix_rt.training.process", str(run), "--device", "cpu", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def until(process: "subprocess.Popen[str]", holds: Callable[[], bool], pause: float = 0.002) -> None:
    deadline = time.monotonic() + 240
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(pause)


def told(run: RunFolder, *kinds: str) -> list[dict[str, Any]]:
    found = list(events.read(run.events)) if run.events.exists() else []
    return [event for event in found if event["event"] in kinds]


def the_end(run: RunFolder) -> dict[str, Any]:
    """The one `end` event, which is the last."""
    [end] = told(run, "end")
    assert list(events.read(run.events))[-1] == end
    return end


def weights(run: RunFolder) -> str:
    return hashlib.sha256((run.model / "model.safetensors").read_bytes()).hexdigest()


def losses(run: RunFolder) -> list[float]:
    return [event["loss"] for event in events.steps(run.events)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, str]:
    """A run that nothing disturbed, and its story."""
    run = run_folder(tmp_path_factory.mktemp("whole"))
    code, out, err = finish(start(run.path, bare=False))
    assert code == 0, err
    return run, out


def test_a_completed_run_has_its_model_its_story_and_one_end(whole: tuple[RunFolder, str]) -> None:
    run, out = whole
    assert (run.model / "model.safetensors").exists()
    end = the_end(run)
    assert (end["reason"], end["step"]) == ("completed", LAST)
    lines = out.splitlines()
    assert "40 rows, 24 steps of" in lines[0]
    assert sum(line.startswith(f"step {LAST}/{LAST}  loss ") for line in lines) == 1
    assert sum("evaluation loss" in line for line in lines) == len(told(run, "eval"))
    assert sum(" checkpoint checkpoints/step-" in line for line in lines) == len(told(run, "checkpoint"))
    assert lines[-1] == "Completed: 24 steps"


def test_a_child_that_is_started_by_hand_has_malloc_as_its_plan_counts_on(tmp_path: Path) -> None:
    process = start(run_folder(tmp_path).path)
    assert process.stdout is not None
    assert process.stdout.readline()
    environment = Path(f"/proc/{process.pid}/environ").read_bytes()
    process.kill()
    process.communicate()
    assert b"glibc.malloc.tcache_count=0" in environment


def test_a_stop_between_two_steps_a_retry_and_a_signal_after_the_last_step_end_in_the_same_bits(
    tmp_path: Path, whole: tuple[RunFolder, str]
) -> None:
    run = run_folder(tmp_path / "one")
    first = start(run.path)
    until(first, lambda: len(told(run, "step")) >= 3)
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM):  # a second one tears nothing
        first.send_signal(number)
    code, out, err = finish(first)
    end = the_end(run)
    if end["reason"] == "completed":
        pytest.fail("the training ended before the signal reached it: make it longer")
    assert code == 130, err
    assert out.splitlines()[-1] == f"Stopped at step {end['step']}/{LAST}"
    assert [path.name for path in run.checkpoints()][-1] == f"step-{end['step']:08d}"

    before = files(run)
    retry = folder.continue_from(tmp_path / "two", run.path, "one")
    second = start(retry.path)
    until(second, lambda: any(event["step"] == LAST for event in told(retry, "checkpoint")))
    second.send_signal(signal.SIGTERM)  # now model/ is written, and comes whole
    code, out, err = finish(second)
    assert (code, the_end(retry)["reason"]) == (0, "completed"), err
    assert f"Going on from step {end['step']}" in out
    assert weights(retry) == weights(whole[0])
    assert losses(run) + losses(retry) == losses(whole[0])
    assert files(run) == before


def test_a_run_that_is_killed_while_it_writes_a_checkpoint_ends_in_the_same_bits(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"steps": 12, "accumulation": 2, "batching": "bucketed", "checkpoint_every_steps": 1}
    one, two = (run_folder(tmp_path / name, **changes) for name in ("undisturbed", "killed"))
    writing = two.path / "checkpoints"
    process = start(two.path)
    until(
        process,
        lambda: any(writing.glob(".*.partial/state.safetensors")) and len(told(two, "step")) > 3,
        pause=0.0005,  # it is there for milliseconds
    )
    process.kill()
    assert finish(process)[0] == -signal.SIGKILL
    for run in (one, two):
        recorded(run.path, None, lambda emit, run=run: asdict(child.attempt(run, "cpu", emit, signals.never)))  # type: ignore[misc]  # mypy infers no lambda with a default
    assert 1 < int(told(two, "plan")[-1]["resumed_from"].removeprefix("step-")) < 12
    assert not list(writing.glob(".*"))
    assert losses(two) == losses(one)
    assert weights(two) == weights(one)


def test_a_signal_before_the_child_is_up_stops_it(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    process = start(run.path)
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 130
    assert (the_end(run)["reason"], the_end(run)["step"]) == ("stopped", 0)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at what a process has loaded")
@pytest.mark.parametrize("moment", ["jax is imported", "the step is made"])
def test_a_signal_before_the_first_step_stops_with_nothing_to_save(tmp_path: Path, moment: str) -> None:
    run = run_folder(tmp_path)
    process = start(run.path)
    maps = Path(f"/proc/{process.pid}/maps")
    until(process, lambda: "jaxlib" in maps.read_text() if moment == "jax is imported" else bool(told(run, "plan")))
    process.send_signal(signal.SIGTERM)
    code, _, err = finish(process)
    assert code == 130, err
    end = the_end(run)
    assert end["reason"] == "stopped"
    assert [int(path.name[5:]) for path in run.checkpoints()] == ([end["step"]] if end["step"] else [])


def test_rows_that_cannot_be_trained_are_named_in_the_end(tmp_path: Path) -> None:
    run = run_folder(tmp_path, data={"max_length": 12})
    code, out, err = finish(start(run.path))
    assert (code, out) == (2, "")
    end = the_end(run)
    assert (end["reason"], end["code"]) == ("failed", "bad_input")
    assert "raise data.max_length" in end["hint"]
    assert len(end["faults"]) == 20
    assert end["faults"][0]["pointer"] == "row 1 (t0)"
    assert err.startswith("Error: The training split: 40 of 40 rows cannot be trained")
    assert "row 1 (t0): " in err
    assert end["hint"] in err
    assert "Traceback" not in err


def test_a_loss_that_is_not_finite_is_told_as_it_is_and_ends_the_run(
    tmp_path: Path, whole: tuple[RunFolder, str]
) -> None:
    base = tmp_path / "models" / "broken"
    shutil.copytree(whole[0].model, base)
    tensors = load_file(base / "model.safetensors")
    save_file({name: np.full_like(tensor, np.nan) for name, tensor in tensors.items()}, base / "model.safetensors")
    run = run_folder(tmp_path / "run", base=base, model_id="broken")  # a name; the folder is the caller's to know
    code, _, err = finish(start(run.path))
    assert code == 2, err
    assert "the training has diverged" in err
    assert "Traceback" not in err
    [step] = told(run, "step")
    assert (step["step"], step["loss"]) == (1, "NaN")
    assert the_end(run)["detail"].startswith("Step 1: the loss is nan")
    assert not run.model.exists()


def test_a_disk_that_is_too_small_is_the_machines(tmp_path: Path) -> None:
    large = {"layers": 12, "width": 768, "hidden": 3072, "heads": 12, "kv_heads": 12}  # 1.3 GB a checkpoint
    run = run_folder(tmp_path, model=large, keep_checkpoints=1000)
    code, _, err = finish(start(run.path))
    assert (code, the_end(run)["code"]) == (75, "disk_full")
    assert err.startswith("Error: The checkpoints and the model need")


def test_the_other_engine_trains_a_run_too(tmp_path: Path) -> None:
    run = run_folder(tmp_path, engine="torch")
    code, _, err = finish(start(run.path, bare=False))
    assert (code, the_end(run)["reason"]) == (0, "completed"), err
    assert (run.model / "model.safetensors").is_file()


def test_a_fault_that_nobody_foresaw_has_its_traceback_and_its_end(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    (tmp_path / "data" / "train.jsonl").write_bytes(b"{}\n")
    code, _, err = finish(start(run.path))
    assert code == 1
    assert "Traceback" in err
    assert the_end(run)["code"] == "unexpected"
    assert the_end(run)["detail"].startswith("KeyError: ")


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    code, _, err = finish(start(tmp_path / "none"))
    assert (code, err) == (2, f"Error: There is no run directory {tmp_path / 'none'}.\n")
    code, _, err = finish(start(tmp_path))
    assert code == 2
    assert the_end(RunFolder(tmp_path))["code"] == "not_found"


def test_a_worker_that_is_gone_takes_the_training_along(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    end, pipe = os.pipe()
    process = subprocess.Popen(
        [*COMMAND, "tunix_rt.training.process", str(run.path)],
        env=os.environ | {"TUNIX_RT_LIFELINE_FD": str(end), "TUNIX_RT_LIFELINE_SECONDS": "60"},
        pass_fds=[end],
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(end)
    os.close(pipe)
    _, err = process.communicate(timeout=240)
    assert process.returncode == -signal.SIGKILL
    assert "the worker is gone" in err


def test_a_log_that_nobody_reads_changes_nothing(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    process = start(run.path, "--plan")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=240) == 0
    assert the_end(run)["reason"] == "completed"


def test_a_dry_run_leaves_its_facts_and_trains_nothing(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    code, out, err = finish(start(run.path, "--plan"))
    assert (code, err) == (0, "")
    [check] = told(run, "check")
    assert check["ok"] is True
    assert "disk     " in out
    assert (the_end(run)["reason"], told(run, "plan", "step")) == ("completed", [])


def test_a_dry_run_of_what_cannot_be_trained_ends_with_the_first_problem(tmp_path: Path) -> None:
    run = run_folder(tmp_path, engine="torch", data={"max_length": 12})
    code, out, err = finish(start(run.path, "--plan", bare=False))
    assert code == 2
    [check] = told(run, "check")
    assert {name: check[name]["ok"] for name in ("ledger", "engine", "plan")} == {
        "ledger": False,
        "engine": True,
        "plan": None,
    }
    assert the_end(run)["detail"] == check["ledger"]["problem"]["detail"]
    assert "plan     not checked" in out
    assert err.startswith("Error: The training split")


@pytest.mark.parametrize(
    ("raised", "becomes"),
    [
        (MemoryError(), Unavailable),
        (OSError(28, "No space left on device", "/there"), DiskFull),
        (Unavailable("It does not answer."), Unavailable),
    ],
)
def test_what_the_machine_lacks_is_a_problem_with_its_end(
    tmp_path: Path, raised: Exception, becomes: type[Problem]
) -> None:
    def work(emit: Any) -> dict[str, Any]:
        raise raised

    with pytest.raises(becomes):
        recorded(tmp_path, None, work)
    assert the_end(RunFolder(tmp_path))["code"] == becomes.code


def test_a_listener_that_fails_at_the_end_adds_no_second_end(tmp_path: Path) -> None:
    def listener(event: str, fields: dict[str, Any]) -> None:
        raise BrokenPipeError

    def work(emit: Any) -> dict[str, Any]:
        return {"reason": "completed", "step": 1}

    with pytest.raises(BrokenPipeError):
        recorded(tmp_path, listener, work)
    assert the_end(RunFolder(tmp_path))["reason"] == "completed"

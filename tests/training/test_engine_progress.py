"""Trainings that are judged as they go: best checkpoints, early ends, wishes, forks."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.training.make_engine import CountingRows, Events, config, job, stop_after
from tunix_rt.base.errors import BadInput, Failed
from tunix_rt.training import signals
from tunix_rt.training.engines import ENGINES, Outcome, checkpoints, load

KEEPING: dict[str, Any] = {"keep_best": True, "keep_checkpoints": 1, "eval_every_steps": 2, "checkpoint_every_steps": 6}


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def train(engine: str, folder: Path, **changes: Any) -> tuple[Outcome, Events]:
    events = Events()
    return load(engine).train(job(folder, **{"emit": events} | changes)), events


def judged(**changes: Any) -> dict[str, Any]:
    """A training that soon gets worse: its learning rate is far too high."""
    chosen = config(steps=12, warmup_steps=0, learning_rate=2.0, schedule="constant", **KEEPING | changes)
    return {"config": chosen, "total_steps": 12}


def best_of(events: Events) -> int:
    return int(min(events.of("eval"), key=lambda told: told["loss"])["step"])


def names(folder: Path) -> list[int]:
    return [int(path.name[5:]) for path in checkpoints.listed(folder)]


def weights(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = load_file(folder / "model" / "model.safetensors")
    return found


def holds(checkpoint: Path, tensor: Any) -> bool:
    return any(np.array_equal(array, tensor) for array in checkpoints.load(checkpoint).values())


@pytest.fixture(scope="module")
def kept(engine: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Events]:
    folder = tmp_path_factory.mktemp("kept")
    outcome, events = train(engine, folder, **judged())
    assert (outcome.reason, outcome.step, outcome.best_step) == ("completed", 12, best_of(events))
    return folder, events


def test_the_best_checkpoint_stays_beside_the_newest_and_is_the_result(
    engine: str, kept: tuple[Path, Events], tmp_path: Path
) -> None:
    folder, events = kept
    best = best_of(events)
    assert best < 12, "the training is to get worse in the end"
    assert names(folder) == [best, 12]
    told = {checkpoint["step"]: checkpoint.get("best") for checkpoint in events.of("checkpoint")}
    assert told[best] is True
    assert told[12] is None
    train(engine, tmp_path, **judged(keep_best=False) | {"stopping": stop_after(best)})
    [state] = checkpoints.listed(tmp_path)
    assert holds(state, weights(folder)["model.embed_tokens.weight"])


def test_best_and_patience_go_on_after_a_stop_as_if_it_had_not_been(
    engine: str, kept: tuple[Path, Events], tmp_path: Path
) -> None:
    best = best_of(kept[1])
    train(engine, tmp_path, **judged() | {"stopping": stop_after(best + 1)})
    assert names(tmp_path) == [best, best + 1]
    newest = checkpoints.listed(tmp_path)[-1]
    outcome, events = train(engine, tmp_path, **judged() | {"resume_from": newest})
    assert outcome.best_step == best
    assert events.of("eval") == [told for told in kept[1].of("eval") if told["step"] > best + 1]
    assert names(tmp_path) == names(kept[0])
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == (
        kept[0] / "model" / "model.safetensors"
    ).read_bytes()


def test_a_training_that_gets_no_better_ends_early_and_stays_ended(
    engine: str, kept: tuple[Path, Events], tmp_path: Path
) -> None:
    chosen = judged(early_stopping_evals=1)
    outcome, events = train(engine, tmp_path, **chosen)
    evaluated = [told["loss"] for told in events.of("eval")]
    assert (outcome.reason, outcome.early) == ("completed", True)
    assert outcome.step == 2 * len(evaluated) < 12
    assert evaluated[-1] >= evaluated[-2] == min(evaluated)
    assert outcome.best_step == outcome.step - 2
    before = weights(tmp_path)
    again, more = train(engine, tmp_path, **chosen | {"resume_from": checkpoints.listed(tmp_path)[-1]})
    assert (again, more.all) == (outcome, [])
    assert all(np.array_equal(array, before[name]) for name, array in weights(tmp_path).items())


def test_a_signal_saves_a_checkpoint_after_the_present_step_and_the_training_goes_on(
    engine: str, tmp_path: Path
) -> None:
    events = Events()

    def emit(event: str, **fields: Any) -> None:
        events(event, **fields)
        if event == "step" and fields["step"] == 1:
            os.kill(os.getpid(), signal.SIGUSR1)

    with signals.heard() as (stopping, saving):
        outcome = load(engine).train(job(tmp_path, emit=emit, stopping=stopping, saving=saving))
    assert (outcome.reason, outcome.step) == ("completed", 10)
    assert [told["step"] for told in events.of("checkpoint")] == [1, 4, 8, 10]


def test_a_loss_that_is_not_finite_names_the_traces_of_its_micro_batch(engine: str, tmp_path: Path) -> None:
    class Broken(CountingRows):
        def training(self, step: int, micro: int) -> Any:
            batch = dataclasses.replace(super().training(step, micro), ids=(f"{step}-{micro}-a", f"{step}-{micro}-b"))
            return dataclasses.replace(batch, weight=float("nan")) if (step, micro) == (3, 1) else batch

    chosen = config(accumulation=2)
    with pytest.raises(Failed, match=r"^Step 3: .*; micro-batch 2 of 2: traces 3-1-a, 3-1-b\."):
        load(engine).train(job(tmp_path, config=chosen, batches=Broken(accumulation=2)))


def test_a_start_from_another_trainings_parameters_takes_them_and_nothing_else(engine: str, tmp_path: Path) -> None:
    train(engine, tmp_path / "one", stopping=stop_after(4))
    [start] = checkpoints.listed(tmp_path / "one")
    train(engine, tmp_path / "untrained", config=config(steps=0), start=start)
    assert holds(start, weights(tmp_path / "untrained")["model.embed_tokens.weight"])
    _, events = train(
        engine, tmp_path / "two", config=config(learning_rate=0.001), start=start, fingerprint={"forked": 1}
    )
    assert [told["step"] for told in events.of("step")] == list(range(1, 11))
    assert events.losses()[1] < train(engine, tmp_path / "three", config=config(steps=1))[1].losses()[1]
    (start / "state.safetensors").write_bytes(b"half")
    with pytest.raises(BadInput, match="damaged"):
        train(engine, tmp_path / "four", start=start)


FILLED = """
import sys
from pathlib import Path
from tests.training.make_engine import train
from tunix_rt.base.errors import DiskFull
from tunix_rt.training.engines import checkpoints
folder = Path(sys.argv[1])
(folder / "filler").write_bytes(bytes(320 * 1024))
try:
    train(folder)
except DiskFull as error:
    assert "No space left while writing" in error.detail
print([path.name for path in (folder / "checkpoints").iterdir()])
(folder / "filler").unlink()
outcome, events = train(folder, resume_from=checkpoints.listed(folder)[-1])
print(outcome.reason, sorted(events.losses().items()))
"""


@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode != 0,
    reason="no disk of our own can be mounted here",
)
def test_a_disk_that_fills_while_a_checkpoint_is_written_keeps_the_one_before_which_goes_on(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=400k tmpfs {tmp_path} && exec {sys.executable} - {tmp_path}"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount],
        cwd=Path(__file__).parents[2],
        input=FILLED,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    left, resumed = done.stdout.splitlines()
    assert left == "['step-00000004']"
    undisturbed = train("tunix", tmp_path / "undisturbed")[1].losses()
    assert resumed == f"completed {[(step, undisturbed[step]) for step in range(5, 11)]}"

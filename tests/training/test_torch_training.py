"""What a training by PyTorch meets: a killed process, memory that runs out, a second signal."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.make_engine import CountingRows, Events, config, job
from tunix_rt.base.errors import Failed
from tunix_rt.training import signals
from tunix_rt.training.engines import Outcome, checkpoints, load


def train(folder: Path, **changes: Any) -> tuple[Outcome, Events]:
    events = Events()
    return load("torch").train(job(folder, **{"emit": events} | changes)), events


def test_a_training_that_is_killed_goes_on_in_another_process_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # sums are divided among them
    whole, told = train(tmp_path / "whole")[1].losses(), {}
    words = [sys.executable, "-m", "tests.training.make_engine", str(tmp_path / "killed"), "torch"]
    with subprocess.Popen(words, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout or ():
            event = json.loads(line)
            if event["event"] == "step":
                told[event["step"]] = event["loss"]
                if event["step"] == 6:  # two steps after a checkpoint, in the midst of an epoch
                    child.kill()
                    break
    assert child.returncode == -signal.SIGKILL
    rows = CountingRows()
    newest = checkpoints.listed(tmp_path / "killed")[-1]
    outcome, rest = train(tmp_path / "killed", resume_from=newest, batches=rows)
    assert (outcome.reason, rows.asked[0]) == ("completed", (5, 0))
    assert told | rest.losses() == whole
    one, two = ((tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert one == two


def test_a_second_signal_stops_no_sooner_and_tears_nothing(tmp_path: Path) -> None:
    events = Events()

    def emit(event: str, **fields: Any) -> None:
        events(event, **fields)
        if event == "step" and fields["step"] == 3:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)

    with signals.heard() as (stopping, saving):
        outcome, _ = train(tmp_path, emit=emit, stopping=stopping, saving=saving)
    assert (outcome.reason, outcome.step) == ("stopped", 3)
    [saved] = checkpoints.listed(tmp_path)
    checkpoints.verify(saved)
    assert not (tmp_path / "model").exists()


def test_memory_that_the_machine_does_not_have_is_told_as_the_machines(tmp_path: Path) -> None:
    class Huge(CountingRows):
        def training(self, step: int, micro: int) -> Any:
            if step == 6:
                torch.empty(2**60, dtype=torch.uint8)  # what a batch that is far too large asks for
            return super().training(step, micro)

    with pytest.raises(MemoryError, match=str(2**60)):
        train(tmp_path, batches=Huge())
    assert [path.name for path in checkpoints.listed(tmp_path)] == ["step-00000004"]
    assert train(tmp_path, resume_from=checkpoints.listed(tmp_path)[0])[0].reason == "completed"


def test_memory_that_a_device_does_not_have_is_told_with_what_saves_some(tmp_path: Path) -> None:
    class Huge(CountingRows):
        def training(self, step: int, micro: int) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 16.00 GiB.")

    with pytest.raises(Failed, match=r"Tried to allocate 16\.00 GiB") as caught:
        train(tmp_path, batches=Huge(), config=config())
    assert "batch_size" in (caught.value.hint or "")

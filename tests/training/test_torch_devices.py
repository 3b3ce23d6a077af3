"""PyTorch on several devices, which are processes on a CPU here; as a script, a training by two of them.

    python -m tests.training.test_torch_devices FOLDER

trains in FOLDER and prints the ids of its processes at the first step.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests.training.contract import Packed
from tests.training.make_engine import CountingRows, Events, config, job
from tunix_rt.base.errors import BadInput, Unavailable
from tunix_rt.training.config import MeshChoice, TrainingConfig
from tunix_rt.training.engines import Job, abilities, checkpoints, load, torch_devices

MESHES = {"fsdp": (1, 2), "ddp": (2, 1)}
CASES = ("packed", "fewer rows than devices", "lora", "savings")


def jobs(folder: Path, base: Path) -> dict[str, Job]:
    """A training of each case; each takes its own way through what devices share."""
    chosen: list[dict[str, Any]] = [
        {"config": config(accumulation=2), "batches": Packed(accumulation=2)},
        {"config": config(model={"family": "gemma2"}), "batches": CountingRows(batch_size=1)},
        {"config": config(method="lora", lora={"rank": 2}, model_id=str(base)), "base": base},
        {"config": config(activation_checkpointing=True, loss_chunk=5, model={"layers": 2})},
    ]
    return {case: job(folder / case, **changes) for case, changes in zip(CASES, chosen, strict=True)}


def train(folder: Path, emit: Any, steps: int = 10) -> None:
    """Train in `folder` by two processes."""
    torch_devices.choose("cpu")
    load("torch").train(job(folder, config=config(mesh={"fsdp": 2}, steps=steps), emit=emit))


def _member(number: int, folder: Path, base: Path) -> None:
    """One of two processes that train all cases on all meshes: to start them takes longer than the trainings."""
    from tunix_rt.training.engines import torch_team, torch_training

    for name, mesh in MESHES.items():
        team = torch_team.Team(number, mesh, "cpu", folder / f"meeting-{name}")
        for case, each in jobs(folder / name, base).items():
            events = Events()
            torch_training.train(replace(each, emit=events), team)
            np.save(folder / name / f"{case}-{number}.npy", list(events.losses().values()))
            again = folder / name / f"{case}-again"
            torch.distributed.barrier()  # until the last checkpoint is written
            halfway = checkpoints.listed(each.folder)[0]
            torch_training.train(replace(each, folder=again, resume_from=halfway), team)
        torch.distributed.destroy_process_group()


def trained(folder: Path) -> tuple[Path, dict[str, Events]]:
    """Where the cases were trained: in ddp/ and fsdp/ by two processes, in alone/ by this one, with its events."""
    load("torch").train(job(folder / "base", config=config(steps=0)))
    base, told = folder / "base" / "model", {}
    for case, each in jobs(folder / "alone", base).items():
        told[case] = Events()
        load("torch").train(replace(each, emit=told[case]))
    torch.multiprocessing.spawn(_member, (folder, base), nprocs=2)
    return folder, told


@pytest.mark.long
def test_two_devices_train_as_one_does_and_go_on_bit_for_bit(tmp_path: Path) -> None:
    """One test, for to train the cases takes longer than to look at them."""
    folder, told = trained(tmp_path)
    for mesh, shape in MESHES.items():
        for case in CASES:
            losses = [np.load(folder / mesh / f"{case}-{number}.npy") for number in (0, 1)]
            assert losses[0] == pytest.approx(list(told[case].losses().values()), abs=1e-5), (mesh, case)
            assert list(losses[1]) == list(losses[0])
            alone, two, again = (
                next((folder / name / "model").glob("*.safetensors"))
                for name in (f"alone/{case}", f"{mesh}/{case}", f"{mesh}/{case}-again")
            )
            one, both = load_file(alone), load_file(two)
            assert one.keys() == both.keys()
            assert all(np.allclose(both[name], array, atol=1e-5) for name, array in one.items()), (mesh, case)
            assert again.read_bytes() == two.read_bytes(), (mesh, case)
            newest = checkpoints.listed(folder / mesh / case)[-1]
            machine = checkpoints.check(newest, {"seed": 0, "data": {"train": "sha256:1"}}).machine
            assert machine["mesh"] == dict(zip(("data", "fsdp"), shape, strict=True))
    halfway = checkpoints.listed(folder / "fsdp" / "lora")[0]
    each, events = jobs(tmp_path / "one", folder / "base" / "model")["lora"], Events()
    load("torch").train(replace(each, emit=events, resume_from=halfway))
    assert events.of("warning")[0]["changed"]["devices"] == [2, 1]
    assert events.losses() == pytest.approx({step: told["lora"].losses()[step] for step in (9, 10)}, abs=1e-5)


def test_a_device_that_dies_ends_the_training(tmp_path: Path) -> None:
    begun = Events()

    def kill(event: str, **fields: Any) -> None:
        begun(event, **fields)
        if event == "checkpoint":
            [_, second] = sorted(multiprocessing.active_children(), key=lambda process: process.name)
            os.kill(second.pid or 0, signal.SIGKILL)
            begun("killed", at=time.monotonic())

    with pytest.raises(Unavailable, match="device 1 was killed by SIGKILL"):
        train(tmp_path, emit=kill)
    assert time.monotonic() - begun.of("killed")[0]["at"] < 60  # without an end of the other it would wait for days
    assert not multiprocessing.active_children()
    assert [path.name for path in checkpoints.listed(tmp_path)] == ["step-00000004"]


def test_the_processes_end_with_the_one_that_looks_after_them(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.training.test_torch_devices", str(tmp_path)]
    process = subprocess.Popen(words, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    members = [int(word) for word in process.stdout.readline().split()]
    assert len(members) == 2
    process.kill()
    process.communicate(timeout=240)
    deadline = time.monotonic() + 240
    while any(map(_lives, members)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _lives(number: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_a_mesh_of_other_devices_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_devices, "_chosen", [torch.device("cuda", number) for number in range(4)])
    monkeypatch.setattr(torch_devices, "_kind", lambda _: "A GPU")
    assert torch_devices.mesh(MeshChoice()) == (1, 4)
    assert torch_devices.mesh(MeshChoice(data=2)) == (2, 2)
    with pytest.raises(BadInput, match="data 3 x fsdp 1 is of 3 devices, and there are 4: gpu:0 A GPU, "):
        torch_devices.mesh(MeshChoice(data=3))


def test_layers_that_are_cut_across_are_the_other_engines() -> None:
    chosen = TrainingConfig.model_validate({"engine": "torch", "mesh": {"data": 2}})
    abilities.refuse(chosen, "cpu")
    with pytest.raises(BadInput) as caught:
        abilities.refuse(chosen.model_copy(update={"mesh": MeshChoice(tensor=2)}), "cpu")
    assert ([fault.pointer for fault in caught.value.faults], caught.value.hint) == (
        ["mesh.tensor"],
        "Set engine: tunix.",
    )


def main(folder: Path) -> None:
    def emit(event: str, **fields: Any) -> None:
        if event == "step" and fields["step"] == 1:
            print(*(process.pid for process in multiprocessing.active_children()), flush=True)

    train(folder, emit, steps=10**6)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

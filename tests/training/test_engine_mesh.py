"""Several devices, simulated on a CPU, train as one does; as a script, trainings on a mesh.

    python -m tests.training.test_engine_mesh FOLDER MESH ...

trains in FOLDER/0, FOLDER/1, ... on each mesh (JSON) and prints what each said as a line of JSON.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.make_engine import CountingRows, Events, config, train
from tests.training.test_samples import ASKED
from tunix_rt.base.errors import BadInput
from tunix_rt.training.config import MeshChoice
from tunix_rt.training.engines import checkpoints, jax_devices

ROOT = Path(__file__).parents[2]
CHECKED = {"seed": 0, "data": {"train": "sha256:1"}}


def _train(folder: Path, mesh: dict[str, Any], **changes: Any) -> Events:
    chosen = config(steps=6, mesh=mesh, model={"tie_embeddings": False}, loss_chunk=5, activation_checkpointing=True)
    # 3 rows divide evenly among no devices, 34 entries among two alone.
    rows = CountingRows(batch_size=3)
    return train(folder, config=chosen, batches=rows, vocabulary=34, samples=ASKED, **changes)[1]


def _outputs(events: Events) -> list[str]:
    return [said["output"] for said in events.of("sample")]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, float], list[str]]:
    folder = tmp_path_factory.mktemp("alone")
    events = _train(folder, {})
    return folder, events.losses(), _outputs(events)


@pytest.mark.parametrize(
    ("devices", "meshes"),
    [(2, [{}, {"tensor": 2}]), (4, [{"data": 2, "tensor": 2}, {"tensor": 4}])],
)
def test_a_mesh_of_devices_trains_as_one_does(
    devices: int, meshes: list[dict[str, Any]], alone: tuple[Path, dict[int, float], list[str]], tmp_path: Path
) -> None:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    words = [sys.executable, "-m", "tests.training.test_engine_mesh", str(tmp_path), *map(json.dumps, meshes)]
    told = subprocess.run(
        words, cwd=ROOT, env=os.environ | {"XLA_FLAGS": flags}, stdout=subprocess.PIPE, text=True, check=True
    )
    for line in told.stdout.splitlines()[-len(meshes) :]:
        said = json.loads(line)
        assert list(said["losses"].values()) == pytest.approx(list(alone[1].values()), abs=1e-5)
        assert said["samples"] == alone[2]
        assert said["compiled"] == 1
        assert said["largest_share"] <= 0.6  # of a layer's parameters and moments, on any one device
    # A checkpoint is of no mesh: one device goes on where several have stopped.
    halfway = checkpoints.listed(tmp_path / "0")[0]
    assert checkpoints.check(halfway, CHECKED).machine["devices"] == devices
    resumed = _train(tmp_path / "0", {}, resume_from=halfway)
    assert resumed.losses() == pytest.approx({step: alone[1][step] for step in (5, 6)}, abs=1e-5)


def test_a_mesh_of_another_size_than_there_are_devices_is_refused() -> None:
    with pytest.raises(BadInput, match="data 1 x fsdp 2 x tensor 2 is of 4 devices, and there are 1: cpu:0"):
        jax_devices.mesh(MeshChoice(fsdp=2, tensor=2))
    with pytest.raises(BadInput, match="data 2 x fsdp 1 x tensor 1"):
        jax_devices.mesh(MeshChoice(data=2))


def main(folder: Path, meshes: list[str]) -> None:
    import jax
    from flax import nnx

    from tunix_rt.training.engines import jax_training

    trainers: list[Any] = []
    make = jax_training.make_trainer

    def kept(*given: Any) -> jax_training.Trainer:
        trainer = make(*given)
        trainers.append(trainer)
        return trainer

    jax_training.make_trainer = kept  # type: ignore[assignment]  # the same arguments
    for number, mesh in enumerate(meshes):
        events = _train(folder / str(number), json.loads(mesh))
        trainer = trainers.pop()
        shares = [
            max(part.data.size for part in array.addressable_shards) / array.size
            for array in jax.tree.leaves((nnx.state(trainer.model.layers), nnx.state(trainer.optimizer)))
            if array.ndim == 2 and 34 not in array.shape
        ]
        compiled = trainer.jit_train_and_eval_step()[0].func.jitted_fn._cache_size()
        told = {"losses": events.losses(), "samples": _outputs(events)}
        print(json.dumps(told | {"compiled": compiled, "largest_share": max(shares)}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

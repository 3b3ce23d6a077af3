"""A process's part in a training that several devices share: rows are divided, and parameters as the mesh says.

Parameters, gradients and optimizer are cut by rows among the devices of a group (`mesh.fsdp`), and each group
(`mesh.data`) holds all of them: plain data parallelism is groups of one. PyTorch's `fully_shard` does both.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from tunix_rt.training.engines import Batch, torch_devices
from tunix_rt.training.engines.torch_alone import Alone

# A member that has died is noticed by its process, not by silence: another may write a checkpoint for long.
_PATIENCE = timedelta(days=7)


class Team(Alone):
    """A training by several devices, as one of them sees it. All have to call each method, in the same order.

    Args:
        number: of this process, from 0.
        mesh: groups, and devices of each.
        kind: of the devices: `cpu` or `cuda`.
        meeting: a file that is not there yet, by which the processes find each other.
    """

    def __init__(self, number: int, mesh: tuple[int, int], kind: str, meeting: Path) -> None:
        super().__init__(mesh, number)
        self._number = number
        torch_devices.take(kind, number)
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo",
            init_method=meeting.absolute().as_uri(),
            rank=number,
            world_size=self.size,
            timeout=_PATIENCE,
        )
        self._mesh = init_device_mesh(kind, mesh, mesh_dim_names=("data", "fsdp"))

    def share(self, batch: Batch) -> Batch:
        # Each must compute, if only on padding: what is divided comes together when all call it.
        lacking = max(0, self._number + 1 - len(batch.lengths))

        def cut(array: Any) -> Any:
            padded = np.pad(array, [(0, lacking), *[(0, 0)] * (array.ndim - 1)]) if lacking else array
            return padded[self._number :: self.size]

        parts = ("tokens", "supervised", "lengths", "segments", "positions")
        held = {name: getattr(batch, name) for name in parts}
        return replace(batch, **{name: cut(array) for name, array in held.items() if array is not None})

    def sum(self, values: Any) -> Any:
        distributed.all_reduce(values)
        return values

    def rows(self, array: NDArray[Any]) -> NDArray[Any]:
        group = self._mesh["fsdp"]
        rows = -(-len(array) // group.size())
        return array[group.get_local_rank() * rows :][:rows]

    def own(self, value: Any) -> Any:
        return value.to_local()

    def whole(self, value: Any) -> Any:
        return value.full_tensor()

    def agreed(self, asked: Callable[[], bool]) -> bool:
        """What the first one is told."""
        said = torch.tensor([self.first and asked()])
        distributed.broadcast(said, 0)
        return bool(said)

    def divide(self, whole: Any, layers: Any) -> None:
        for layer in layers:
            fully_shard(layer, mesh=self._mesh)
        fully_shard(whole, mesh=self._mesh)

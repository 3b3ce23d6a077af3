"""A PyTorch step on tensors that have shapes and no numbers.

What trains is what runs here: the same model, loss, clipping and optimizer, dispatched op by op over fake tensors,
while every storage is counted from its making to its end.
"""

import math
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tunix_rt.training import malloc
from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import (
    architecture,
    memory_formula,
    torch_attention,
    torch_devices,
    torch_loss,
    torch_model,
    torch_training,
)
from tunix_rt.training.engines.architecture import Dimensions
from tunix_rt.training.engines.memory import Shape

# Of the geometric mean of what a step adds to the heap at most and all that it makes there: benchmarks/log.md.
_HOLES = 0.19


def peak(config: TrainingConfig, d: Dimensions, shape: Shape) -> tuple[int, int]:
    """Bytes held at once at most, and what a CPU's heap has besides, between its blocks, that none fits into."""
    device, adapter = torch_devices.device(), config.lora if config.method == "lora" else None
    kind = torch.bfloat16 if config.precision == "bfloat16" and adapter else torch.float32
    batch, times = memory_formula.full_batch(shape), min(config.accumulation, 2)
    # Made without numbers, and without a device, for PEFT moves its layers, which fake tensors do not allow.
    model = torch_model.make(d, architecture.to_json(d), None, torch.device("meta"), kind, adapter)
    torch_attention.attend_by_trace(model)
    with FakeTensorMode(allow_non_fake_inputs=True), _Storages(device) as storages:
        _put(model, device)
        if config.activation_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        parameters = torch_model.trained(model)
        optimizer = torch_training.optimizer(config, parameters)
        model.train()
        storages.start()  # making the model is another matter
        for _ in range(times):
            with torch_loss.computing(config, device):
                loss = torch_loss.total(model, d, batch, config.loss_chunk) / batch.weight
            (loss / config.accumulation).backward()
            del loss
        torch_training.clip(parameters, config.clip_norm)
        optimizer.step()
    heap = storages.heap
    holes = int(_HOLES * math.sqrt((heap.most - heap.before) * heap.made / times)) if device.type == "cpu" else 0
    return heap.most + storages.mapped.most, holes


def _put(model: Any, device: Any) -> None:
    """Give a model's parameters and buffers storages on a device, those that are shared once."""
    made: dict[int, Any] = {}
    for values in (values for module in model.modules() for values in (module._parameters, module._buffers)):
        for name, value in values.items():
            if value is not None and id(value) not in made:
                empty = torch.empty_like(value, device=device)
                trained = isinstance(value, torch.nn.Parameter)
                made[id(value)] = torch.nn.Parameter(empty, value.requires_grad) if trained else empty
            values[name] = made.get(id(value))


@dataclass
class _Bytes:
    """Bytes held now, at most, before the step, and all that it made."""

    now: int = 0
    most: int = 0
    before: int = 0
    made: int = 0

    def start(self) -> None:
        self.most = self.before = self.now
        self.made = 0

    def add(self, size: int) -> None:
        self.now += size
        self.made += size
        self.most = max(self.most, self.now)

    def remove(self, size: int) -> None:
        self.now -= size


class _Storages(TorchDispatchMode):  # type: ignore[misc]  # torch is untyped here
    """The storages of a device that were made within it; of a CPU those in malloc's heap, which keeps all, apart."""

    def __init__(self, device: Any) -> None:
        super().__init__()
        self._kind = device.type
        self._largest = malloc.HEAP_BLOCK if device.type == "cpu" else math.inf
        self.heap, self.mapped = _Bytes(), _Bytes()
        self._live: weakref.WeakSet[Any] = weakref.WeakSet()

    def start(self) -> None:
        """Count from here on."""
        self.heap.start()
        self.mapped.start()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and leaf.device.type == self._kind:
                self._see(leaf.untyped_storage())
        return out

    def _see(self, storage: Any) -> None:
        if storage in self._live:
            return
        self._live.add(storage)
        size = storage.nbytes()
        where = self.heap if size <= self._largest else self.mapped
        where.add(size)
        weakref.finalize(storage, where.remove, size)

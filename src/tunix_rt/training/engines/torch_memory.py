"""The memory of the PyTorch step at its peak, by running it on tensors that have shapes and no numbers.

What trains is what runs here: the same model, loss, clipping and optimizer, dispatched op by op over fake tensors,
while every storage is counted from its making to its end.
"""

import contextlib
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import (
    Batch,
    architecture,
    memory_formula,
    torch_devices,
    torch_loss,
    torch_model,
    torch_training,
)
from tunix_rt.training.engines.architecture import Dimensions
from tunix_rt.training.engines.memory import Memory, Shape, free_bytes


def memory(
    config: TrainingConfig, shape: Shape, vocabulary: int, base: Path | None, exactly: Callable[[Memory], bool]
) -> Memory:
    """Predict the peak; see `Engine.memory`."""
    d = memory_formula.dimensions(config, shape, vocabulary, base)
    rough = memory_formula.formula(config, d, shape, available(), in_place=True)
    if config.method == "lora" or not exactly(rough):  # PEFT moves its layers, which fake tensors do not allow
        return rough
    peak, method = memory_formula.by_layers(lambda d: _peak(config, d, shape), d, "fake tensors")
    return memory_formula.split(rough, peak, method)


def available() -> int | None:
    """Bytes that the device has free."""
    device = torch_devices.device()
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_bytes()


def _peak(config: TrainingConfig, d: Dimensions, shape: Shape) -> int:
    device, adapter = torch_devices.device(), config.lora if config.method == "lora" else None
    half = config.precision == "bfloat16"
    kind = torch.bfloat16 if half and adapter else torch.float32
    batch = _batch(shape)
    with FakeTensorMode(allow_non_fake_inputs=True), _Storages() as storages:
        model = torch_model.make(d, architecture.to_json(d), None, device, kind, adapter)
        if config.activation_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        parameters = torch_model.trained(model)
        optimizer = torch_training.optimizer(config, parameters)
        model.train()
        storages.peak = storages.now  # making the model is another matter
        for _ in range(min(config.accumulation, 2)):
            with torch.autocast(device.type, torch.bfloat16) if half else contextlib.nullcontext():
                loss = torch_loss.total(model, d, batch, config.loss_chunk) / batch.weight
            (loss / config.accumulation).backward()
            del loss
        torch_training.clip(parameters, config.clip_norm)
        optimizer.step()
    return int(storages.peak)


class _Storages(TorchDispatchMode):  # type: ignore[misc]  # torch is untyped here
    """Bytes of all live storages that were made within it, and the most there have been."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._live: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self._see(leaf.untyped_storage())
        return out

    def _see(self, storage: Any) -> None:
        if storage in self._live:
            return
        size = storage.nbytes()
        self._live[storage] = size
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, size)

    def _gone(self, size: int) -> None:
        self.now -= size


def _batch(shape: Shape) -> Batch:
    """As full as a batch can be."""
    size = (shape.rows, shape.width)
    ones = np.ones(size, np.int32)
    return Batch(
        tokens=ones,
        supervised=np.ones(size, np.bool_),
        lengths=np.full(shape.rows, shape.width, np.int32),
        weight=1.0,
        segments=ones if shape.packed else None,
        positions=ones if shape.packed else None,
    )

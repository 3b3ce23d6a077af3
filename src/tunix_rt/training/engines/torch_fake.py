"""A PyTorch step on tensors that have shapes and no numbers.

What trains is what runs here: the same model, loss, clipping and optimizer, dispatched op by op over fake tensors,
while every storage is counted from its making to its end.
"""

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import masking_utils

from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import (
    architecture,
    memory_formula,
    torch_devices,
    torch_loss,
    torch_model,
    torch_training,
)
from tunix_rt.training.engines.architecture import Dimensions
from tunix_rt.training.engines.memory import Shape


def peak(config: TrainingConfig, d: Dimensions, shape: Shape) -> int:
    """Bytes held at once at most."""
    device, adapter = torch_devices.device(), config.lora if config.method == "lora" else None
    half = config.precision == "bfloat16"
    kind = torch.bfloat16 if half and adapter else torch.float32
    batch = memory_formula.full_batch(shape)
    # Made without numbers, and without a device, for PEFT moves its layers, which fake tensors do not allow.
    model = torch_model.make(d, architecture.to_json(d), None, torch.device("meta"), kind, adapter)
    with _no_packing_sought(), FakeTensorMode(allow_non_fake_inputs=True), _Storages() as storages:
        _put(model, device)
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


@contextlib.contextmanager
def _no_packing_sought() -> Iterator[None]:
    """Keep transformers from looking at positions for packed rows, which it is told of.

    In fake positions it cannot see that there are none, and would mask every row with (T, T) numbers.
    """
    seeking = masking_utils.find_packed_sequence_indices
    masking_utils.find_packed_sequence_indices = lambda _: None
    try:
        yield
    finally:
        masking_utils.find_packed_sequence_indices = seeking


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

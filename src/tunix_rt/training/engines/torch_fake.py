"""A PyTorch step on tensors that have shapes and no numbers.

What trains is what runs here: the same model, loss, clipping and optimizer, dispatched op by op over fake tensors,
while every storage is counted from its making to its end.
"""

import weakref
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

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


def peak(config: TrainingConfig, d: Dimensions, shape: Shape) -> int:
    """Bytes held at once at most."""
    device, adapter = torch_devices.device(), config.lora if config.method == "lora" else None
    kind = torch.bfloat16 if config.precision == "bfloat16" and adapter else torch.float32
    batch = memory_formula.full_batch(shape)
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
        storages.peak = storages.now  # making the model is another matter
        for _ in range(min(config.accumulation, 2)):
            with torch_loss.computing(config, device):
                loss = torch_loss.total(model, d, batch, config.loss_chunk) / batch.weight
            (loss / config.accumulation).backward()
            del loss
        torch_training.clip(parameters, config.clip_norm)
        optimizer.step()
    return int(storages.peak)


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
    """Bytes of all live storages of a device that were made within it, and the most there have been."""

    def __init__(self, device: Any) -> None:
        super().__init__()
        self._kind = device.type
        self.now = self.peak = 0
        self._live: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and leaf.device.type == self._kind:
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

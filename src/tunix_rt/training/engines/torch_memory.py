"""The memory of the PyTorch step at its peak: by formula, then by running it on fake tensors (`torch_fake`)."""

import importlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from tunix_rt.training import malloc
from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import memory_formula, model_folder, torch_devices, work
from tunix_rt.training.engines.architecture import Dimensions
from tunix_rt.training.engines.memory import Memory, Shape, free_bytes

_HOLES = 0.38  # by formula, of what comes and goes in the heap: about what `torch_fake` makes of the blocks themselves


def memory(
    config: TrainingConfig, shape: Shape, vocabulary: int, base: Path | None, exactly: Callable[[Memory], bool]
) -> Memory:
    """Predict the peak; see `Engine.memory`."""
    d = memory_formula.dimensions(config, shape, vocabulary, base)
    mesh = torch_devices.mesh(config.mesh)
    shape = replace(shape, rows=-(-shape.rows // math.prod(mesh)))
    rough = memory_formula.torch_formula(config, d, shape, available())
    told = _of_each(_with_holes(rough, _roughly(rough, config, d, shape)), d, mesh)
    if not exactly(told):
        return told
    # Imports transformers, which takes seconds that a refusal by formula need not wait for.
    fake = importlib.import_module("tunix_rt.training.engines.torch_fake")
    (peak, holes), method = memory_formula.by_layers(lambda d: fake.peak(config, d, shape), d, "fake tensors")
    return _of_each(_with_holes(memory_formula.split(rough, peak, method), holes), d, mesh)


def _roughly(rough: Memory, config: TrainingConfig, d: Dimensions, shape: Shape) -> int:
    """Bytes of the holes in a CPU's heap; with activation checkpointing more is made there, a layer after the other."""
    if torch_devices.device().type != "cpu" or 4 * shape.rows * shape.width * d.width > malloc.HEAP_BLOCK:
        return 0
    logits = rough.logits if memory_formula.logits_bytes(config, d, shape) <= malloc.HEAP_BLOCK else 0
    share = _HOLES * (2 if config.activation_checkpointing else 1)
    return int(share * (rough.gradients + rough.activations + logits))


def _with_holes(counted: Memory, holes: int) -> Memory:
    return replace(counted, temporary=counted.temporary + holes)


def _of_each(alone: Memory, d: Dimensions, mesh: tuple[int, int]) -> Memory:
    """The memory of each device of a mesh, from that of one which has its rows and all parameters.

    Parameters and gradients come together beside what is held: those of no layer, and of two layers at once.
    """
    devices, parts = math.prod(mesh), mesh[1]
    if devices == 1:
        return alone
    sizes = {name: math.prod(shape) for name, shape in model_folder.tensor_shapes(d).items()}
    layers = sum(size for name, size in sizes.items() if name.startswith("model.layers.")) / sum(sizes.values())
    together = int((alone.parameters + alone.gradients) * (1 - layers + layers * min(1, 2 / d.layers)))
    on_cpu = torch_devices.device().type == "cpu"  # whose devices have one memory
    return replace(
        alone,
        parameters=alone.parameters // parts,
        gradients=alone.gradients // parts,
        optimizer=alone.optimizer // parts,
        temporary=alone.temporary + together,
        available=alone.available // devices if on_cpu and alone.available is not None else alone.available,
    )


def available() -> int | None:
    """Bytes that the device has free."""
    device = torch_devices.device()
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_bytes()


def speed(config: TrainingConfig, shape: Shape, vocabulary: int, base: Path | None) -> float:
    """Operations a second; see `Engine.speed`."""
    size = work.probe_shape(memory_formula.dimensions(config, shape, vocabulary, base), shape)
    device = torch_devices.device()
    kind = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    a, b = (torch.ones(part, dtype=kind, device=device) for part in (size[:2], size[1:]))

    def product() -> None:
        torch.mm(a, b)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    devices = math.prod(torch_devices.mesh(config.mesh)) if device.type == "cuda" else 1  # a CPU's share its cores
    return devices * work.speed(product, size)

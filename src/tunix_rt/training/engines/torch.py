"""The PyTorch engine on a CPU or CUDA GPUs. Loaded by name (`engines.load`), for it imports torch."""

import importlib
from collections.abc import Callable
from pathlib import Path

import torch

from tunix_rt.base.errors import Failed, cut
from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import Generated, Job, Outcome, Sampling, beginning, torch_devices
from tunix_rt.training.engines.memory import Memory, Shape


def devices(wanted: str) -> list[str]:
    """Compute on a device of a kind from here on; see `Engine.devices`."""
    return torch_devices.choose(wanted)


def parameters(config: TrainingConfig, vocabulary: int, base: Path | None) -> int:
    """Count the parameters without allocating them; see `Engine.parameters`."""
    return beginning.parameters(config, vocabulary, base)


def memory(
    config: TrainingConfig, shape: Shape, vocabulary: int, base: Path | None, exactly: Callable[[Memory], bool]
) -> Memory:
    """Predict a step's peak memory before anything is allocated; see `Engine.memory`."""
    predicting = importlib.import_module("tunix_rt.training.engines.torch_memory")
    found: Memory = predicting.memory(config, shape, vocabulary, base, exactly)
    return found


def speed(config: TrainingConfig, shape: Shape, vocabulary: int, base: Path | None) -> float:
    """Measure the device; see `Engine.speed`."""
    predicting = importlib.import_module("tunix_rt.training.engines.torch_memory")
    found: float = predicting.speed(config, shape, vocabulary, base)
    return found


def train(job: Job) -> Outcome:
    """Train and write `model/`; see `Engine.train`."""
    # Importing transformers takes seconds, which planning need not wait for.
    mesh = torch_devices.mesh(job.config.mesh)
    try:
        if mesh != (1, 1) and job.total_steps > 0:
            processes = importlib.import_module("tunix_rt.training.engines.torch_processes")
            outcome: Outcome = processes.train(job, mesh)
        else:
            training = importlib.import_module("tunix_rt.training.engines.torch_training")
            outcome = training.train(job)
    except torch.OutOfMemoryError as error:
        raise Failed(
            f"The device has too little memory for this training: {cut(str(error))}",
            hint="Lower batch_size and raise accumulation by as much, shorten data.max_length, set "
            "activation_checkpointing, or train in bfloat16.",
        ) from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):  # a plain RuntimeError: who raised it stands in its text alone
            raise
        raise MemoryError(str(error)) from error
    return outcome


def generate(model: Path, prompts: list[list[int]], sampling: Sampling, done: Callable[[int], None]) -> list[Generated]:
    """Answer prompts; see `Engine.generate`."""
    generation = importlib.import_module("tunix_rt.training.engines.torch_generation")
    answers: list[Generated] = generation.generate(generation.load(model), prompts, sampling, done)
    return answers

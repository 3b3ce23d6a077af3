"""The Tunix engine: JAX on CPU, GPU or TPU. Loaded by name (`engines.load`), for it imports jax."""

import importlib
from collections.abc import Callable
from pathlib import Path

from tunix_rt.training.engines.jax_environment import prepare_environment

prepare_environment()

# The environment comes before all that imports jax.
import jax  # noqa: E402

from tunix_rt.base.errors import Failed, cut  # noqa: E402
from tunix_rt.training.config import TrainingConfig  # noqa: E402
from tunix_rt.training.engines import (  # noqa: E402
    Generated,
    Job,
    Outcome,
    Sampling,
    beginning,
    jax_devices,
    jax_generation,
)
from tunix_rt.training.engines.memory import Memory, Shape  # noqa: E402


def devices(wanted: str) -> list[str]:
    """Compute on devices of a kind from here on; see `Engine.devices`."""
    return jax_devices.choose(wanted)


def parameters(config: TrainingConfig, vocabulary: int, base: Path | None) -> int:
    """Count the parameters without allocating them; see `Engine.parameters`."""
    return beginning.parameters(config, vocabulary, base)


def memory(
    config: TrainingConfig, shape: Shape, vocabulary: int, base: Path | None, exactly: Callable[[Memory], bool]
) -> Memory:
    """Predict a step's peak memory before anything is allocated; see `Engine.memory`."""
    predicting = importlib.import_module("tunix_rt.training.engines.jax_memory")  # imports optax
    found: Memory = predicting.memory(config, shape, vocabulary, base, exactly)
    return found


def speed(config: TrainingConfig, shape: Shape, vocabulary: int, base: Path | None) -> float:
    """Measure the device; see `Engine.speed`."""
    predicting = importlib.import_module("tunix_rt.training.engines.jax_memory")
    found: float = predicting.speed(config, shape, vocabulary, base)
    return found


def train(job: Job) -> Outcome:
    """Train and write `model/`; see `Engine.train`."""
    # Importing Tunix takes seconds, which planning and generating need not wait for.
    training = importlib.import_module("tunix_rt.training.engines.jax_training")
    try:
        outcome: Outcome = training.train(job)
    except jax.errors.JaxRuntimeError as error:
        if not str(error).startswith("RESOURCE_EXHAUSTED"):  # its status codes stand in its text alone
            raise
        if jax_devices.is_one_cpu():  # the machine's memory, which others take too
            raise MemoryError(str(error)) from error
        raise Failed(
            f"The device has too little memory for this training: {cut(str(error))}",
            hint="Lower batch_size and raise accumulation by as much, shorten data.max_length, or train in bfloat16.",
        ) from error
    return outcome


def generate(model: Path, prompts: list[list[int]], sampling: Sampling, done: Callable[[int], None]) -> list[Generated]:
    """Answer prompts; see `Engine.generate`."""
    return jax_generation.generate(jax_generation.load(model), prompts, sampling, done)

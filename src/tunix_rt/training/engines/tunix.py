"""The Tunix engine: JAX on CPU, GPU or TPU. Loaded by name (`engines.load`), for it imports jax."""

import importlib
import math
from collections.abc import Callable
from pathlib import Path

from tunix_rt.training.engines.jax_environment import prepare_environment

prepare_environment()

import jax  # noqa: E402  # the environment comes first

from tunix_rt.base.errors import BadInput  # noqa: E402
from tunix_rt.training.config import TrainingConfig  # noqa: E402
from tunix_rt.training.engines import (  # noqa: E402
    Generated,
    Job,
    Outcome,
    Sampling,
    jax_config,
    jax_folder,
    jax_generation,
)
from tunix_rt.training.engines.jax_model import abstract  # noqa: E402

_PLATFORMS = ("auto", "cpu", "gpu", "tpu")
_HOW_TO_GET = {
    "gpu": "pip install 'jax[cuda13]' (an NVIDIA driver must be there); on Kaggle: Settings > Accelerator > GPU; "
    "on Colab: Runtime > Change runtime type > GPU.",
    "tpu": "pip install 'jax[tpu]' on a machine with a TPU; on Kaggle: Settings > Accelerator > TPU; "
    "on Colab: Runtime > Change runtime type > TPU.",
    "cpu": "Unset JAX_PLATFORMS, or add cpu to it: JAX_PLATFORMS=cpu.",
}


def devices(wanted: str) -> list[str]:
    """Devices of a kind; see `Engine.devices`."""
    if wanted not in _PLATFORMS:
        raise BadInput(f"There is no kind of device {wanted!r}. We have: {', '.join(_PLATFORMS)}.")
    try:
        found = jax.devices(None if wanted == "auto" else wanted)
    except RuntimeError as error:
        try:
            there = ", ".join(_described(device) for device in jax.devices())
        except RuntimeError:
            there = f"none; JAX says: {error}"
        raise BadInput(f"JAX has no {wanted} here. There is: {there}.", hint=_HOW_TO_GET.get(wanted)) from None
    return [_described(device) for device in found]


def parameters(config: TrainingConfig, vocabulary: int, base: Path | None) -> int:
    """Count the parameters without allocating them; see `Engine.parameters`."""
    if base is None:
        dimensions = jax_config.from_scratch(config.model, vocabulary, 1)
    else:
        dimensions = jax_config.from_json(jax_config.read_json(base), base)
    return sum(math.prod(shape) for shape in jax_folder.tensor_shapes(abstract(dimensions)).values())


def train(job: Job) -> Outcome:
    """Train and write `model/`; see `Engine.train`."""
    # Importing Tunix takes seconds, which planning and generating need not wait for.
    outcome: Outcome = importlib.import_module("tunix_rt.training.engines.jax_training").train(job)
    return outcome


def generate(model: Path, prompts: list[list[int]], sampling: Sampling, done: Callable[[int], None]) -> list[Generated]:
    """Answer prompts; see `Engine.generate`."""
    return jax_generation.generate(jax_generation.load(model), prompts, sampling, done)


def _described(device: jax.Device) -> str:
    return f"{device.platform}:{device.id} {device.device_kind}"

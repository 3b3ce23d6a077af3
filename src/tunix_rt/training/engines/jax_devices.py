"""Which devices compute."""

import math
from typing import Any

import jax
import numpy as np
from flax import nnx

from tunix_rt.base.errors import BadInput
from tunix_rt.training.config import MeshChoice
from tunix_rt.training.engines.jax_environment import threads

# A CPU's step ends before the next one is begun: else that one is given its memory a little before this one's is
# freed, and the process keeps both. Read when JAX first looks for devices; it has no variable in the environment.
jax.config.update("jax_cpu_enable_async_dispatch", False)

AXES = ("data", "fsdp", "tensor")
ROWS = ("data", "fsdp")
"""Axes among which the rows of a batch are divided."""
_KINDS = ("auto", "cpu", "gpu", "tpu")
_HOW_TO_GET = {
    "cpu": "Unset JAX_PLATFORMS, or add cpu to it.",
    "gpu": "With an NVIDIA driver: pip install 'jax[cuda13]'. On Kaggle: Settings > Accelerator > GPU; on Colab: "
    "Runtime > Change runtime type > GPU.",
    "tpu": "On a machine with a TPU: pip install 'jax[tpu]'. On Kaggle: Settings > Accelerator > TPU; on Colab: "
    "Runtime > Change runtime type > TPU.",
}


def choose(wanted: str) -> list[str]:
    """Compute on devices of a kind from here on; see `Engine.devices`."""
    if wanted not in _KINDS:
        raise BadInput(f"There is no kind of device {wanted!r}. We have: {', '.join(_KINDS)}.")
    try:
        found = jax.devices(None if wanted == "auto" else wanted)
    except RuntimeError as error:
        raise BadInput(f"JAX has no {wanted} here. There is: {_there(error)}.", hint=_HOW_TO_GET.get(wanted)) from None
    jax.config.update("jax_default_device", None if wanted == "auto" else found[0])
    return [_described(device) for device in found]


def mesh(choice: MeshChoice) -> Any:
    """The devices of the chosen kind as a mesh (data, fsdp, tensor); None for a single one.

    Raises:
        BadInput: there are more or fewer devices than the mesh has.
    """
    found = chosen()
    fixed = choice.data * choice.tensor
    fsdp = choice.fsdp or max(1, len(found) // fixed)
    if fixed * fsdp != len(found):
        raise BadInput(
            f"The mesh of data {choice.data} x fsdp {fsdp} x tensor {choice.tensor} is of {fixed * fsdp} devices, and "
            f"there are {len(found)}: {', '.join(map(_described, found))}.",
            hint="Change mesh so that the product is the number of devices; fsdp: null takes those that are left.",
        )
    if len(found) == 1:
        return None
    return jax.sharding.Mesh(np.array(found).reshape(choice.data, fsdp, choice.tensor), AXES)


def row_shards(mesh: Any) -> int:
    """In how many parts a batch's rows are divided."""
    return 1 if mesh is None else math.prod(mesh.shape[axis] for axis in ROWS)


def is_cpu() -> bool:
    """Whether CPU devices compute."""
    return {device.platform for device in chosen()} == {"cpu"}


def is_one_cpu() -> bool:
    """Whether a single CPU device computes."""
    return [device.platform for device in chosen()] == ["cpu"]


def spread(state: Any, mesh: Any) -> None:
    """Put the arrays of an NNX state that lie on one device on the whole mesh."""
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    for _, value in nnx.to_flat_state(state):
        if len(value.get_value().sharding.device_set) < mesh.size:
            value.set_value(jax.device_put(value.get_value(), everywhere))


def machine(mesh: Any) -> dict[str, Any]:
    """What decides the last bits of a training besides its inputs."""
    found = chosen()
    shape = None if mesh is None else dict(mesh.shape)
    return {"device": found[0].device_kind, "devices": len(found), "mesh": shape, "threads": threads()}


def chosen() -> list[Any]:
    """The devices that compute."""
    chosen = jax.config.jax_default_device
    return list(jax.devices(chosen.platform if chosen is not None else None))


def _there(error: RuntimeError) -> str:
    try:
        return ", ".join(_described(device) for device in jax.devices())
    except RuntimeError:
        return f"nothing; JAX says: {error}"


def _described(device: Any) -> str:
    return f"{device.platform}:{device.id} {device.device_kind}"

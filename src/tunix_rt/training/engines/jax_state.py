"""NNX states as named tensors, and back to where they lie on their devices."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from tunix_rt.training.engines import checkpoints
from tunix_rt.training.engines.checkpoints import Tensor


def tensors(parts: Mapping[str, Any]) -> dict[str, Tensor]:
    """States by name as tensors for `checkpoints.save`; each is gathered from its devices when its turn has come."""
    arrays = {name: value.get_value() for name, value in _flat(parts).items()}
    return {name: Tensor(array.shape, array.dtype, partial(_fetch, array)) for name, array in arrays.items()}


def restore(path: Path, parts: Mapping[str, Any], prefix: str = "") -> None:
    """Read a checked checkpoint's arrays into states, where the present arrays lie on their devices.

    Args:
        path: the checkpoint.
        parts: states by name.
        prefix: read only the tensors of these parts, whose names begin so.

    Raises:
        BadInput: its tensors are not those of this training.
    """
    values = _flat(parts)
    present = {name: value.get_value() for name, value in values.items()}
    stored = checkpoints.load(path, {name: (array.shape, array.dtype) for name, array in present.items()}, prefix)
    for name, value in values.items():
        array = np.array(stored[name])  # a copy: what is mapped into memory goes with its file
        value.set_value(jax.device_put(array, getattr(present[name], "sharding", None)))


def _fetch(array: Any) -> NDArray[Any]:
    return np.asarray(jax.device_get(array))


def _flat(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        ".".join(map(str, (part, *path))): value
        for part, state in parts.items()
        for path, value in nnx.to_flat_state(state)
    }

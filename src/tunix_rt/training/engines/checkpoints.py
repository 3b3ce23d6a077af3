"""Checkpoints of every engine: all the state of a training in one safetensors file, with a manifest of digests.

Safetensors and not Orbax or torch.save: one file that we write, force to disk and read back ourselves, so that a full
disk, a torn write and a flipped bit each have a definite error; the same bits come back; any tool can look inside;
nothing runs in the background. Tensors are kept whole under their names, so a checkpoint does not depend on how many
devices wrote it: each device's part is cut out when it is read. The price: the host gathers one tensor at a time,
and several hosts would need a file each.

    checkpoints/step-00000100/state.safetensors    parameters and optimizer, by name
    checkpoints/step-00000100/checkpoint.json      format, step, fingerprint, machine, progress, files with digests,
                                                   own digest
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tunix_rt.base.errors import Failed
from tunix_rt.base.store import digest
from tunix_rt.training.engines import tensor_files
from tunix_rt.training.engines.manifests import (
    MANIFEST,
    STATE,
    Header,
    check,
    damaged,
    document,
    listed,
    newest_whole,
    path_of,
    verify,
)
from tunix_rt.training.engines.whole_folder import discard, forced, sweep, whole_folder

__all__ = ["Header", "Tensor", "check", "listed", "load", "newest_whole", "path_of", "save", "verify"]


class Tensor(NamedTuple):
    """A tensor to be saved.

    Attributes:
        shape: its sizes.
        dtype: its NumPy dtype (`ml_dtypes.bfloat16` among them).
        fetch: brings it to the host; called once, when its turn has come, and its result is let go before the next.
    """

    shape: tuple[int, ...]
    dtype: Any
    fetch: Callable[[], NDArray[Any]]


def save(folder: Path, header: Header, tensors: Mapping[str, Tensor], keep: int, best: int | None = None) -> Path:
    """Write a checkpoint, whole or not at all, then remove all but the newest `keep` and the best.

    Args:
        folder: the run directory.
        header: what it is.
        tensors: the state by name, fetched one at a time in this order.
        keep: newest checkpoints that stay.
        best: step of one more that stays.

    Raises:
        DiskFull: the earlier checkpoints are untouched.
        Failed: what was read back is not what was written.
    """
    target = path_of(folder, header.step)
    if target.parent.is_dir():
        sweep(target.parent)
    shapes = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    with whole_folder(target) as partial:
        with forced(partial / STATE) as file:
            hashed = _Hashed(file)
            tensor_files.write(hashed, shapes, (tensor.fetch() for tensor in tensors.values()))  # type: ignore[arg-type]  # write() is all that is used
        if digest(partial / STATE) != hashed.digest:
            raise Failed(
                f"The checkpoint of step {header.step} came back from {target.parent} with other bytes than written.",
                hint="The disk or its driver is faulty; write to another one with --output.",
            )
        with forced(partial / MANIFEST) as file:
            file.write(document(header, {STATE: hashed.digest}))
    for old in listed(folder)[:-keep]:
        if best is None or old != path_of(folder, best):
            discard(old)
    return target


def load(
    path: Path, expected: Mapping[str, tuple[tuple[int, ...], Any]] | None = None, prefix: str = ""
) -> dict[str, NDArray[Any]]:
    """Map a checked checkpoint's tensors into memory, by name; they are read when used, and cannot be written to.

    Args:
        path: the checkpoint.
        expected: shape and NumPy dtype of each tensor that there must be; None: whatever there is.
        prefix: take only the tensors whose name begins so, all of which must be expected ones.

    Raises:
        BadInput: its tensors are not the expected ones.
    """
    stored = {name: array for name, array in tensor_files.read(path / STATE).items() if name.startswith(prefix)}
    if expected is None:
        return stored
    if stored.keys() != expected.keys():
        raise damaged(path, STATE, "does not hold this training's tensors")
    for name, (shape, dtype) in expected.items():
        if stored[name].shape != tuple(shape) or stored[name].dtype != np.dtype(dtype):
            raise damaged(path, STATE, f"holds {name} as {stored[name].dtype}{stored[name].shape}")
    return stored


class _Hashed:
    """A file that is written and hashed at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        return self._file.write(data)

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()

"""Safetensors files, one tensor at a time in both directions.

The library's NumPy door builds the whole file in memory, gives a full disk as an error of its own and, reading,
copies; a checkpoint can be most of a machine's memory. The format is a length, a JSON header and the bytes:
https://huggingface.co/docs/safetensors
"""

import json
import math
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from tunix_rt.base.errors import BadInput, cut

_CODES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "U64": np.uint64,
    "I32": np.int32,
    "U32": np.uint32,
    "I16": np.int16,
    "U16": np.uint16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_TYPES = {code: np.dtype(kind) for code, kind in _CODES.items()}
_NAMES = {kind: code for code, kind in _TYPES.items()}
_ALIGNMENT = 8


def write(file: IO[bytes], shapes: Mapping[str, tuple[tuple[int, ...], Any]], arrays: Iterable[NDArray[Any]]) -> None:
    """Write tensors.

    Args:
        file: open for writing.
        shapes: shape and dtype by name, in the order of `arrays`.
        arrays: fetched one at a time.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers refuses a file without it
    end = 0
    for name, (shape, kind) in shapes.items():
        start, end = end, end + math.prod(shape) * np.dtype(kind).itemsize
        header[name] = {"dtype": _NAMES[np.dtype(kind)], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    file.write(struct.pack("<Q", len(text)) + text)
    for (name, (shape, kind)), array in zip(shapes.items(), arrays, strict=True):
        if array.shape != tuple(shape) or array.dtype != np.dtype(kind):
            raise ValueError(f"{name}: {array.dtype}{array.shape} is not the announced {kind}{shape}")
        file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Map a file's tensors into memory, by name; they are read from disk when used, and cannot be written to.

    Raises:
        BadInput: not a whole safetensors file, or a type that has no NumPy counterpart.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size - 8:
                raise ValueError(f"its header of {length} bytes does not fit into a file of {size}")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        tensors = {name: (entry["dtype"], entry["shape"], *entry["data_offsets"]) for name, entry in header.items()}
        end = max((entry[3] for entry in tensors.values()), default=0)
        if end != size - 8 - length:
            raise ValueError(f"its header names {end} bytes of tensors, the file has {size - 8 - length}")
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"{path} is not a whole safetensors file: {cut(str(error))}.",
            hint="It was cut off or damaged on the way; copy or download it again.",
        ) from None
    unknown = {kind for kind, *_ in tensors.values()} - _TYPES.keys()
    if unknown:
        raise BadInput(f"{path} holds tensors of type {', '.join(sorted(unknown))}. We read: {', '.join(_TYPES)}.")
    if not end:
        return {name: np.zeros(shape, _TYPES[kind]) for name, (kind, shape, *_) in tensors.items()}
    data = np.memmap(path, np.uint8, "r", 8 + length)
    return {
        name: np.frombuffer(data[start:stop], _TYPES[kind]).reshape(shape)
        for name, (kind, shape, start, stop) in tensors.items()
    }

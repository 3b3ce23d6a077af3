"""Is a model's folder whole? What transformers or PEFT could load only in part, or not at all, is no version."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunix_rt.base.errors import Conflict, cut

_LARGEST_HEADER_BYTES = 100 * 10**6  # the format's own limit


def check(paths: Mapping[str, Path]) -> None:
    """Look at a folder's files, by their paths in it.

    Raises:
        Conflict: there are none; what every model has is missing; a file was cut off.
    """
    if not paths:
        raise Conflict(
            "The run has no model: its folder model/ is missing or empty.",
            hint="Train it again: tunix-rt runs retry ID --from-start",
        )
    weights = [name for name in paths if name.endswith(".safetensors")]
    for what, there in (
        ("config.json or adapter_config.json", {"config.json", "adapter_config.json"} & paths.keys()),
        ("tokenizer.json", "tokenizer.json" in paths),
        ("*.safetensors", weights),
    ):
        if not there:
            raise torn(f"it has no {what}")
    for name in weights:
        _check_tensors(name, paths[name])
    for name, path in paths.items():
        if name.endswith(".json"):
            try:
                said = json.loads(path.read_bytes())
            except (ValueError, RecursionError):
                raise torn(f"{cut(name)!r} is not JSON") from None
            if name.endswith(".safetensors.index.json"):
                _check_index(name, said, paths)


def torn(why: str) -> Conflict:
    """The error for a folder that is not whole."""
    return Conflict(
        f"The run's folder model/ is not whole: {why}.",
        hint="Train it again (tunix-rt runs retry ID --from-start) and promote that run.",
    )


def _check_tensors(name: str, path: Path) -> None:
    """A safetensors file is a length, a header and as many bytes as that says."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size, _LARGEST_HEADER_BYTES):
                raise ValueError("the header is longer than the file")
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
        whole = 8 + length + max(ends, default=0)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise torn(f"{cut(name)!r} is not a safetensors file") from None
    if whole != size:
        raise torn(f"{cut(name)!r} has {size:,} bytes, and its header says {whole:,}")


def _check_index(name: str, said: Any, paths: Mapping[str, Path]) -> None:
    shards = said.get("weight_map") if isinstance(said, dict) else None
    if not isinstance(shards, dict):
        raise torn(f"{cut(name)!r} has no weight_map")
    absent = sorted({str(shard) for shard in shards.values()} - paths.keys())
    if absent:
        raise torn(f"{cut(name)!r} names {cut(absent[0], 100)!r}, which is not there")

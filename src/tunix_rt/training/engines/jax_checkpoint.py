"""Checkpoints: all the state of a training in one safetensors file, with a manifest of digests beside it.

Safetensors and not Orbax: one file that we write, force to disk and read back ourselves, so that a full disk, a
torn write and a flipped bit each have a definite error; the same bits come back; any tool can look inside; nothing
runs in the background. Tensors are kept whole under their paths, so a checkpoint does not depend on how many
devices wrote it: each device's part is cut out when it is read. The price: the host gathers one tensor at a time,
and several hosts would need a file each.

    checkpoints/step-00000100/state.safetensors    parameters and optimizer, by path
    checkpoints/step-00000100/checkpoint.json      format, step, fingerprint, machine, files with digests, own digest
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from tunix_rt.base.errors import BadInput, Conflict, Failed, Fault, NotFound
from tunix_rt.base.store import digest
from tunix_rt.training.engines import tensor_files
from tunix_rt.training.engines.whole_folder import discard, forced, sweep, whole_folder

_FORMAT = 1
_STATE, _MANIFEST = "state.safetensors", "checkpoint.json"
_NAME = re.compile(r"step-(\d{8,})")


def path_of(folder: Path, step: int) -> Path:
    """Where a run directory's checkpoint of a step lies."""
    return folder / "checkpoints" / f"step-{step:08d}"


def listed(folder: Path) -> list[Path]:
    """A run directory's checkpoints, oldest first."""
    named = [(int(match[1]), path) for path in (folder / "checkpoints").glob("step-*") if (match := _match(path))]
    return [path for _, path in sorted(named)]


class Header(NamedTuple):
    """What a checkpoint says of itself.

    Attributes:
        step: finished optimizer steps.
        fingerprint: what must be equal when it is resumed.
        machine: what decides the last bits of sums besides.
    """

    step: int
    fingerprint: Mapping[str, Any]
    machine: Mapping[str, Any]


def save(folder: Path, header: Header, parts: Mapping[str, Any], keep: int) -> Path:
    """Write a checkpoint, whole or not at all, then remove all but the newest `keep`.

    Args:
        folder: the run directory.
        header: what it is.
        parts: NNX states by name.
        keep: checkpoints that stay.

    Raises:
        DiskFull: the earlier checkpoints are untouched.
        Failed: what was read back is not what was written.
    """
    target = path_of(folder, header.step)
    if target.parent.is_dir():
        sweep(target.parent)
    arrays = {name: value.get_value() for name, value in _flat(parts).items()}
    shapes = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    with whole_folder(target) as partial:
        with forced(partial / _STATE) as file:
            hashed = _Hashed(file)
            tensor_files.write(hashed, shapes, (np.asarray(jax.device_get(array)) for array in arrays.values()))  # type: ignore[arg-type]  # write() is all that is used
        if digest(partial / _STATE) != hashed.digest:
            raise Failed(
                f"The checkpoint of step {header.step} came back from {target.parent} with other bytes than written.",
                hint="The disk or its driver is faulty; write to another one with --output.",
            )
        manifest = {"format": _FORMAT, **header._asdict(), "files": {_STATE: hashed.digest}}
        with forced(partial / _MANIFEST) as file:
            file.write(json.dumps({**manifest, "digest": _own_digest(manifest)}, indent=2).encode())
    for old in listed(folder)[:-keep]:
        discard(old)
    return target


def check(path: Path, fingerprint: Mapping[str, Any]) -> Header:
    """Check a checkpoint against its digests and a training's fingerprint.

    Raises:
        NotFound: no such folder.
        BadInput: a file is missing or not what was written.
        Conflict: it belongs to another training; each difference is named.
    """
    if not path.is_dir():
        raise NotFound(f"There is no checkpoint {path}.")
    try:
        manifest = json.loads((path / _MANIFEST).read_bytes())
        written = manifest.pop("digest")
        files = manifest["files"]
        header = Header(manifest["step"], manifest["fingerprint"], manifest["machine"])
    except FileNotFoundError:
        raise _damaged(path, _MANIFEST, "is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(path, _MANIFEST, "is not what was written") from None
    if written != _own_digest(manifest):
        raise _damaged(path, _MANIFEST, "is not what was written")
    for name, expected in files.items():
        if not (path / name).is_file():
            raise _damaged(path, name, "is missing")
        if digest(path / name) != expected:
            raise _damaged(path, name, "is not what was written: its SHA-256 differs")
    # Through JSON, as theirs went: a tuple comes back as a list.
    differences = _differences(header.fingerprint, json.loads(json.dumps(fingerprint)), "")
    if differences:
        raise Conflict(
            f"{path} belongs to another training: {len(differences)} difference(s).",
            hint="Resume with the same config, data and versions, or start anew in another --output folder.",
            faults=differences,
        )
    return header


def restore(path: Path, parts: Mapping[str, Any]) -> None:
    """Read a checked checkpoint's arrays into NNX states, where the present arrays lie on their devices.

    Raises:
        BadInput: its tensors are not those of this training.
    """
    stored, expected = tensor_files.read(path / _STATE), _flat(parts)
    if stored.keys() != expected.keys():
        raise _damaged(path, _STATE, "does not hold this training's tensors")
    for name, value in expected.items():
        present = value.get_value()
        array = np.array(stored[name])
        if array.shape != present.shape or array.dtype != present.dtype:
            raise _damaged(path, _STATE, f"holds {name} as {array.dtype}{array.shape}")
        value.set_value(jax.device_put(array, getattr(present, "sharding", None)))


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


def _flat(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        ".".join(map(str, (part, *path))): value
        for part, state in parts.items()
        for path, value in nnx.to_flat_state(state)
    }


def _match(path: Path) -> re.Match[str] | None:
    return _NAME.fullmatch(path.name)


def _own_digest(manifest: Mapping[str, Any]) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _damaged(path: Path, name: str, what: str) -> BadInput:
    earlier = [other for other in listed(path.parent.parent) if other.name < path.name]
    hint = f"Resume from the one before it, {earlier[-1]}" if earlier else "Start again from step 0"
    return BadInput(f"The checkpoint {path} is damaged: {name} {what}.", hint=f"{hint}.")


def _differences(theirs: Any, ours: Any, where: str) -> list[Fault]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return [
            fault
            for key in sorted(theirs.keys() | ours.keys())
            for fault in _differences(theirs.get(key), ours.get(key), f"{where}.{key}" if where else key)
        ]
    return [] if theirs == ours else [Fault(where, f"the checkpoint has {theirs!r}, this training {ours!r}")]

"""What a checkpoint says of itself, and whether it is whole and ours; reads no tensor, needs no engine's library.

checkpoints/step-00000100/checkpoint.json      format, step, fingerprint, machine, progress, files with digests,
                                               own digest
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from tunix_rt.base.errors import BadInput, Conflict, Fault, NotFound
from tunix_rt.base.store import digest

FORMAT = 2
STATE, MANIFEST = "state.safetensors", "checkpoint.json"
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
        progress: what `Progress.state` gave: how guards, best loss and patience stood.
    """

    step: int
    fingerprint: Mapping[str, Any]
    machine: Mapping[str, Any]
    progress: Mapping[str, Any] = MappingProxyType({})


def document(header: Header, files: Mapping[str, str]) -> bytes:
    """A checkpoint's manifest.

    Args:
        header: what it is.
        files: digest by name.
    """
    said = {**header._asdict(), "progress": dict(header.progress)}
    manifest = {"format": FORMAT, **said, "files": dict(files)}
    return json.dumps({**manifest, "digest": _own_digest(manifest)}, indent=2).encode()


def check(path: Path, fingerprint: Mapping[str, Any]) -> Header:
    """Check a checkpoint against its digests and a training's fingerprint.

    Raises:
        NotFound: no such folder.
        BadInput: a file is missing or not what was written.
        Conflict: it belongs to another training; each difference is named.
    """
    header = verify(path)
    # Through JSON, as theirs went: a tuple comes back as a list.
    differences = _differences(header.fingerprint, json.loads(json.dumps(fingerprint)), "")
    if differences:
        raise Conflict(
            f"{path} belongs to another training: {len(differences)} difference(s).",
            hint="Resume with the same config, data and versions; or go on from its parameters alone in a new run: "
            "train --fork RUN.",
            faults=differences,
        )
    return header


def verify(path: Path) -> Header:
    """Check a checkpoint against its digests alone, whatever training it belongs to.

    Raises:
        NotFound: no such folder.
        BadInput: a file is missing or not what was written.
    """
    if not path.is_dir():
        raise NotFound(f"There is no checkpoint {path}.")
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        written = manifest.pop("digest")
        files = manifest["files"]
        header = Header(manifest["step"], manifest["fingerprint"], manifest["machine"], manifest.get("progress", {}))
    except FileNotFoundError:
        raise damaged(path, MANIFEST, "is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise damaged(path, MANIFEST, "is not what was written") from None
    if written != _own_digest(manifest):
        raise damaged(path, MANIFEST, "is not what was written")
    for name, expected in files.items():
        if not (path / name).is_file():
            raise damaged(path, name, "is missing")
        if digest(path / name) != expected:
            raise damaged(path, name, "is not what was written: its SHA-256 differs")
    return header


def newest_whole(folder: Path, fingerprint: Mapping[str, Any], warn: Callable[..., None]) -> tuple[Path, Header] | None:
    """The newest checkpoint of a run directory that is whole; None where there is no checkpoint at all.

    Args:
        folder: the run directory.
        fingerprint: of its training.
        warn: given the fields of a `warning` event for each damaged one that was passed over.

    Raises:
        BadInput: there are some, and none is whole; it is told of the newest.
        Conflict: the newest whole one belongs to another training.
    """
    first: BadInput | None = None
    for path in reversed(listed(folder)):
        try:
            header = check(path, fingerprint)
        except BadInput as damage:
            first = first or damage
            where = path.relative_to(folder).as_posix()
            warn(kind="checkpoint_damaged", detail=f"{damage.detail} It is passed over.", checkpoint=where)
            continue
        return path, header
    if first:
        raise first
    return None


def _match(path: Path) -> re.Match[str] | None:
    return _NAME.fullmatch(path.name)


def _own_digest(manifest: Mapping[str, Any]) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def damaged(path: Path, name: str, what: str) -> BadInput:
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

"""What a run left in its folder: listed with digests, given out whole or in part, and nothing beside it."""

import os
import stat
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base import store
from tunix_rt.base.errors import NotFound, cut
from tunix_rt.runs import metrics
from tunix_rt.runs.schemas import Artifact, CheckpointView

Kind = Literal["checkpoint", "model", "predictions", "log", "config", "other"]
_BY_FOLDER: dict[str, Kind] = {
    "checkpoints": "checkpoint",
    "model": "model",
    "predictions": "predictions",
    "logs": "log",
}
_BY_NAME: dict[str, Kind] = {"config.yaml": "config", "provenance.json": "config", "events.jsonl": "log"}


def listed(folder: Path) -> list[Artifact]:
    """Every file of a run's folder, by path; links, and what is still being written, are left out."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]  # os.walk follows no links
        for name in names:
            path = Path(root) / name
            try:
                status = path.lstat()
                if name.startswith(".") or not stat.S_ISREG(status.st_mode):
                    continue
                digest = digest_of(path, status)
            except FileNotFoundError:  # an old checkpoint that a running training removes as we look
                continue
            relative = path.relative_to(folder)
            found.append(Artifact(path=relative.as_posix(), size=status.st_size, sha256=digest, kind=_kind(relative)))
    return sorted(found, key=lambda artifact: artifact.path)


def _kind(relative: Path) -> Kind:
    if len(relative.parts) == 1:
        return _BY_NAME.get(relative.name, "other")
    return _BY_FOLDER.get(relative.parts[0], "other")


def digest_of(path: Path, status: os.stat_result) -> str:
    """The hexadecimal SHA-256 of a file, remembered as long as the file is not touched."""
    return _digest(path, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=20_000)
def _digest(path: Path, _inode: int, _size: int, _modified: int) -> str:
    return store.digest(path).removeprefix("sha256:")


def file_of(folder: Path, name: str) -> tuple[Path, os.stat_result]:
    """A file of the folder by its listed path.

    Raises:
        NotFound: there is none; or the path leads out of the folder, over a link, or to a file in the making.
    """
    missing = NotFound(f"The run has no file {cut(name, 200)!r}.", hint="See what it has: tunix-rt runs artifacts ID")
    parts = name.split("/")
    if any(part in ("", ".", "..") or part.startswith(".") or "\\" in part or "\0" in part for part in parts):
        raise missing
    path = folder
    try:
        for part in parts:
            path = path / part
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                raise missing
    except (OSError, ValueError):
        raise missing from None
    if not stat.S_ISREG(status.st_mode):
        raise missing
    return path, status


def media_type(path: Path) -> str:
    """What a browser may take a file for: text, or bytes to be saved, and never a page."""
    if path.suffix in (".json", ".jsonl", ".log", ".yaml", ".txt", ".md", ".jinja"):
        return "text/plain; charset=utf-8"
    return "application/octet-stream"


async def checkpoints(session: AsyncSession, run_number: int, folder: Path) -> list[CheckpointView]:
    """The whole checkpoints of a run, oldest first, with the figures of their steps."""
    found = []
    for path in sorted((folder / "checkpoints").glob("step-*"), key=lambda path: (len(path.name), path.name)):
        step = path.name.removeprefix("step-")
        if not step.isdigit():
            continue
        try:
            made = path.stat().st_mtime
            size = sum(inner.lstat().st_size for inner in path.rglob("*") if not inner.is_symlink() and inner.is_file())
        except FileNotFoundError:
            continue
        found.append(
            CheckpointView(
                step=int(step),
                path=path.relative_to(folder).as_posix(),
                size=size,
                created_at=datetime.fromtimestamp(made, UTC),
                metrics=await metrics.at_step(session, run_number, int(step)),
            )
        )
    return found

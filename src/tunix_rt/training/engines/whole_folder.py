"""Folders that are whole or absent: written under a partial name, forced to disk, then renamed."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tunix_rt.base.store import naming_full_disk, sync_folder


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a folder to write in, which appears under `path` when the block ends and replaces what stood there.

    Raises:
        DiskFull: no space; what stood under `path` stands there still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _hidden(path)
    try:
        with naming_full_disk(path):
            partial.mkdir()
            yield partial
            sync_folder(partial)
        if path.exists():
            discard(path)
        partial.rename(path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def forced(path: Path) -> Iterator[IO[bytes]]:
    """Open a file inside a partial folder; it is on the disk when the block ends."""
    with path.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def discard(path: Path) -> None:
    """Remove a folder so that no moment shows half of it."""
    doomed = _hidden(path)
    path.rename(doomed)
    shutil.rmtree(doomed)


def sweep(parent: Path) -> None:
    """Remove what a killed process left half-written or half-removed in `parent`."""
    for left in parent.glob(".*.partial"):
        shutil.rmtree(left, ignore_errors=True)


def _hidden(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")

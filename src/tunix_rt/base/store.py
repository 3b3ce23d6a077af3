"""Files that are whole or absent: written under a partial name, forced to disk, then renamed; and their digests."""

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tunix_rt.base.errors import DiskFull, Unavailable


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that is never seen half-written: it appears under its name when the block ends.

    Raises:
        DiskFull: no space; whatever stood under `path` before stands there still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with naming_full_disk(path), partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Turn the system's "no space" into an error that says where and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(
            f"No space left while writing {path}. What was there before is untouched.",
            hint=f"Free space (see `df -h {path.parent}`), then run the same command again.",
        ) from error


def sync_folder(folder: Path) -> None:
    """Force a folder's entries to disk, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(path: Path) -> str:
    """`sha256:` and the hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def place(root: Path, file_digest: str) -> Path:
    """Where a file lies in a store whose files are called by their digests."""
    digits = file_digest.removeprefix("sha256:")
    return root / digits[:2] / digits


def keep(root: Path, source: Path) -> str:
    """Copy a file into such a store, unless it is there already; returns its digest.

    A file of the store that was damaged is replaced.

    Raises:
        Unavailable: `source` changed while it was copied.
        DiskFull: no space.
    """
    found = digest(source)
    target = place(root, found)
    if target.is_file() and digest(target) == found:
        return found
    with whole(target) as file, source.open("rb") as opened:
        copied = hashlib.sha256()
        while chunk := opened.read(2**20):
            copied.update(chunk)
            file.write(chunk)
        if "sha256:" + copied.hexdigest() != found:
            raise Unavailable(f"{source} changed while it was copied; nothing was kept.", hint="Try again.")
        os.fchmod(file.fileno(), 0o444)  # it has a second name wherever it is used
    sync_folder(root)
    return found

"""What a version is made of: the files of a run's model/, kept in the store by digest, and the list of them."""

import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import rfc8785

from tunix_rt.base import store
from tunix_rt.base.errors import Failed, cut
from tunix_rt.registry import whole
from tunix_rt.registry.schemas import Kind, ModelFile

CARD = "README.md"
_ABANDONED_SECONDS = 86_400
_PIECE_BYTES = 2**20


def root(home: Path) -> Path:
    """The store of the registry's files."""
    return home / "registry" / "files"


def take(home: Path, model: Path) -> list[ModelFile]:
    """Keep every file of a run's model/; returns the list of them, by path.

    Raises:
        Conflict: the folder is not there, or not whole; see `whole.check`.
        Unavailable: a file changed meanwhile.
        DiskFull: no space; what was kept so far belongs to no version, and the next call finds it again.
    """
    paths = _paths(model)
    whole.check(paths)
    _sweep(root(home))
    found = []
    for name, path in sorted(paths.items()):
        kept = store.keep(root(home), path)
        size = store.place(root(home), kept).stat().st_size
        found.append(ModelFile(path=name, size=size, sha256=kept.removeprefix("sha256:")))
    return found


def digest(files: Sequence[ModelFile]) -> str:
    """The identity of a version: `sha256:` of the canonical JSON (RFC 8785) of its list of files."""
    return "sha256:" + hashlib.sha256(rfc8785.dumps([file.model_dump() for file in files])).hexdigest()


def kind(files: Sequence[ModelFile]) -> Kind:
    """An adapter has no config.json: it is nothing without its base."""
    return "model" if any(file.path == "config.json" for file in files) else "adapter"


def place(home: Path, file: ModelFile) -> Path:
    """Where a file of a version lies."""
    return store.place(root(home), file.sha256)


def damage(path: Path, file: ModelFile) -> str | None:
    """What is wrong with a stored file; None where it has its digest."""
    try:
        size = path.stat().st_size
        if size != file.size:
            return f"it has {size:,} bytes instead of {file.size:,}"
        found = store.digest(path).removeprefix("sha256:")
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return None if found == file.sha256 else f"its SHA-256 is {found}"


def pieces(path: Path, file: ModelFile) -> Iterator[bytes]:
    """The bytes of a stored file.

    Raises:
        Failed: it is damaged; mostly after its last piece, so who takes them must not believe them before the end.
    """
    seen = hashlib.sha256()
    try:
        with path.open("rb") as opened:
            while piece := opened.read(_PIECE_BYTES):
                seen.update(piece)
                yield piece
    except OSError as error:
        raise damaged(file, error.strerror or "unreadable") from None
    if seen.hexdigest() != file.sha256:
        raise damaged(file, f"its SHA-256 is {seen.hexdigest()}")


def damaged(file: ModelFile, why: str) -> Failed:
    """The error for a stored file that is not what was promoted."""
    return Failed(
        f"The registry's file {cut(file.path, 200)!r} ({file.sha256[:12]}…) is damaged: {why}.",
        hint="See all that is: tunix-rt models verify NAME. Promoting its run again puts the files back.",
    )


def _paths(model: Path) -> dict[str, Path]:
    """The files of a folder by their paths in it; hidden ones, which are in the making, are left out."""
    found: dict[str, Path] = {}
    for where, folders, names in os.walk(model):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if (Path(where) / name).is_symlink()]
        for name in (*names, *links):
            if name.startswith("."):
                continue
            path = Path(where) / name
            inner = path.relative_to(model).as_posix()
            if not stat.S_ISREG(path.lstat().st_mode):
                raise whole.torn(f"{cut(inner)!r} is no file but a link or a device")
            if not name.isprintable() or "\\" in name:
                raise whole.torn(f"{cut(inner)!r} is no name for a file")
            found[inner] = path
    return found


def _sweep(files: Path) -> None:
    """Remove what processes that were killed a day ago left half-written."""
    for left in files.glob("*/.*.partial"):
        try:
            if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
                left.unlink()
        except FileNotFoundError:
            continue

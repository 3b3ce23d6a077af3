"""Logs of a run: files that its process writes itself, and an index of pieces in the database.

The process's stdout and stderr are files, so nothing that happens to a worker can lose a byte of them or hold the
process up. What is new in them is entered into the index as pieces with a number; a piece never splits a character.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.db import now
from tunix_rt.base.wake import announce
from tunix_rt.runs.models import Run, RunLogChunk
from tunix_rt.runs.states import CHANNEL

PIECE_BYTES = 64 * 2**10
STREAMS = ("stdout", "stderr")
TAIL_BYTES = 10_240
_FILE = re.compile(r"(\d{4,})\.(stdout|stderr)\.log")


def folder_of(home: Path, run_id: object) -> Path:
    """The run's own folder."""
    return home / "runs" / str(run_id)


def path_of(folder: Path, file: int, stream: str) -> Path:
    """Where a start's output lies; `file` grows with every start of the run's process."""
    return folder / "logs" / f"{file:04d}.{stream}.log"


@dataclass
class Place:
    """How far a run's logs are indexed.

    Attributes:
        seq: number of the last piece; 0 before the first.
        ends: (file, stream) -> bytes that are indexed.
    """

    seq: int = 0
    ends: dict[tuple[int, str], int] = field(default_factory=dict)


async def place(session: AsyncSession, run_number: int) -> Place:
    """How far a run's logs are indexed."""
    ends = (
        select(RunLogChunk.file, RunLogChunk.stream, func.max(RunLogChunk.offset + RunLogChunk.length))
        .where(RunLogChunk.run_number == run_number)
        .group_by(RunLogChunk.file, RunLogChunk.stream)
    )
    seq = await session.scalar(select(Run.log_seq).where(Run.number == run_number))
    found = (await session.execute(ends)).all()
    return Place(seq or 0, {(file, stream): end for file, stream, end in found})


def files(folder: Path) -> list[tuple[int, str]]:
    """The (file, stream) that a run's folder holds, in the order of their starts."""
    names = (_FILE.fullmatch(path.name) for path in (folder / "logs").glob("*.log"))
    return sorted(((int(name[1]), name[2]) for name in names if name), key=lambda one: (one[0], STREAMS.index(one[1])))


def new_pieces(folder: Path, known: Place, which: Sequence[tuple[int, str]], final: bool) -> list[dict[str, Any]]:
    """Pieces for what was written since, as rows of the index without the run.

    Args:
        folder: the run's.
        known: how far the index is.
        which: files to look at, in the order in which their pieces are numbered.
        final: nothing more is going to be written: a character that is not complete is entered as it is.
    """
    found: list[dict[str, Any]] = []
    at = now()
    for file, stream in which:
        offset = known.ends.get((file, stream), 0)
        try:
            descriptor = os.open(path_of(folder, file, stream), os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            size = os.fstat(descriptor).st_size
            while offset < size:
                end = min(offset + PIECE_BYTES, size)
                if not (final and end == size):
                    end -= _incomplete(os.pread(descriptor, min(3, end - offset), end - min(3, end - offset)))
                if end == offset:
                    break
                found.append(
                    {
                        "seq": known.seq + len(found) + 1,
                        "file": file,
                        "stream": stream,
                        "offset": offset,
                        "length": end - offset,
                        "created_at": at,
                    }
                )
                offset = end
        finally:
            os.close(descriptor)
    return found


def _incomplete(tail: bytes) -> int:
    """How many of the last bytes begin a UTF-8 character that goes on after them."""
    for back in range(1, len(tail) + 1):
        byte = tail[-back]
        if byte & 0xC0 == 0x80:
            continue
        needs = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return back if needs > back else 0
    return 0


async def store(session: AsyncSession, run_number: int, pieces: Sequence[dict[str, Any]]) -> None:
    """Enter pieces into the index and tell the viewers."""
    await session.execute(insert(RunLogChunk), [{"run_number": run_number, **piece} for piece in pieces])
    await session.execute(
        update(Run)
        .where(Run.number == run_number)
        .values(log_seq=pieces[-1]["seq"])
        .execution_options(synchronize_session=False)
    )
    await announce(session, CHANNEL)


def advance(known: Place, pieces: Sequence[dict[str, Any]]) -> None:
    """Count pieces as indexed, once they are committed."""
    for piece in pieces:
        known.seq = piece["seq"]
        known.ends[piece["file"], piece["stream"]] = piece["offset"] + piece["length"]


def read(folder: Path, file: int, stream: str, offset: int, length: int) -> bytes:
    """The bytes of a piece.

    Raises:
        OSError: they are not there: a shared disk shows them later, or other hands have removed them.
    """
    path = path_of(folder, file, stream)
    with path.open("rb") as opened:
        opened.seek(offset)
        found = opened.read(length)
    if len(found) < length:
        raise OSError(f"{path} holds {offset + len(found)} bytes of {offset + length} that were written")
    return found


def tail(folder: Path, stream: str, size: int = TAIL_BYTES) -> str:
    """The end of a stream over all starts, cut at a line, at most `size` bytes."""
    found = b""
    for file, name in reversed(files(folder)):
        if name != stream or len(found) > size:
            continue
        try:
            whole = path_of(folder, file, stream).stat().st_size
            start = max(0, whole - (size + 1 - len(found)))  # one more, which tells whether something is cut off
            found = read(folder, file, stream, start, whole - start) + found
        except OSError:  # removed as we look
            continue
    if len(found) > size:
        found = found[-size:]
        found = found[found.find(b"\n") + 1 :]
    return found.decode("utf-8", errors="replace")

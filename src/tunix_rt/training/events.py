"""events.jsonl of a run directory: an append-only record of what happened, a line an event, whole lines only."""

import math
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from tunix_rt.base import jsontext
from tunix_rt.base.store import naming_full_disk


class EventLog:
    """Appends events; each is with the operating system when `emit` returns, so a killed process loses none.

    A line that an earlier process left unfinished is cut off on opening: it was never acknowledged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with naming_full_disk(path):
            self._file: IO[bytes] = path.open("ab+")
        size = self._file.seek(0, os.SEEK_END)
        tail = min(size, 2**20)
        self._file.seek(size - tail)
        unfinished = len(self._file.read(tail).rpartition(b"\n")[2])
        if unfinished:
            self._file.truncate(size - unfinished)

    def emit(self, event: str, **fields: Any) -> None:
        """Append one event with the present time; a figure that is not finite as text (see `number`).

        Raises:
            DiskFull: it could not be written whole.
        """
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        content = {"event": event, "time": time, **fields}
        line = jsontext.dumps(content)
        if b"null" in line:  # what becomes of None, and of figures that JSON does not have
            line = jsontext.dumps(_spelt(content))
        with naming_full_disk(self._path):
            self._file.write(line + b"\n")
            self._file.flush()

    def close(self) -> None:
        """Force everything to disk and close."""
        with naming_full_disk(self._path):
            os.fsync(self._file.fileno())
            self._file.close()


def number(figure: float | str) -> float:
    """A figure of an event; JSON has none for "NaN", "Infinity" and "-Infinity", which stand there as text."""
    return float(figure)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a run, oldest first; an unfinished last line is left out. For their figures see `number`."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield jsontext.loads(line)


def steps(path: Path) -> list[dict[str, Any]]:
    """The `step` events in order, each step once: of a step that was done again after a resume, the later one."""
    found = {event["step"]: event for event in read(path) if event["event"] == "step"}
    return [found[step] for step in sorted(found)]


def _spelt(value: Any) -> Any:
    """The value with each figure that is not finite as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _spelt(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_spelt(inner) for inner in value]
    return value

"""What every attempt at a run directory leaves in events.jsonl: what happened, and one `end`, however it ended."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunix_rt.base.errors import DiskFull, Problem, Unavailable, cut
from tunix_rt.training.events import EventLog

FAULTS = 20

Told = Callable[[str, dict[str, Any]], None]
"""Is given each event's name and fields once it is written."""


def recorded(folder: Path, told: Told | None, work: Callable[[Callable[..., None]], dict[str, Any]]) -> dict[str, Any]:
    """Do a work on a run directory whose events are kept there.

    Args:
        folder: the run directory.
        told: is given each event as it is written.
        work: gets the function that writes an event; returns the fields of the `end` event.

    Returns:
        The fields of the `end` event.

    Raises:
        Problem: whatever ended the work; the `end` event names it. Memory or disk that ran out are one, too.
        Exception: a fault that nobody has foreseen; the `end` event names it `unexpected`.
    """
    log = EventLog(folder / "events.jsonl")

    def emit(event: str, **fields: Any) -> None:
        log.emit(event, **fields)
        if told:
            told(event, fields)

    try:
        try:
            ending = work(emit)
        except KeyboardInterrupt:
            emit("end", reason="stopped", step=saved_step(folder))
            raise
        except Exception as error:
            named = _named(error)
            emit("end", reason="failed", **failure(named or error))
            if named is None or named is error:
                raise
            raise named from error
        emit("end", **ending)
        return ending
    finally:
        log.close()


def failure(error: Exception) -> dict[str, Any]:
    """An error as fields: `code`, `detail`, `hint` and `faults`, the first `FAULTS` of them."""
    if not isinstance(error, Problem):
        detail = f"{type(error).__name__}: {cut(str(error), 2000)}"
        return {"code": "unexpected", "detail": detail, "hint": "The log has the traceback.", "faults": []}
    faults = [{"pointer": fault.pointer, "detail": fault.detail} for fault in error.faults[:FAULTS]]
    return {"code": error.code, "detail": error.detail, "hint": error.hint, "faults": faults}


def saved_step(folder: Path) -> int:
    """The step of the newest checkpoint; 0 where there is none."""
    names = (path.name.removeprefix("step-") for path in (folder / "checkpoints").glob("step-*"))
    return max((int(name) for name in names if name.isdigit()), default=0)


def _named(error: Exception) -> Problem | None:
    """The error as one that a user may see, where we know what it says."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return Unavailable(
            "The machine has no memory left for this training.",
            hint="Stop what else runs there, or lower batch_size and raise accumulation by as much.",
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" while writing {error.filename}" if error.filename else ""
        return DiskFull(f"No space left{where}.", hint="Free space, then start the run again.")
    return None

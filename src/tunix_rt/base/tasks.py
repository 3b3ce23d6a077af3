"""Work that a cancellation may not cut in the middle."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def undisturbed(work: Coroutine[Any, Any, T], seconds: float | None = None) -> T:
    """Run `work` to its end: who is cancelled meanwhile is cancelled after it, or after so many seconds at most.

    A database connection that is cancelled in the middle of a statement cannot be used again, and SQLite keeps its
    lock until the connection is collected.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=seconds)
        raise

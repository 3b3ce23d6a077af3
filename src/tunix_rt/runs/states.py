"""The life of a run, as a table (docs/runs.md): who may move it where, and the one statement that does."""

from enum import StrEnum
from typing import Any

from sqlalchemy import Result, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.db import moment
from tunix_rt.base.errors import Conflict
from tunix_rt.base.wake import announce
from tunix_rt.runs.models import Run, RunEvent

CHANNEL = "tunix_rt_runs"
"""Where everything that a viewer of a run could see is announced."""


class RunStatus(StrEnum):
    """Where a run is in its life."""

    PENDING = "pending"
    RUNNING = "running"
    CANCEL_REQUESTED = "cancel_requested"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


FINAL = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.TIMEOUT, RunStatus.CANCELLED})

MOVES: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.PENDING: frozenset({RunStatus.RUNNING, RunStatus.CANCELLED}),
    RunStatus.RUNNING: frozenset(
        {
            RunStatus.COMPLETED,
            RunStatus.FAILED,
            RunStatus.TIMEOUT,
            RunStatus.PENDING,  # its worker died or was asked to stop
            RunStatus.CANCEL_REQUESTED,
        }
    ),
    RunStatus.CANCEL_REQUESTED: frozenset({RunStatus.CANCELLED}),
    **{status: frozenset() for status in FINAL},
}


async def begin(session: AsyncSession, number: int, actor: str) -> None:
    """Write the first line of a new run's history."""
    await _note(session, number, None, RunStatus.PENDING, actor, None)


async def move(
    session: AsyncSession,
    number: int,
    before: RunStatus,
    after: RunStatus,
    actor: str,
    reason: str | None = None,
    **values: Any,
) -> bool:
    """Move a run from one state to another, if that is where it is, and write its history.

    Args:
        session: of the caller, whose transaction decides.
        number: which run.
        before: where it must be.
        after: where it goes.
        actor: who moves it: `api`, or a worker's name.
        reason: why; becomes the run's `status_reason`.
        values: further columns of the run.

    Returns:
        False when the run is in another state: it lost a race, and nothing was changed.

    Raises:
        ValueError: the table knows no such move; a bug of the caller's.
    """
    if after not in MOVES[before]:
        raise ValueError(f"a run never goes from {before} to {after}")
    if after in FINAL:
        values.setdefault("completed_at", moment(session))
    statement = (
        update(Run)
        .where(Run.number == number, Run.status == before)
        .values(status=after, status_reason=reason, revision=Run.revision + 1, **values)
        .execution_options(synchronize_session=False)
    )
    result: Result[Any] = await session.execute(statement)
    if result.rowcount != 1:  # type: ignore[attr-defined]  # an update's result has one
        return False
    await _note(session, number, before, after, actor, reason)
    return True


async def wish(session: AsyncSession, number: int, actor: str, what: str) -> bool:
    """Write what a running run is asked for into its history, where its worker reads it (`newest`).

    Args:
        session: of the caller, whose transaction decides.
        number: which run.
        actor: who asks.
        what: is asked for, in words.

    Returns:
        False when the run is not running: nothing was changed.
    """
    statement = (
        update(Run)
        .where(Run.number == number, Run.status == RunStatus.RUNNING)
        .values(revision=Run.revision + 1)
        .execution_options(synchronize_session=False)
    )
    result: Result[Any] = await session.execute(statement)
    if result.rowcount != 1:  # type: ignore[attr-defined]  # an update's result has one
        return False
    await _note(session, number, RunStatus.RUNNING, RunStatus.RUNNING, actor, what)
    return True


async def newest(session: AsyncSession, number: int) -> RunEvent:
    """The last line of a run's history: where it is, and whether it is asked for something (`running` to `running`)."""
    query = select(RunEvent).where(RunEvent.run_number == number).order_by(RunEvent.number.desc()).limit(1)
    return (await session.scalars(query)).one()


async def refusal(session: AsyncSession, number: int, what: str) -> Conflict:
    """The error for who lost a race, with the state as it truly is."""
    status = await session.scalar(select(Run.status).where(Run.number == number))
    return Conflict(f"The run is {status}; {what}.", hint="See its history: tunix-rt runs show ID")


async def _note(
    session: AsyncSession, number: int, before: RunStatus | None, after: RunStatus, actor: str, reason: str | None
) -> None:
    row = {
        "run_number": number,
        "time": moment(session),
        "before": before,
        "after": after,
        "actor": actor,
        "reason": reason,
    }
    await session.execute(insert(RunEvent).values(row))
    await announce(session, CHANNEL)

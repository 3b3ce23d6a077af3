"""The queue: each operation is one guarded statement, the same on SQLite and PostgreSQL.

A job is held by a lease that its holder keeps extending. Whoever takes the job raises `claim`, and all that is done
on the job's behalf names the claim that it was taken with: of two that believe to hold a job, one is refused.
"""

import functools
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, Result, Select, Table, Update, bindparam, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningUpdate

from tunix_rt.base.db import is_sqlite, later, moment, present
from tunix_rt.base.wake import announce
from tunix_rt.jobs.models import PENDING, Job, JobState
from tunix_rt.jobs.retry import End, delay_seconds

CHANNEL = "tunix_rt_jobs"
"""Where the arrival of a job is announced."""


class LeaseLost(Exception):
    """Somebody else has the job now, or it is over: nothing may be written for it any more."""


@dataclass(frozen=True)
class Claimed:
    """A job in somebody's hands.

    Attributes:
        number: which.
        claim: the fencing token that it was taken with.
        kind: what kind of work.
        payload: what to do.
        attempt: which attempt this is, from 1.
        max_attempts: how many there are.
        worker: who had it last before its lease ran out, else who has it.
    """

    number: int
    claim: int
    kind: str
    payload: dict[str, Any]
    attempt: int
    max_attempts: int
    worker: str


_CLAIMED = (Job.number, Job.claim, Job.kind, Job.payload, Job.attempt, Job.max_attempts, Job.worker)


@dataclass(frozen=True)
class Settled:
    """What became of a job: its state, the attempt it is at, and when it may be claimed again.

    Attributes:
        state: pending again, or final.
        attempt: the next attempt where it is pending, else the last.
        delay_seconds: how long it stays unclaimed where it is pending.
    """

    state: JobState
    attempt: int
    delay_seconds: float


async def enqueue(
    session: AsyncSession,
    kind: str,
    payload: dict[str, Any],
    *,
    key: str | None = None,
    needs: str | None = None,
    priority: int = 0,
    max_attempts: int = 3,
) -> tuple[int, bool]:
    """Add a job; it can be claimed once the session commits.

    Args:
        session: of the caller, whose transaction decides.
        kind: which handler does it.
        payload: what the handler needs to know.
        key: a job with this key is added once, whoever else adds it at the same time.
        needs: what a worker must offer.
        priority: higher ones are claimed first; among equals the order of arrival decides.
        max_attempts: how often it may crash before it has failed.

    Returns:
        The job's number, and whether it is new.
    """
    insert = insert_sqlite if is_sqlite(session) else insert_postgresql
    statement = insert(Job).values(
        kind=kind,
        key=key,
        needs=needs,
        payload=payload,
        rank=-priority,
        max_attempts=max_attempts,
        available_at=moment(session),
    )
    if key is not None:
        statement = statement.on_conflict_do_nothing(index_elements=["key"])
    number = await session.scalar(statement.returning(Job.number))
    if number is None:
        found = await session.scalar(select(Job.number).where(Job.key == key))
        assert found is not None, "it stood in the way of the insert"
        return found, False
    await announce(session, CHANNEL)
    return number, True


async def claim(
    session: AsyncSession,
    worker: str,
    kinds: Collection[str],
    offers: Collection[str],
    lease_seconds: float,
    only: int | None = None,
) -> Claimed | None:
    """Take the first job that is due and that this worker can do.

    Args:
        session: of the caller.
        worker: its name.
        kinds: of job that it has handlers for.
        offers: what it offers to jobs that need something.
        lease_seconds: for how long nobody else may have it.
        only: this job and no other.
    """
    values: dict[str, Any] = {"holder": worker, "at": timedelta(), "until": timedelta(seconds=lease_seconds)}
    values |= {"kinds": list(kinds), "offers": list(offers)} if only is None else {"only": only}
    row = (await session.execute(_claim(is_sqlite(session), only is not None), values)).one_or_none()
    return None if row is None else Claimed(*row)


async def any_due(session: AsyncSession, kinds: Collection[str], offers: Collection[str]) -> bool:
    """Whether `claim` would find something: a look that takes no lock."""
    values = {"kinds": list(kinds), "offers": list(offers), "at": timedelta()}
    return await session.scalar(_first(is_sqlite(session), False), values) is not None


# What every job goes through is built once, and of the table rather than the class: to build a statement takes as long
# as to send it, and so does the way of a class's statement through the ORM.

_JOBS = cast(Table, Job.__table__)
_JOB = _JOBS.c
_PENDING = _JOB.state == JobState.PENDING
_HELD = (
    _JOB.number == bindparam("held_number"),
    _JOB.claim == bindparam("held_claim"),
    _JOB.state == JobState.RUNNING,
)


@functools.cache
def _first(sqlite: bool, only: bool) -> Select[tuple[int]]:
    due: list[ColumnElement[bool]] = [_JOB.number == bindparam("only")]
    if not only:
        due = [
            _JOB.available_at <= later(sqlite, "at"),
            _JOB.kind.in_(bindparam("kinds", expanding=True)),
            or_(_JOB.needs.is_(None), _JOB.needs.in_(bindparam("offers", expanding=True))),
        ]
    return select(_JOB.number).where(_PENDING, *due).order_by(_JOB.rank, _JOB.number).limit(1)


@functools.cache
def _claim(sqlite: bool, only: bool) -> ReturningUpdate[Any]:
    first = _first(sqlite, only).with_for_update(skip_locked=True)
    return (
        update(_JOBS)
        .where(_JOB.number == first.scalar_subquery(), _PENDING)
        .values(
            state=JobState.RUNNING,
            claim=_JOB.claim + 1,
            worker=bindparam("holder"),
            claimed_at=later(sqlite, "at"),
            lease_expires_at=later(sqlite, "until"),
        )
        .returning(*(_JOB[column.key] for column in _CLAIMED))
    )


@functools.cache
def _hold(sqlite: bool) -> Update:
    return update(_JOBS).where(*_HELD).values(lease_expires_at=later(sqlite, "until"))


@functools.cache
def _settle(sqlite: bool, waits: bool) -> Update:
    when = {"available_at" if waits else "finished_at": later(sqlite, "at")}
    told: dict[str, Any] = {name: bindparam(f"new_{name}") for name in ("state", "attempt", "reason")}
    return update(_JOBS).where(*_HELD).values(**told, lease_expires_at=None, **when)


def _expired(session: AsyncSession, kinds: Collection[str]) -> list[ColumnElement[bool]]:
    return [Job.state == JobState.RUNNING, Job.lease_expires_at < moment(session), Job.kind.in_(kinds)]


async def any_expired(session: AsyncSession, kinds: Collection[str]) -> bool:
    """Whether `take_expired` would find something: a look that takes no lock."""
    return await session.scalar(select(Job.number).where(*_expired(session, kinds)).limit(1)) is not None


async def take_expired(session: AsyncSession, kinds: Collection[str], lease_seconds: float) -> Claimed | None:
    """Take a job whose holder was not heard of until its lease ran out; the holder is shut out from here on.

    The caller settles it in the same transaction.
    """
    expired = (
        select(Job.number)
        .where(*_expired(session, kinds))
        .order_by(Job.lease_expires_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    statement = (
        update(Job)
        .where(Job.number == expired.scalar_subquery(), *_expired(session, kinds))
        .values(
            claim=Job.claim + 1,
            expirations=Job.expirations + 1,
            lease_expires_at=moment(session, lease_seconds),
        )
    )
    return await _taken(session, statement)


async def put_off(session: AsyncSession, number: int, lease_seconds: float) -> None:
    """Let a lease that ran out run out once more, later."""
    values = {"lease_expires_at": moment(session, lease_seconds)}
    await session.execute(_plain(update(Job).where(Job.number == number, Job.state == JobState.RUNNING).values(values)))


async def _taken(session: AsyncSession, statement: Update) -> Claimed | None:
    row = (await session.execute(_plain(statement).returning(*_CLAIMED))).one_or_none()
    return None if row is None else Claimed(*row)


def _plain(statement: Update) -> Update:
    return statement.execution_options(synchronize_session=False)


async def hold(session: AsyncSession, job: Claimed, lease_seconds: float) -> None:
    """Extend the lease, and keep everybody else off the job until this transaction ends.

    Raises:
        LeaseLost: the job is not held with this claim any more.
    """
    await _of_holder(session, job, _hold(is_sqlite(session)), until=timedelta(seconds=lease_seconds))


async def _of_holder(session: AsyncSession, job: Claimed, statement: Update, **values: Any) -> None:
    values |= {"held_number": job.number, "held_claim": job.claim}
    result: Result[Any] = await session.execute(statement, values)
    if result.rowcount != 1:  # type: ignore[attr-defined]  # an update's result has one
        raise LeaseLost(f"job {job.number}, claim {job.claim}")


async def settle(session: AsyncSession, job: Claimed, end: End, reason: str | None = None) -> Settled:
    """End an attempt.

    Args:
        session: of the caller, who writes what the attempt brought in the same transaction.
        job: as it was claimed.
        end: how the attempt ended.
        reason: why, where it was not done.

    Raises:
        LeaseLost: the job is not held with this claim any more; the attempt counts for nothing.
    """
    state, attempt, delay = JobState.FAILED, job.attempt, 0.0
    if end is End.DONE:
        state = JobState.DONE
    elif end is End.CANCELLED:
        state = JobState.CANCELLED
    elif end is End.RELEASED:
        state = JobState.PENDING
    elif end is End.CRASHED and job.attempt < job.max_attempts:
        state, attempt, delay = JobState.PENDING, job.attempt + 1, delay_seconds(job.attempt)
    waits = state is JobState.PENDING
    values = {"new_state": state, "new_attempt": attempt, "new_reason": reason, "at": timedelta(seconds=delay)}
    await _of_holder(session, job, _settle(is_sqlite(session), waits), **values)
    if waits:
        await announce(session, CHANNEL)
    return Settled(state, attempt, delay)


async def cancel(session: AsyncSession, number: int) -> bool:
    """Cancel a job that nobody has taken yet; False when it is too late for that."""
    statement = (
        update(Job)
        .where(Job.number == number, Job.state == JobState.PENDING)
        .values(state=JobState.CANCELLED, finished_at=moment(session))
    )
    result: Result[Any] = await session.execute(_plain(statement))
    return bool(result.rowcount == 1)  # type: ignore[attr-defined]  # an update's result has one


async def counts_before(session: AsyncSession, kind: str, needs: str | None, offers: Collection[str]) -> dict[int, int]:
    """How many pending jobs are claimed before each pending one of a kind.

    Args:
        session: of the caller.
        kind: of job.
        needs: only jobs that need this are counted for; None: those that need nothing.
        offers: of the workers that may claim them: a job that needs something else is in nobody's way.

    Returns:
        By the number of the job, in the order of claiming.
    """
    position = (func.row_number().over(order_by=(Job.rank, Job.number)) - 1).label("position")
    claimable = or_(Job.needs.is_(None), Job.needs.in_(offers))
    line = select(Job.number, Job.kind, Job.needs, position).where(PENDING, claimable).subquery()
    query = select(line.c.number, line.c.position).where(line.c.kind == kind, line.c.needs == needs)
    rows = (await session.execute(query.order_by(line.c.position))).all()
    return {row.number: row.position for row in rows}


async def depth(session: AsyncSession) -> dict[str, int]:
    """How many jobs wait and how many are being done."""
    counted = (
        select(Job.state, func.count()).where(Job.state.in_((JobState.PENDING, JobState.RUNNING))).group_by(Job.state)
    )
    found = {str(state): int(count) for state, count in (await session.execute(counted)).all()}
    return {state: found.get(state, 0) for state in (JobState.PENDING, JobState.RUNNING)}


async def oldest_pending_seconds(session: AsyncSession) -> float:
    """For how long the job that was due first has been waiting; 0 where none waits."""
    due = select(func.min(Job.available_at)).where(Job.state == JobState.PENDING)
    oldest = await session.scalar(due)
    return 0.0 if oldest is None else max(0.0, (await present(session) - oldest).total_seconds())

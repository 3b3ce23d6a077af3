"""Doing jobs: claim, work with no session held, settle. A worker whose heartbeat dies lets its job go and stops."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base import log as logs
from tunix_rt.base.db import DATABASE_DOWN, Database
from tunix_rt.base.errors import DiskFull, Problem, Unavailable
from tunix_rt.base.tasks import undisturbed
from tunix_rt.base.wake import Wake
from tunix_rt.jobs import queue
from tunix_rt.jobs.lease import DATABASE_REFUSED, HeartbeatDead, Lease
from tunix_rt.jobs.queue import Claimed, LeaseLost, Settled
from tunix_rt.jobs.retry import End

log = logging.getLogger(__name__)

REAPER = "reaper"
"""Who puts back what a lost worker held, in the histories."""
LOOK_SECONDS = 1.0
"""How often to look for work, and for lost leases, without being woken."""


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended, and what it brought.

    Attributes:
        end: decides what becomes of the job.
        reason: why, where it was not done.
        result: for the handler's own `settled`; None where the work itself fell over.
    """

    end: End
    reason: str | None = None
    result: Any = None


class Handler(Protocol):
    """How one kind of job is done."""

    async def claimed(self, session: AsyncSession, job: Claimed) -> None:
        """Note that the job was taken, in the transaction that takes it."""
        ...

    async def work(self, lease: Lease) -> Outcome:
        """Do it; short sessions only. Cancelled when the lease is lost: then nothing may be left running."""
        ...

    async def settled(self, session: AsyncSession, job: Claimed, outcome: Outcome, settled: Settled) -> None:
        """Note how the attempt ended, in the transaction that settles the job; of a worker that died, too."""
        ...


Handlers = Mapping[str, Handler]
Then = Callable[[AsyncSession], Awaitable[None]]


async def claim(
    database: Database, handlers: Handlers, worker: str, offers: list[str], seconds: float, only: int | None = None
) -> Claimed | None:
    """Take a job, see `queue.claim`; the handler notes it in the same transaction."""
    if only is None and database.is_sqlite:  # where a claim that finds nothing would have held up all writers
        async with database.read() as session:
            if not await queue.any_due(session, list(handlers), offers):
                return None
    async with database.write("claim") as session:
        return await _take(session, handlers, worker, offers, seconds, only)


async def _take(
    session: AsyncSession, handlers: Handlers, worker: str, offers: list[str], seconds: float, only: int | None = None
) -> Claimed | None:
    job = await queue.claim(session, worker, list(handlers), offers, seconds, only)
    if job is not None:
        await handlers[job.kind].claimed(session, job)
    return job


async def perform(lease: Lease, handler: Handler, then: Then | None = None) -> Settled | None:
    """Do a claimed job to its end, beating all the while.

    Args:
        lease: on the job.
        handler: of its kind.
        then: what else is written in the transaction that settles the job, if it can be.

    Returns:
        What became of it; None where it was lost to somebody else, or had to be let go.

    Raises:
        HeartbeatDead: the database was out of reach until the lease had nearly run out; the work was ended.
    """
    with logs.bind(job=lease.job.number, **{key: value for key, value in lease.job.payload.items() if key == "run"}):
        beating = asyncio.create_task(lease.keep())
        working = asyncio.create_task(_work_and_settle(lease, handler, then))
        try:
            await asyncio.wait({beating, working}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            beating.result()
            raise AssertionError("a heartbeat only ends by an error")
        except LeaseLost as lost:
            log.warning("the job is somebody else's now", extra={"reason": str(lost)})
            return None
        finally:
            for task in (beating, working):
                task.cancel()
            await asyncio.gather(beating, working, return_exceptions=True)


async def _work_and_settle(lease: Lease, handler: Handler, then: Then | None) -> Settled | None:
    try:
        outcome = await handler.work(lease)
    except (LeaseLost, asyncio.CancelledError):
        raise
    except (DiskFull, Unavailable) as problem:
        outcome = Outcome(End.CRASHED, problem.detail)
    except Problem as problem:
        outcome = Outcome(End.REFUSED, problem.detail)
    except DATABASE_DOWN as error:
        outcome = Outcome(End.CRASHED, f"the database failed: {type(error).__name__}")
    except Exception as error:  # a bug of ours: the job is tried again and the log says where
        log.exception("the work failed")
        outcome = Outcome(End.CRASHED, f"{type(error).__name__}: {error}")
    lost = Outcome(End.CRASHED, "its result could not be stored")
    for ending, also in ((outcome, then), (outcome, None), (lost, None)):
        try:
            return await _settle(lease, handler, ending, also)
        except LeaseLost:
            raise
        except Exception:  # a bug of ours again: without `then`, or at last without its result, it can be settled
            log.exception("the result could not be stored")
    log.error("the job is let go: its lease will run out")
    return None


async def _settle(lease: Lease, handler: Handler, outcome: Outcome, then: Then | None) -> Settled:
    while True:
        try:
            async with lease.database.write("apply") as session:  # settling is guarded as holding is
                settled = await queue.settle(session, lease.job, outcome.end, outcome.reason)
                await handler.settled(session, lease.job, outcome, settled)
                if then is not None:
                    await then(session)
            return settled
        except DATABASE_REFUSED:
            raise
        except DATABASE_DOWN as error:  # until the heartbeat gives up
            log.warning("the result could not be stored yet", extra={"reason": type(error).__name__})
            await asyncio.sleep(0.5)


async def reap(database: Database, handlers: Handlers, lease_seconds: float) -> int:
    """Settle every job whose worker was not heard of until its lease ran out; returns how many.

    One that cannot be settled, by a bug of ours, does not stand in the others' way: its lease runs out once more.
    """
    count = 0
    while True:
        job: Claimed | None = None
        if database.is_sqlite:
            async with database.read() as session:
                if not await queue.any_expired(session, list(handlers)):
                    return count
        try:
            async with database.write("reap") as session:
                job = await queue.take_expired(session, list(handlers), lease_seconds)
                if job is None:
                    return count
                reason = f"worker {job.worker} was not heard of for {lease_seconds:g} s"
                settled = await queue.settle(session, job, End.CRASHED, reason)
                mine = replace(job, worker=REAPER)
                await handlers[job.kind].settled(session, mine, Outcome(End.CRASHED, reason), settled)
        except Exception as error:
            if job is None or (isinstance(error, DATABASE_DOWN) and not isinstance(error, DATABASE_REFUSED)):
                raise
            log.exception("a lost job could not be settled", extra={"job": job.number})
            async with database.write("reap") as session:
                await queue.put_off(session, job.number, lease_seconds)
            continue
        count += 1
        log.warning("a lease ran out", extra={"job": job.number, "worker": job.worker, "state": settled.state})


async def keep_reaping(database: Database, handlers: Handlers, lease_seconds: float) -> None:
    """Reap until cancelled; a database that does not answer is asked again."""
    while True:
        try:
            await undisturbed(reap(database, handlers, lease_seconds))
        except DATABASE_DOWN as error:
            log.warning("could not look for lost leases", extra={"reason": type(error).__name__})
        except Exception:
            log.exception("could not look for lost leases")
        await asyncio.sleep(LOOK_SECONDS)


async def run(
    database: Database,
    handlers: Handlers,
    worker: str,
    offers: Callable[[], list[str]],
    lease_seconds: float,
    stop: asyncio.Event,
    beat: Callable[[AsyncSession, int | None], Awaitable[None]],
) -> None:
    """Claim and do jobs, one at a time, until asked to stop.

    Args:
        database: whose queue.
        handlers: by kind of job.
        worker: our name.
        offers: what we offer at present to jobs that need something.
        lease_seconds: how long we hold a job without a beat.
        stop: set when no further job shall be claimed and the present one be given back.
        beat: notes that we live, and the job that we do.

    Raises:
        HeartbeatDead: while a job was done; see `perform`.
    """
    clock = asyncio.get_running_loop().time
    beaten, noted = float("-inf"), False
    job: Claimed | None = None
    following: Claimed | None = None

    def beat_is_due() -> bool:
        return noted or clock() - beaten > lease_seconds / 3

    async def beside(session: AsyncSession) -> None:
        nonlocal noted
        noted = True
        assert job is not None, "beside a job"
        await beat(session, job.number)

    async def take_next(session: AsyncSession) -> None:
        """Take the next job with the transaction that settles this one: of short jobs, twice as many a second."""
        nonlocal following
        following = None
        if not (beat_is_due() or stop.is_set()):
            following = await _take(session, handlers, worker, offers(), lease_seconds)

    stopping = asyncio.create_task(stop.wait())
    try:
        async with Wake(database, queue.CHANNEL) as wake:
            while job is not None or not stop.is_set():
                try:
                    if job is None and beat_is_due():
                        async with database.write("beat") as session:
                            await beat(session, None)
                        beaten, noted = clock(), False
                    job = job or await claim(database, handlers, worker, offers(), lease_seconds)
                except DATABASE_DOWN as error:
                    log.warning("the database does not answer", extra={"reason": type(error).__name__})
                    await asyncio.wait({stopping}, timeout=LOOK_SECONDS)
                    continue
                if job is None:
                    waiting = asyncio.create_task(wake.wait(LOOK_SECONDS))
                    await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
                    waiting.cancel()
                    continue
                lease = Lease(database, job, lease_seconds, stop, beside)
                settled = await perform(lease, handlers[job.kind], take_next)
                job = None if settled is None else following
    finally:
        stopping.cancel()


__all__ = ["Handler", "Handlers", "HeartbeatDead", "Outcome", "claim", "keep_reaping", "perform", "reap", "run"]

"""Doing jobs: whatever happens to the work, the worker or the database, a job is done, tried again, or has failed."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from tests.make import clock_jumps, out_of_reach
from tunix_rt.base.db import Database
from tunix_rt.base.errors import BadInput, DiskFull, Unavailable
from tunix_rt.base.settings import Settings
from tunix_rt.jobs import loop, queue
from tunix_rt.jobs.lease import HeartbeatDead, Lease
from tunix_rt.jobs.loop import Outcome
from tunix_rt.jobs.models import Job, JobState
from tunix_rt.jobs.queue import Claimed, Settled
from tunix_rt.jobs.retry import End

LEASE = 60.0
DONE = Outcome(End.DONE, result="result")
PATIENCE = 240.0
"""Seconds after which a test gives up; never what it asserts."""


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOOK_SECONDS", 0.05)


class Handler:
    """Does jobs as a test says, and keeps what was told about them."""

    def __init__(self, work: Callable[[Lease], Awaitable[Outcome]]) -> None:
        self._work = work
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.claims: list[Claimed] = []
        self.ends: list[tuple[Outcome, Settled]] = []

    async def claimed(self, session: AsyncSession, job: Claimed) -> None:
        self.claims.append(job)

    async def work(self, lease: Lease) -> Outcome:
        self.started.set()
        try:
            return await self._work(lease)
        finally:
            self.ended.set()

    async def settled(self, session: AsyncSession, job: Claimed, outcome: Outcome, settled: Settled) -> None:
        self.ends.append((outcome, settled))


async def done(lease: Lease) -> Outcome:
    return DONE


async def for_ever(lease: Lease) -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError


def raising(error: Exception) -> Callable[[Lease], Awaitable[Outcome]]:
    async def work(lease: Lease) -> Outcome:
        raise error

    return work


async def add(database: Database, kind: str = "work", **options: Any) -> int:
    async with database.write() as session:
        number, _ = await queue.enqueue(session, kind, {}, **options)
    return number


async def perform(database: Database, handler: loop.Handler, seconds: float = LEASE) -> Settled | None:
    job = await loop.claim(database, {"work": handler}, "a", [], LEASE)
    assert job is not None, "no job is due"
    async with asyncio.timeout(PATIENCE):
        return await loop.perform(Lease(database, job, seconds, asyncio.Event()), handler)


async def stored(database: Database, number: int) -> Job:
    async with database.read() as session:
        return (await session.scalars(select(Job).where(Job.number == number))).one()


async def no_beat(session: AsyncSession, job: int | None) -> None:
    pass


@asynccontextmanager
async def running(
    database: Database, handler: loop.Handler, seconds: float = LEASE, stop: asyncio.Event | None = None
) -> AsyncIterator["asyncio.Task[None]"]:
    """A worker's loop for the length of a block."""
    stop = stop or asyncio.Event()
    task = asyncio.create_task(loop.run(database, {"work": handler}, "a", list, seconds, stop, no_beat))
    try:
        async with asyncio.timeout(PATIENCE):
            yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_a_job_is_done_and_its_result_told_in_the_same_transaction(database: Database) -> None:
    number = await add(database)
    handler = Handler(done)
    settled = await perform(database, handler)
    assert settled is not None
    assert handler.ends == [(DONE, settled)]
    assert (await stored(database, number)).state == JobState.DONE


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (ZeroDivisionError("by zero"), JobState.PENDING, "ZeroDivisionError: by zero"),
        (BadInput("no such split"), JobState.FAILED, "no such split"),
        (DiskFull("no space"), JobState.PENDING, "no space"),
        (Unavailable("no answer"), JobState.PENDING, "no answer"),
    ],
)
async def test_work_that_falls_over_is_a_crash_unless_its_input_is_at_fault(
    database: Database, error: Exception, state: JobState, reason: str
) -> None:
    number = await add(database, max_attempts=2)
    await perform(database, Handler(raising(error)))
    job = await stored(database, number)
    assert (job.state, job.reason, job.lease_expires_at) == (state, reason, None)


async def test_a_job_that_always_crashes_has_failed_when_its_attempts_are_used_up(database: Database) -> None:
    number = await add(database, max_attempts=3)
    handler = Handler(raising(RuntimeError("again")))
    for _ in range(3):
        await perform(database, handler)
        await clock_jumps(database, 300)
    assert [job.attempt for job in handler.claims] == [1, 2, 3]
    assert [settled.state for _, settled in handler.ends] == [JobState.PENDING, JobState.PENDING, JobState.FAILED]
    assert (await stored(database, number)).state == JobState.FAILED


async def test_a_bug_in_noting_the_claim_leaves_the_job_for_others(database: Database) -> None:
    class Broken(Handler):
        async def claimed(self, session: AsyncSession, job: Claimed) -> None:
            raise RuntimeError

    number = await add(database)
    with pytest.raises(RuntimeError):
        await perform(database, Broken(done))
    assert ((await stored(database, number)).state, (await stored(database, number)).claim) == (JobState.PENDING, 0)


async def test_a_result_that_cannot_be_stored_is_a_crash_and_not_a_job_in_hand_for_ever(database: Database) -> None:
    class Unstorable(Handler):
        async def settled(self, session: AsyncSession, job: Claimed, outcome: Outcome, settled: Settled) -> None:
            await super().settled(session, job, outcome, settled)
            if outcome is DONE:
                for _ in range(2):
                    await session.execute(insert(Job).values(kind="x", key="twice", payload={}, rank=0, max_attempts=1))

    number = await add(database)
    handler = Unstorable(done)
    await perform(database, handler)
    job = await stored(database, number)
    assert (job.state, job.attempt) == (JobState.PENDING, 2)
    assert (job.reason or "").startswith("its result could not be stored")


async def test_a_job_that_cannot_be_settled_at_all_does_not_stop_the_worker(database: Database) -> None:
    class Broken(Handler):
        async def settled(self, session: AsyncSession, job: Claimed, outcome: Outcome, settled: Settled) -> None:
            raise RuntimeError

    number = await add(database)
    assert await perform(database, Broken(done)) is None
    assert (await stored(database, number)).state == JobState.RUNNING, "until its lease runs out"


async def test_work_that_outlasts_its_lease_is_kept_by_beating(database: Database, settings: Settings) -> None:
    async def waits(lease: Lease) -> Outcome:
        beats, enough = itertools.count(1), asyncio.Event()
        lease.on_beat = lambda: enough.set() if next(beats) == 6 else None  # one and a half leases
        await enough.wait()
        return DONE

    number = await add(database)
    handler = Handler(waits)
    other = Database(settings.sqlalchemy_url)
    reaping = asyncio.create_task(loop.keep_reaping(other, {"work": handler}, 1.0))
    try:
        assert await perform(database, handler, 1.0) is not None
    finally:
        reaping.cancel()
        await asyncio.gather(reaping, return_exceptions=True)
        await other.close()
    job = await stored(database, number)
    assert (job.state, job.expirations, job.claim) == (JobState.DONE, 0, 1)


async def test_work_ends_when_its_lease_is_lost_and_its_result_counts_for_nothing(database: Database) -> None:
    number = await add(database)
    handler = Handler(for_ever)
    performing = asyncio.create_task(perform(database, handler, 1.0))
    await handler.started.wait()
    await clock_jumps(database, LEASE + 1)
    reaper = Handler(done)
    assert await loop.reap(database, {"work": reaper}, 1.0) == 1
    assert await performing is None
    assert handler.ended.is_set()
    assert handler.ends == []
    [(outcome, settled)] = reaper.ends
    assert (outcome.end, settled.state, settled.attempt) == (End.CRASHED, JobState.PENDING, 2)
    assert outcome.reason == "worker a was not heard of for 1 s"
    assert (await stored(database, number)).attempt == 2


async def test_a_late_result_is_refused(database: Database) -> None:
    async def late(lease: Lease) -> Outcome:
        await clock_jumps(database, LEASE + 1)
        assert await loop.reap(database, {"work": Handler(done)}, LEASE) == 1
        return DONE

    number = await add(database)
    handler = Handler(late)
    assert await perform(database, handler) is None
    assert handler.ends == []
    assert (await stored(database, number)).state == JobState.PENDING


async def test_reaping_settles_all_and_stores_none_in_part(database: Database) -> None:
    class Broken(Handler):
        async def settled(self, session: AsyncSession, job: Claimed, outcome: Outcome, settled: Settled) -> None:
            await queue.enqueue(session, "effect", {})
            raise RuntimeError

    numbers = [await add(database, kind) for kind in ("broken", "work", "work")]
    handlers = {"work": Handler(done), "broken": Broken(done)}
    for _ in numbers:
        assert await loop.claim(database, handlers, "a", [], LEASE) is not None
    await clock_jumps(database, LEASE + 1)
    assert await loop.reap(database, handlers, LEASE) == 2
    states = [(await stored(database, number)).state for number in numbers]
    assert states == [JobState.RUNNING, JobState.PENDING, JobState.PENDING]
    async with database.read() as session:
        assert await session.scalar(select(func.count()).where(Job.kind == "effect")) == 0
    await clock_jumps(database, LEASE + 1)
    assert await loop.reap(database, {**handlers, "broken": Handler(done)}, LEASE) == 1, "it is tried again later"


async def test_a_job_that_nobody_here_can_settle_is_left_to_others(database: Database) -> None:
    await add(database, "newer")
    assert await loop.claim(database, {"newer": Handler(done)}, "a", [], LEASE) is not None
    await clock_jumps(database, LEASE + 1)
    assert await loop.reap(database, {"work": Handler(done)}, LEASE) == 0
    assert await loop.reap(database, {"newer": Handler(done)}, LEASE) == 1


async def test_a_loop_does_what_comes_and_is_woken_for_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOOK_SECONDS", 10 * PATIENCE)  # unasked, it would look too late
    handler = Handler(done)
    async with running(database, handler):
        for count in range(1, 4):
            await add(database)
            await until(lambda count=count: settled(handler, count))  # type: ignore[misc]  # the loop's present count
    assert [outcome for outcome, _ in handler.ends] == [DONE] * 3


async def settled(handler: Handler, count: int) -> bool:
    return len(handler.ends) >= count


async def test_a_crashed_job_is_tried_again_when_its_time_has_come(database: Database) -> None:
    async def crashes_once(lease: Lease) -> Outcome:
        return DONE if lease.job.attempt == 2 else Outcome(End.CRASHED, "once")

    handler = Handler(crashes_once)
    await add(database)
    async with running(database, handler):
        await until(lambda: settled(handler, 1))
        await clock_jumps(database, 1)
        await until(lambda: settled(handler, 2))
    assert [outcome.end for outcome, _ in handler.ends] == [End.CRASHED, End.DONE]


async def test_a_loop_that_is_told_to_stop_gives_its_job_back_and_claims_no_more(database: Database) -> None:
    async def until_stopped(lease: Lease) -> Outcome:
        await lease.stop.wait()
        return Outcome(End.RELEASED, "stopped")

    numbers = [await add(database) for _ in range(2)]
    handler, stop = Handler(until_stopped), asyncio.Event()
    async with running(database, handler, stop=stop) as task:
        await handler.started.wait()
        stop.set()
        await task
    assert len(handler.claims) == 1
    jobs = [await stored(database, number) for number in numbers]
    assert [(job.state, job.attempt) for job in jobs] == [(JobState.PENDING, 1)] * 2


async def test_an_idle_loop_ends_when_it_is_told_to_stop(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOOK_SECONDS", 10 * PATIENCE)
    stop = asyncio.Event()
    async with running(database, Handler(done), stop=stop) as task:
        await asyncio.sleep(0)
        stop.set()
        await task


# --- a database that fails ------------------------------------------------------------------------------------------


async def test_a_dead_heartbeat_ends_the_work_and_the_loop(database: Database) -> None:
    await add(database)
    handler = Handler(for_ever)
    async with running(database, handler, seconds=1.0) as task:
        await handler.started.wait()
        async with out_of_reach(database):
            with pytest.raises(HeartbeatDead):
                await task
            assert handler.ended.is_set()
            assert handler.ends == []


async def test_work_goes_on_through_a_failure_that_is_shorter_than_its_lease(database: Database) -> None:
    release = asyncio.Event()

    async def waits(lease: Lease) -> Outcome:
        await release.wait()
        return DONE

    number = await add(database)
    handler = Handler(waits)
    performing = asyncio.create_task(perform(database, handler, 60.0))  # a beat every 15 seconds
    await handler.started.wait()
    async with out_of_reach(database):
        release.set()  # the result has to wait
        assert not (await asyncio.wait({performing}, timeout=0.5))[0]
    assert await performing is not None
    assert (await stored(database, number)).state == JobState.DONE


async def test_an_idle_loop_outlives_a_failure(database: Database) -> None:
    handler = Handler(done)
    async with running(database, handler):
        await add(database)
        await until(lambda: settled(handler, 1))
        async with out_of_reach(database):
            await asyncio.sleep(0.2)
        await add(database)
        await until(lambda: settled(handler, 2))


async def test_reaping_outlives_a_failure(database: Database) -> None:
    await add(database)
    handler = Handler(done)
    assert await loop.claim(database, {"work": handler}, "dead", [], LEASE) is not None
    async with out_of_reach(database):
        reaping = asyncio.create_task(loop.keep_reaping(database, {"work": handler}, LEASE))
        await asyncio.wait({reaping}, timeout=0.2)
    await clock_jumps(database, LEASE + 1)
    try:
        await until(lambda: settled(handler, 1))
    finally:
        reaping.cancel()
        await asyncio.gather(reaping, return_exceptions=True)

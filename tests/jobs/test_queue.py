"""The queue's operations: who gets which job, who may write for it, and what becomes of it."""

import asyncio
import contextlib
import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from tests.make import clock_jumps
from tunix_rt.base.db import Database, now
from tunix_rt.base.settings import Settings
from tunix_rt.jobs import queue
from tunix_rt.jobs.lease import Lease
from tunix_rt.jobs.models import Job, JobState
from tunix_rt.jobs.queue import Claimed, LeaseLost, Settled
from tunix_rt.jobs.retry import End, delay_seconds

LEASE = 60.0


async def add(database: Database, kind: str = "work", **options: Any) -> int:
    async with database.write() as session:
        number, _ = await queue.enqueue(session, kind, options.pop("payload", {}), **options)
    return number


async def claim(
    database: Database, worker: str = "a", offers: tuple[str, ...] = (), kinds: tuple[str, ...] = ("work",)
) -> Claimed | None:
    async with database.write() as session:
        return await queue.claim(session, worker, kinds, offers, LEASE)


async def taken(database: Database, worker: str = "a") -> Claimed:
    found = await claim(database, worker)
    assert found is not None, "no job is due"
    return found


async def settle(database: Database, job: Claimed, end: End, reason: str | None = None) -> Settled:
    async with database.write() as session:
        return await queue.settle(session, job, end, reason)


async def stored(database: Database, number: int) -> Job:
    async with database.read() as session:
        return (await session.scalars(select(Job).where(Job.number == number))).one()


async def test_higher_priorities_come_first_and_equals_in_order_of_arrival(database: Database) -> None:
    added = [await add(database, priority=priority) for priority in (0, 5, -5, 5, 0)]
    order = [(await taken(database)).number for _ in added]
    assert order == [added[place] for place in (1, 3, 0, 4, 2)]
    assert await claim(database) is None


async def test_a_job_exists_once_its_transaction_commits_and_not_before(database: Database) -> None:
    with contextlib.suppress(RuntimeError):
        async with database.write() as session:
            await queue.enqueue(session, "work", {})
            raise RuntimeError
    assert await claim(database) is None


async def test_a_job_carries_what_was_asked(database: Database) -> None:
    number = await add(database, payload={"text": "ä", "list": [1, None]}, max_attempts=7)
    job = await taken(database, "somebody")
    assert job == Claimed(number, 1, "work", {"text": "ä", "list": [1, None]}, 1, 7, "somebody")


@pytest.mark.parametrize("commits", [True, False])
async def test_of_two_jobs_with_one_key_at_once_one_is_added(
    database: Database, settings: Settings, commits: bool
) -> None:
    other = Database(settings.sqlalchemy_url)

    async def second() -> tuple[int, bool]:
        async with other.write() as session:
            return await queue.enqueue(session, "work", {"by": "second"}, key="k")

    numbers = []
    try:
        async with database.write() as session:
            numbers.append((await queue.enqueue(session, "work", {"by": "first"}, key="k"))[0])
            racing = asyncio.create_task(second())
            done, _ = await asyncio.wait({racing}, timeout=0.2)
            assert not done, "it must wait for us: what we do decides"
            if not commits:
                await session.rollback()
        number, new = await racing
    finally:
        await other.close()
    assert new is not commits
    assert not commits or number == numbers[0]
    async with database.read() as session:
        assert [job.payload["by"] for job in await session.scalars(select(Job))] == ["first" if commits else "second"]


async def test_many_with_one_key_at_once_add_one_job(database: Database, settings: Settings) -> None:
    processes = [Database(settings.sqlalchemy_url) for _ in range(4)]

    async def one(process: Database) -> tuple[int, bool]:
        async with process.write() as session:
            return await queue.enqueue(session, "work", {}, key="same")

    try:
        found = await asyncio.gather(*(one(process) for process in processes * 3))
    finally:
        await asyncio.gather(*(process.close() for process in processes))
    assert len({number for number, _ in found}) == 1
    assert sorted(new for _, new in found) == [False] * 11 + [True]


async def test_no_job_is_given_to_two_workers(database: Database, settings: Settings) -> None:
    added = {await add(database) for _ in range(30)}
    processes = [Database(settings.sqlalchemy_url) for _ in range(4)]
    found: list[int] = []

    async def take_all(process: Database, worker: str) -> None:
        while (job := await claim(process, worker)) is not None:
            found.append(job.number)

    try:
        await asyncio.gather(*(take_all(process, f"w{place}") for place, process in enumerate(processes)))
    finally:
        await asyncio.gather(*(process.close() for process in processes))
    assert (len(found), set(found)) == (30, added)


async def test_a_worker_that_is_lost_inside_a_transaction_blocks_no_other(
    database: Database, settings: Settings
) -> None:
    if database.is_sqlite:
        return  # its locks end with their process
    await add(database)
    lost = Database(settings.sqlalchemy_url, idle_seconds=0.2)

    async def claim_and_hang() -> None:
        async with lost.write() as session:
            assert await queue.claim(session, "lost", ["work"], [], LEASE)
            deadline = time.monotonic() + 240
            while await claim(database, "other") is None:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)

    try:
        with pytest.raises(DBAPIError):
            await claim_and_hang()
    finally:
        await lost.close()


async def test_a_job_goes_to_whom_offers_what_it_needs(database: Database) -> None:
    picky, other = await add(database, needs="tunix", priority=1), await add(database)
    assert await claim(database, offers=("tunix",), kinds=("else",)) is None
    first = await claim(database, offers=("torch",))
    assert first is not None
    assert first.number == other
    assert await claim(database, offers=("torch",)) is None
    second = await claim(database, offers=("torch", "tunix"))
    assert second is not None
    assert second.number == picky


async def test_a_look_finds_what_a_claim_would(database: Database) -> None:
    async def looks(offers: tuple[str, ...]) -> bool:
        async with database.read() as session:
            return await queue.any_due(session, ("work",), offers)

    assert not await looks(())
    number = await add(database, needs="tunix")
    assert (await looks(()), await looks(("tunix",))) == (False, True)
    job = await claim(database, offers=("tunix",))
    assert job is not None
    await settle(database, job, End.CRASHED)
    assert not await looks(("tunix",)), "it waits before it is tried again"
    await clock_jumps(database, 2)
    assert await looks(("tunix",))
    async with database.write() as session:
        assert await queue.cancel(session, number)
    assert not await looks(("tunix",))


async def test_one_job_can_be_claimed_by_its_number(database: Database) -> None:
    _, second = await add(database), await add(database, needs="tunix")
    async with database.write() as session:
        job = await queue.claim(session, "a", ("work",), (), LEASE, only=second)
    assert job is not None
    assert job.number == second
    async with database.write() as session:
        assert await queue.claim(session, "b", ("work",), (), LEASE, only=second) is None


async def test_the_kind_of_its_end_decides_what_becomes_of_a_job(database: Database) -> None:
    for end, attempt, state, next_attempt in (
        (End.DONE, 1, JobState.DONE, 1),
        (End.REFUSED, 1, JobState.FAILED, 1),
        (End.CANCELLED, 1, JobState.CANCELLED, 1),
        (End.RELEASED, 1, JobState.PENDING, 1),
        (End.CRASHED, 1, JobState.PENDING, 2),
        (End.CRASHED, 2, JobState.FAILED, 2),
        (End.RELEASED, 2, JobState.PENDING, 2),
    ):
        number = await add(database, max_attempts=2)
        for _ in range(attempt - 1):
            await settle(database, await taken(database), End.CRASHED)
            await clock_jumps(database, 2)
        settled = await settle(database, await taken(database), end, "why")
        assert (settled.state, settled.attempt) == (state, next_attempt), end
        job = await stored(database, number)
        assert (job.state, job.attempt, job.reason, job.lease_expires_at) == (state, next_attempt, "why", None), end
        assert (job.finished_at is None) is (state is JobState.PENDING), end
        again = await claim(database)
        assert (again is not None) is (end is End.RELEASED), "only what was given back is due at once"
        async with database.write() as session:
            await (queue.settle(session, again, End.DONE) if again else queue.cancel(session, number))


async def test_a_crashed_job_waits_longer_each_time(database: Database) -> None:
    number = await add(database, max_attempts=4)
    for delay in (1.0, 4.0, 16.0):
        settled = await settle(database, await taken(database), End.CRASHED)
        assert settled.delay_seconds == delay
        wait = (await stored(database, number)).available_at - now()
        assert timedelta(seconds=delay - 5) < wait <= timedelta(seconds=delay)
        await clock_jumps(database, delay - 0.5)
        if delay > 1:  # half a second is longer than a claim takes
            assert await claim(database) is None
        await clock_jumps(database, 0.5)
    assert (await settle(database, await taken(database), End.CRASHED)).state is JobState.FAILED


def test_the_delays_grow_to_five_minutes() -> None:
    assert [delay_seconds(attempt) for attempt in range(1, 8)] == [1, 4, 16, 64, 256, 300, 300]
    assert delay_seconds(100) == 300


async def expired(database: Database, seconds: float = LEASE + 1) -> Claimed | None:
    """What a reaper takes, `seconds` later."""
    await clock_jumps(database, seconds)
    async with database.write() as session:
        return await queue.take_expired(session, ("work",), LEASE)


async def test_a_lease_that_runs_out_is_taken_and_one_that_is_kept_is_not(database: Database) -> None:
    number = await add(database)
    job = await taken(database)
    assert await expired(database, LEASE / 2) is None
    async with database.write() as session:
        await queue.hold(session, job, LEASE)
    assert await expired(database, LEASE / 2 + 1) is None
    found = await expired(database)
    assert found == Claimed(number, job.claim + 1, "work", {}, 1, 3, "a")
    assert (await stored(database, number)).expirations == 1


async def test_a_worker_that_lost_its_lease_can_neither_hold_nor_settle_nor_write(database: Database) -> None:
    number = await add(database)
    late = await taken(database)
    reaped = await expired(database)
    assert reaped is not None
    await settle(database, reaped, End.CRASHED)

    async def is_shut_out() -> None:
        for end in End:
            with pytest.raises(LeaseLost):
                await settle(database, late, end)
        with pytest.raises(LeaseLost):
            async with database.write() as session:
                await queue.hold(session, late, LEASE)
        with pytest.raises(LeaseLost):
            async with Lease(database, late, LEASE, asyncio.Event()).write("apply") as session:
                await queue.enqueue(session, "effect", {})
        async with database.read() as session:
            assert await session.scalar(select(func.count()).select_from(Job)) == 1

    await is_shut_out()  # while it waits
    await clock_jumps(database, 2)
    newer = await taken(database, "b")
    await is_shut_out()  # while somebody else has it
    assert (await settle(database, newer, End.DONE)).state is JobState.DONE
    await is_shut_out()  # and when it is over
    assert (await stored(database, number)).state == JobState.DONE


async def test_what_is_written_for_a_job_is_stored_and_extends_its_lease(database: Database) -> None:
    await add(database)
    lease = Lease(database, await taken(database), LEASE, asyncio.Event())
    await clock_jumps(database, LEASE - 1)
    async with lease.write("apply") as session:
        await queue.enqueue(session, "effect", {})
    assert await expired(database, 2) is None
    assert await claim(database, kinds=("effect",)) is not None


async def test_a_job_that_is_written_for_right_now_is_not_reaped(database: Database, settings: Settings) -> None:
    await add(database)
    lease = Lease(database, await taken(database), LEASE, asyncio.Event())
    other = Database(settings.sqlalchemy_url)

    async def reap() -> Claimed | None:
        async with other.write() as session:
            return await queue.take_expired(session, ("work",), LEASE)

    try:
        await clock_jumps(database, LEASE + 1)
        async with lease.write("apply"):  # nobody has noticed yet that it ran out
            reaping = asyncio.create_task(reap())
            await asyncio.wait({reaping}, timeout=0.2)
        assert await reaping is None
    finally:
        await other.close()


async def test_only_what_nobody_has_taken_is_cancelled_at_once(database: Database) -> None:
    async def cancel() -> bool:
        async with database.write() as session:
            return await queue.cancel(session, number)

    number = await add(database)
    job = await taken(database)
    assert not await cancel()
    await settle(database, job, End.RELEASED)
    assert await cancel()
    assert not await cancel()
    assert await claim(database) is None
    assert (await stored(database, number)).state == JobState.CANCELLED


async def test_the_depth_and_the_longest_wait_are_told(database: Database) -> None:
    async def figures() -> tuple[dict[str, int], float]:
        async with database.read() as session:
            return await queue.depth(session), await queue.oldest_pending_seconds(session)

    assert await figures() == ({"pending": 0, "running": 0}, 0.0)
    for _ in range(3):
        await add(database)
    job = await taken(database)
    await clock_jumps(database, 100)
    depth, oldest = await figures()
    assert depth == {"pending": 2, "running": 1}
    assert 100 <= oldest < 200
    await settle(database, job, End.DONE)
    assert (await figures())[0] == {"pending": 2, "running": 0}

"""Several real processes on one queue: every job is done, and none twice, also when some are killed."""

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import func, select

from tests.jobs.doer import DONE
from tunix_rt.base.db import Database
from tunix_rt.jobs import queue
from tunix_rt.jobs.models import Job, JobState

PATIENCE = 240.0
"""Seconds after which a test gives up; never what it asserts."""


@contextmanager
def doers(url: str, count: int, lease_seconds: float, work_seconds: float) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that do jobs; each holds the first one that it takes until `go`."""
    running = []
    try:
        for number in range(count):
            words = [url, f"w{number}", str(lease_seconds), str(work_seconds)]
            command = [sys.executable, "-m", "tests.jobs.doer", *words]
            running.append(subprocess.Popen(command, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE))
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


async def all_hold_a_job(database: Database, running: list[subprocess.Popen[bytes]]) -> None:
    """Wait until every process holds a job, so that none can do all of them before the others have begun."""
    names = {f"w{number}" for number in range(len(running))}
    deadline = time.monotonic() + PATIENCE
    while await holding(database) != names:
        assert time.monotonic() < deadline, "not every process took a job"
        assert all(process.poll() is None for process in running), "a process has ended"
        await asyncio.sleep(0.02)


def go(running: list[subprocess.Popen[bytes]]) -> None:
    """Let the processes that are left end their first job and do all others."""
    for process in running:
        if process.poll() is None:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()


async def add(database: Database, count: int) -> None:
    async with database.write() as session:
        await (await session.connection()).run_sync(DONE.create)
    for _ in range(count):
        async with database.write() as session:
            await queue.enqueue(session, "work", {}, max_attempts=10)


async def accepted(database: Database) -> list[tuple[int, int, str]]:
    """The results that were accepted: job, claim, worker."""
    async with database.read() as session:
        return [(row.job, row.claim, row.worker) for row in await session.execute(select(DONE))]


def processes_of(database: Database) -> int:
    return 2 if database.is_sqlite else 8


async def test_every_job_is_done_by_one_of_many_processes(database: Database, database_url: str) -> None:
    await add(database, 200)
    with doers(database_url, processes_of(database), 2 * PATIENCE, 0.0) as running:
        await all_hold_a_job(database, running)
        go(running)
        assert [process.wait(PATIENCE) for process in running] == [0] * len(running)
    found = await accepted(database)
    assert Counter(job for job, _, _ in found) == Counter(range(1, 201))
    assert {claim for _, claim, _ in found} == {1}
    assert {worker for _, _, worker in found} == {f"w{number}" for number in range(len(running))}


async def test_killed_processes_lose_no_job_and_none_is_done_twice(database: Database, database_url: str) -> None:
    await add(database, 30)
    count = 3 if database.is_sqlite else 5
    with doers(database_url, count, 3.0, 0.05) as running:
        await all_hold_a_job(database, running)
        running[1].kill()  # with a job in its hands for certain; the others at any moment
        killed = 1
        go([running[0], *running[2:]])
        deadline = time.monotonic() + PATIENCE
        while killed < count - 1 and time.monotonic() < deadline:
            done = len(await accepted(database))
            holders = await holding(database)
            if done == 30:
                break
            for number in range(2, count):
                if done >= 2 * killed and f"w{number}" in holders and running[number].poll() is None:
                    running[number].kill()
                    killed += 1
                    break
        assert running[0].wait(PATIENCE) == 0
    found = await accepted(database)
    assert Counter(job for job, _, _ in found) == Counter(range(1, 31))
    async with database.read() as session:
        states = Counter(await session.scalars(select(Job.state)))
        expirations = await session.scalar(select(func.sum(Job.expirations)))
    assert states == {JobState.DONE: 30}
    assert expirations, "nobody died with a job in its hands: nothing was tried"
    assert any(claim > 1 for _, claim, _ in found)


async def holding(database: Database) -> set[str | None]:
    async with database.read() as session:
        return set(await session.scalars(select(Job.worker).where(Job.state == JobState.RUNNING)))

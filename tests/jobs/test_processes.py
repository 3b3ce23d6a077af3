"""Several real processes on one queue: every job is done, and none twice, also when some are killed."""

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

PATIENCE = 120.0
"""Seconds after which a test gives up; never what it asserts."""


@contextmanager
def doers(url: str, count: int, lease_seconds: float, work_seconds: float) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that do jobs, once all of them are ready."""
    running = []
    try:
        for number in range(count):
            words = [url, f"w{number}", str(lease_seconds), str(work_seconds)]
            command = [sys.executable, "-m", "tests.jobs.doer", *words]
            running.append(subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE))
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


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
    with doers(database_url, processes_of(database), 15.0, 0.0) as running:
        assert [process.wait(PATIENCE) for process in running] == [0] * len(running)
    found = await accepted(database)
    assert Counter(job for job, _, _ in found) == Counter(range(1, 201))
    assert {claim for _, claim, _ in found} == {1}
    assert len({worker for _, _, worker in found}) > 1, "one did all: nothing was tried"


async def test_killed_processes_lose_no_job_and_none_is_done_twice(database: Database, database_url: str) -> None:
    await add(database, 30)
    count = 3 if database.is_sqlite else 5
    with doers(database_url, count, 1.0, 0.05) as running:
        killed = 0
        deadline = time.monotonic() + PATIENCE
        while killed < count - 1 and time.monotonic() < deadline:
            done = len(await accepted(database))
            holders = await holding(database)
            for number in range(1, count):
                if done >= 2 * (killed + 1) and f"w{number}" in holders and running[number].poll() is None:
                    running[number].kill()  # with a job in its hands
                    killed += 1
                    break
        assert running[0].wait(PATIENCE) == 0
    assert killed >= 1
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

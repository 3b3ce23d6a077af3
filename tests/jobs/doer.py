"""A process that does jobs: claims through the product's loop and notes each job that it was allowed to end.

    python -m tests.jobs.doer DATABASE_URL NAME LEASE_SECONDS WORK_SECONDS

It holds the first job that it takes until it reads a line, and ends when no job is left. What it was allowed to end is
a row of `done` in the queue's own database, written in the transaction that settles the job.
"""

import asyncio
import sys

from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.db import Database
from tunix_rt.jobs import loop
from tunix_rt.jobs.lease import Lease
from tunix_rt.jobs.loop import Outcome
from tunix_rt.jobs.models import Job, JobState
from tunix_rt.jobs.queue import Claimed, Settled
from tunix_rt.jobs.retry import End

DONE = Table(
    "done",
    MetaData(),
    Column("row", Integer, primary_key=True),
    Column("job", Integer, nullable=False),
    Column("claim", Integer, nullable=False),
    Column("worker", String, nullable=False),
)


class Doer:
    """Does a job by waiting until the jobs may end, and then a moment more."""

    def __init__(self, seconds: float, may_end: asyncio.Event) -> None:
        self.seconds, self.may_end = seconds, may_end

    async def claimed(self, session: AsyncSession, job: Claimed) -> None:
        """See `jobs.loop.Handler`."""

    async def work(self, lease: Lease) -> Outcome:
        """See `jobs.loop.Handler`."""
        await self.may_end.wait()
        await asyncio.sleep(self.seconds)
        return Outcome(End.DONE)

    async def settled(self, session: AsyncSession, job: Claimed, outcome: Outcome, settled: Settled) -> None:
        """See `jobs.loop.Handler`."""
        if outcome.end is End.DONE:
            await session.execute(insert(DONE).values(job=job.number, claim=job.claim, worker=job.worker))


async def left(database: Database) -> int:
    """How many jobs are not over."""
    open_ = select(func.count()).where(Job.state.in_((JobState.PENDING, JobState.RUNNING)))
    async with database.read() as session:
        return await session.scalar(open_) or 0


async def main(url: str, name: str, lease_seconds: float, work_seconds: float) -> None:
    """Do jobs until none is left."""
    database, stop, may_end = Database(url), asyncio.Event(), asyncio.Event()
    handlers = {"work": Doer(work_seconds, may_end)}

    async def beat(session: AsyncSession, job: int | None) -> None:
        pass

    reaping = asyncio.create_task(loop.keep_reaping(database, handlers, lease_seconds))
    doing = asyncio.create_task(loop.run(database, handlers, name, list, lease_seconds, stop, beat))
    await asyncio.to_thread(sys.stdin.readline)
    may_end.set()
    while await left(database) and not doing.done():
        await asyncio.wait({doing}, timeout=0.2)
    stop.set()
    await doing
    reaping.cancel()
    await asyncio.gather(reaping, return_exceptions=True)
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))

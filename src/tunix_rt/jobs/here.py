"""Jobs that a request waits for: done in this process's name unless a worker takes them first.

Should this process die, a worker does them. One that was lost by whoever did it is done here again.
"""

import asyncio
import contextlib

from sqlalchemy import select

from tunix_rt.base.db import Database
from tunix_rt.jobs import loop
from tunix_rt.jobs.lease import HeartbeatDead, Lease
from tunix_rt.jobs.loop import Handlers
from tunix_rt.jobs.models import Job, JobState

NAME = "api"
"""Who did it, in the histories."""
AT_ONCE = 2
"""Jobs that this process does at once; each is a process of about 1 GiB."""


class Here:
    """Does jobs beside the requests.

    Args:
        database: whose queue.
        handlers: by kind of job.
        lease_seconds: how long a job is held without a beat.
        stopping: set when the process shall end: what is being done is given back.
    """

    def __init__(self, database: Database, handlers: Handlers, lease_seconds: float, stopping: asyncio.Event) -> None:
        self._database, self._handlers, self._seconds, self._stopping = database, handlers, lease_seconds, stopping
        self._places = asyncio.Semaphore(AT_ONCE)

    async def over(self, number: int) -> tuple[JobState, str | None]:
        """Wait until a job is over; its state then, and why it was not done."""
        while True:
            async with self._database.read() as session:
                query = select(Job.state, Job.reason).where(Job.number == number)
                state, reason = (await session.execute(query)).one()
            if state not in (JobState.PENDING, JobState.RUNNING):
                return JobState(state), reason
            if state == JobState.PENDING and not self._stopping.is_set():
                await asyncio.shield(self._do(number))
            else:
                await asyncio.sleep(0.1)

    async def _do(self, number: int) -> None:
        async with self._places:
            claimed = await loop.claim(self._database, self._handlers, NAME, [], self._seconds, only=number)
            if claimed is not None:
                with contextlib.suppress(HeartbeatDead):  # then it is put back, and done by somebody else
                    lease = Lease(self._database, claimed, self._seconds, self._stopping)
                    await loop.perform(lease, self._handlers[claimed.kind])

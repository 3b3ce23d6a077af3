"""A job in our hands: kept by beating, and every write on its behalf guarded by its claim."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.db import DATABASE_DOWN, Database
from tunix_rt.jobs import queue
from tunix_rt.jobs.queue import Claimed

log = logging.getLogger(__name__)

BEATS_A_LEASE = 4
SHARE_LEFT_TO_STOP = 0.2
"""Of a lease: kept for ending what runs before somebody else may take the job."""
FRESH_SHARE = 0.1
"""Of a lease: a beat that took longer is not passed on to the job's process, which counts from when it hears of it."""


DATABASE_REFUSED = (DataError, IntegrityError, ProgrammingError)
"""Of the database's errors: it answers, and would answer the same again."""


class HeartbeatDead(Exception):
    """The lease could not be extended in time: the job must be let go before somebody else takes it."""


class Lease:
    """Holds a job.

    Args:
        database: where it is held.
        job: as it was claimed.
        seconds: how long a lease lasts without a beat.
        stop: set when whoever does the job shall give it back.
        beside: what else each beat writes, in the same transaction.

    Attributes:
        on_beat: called after each beat that is younger than `FRESH_SHARE` of a lease.
    """

    def __init__(
        self,
        database: Database,
        job: Claimed,
        seconds: float,
        stop: asyncio.Event,
        beside: Callable[[AsyncSession], Awaitable[None]] | None = None,
    ) -> None:
        self.database = database
        self.job = job
        self.seconds = seconds
        self.stop = stop
        self.on_beat: Callable[[], None] | None = None
        self._beside = beside
        self._beating: asyncio.Task[None] | None = None
        self._good_until = time.monotonic() + seconds

    @asynccontextmanager
    async def write(self, operation: str) -> AsyncIterator[AsyncSession]:
        """A write session for the job; it extends the lease.

        Raises:
            LeaseLost: the job is somebody else's; nothing was written.
        """
        started = time.monotonic()
        async with self.database.write(operation) as session:
            await queue.hold(session, self.job, self.seconds)
            yield session
        self._good_until = max(self._good_until, started + self.seconds)
        if self.on_beat is not None and self.age < self.seconds * FRESH_SHARE:
            self.on_beat()

    @property
    def age(self) -> float:
        """Seconds since the last beat that went well began."""
        return time.monotonic() - (self._good_until - self.seconds)

    @property
    def seconds_left(self) -> float:
        """How long the job may still be worked on without a beat."""
        return self._good_until - self.seconds * SHARE_LEFT_TO_STOP - time.monotonic()

    async def keep(self) -> None:
        """Beat until cancelled.

        Raises:
            LeaseLost: the job is somebody else's.
            HeartbeatDead: the database could not be reached until the lease had nearly run out.
        """
        pause = self.seconds / BEATS_A_LEASE
        while True:
            await asyncio.sleep(pause)
            # A beat that is not answered in time is left to itself: a connection that is cancelled inside a
            # transaction is lost, and one that is cancelled twice is never closed and keeps the process from ending.
            beat = self._beating = asyncio.create_task(self._beat())
            beat.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            try:
                await asyncio.wait({beat}, timeout=max(0.0, self.seconds_left))
            except asyncio.CancelledError:
                await asyncio.wait({beat}, timeout=self.seconds)
                raise
            if not beat.done():
                raise HeartbeatDead(f"no beat for {self.seconds:g} s")
            error = beat.exception()
            if error is None:
                pause = self.seconds / BEATS_A_LEASE
                continue
            if not isinstance(error, DATABASE_DOWN):
                raise error
            log.warning("a beat failed", extra={"reason": type(error).__name__})
            if self.seconds_left <= 0:
                raise HeartbeatDead(f"no beat for {self.seconds:g} s") from error
            pause = min(1.0, self.seconds / (4 * BEATS_A_LEASE))

    async def _beat(self) -> None:
        async with self.write("beat") as session:
            if self._beside:
                await self._beside(session)

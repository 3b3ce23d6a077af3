"""Being woken by what others commit: LISTEN/NOTIFY on PostgreSQL, the file's change counter on SQLite.

A wake-up is a hint and never the truth: whoever is woken looks into the database, and looks now and then unasked.
"""

import asyncio
import logging
import sqlite3
import time
from types import TracebackType
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.db import Database, is_sqlite

log = logging.getLogger(__name__)

POLL_SECONDS = 0.02
"""Between two looks at SQLite's change counter: 10 microseconds of work each."""


async def announce(session: AsyncSession, channel: str) -> None:
    """Wake those who listen on `channel` once this session has committed."""
    if not is_sqlite(session):  # SQLite's listeners see every commit
        await session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": channel})


class Wake:
    """Waits for commits that concern `channels`; one connection of its own, outside the pool.

    One task waits at a time; a commit between two calls of `wait` ends the second one at once.

    Args:
        database: where.
        channels: names given to `announce`; SQLite's change counter knows none and tells of every commit.
    """

    def __init__(self, database: Database, *channels: str) -> None:
        self._database = database
        self._channels = channels
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Wake":
        watch = self._watch_file if self._database.is_sqlite else self._listen
        self._task = asyncio.create_task(watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None, "entered before"
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def wait(self, seconds: float) -> bool:
        """Wait for a commit, at most so long; True when there was one."""
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    def poke(self) -> None:
        """End the wait from within this process."""
        self._changed.set()

    async def _watch_file(self) -> None:
        path = self._database.engine.url.database
        assert path is not None, "a SQLite database lies in a file"
        connection: sqlite3.Connection | None = None
        seen: Any = None
        while True:
            try:
                if connection is None:
                    connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=0.1)
                found = connection.execute("PRAGMA data_version").fetchone()
                if found != seen:
                    seen = found
                    self._changed.set()
            except sqlite3.Error:  # whoever reads the database meets the error and can say what it means
                connection = None
                await asyncio.sleep(0.5)
            await asyncio.sleep(POLL_SECONDS)

    async def _listen(self) -> None:
        import psycopg  # an extra: only PostgreSQL needs it

        url = self._database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        while True:
            started = time.monotonic()
            try:
                async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                    for channel in self._channels:
                        await connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
                    self._changed.set()  # something may have been committed before we listened
                    async for _ in connection.notifies():
                        self._changed.set()
            except psycopg.Error as error:
                log.warning("the connection that listens broke", extra={"reason": type(error).__name__})
            await asyncio.sleep(max(0.0, 1.0 - (time.monotonic() - started)))

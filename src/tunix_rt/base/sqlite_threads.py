"""The threads of SQLite's connections: aiosqlite runs one for each, and it reports to the event loop that called."""

import asyncio
from typing import Any

import aiosqlite


class SqliteThreads:
    """The connections of one database, kept so that closing it can wait for all of their threads.

    A connection whose opening is cancelled never gets into SQLAlchemy's pool, so disposing of the pool does not wait
    for it: its thread would report to an event loop that is closed by then.
    """

    def __init__(self) -> None:
        self._connections: list[aiosqlite.Connection] = []

    def connect(self, *arguments: Any, **parameters: Any) -> aiosqlite.Connection:
        """Call `aiosqlite.connect`; as with SQLAlchemy's own call, the thread does not keep the process alive."""
        connection = aiosqlite.connect(*arguments, **parameters)
        connection._thread.daemon = True
        self._connections = [each for each in self._connections if each._thread.is_alive()] + [connection]
        return connection

    async def join(self) -> None:
        """Close the connections that are still open, and wait until no thread is left."""
        for connection in self._connections:
            if connection._thread.is_alive():
                connection.stop()  # harmless where it was stopped before
                await asyncio.to_thread(connection._thread.join)

"""What happens to all runs, as it happens: a row for each change of a state, and of the progress of those that run.
Of other things it is told that there are more of them, such as data sets or evaluations, whichever process made them.

One reader for all viewers of a process. It has no past: who comes asks for the lists, and is told what changes after.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import orjson
from sqlalchemy import ColumnElement, func, select

from tunix_rt.base.db import DATABASE_DOWN, Database
from tunix_rt.base.wake import Wake
from tunix_rt.runs import search
from tunix_rt.runs.models import Run, RunEvent
from tunix_rt.runs.schemas import RunRow
from tunix_rt.runs.states import CHANNEL, RunStatus

log = logging.getLogger(__name__)

UNASKED_SECONDS = 1.0
PAUSE_SECONDS = 0.25
"""Between two looks: what comes in the meantime is told together."""
HEARTBEAT_SECONDS = 15.0
MOST = 500
"""Rows of one look; where more change at once, viewers are told to ask again."""
BACKLOG = 2000
"""Events that a viewer may be behind; then its stream ends, and it comes back."""
_RUNS_NOW = (RunStatus.RUNNING, RunStatus.CANCEL_REQUESTED)


class Feed:
    """The reader of a process.

    Args:
        database: where runs are written down.
        others: name of something else -> what changes in the database when there is more of it.
    """

    def __init__(self, database: Database, others: Mapping[str, ColumnElement[Any]] | None = None) -> None:
        self._database = database
        self._others = {name: each.label(name) for name, each in (others or {}).items()}
        self._marks: dict[str, Any] = {}
        self._viewers: set[asyncio.Queue[bytes | None]] = set()
        self._watched = asyncio.Event()
        self._told: dict[int, tuple[int, int]] = {}
        self._last_event: int | None = None

    @property
    def viewers(self) -> int:
        """How many streams are open."""
        return len(self._viewers)

    def close(self) -> None:
        """End all streams."""
        for viewer in self._viewers:
            viewer.put_nowait(None)

    def announce(self, name: str) -> None:
        """Send this process's viewers a change that adds no row, which `_look` therefore does not notice."""
        self._tell(b"event: changed\ndata: %s\n\n" % orjson.dumps([name]))

    async def run(self) -> None:
        """Read for all viewers until cancelled."""
        async with Wake(self._database, CHANNEL) as wake:
            while True:
                if not self._viewers:  # nobody watches: nothing is read
                    self._last_event = None
                    self._watched.clear()
                    await self._watched.wait()
                try:
                    await self._look()
                except DATABASE_DOWN as error:
                    log.warning("viewers wait for the database", extra={"reason": type(error).__name__})
                    await asyncio.sleep(UNASKED_SECONDS)
                except Exception:  # a bug of ours: viewers that wait for ever would be another one
                    log.exception("viewers could not be served")
                    await asyncio.sleep(UNASKED_SECONDS)
                await asyncio.sleep(PAUSE_SECONDS)
                await wake.wait(UNASKED_SECONDS)

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The events of one viewer: `run` with a row, `changed` with names of what there is more of, comments."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(BACKLOG)
        self._viewers.add(queue)
        self._watched.set()
        try:
            yield b"retry: 1000\n\n: welcome\n\n"
            while True:
                try:
                    news = await asyncio.wait_for(queue.get(), HEARTBEAT_SECONDS)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if news is None:
                    return
                yield news
        finally:
            self._viewers.discard(queue)

    async def _look(self) -> None:
        async with self._database.read() as session:
            newest = await session.scalar(select(func.coalesce(func.max(RunEvent.number), 0))) or 0
            since = newest if self._last_event is None else self._last_event
            changed = select(RunEvent.run_number).where(RunEvent.number > since)
            columns: Any = (Run.number, Run.revision, Run.events_offset, *search.ROW)
            query = select(*columns).where(Run.status.in_(_RUNS_NOW) | Run.number.in_(changed)).limit(MOST + 1)
            rows = (await session.execute(query)).mappings().all()
            marks = (
                dict((await session.execute(select(*self._others.values()))).mappings().one()) if self._others else {}
            )
        first, self._last_event = self._last_event is None, newest
        told = {row["number"]: (row["revision"], row["events_offset"]) for row in rows}
        news = [row for row in rows if first or self._told.get(row["number"]) != told[row["number"]]]
        changed_names = [name for name in marks if not first and marks[name] != self._marks.get(name)]
        self._told, self._marks = told, marks
        if len(rows) > MOST:
            changed_names.append("runs")
            news = []
        if changed_names:
            self._tell(b"event: changed\ndata: %s\n\n" % orjson.dumps(changed_names))
        for row in news:
            shown = RunRow.model_validate({name: row[name] for name in RunRow.model_fields})
            self._tell(b"event: run\ndata: %s\n\n" % shown.model_dump_json().encode())

    def _tell(self, event: bytes) -> None:
        for viewer in self._viewers:
            with suppress(asyncio.QueueFull):
                viewer.put_nowait(event)
                continue
            while not viewer.empty():  # too slow: its stream ends, and the viewer comes back to ask anew
                viewer.get_nowait()
            viewer.put_nowait(None)


async def together(*streams: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Several streams as one, which ends when the first of them does; the others may end before."""
    waiting: dict[asyncio.Task[bytes | None], AsyncGenerator[bytes, None]] = {
        asyncio.create_task(_next(stream)): stream for stream in streams
    }
    try:
        while True:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                stream, news = waiting.pop(task), task.result()
                if news is not None:
                    yield news
                    waiting[asyncio.create_task(_next(stream))] = stream
                elif stream is streams[0]:
                    return
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for stream in streams:
            await stream.aclose()


async def _next(stream: AsyncIterator[bytes]) -> bytes | None:
    return await anext(stream, None)

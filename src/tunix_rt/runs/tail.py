"""The live view of runs: one reader for all viewers of a process, none of which holds a database connection.

The reader keeps the newest events of each watched run ready to send. A viewer has a place of its own: while it keeps
up it is served from there, and where it has fallen behind it reads on from the files. So a slow viewer slows nobody
and misses nothing.
"""

import asyncio
import base64
import logging
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base import jsontext
from tunix_rt.base.db import DATABASE_DOWN, Database
from tunix_rt.base.tasks import undisturbed
from tunix_rt.base.wake import Wake
from tunix_rt.runs import logs
from tunix_rt.runs.models import Run, RunEvent, RunLogChunk
from tunix_rt.runs.states import CHANNEL, FINAL

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 15.0
UNASKED_SECONDS = 1.0
PAUSE_SECONDS = 0.02
"""Between two looks: what comes in the meantime is sent together."""
KEPT_BYTES = 2 * 2**20
BATCH = 4
READERS = 2
"""Viewers that may read from the database at once; the others wait, so that all else has its connections."""


def _time(at: Any) -> str:
    return str(at.isoformat(timespec="microseconds").replace("+00:00", "Z"))


def _event(kind: str, data: dict[str, Any], number: int | None = None) -> bytes:
    head = f"id: {number}\n" if number is not None else ""
    return b"%sevent: %s\ndata: %s\n\n" % (head.encode(), kind.encode(), jsontext.dumps(data))


def _log_event(row: Any, data: bytes) -> bytes:
    """A piece of the logs; bytes that are no UTF-8 are told as base64, since JSON has no words for them."""
    content: dict[str, Any] = {"seq": row.seq, "stream": row.stream}
    try:
        content["chunk"] = data.decode("utf-8")
    except UnicodeDecodeError:
        content |= {"chunk": base64.b64encode(data).decode(), "encoding": "base64"}
    return _event("log", {**content, "created_at": _time(row.created_at)}, row.seq)


def _status(status: str, reason: str | None, attempt: int) -> bytes:
    return _event("status", {"status": status, "status_reason": reason, "attempt": attempt})


class Tail:
    """What the reader knows of a watched run.

    Attributes:
        number: the run's.
        folder: its own.
        viewers: how many there are.
        latest: number of its last piece of logs.
        changes: its changes of state, as events to send; the place of each is the run's `revision` by it.
        over: whether it is in a final state.
        news: set, and replaced, when there is something new.
    """

    def __init__(self, number: int, folder: Path) -> None:
        self.number, self.folder = number, folder
        self.viewers = 0
        self.latest = 0
        self.changes: list[bytes] = []
        self.over = False
        self.end = b""
        self.news = asyncio.Event()
        self.revision = -1
        self._last_change = 0
        self._ready: deque[tuple[int, bytes]] = deque()
        self._size = 0
        self._complained = False

    def ready_after(self, seq: int) -> list[tuple[int, bytes]] | None:
        """The events after a number; None where they are not kept any more."""
        if not self._ready or self._ready[0][0] > seq + 1:
            return None
        first = seq + 1 - self._ready[0][0]
        return [self._ready[place] for place in range(first, len(self._ready))]

    async def refresh(self, session: AsyncSession, row: Any) -> None:
        """Take in what is new; `row` has the run's state and its `log_seq`."""
        fresh = False
        while self.latest < row.log_seq:
            pieces = await pieces_after(session, self.number, self.latest, row.log_seq)
            if not pieces:
                break
            for seq, event in await asyncio.to_thread(_events, self.folder, pieces):
                self._ready.append((seq, event))
                self._size += len(event)
                self.latest, fresh = seq, True
            while self._size > KEPT_BYTES and len(self._ready) > 1:
                self._size -= len(self._ready.popleft()[1])
        if row.revision != self.revision:
            query = select(RunEvent).where(RunEvent.run_number == self.number, RunEvent.number > self._last_change)
            for change in await session.scalars(query.order_by(RunEvent.number)):
                self._last_change = change.number
                self.changes.append(_status(change.after, change.reason, row.attempt))
            self.revision, self.over, fresh = row.revision, row.status in FINAL, True
            content = {"status": row.status, "status_reason": row.status_reason, "last_seq": row.log_seq}
            self.end = _event("end", content)
        if fresh:
            self.tell()

    def complain(self, error: OSError) -> None:
        """Say once that the logs cannot be read; each look tries again."""
        if not self._complained:
            log.error("logs cannot be read", extra={"folder": str(self.folder), "reason": str(error)})
            self._complained = True

    def tell(self) -> None:
        """Wake the viewers."""
        self.news.set()
        self.news = asyncio.Event()


async def pieces_after(session: AsyncSession, run_number: int, seq: int, until: int) -> Sequence[Any]:
    """The next few pieces of a run's logs."""
    columns = (
        RunLogChunk.seq,
        RunLogChunk.file,
        RunLogChunk.stream,
        RunLogChunk.offset,
        RunLogChunk.length,
        RunLogChunk.created_at,
    )
    query = (
        select(*columns)
        .where(RunLogChunk.run_number == run_number, RunLogChunk.seq > seq, RunLogChunk.seq <= until)
        .order_by(RunLogChunk.seq)
        .limit(BATCH)
    )
    return (await session.execute(query)).all()


def _events(folder: Path, pieces: Sequence[Any]) -> list[tuple[int, bytes]]:
    return [
        (row.seq, _log_event(row, logs.read(folder, row.file, row.stream, row.offset, row.length))) for row in pieces
    ]


class Hub:
    """The reader of a process.

    Args:
        database: where runs are written down.
        home: where their folders lie.
    """

    def __init__(self, database: Database, home: Path) -> None:
        self._database, self._home = database, home
        self._tails: dict[int, Tail] = {}
        self._readers = asyncio.Semaphore(READERS)
        self._looking = asyncio.Event()
        self._closing = False
        self._wake: Wake | None = None

    @property
    def viewers(self) -> int:
        """How many streams are open."""
        return sum(tail.viewers for tail in self._tails.values())

    def close(self) -> None:
        """End all streams; viewers come back to the next server, with their place."""
        self._closing = True
        for tail in self._tails.values():
            tail.tell()

    async def run(self) -> None:
        """Read for all viewers until cancelled."""
        async with Wake(self._database, CHANNEL) as wake:
            self._wake = wake
            while True:
                await self._looking.wait()  # nobody watches: nothing is read
                await wake.wait(UNASKED_SECONDS)
                try:
                    await self._look()
                except DATABASE_DOWN as error:
                    log.warning("viewers wait for the database", extra={"reason": type(error).__name__})
                    await asyncio.sleep(UNASKED_SECONDS)
                except Exception:  # a bug of ours: viewers that wait for ever would be another one
                    log.exception("viewers could not be served")
                    await asyncio.sleep(UNASKED_SECONDS)
                await asyncio.sleep(PAUSE_SECONDS)

    async def _look(self) -> None:
        tails = dict(self._tails)
        columns = (Run.number, Run.status, Run.status_reason, Run.attempt, Run.revision, Run.log_seq)
        async with self._database.read() as session:
            rows = (await session.execute(select(*columns).where(Run.number.in_(tails)))).all()
            for row in rows:
                tail = tails[row.number]
                if row.revision != tail.revision or row.log_seq != tail.latest:
                    try:
                        await tail.refresh(session, row)
                    except OSError as error:  # its files: the other runs' viewers are served all the same
                        tail.complain(error)

    @contextmanager
    def _watch(self, row: Any) -> Iterator[Tail]:
        tail = self._tails.get(row.number)
        if tail is None:
            tail = self._tails[row.number] = Tail(row.number, logs.folder_of(self._home, row.id))
            tail.latest = row.log_seq
        tail.viewers += 1
        self._looking.set()
        if self._wake is not None:
            self._wake.poke()
        try:
            yield tail
        finally:
            tail.viewers -= 1
            if tail.viewers == 0:
                self._tails.pop(tail.number, None)
            if not self._tails:
                self._looking.clear()

    async def stream(self, run_number: int, since: int, follow: bool = True) -> AsyncGenerator[bytes, None]:
        """The events of a run for one viewer.

        Args:
            run_number: which run.
            since: number of the last piece that the viewer has.
            follow: wait for what comes; else end after what there is.

        Yields:
            Server-Sent Events: the present state, the logs after `since`, changes of state as they come, a comment
            every 15 seconds without news, and `end` after the last piece of a run that is over.
        """
        row = await undisturbed(self._present(run_number))
        place, told = since, row.revision + 1
        with self._watch(row) as tail:
            yield b"retry: 1000\n\n" + _status(row.status, row.status_reason, row.attempt)
            while True:
                news, latest = tail.news, tail.latest
                while place < latest and not self._closing:
                    try:
                        events = tail.ready_after(place) or await self._older(tail, place, latest)
                    except OSError as error:  # a viewer waits rather than miss a byte
                        tail.complain(error)
                        yield b": the logs cannot be read at present\n\n"
                        await asyncio.sleep(UNASKED_SECONDS)
                        continue
                    if not events:
                        raise RuntimeError(f"piece {place + 1} of run {row.id} is not in the index")
                    yield b"".join(event for _, event in events)
                    place = events[-1][0]
                if changes := tail.changes[told:]:
                    told += len(changes)
                    yield b"".join(changes)
                    continue  # a slow viewer takes its time: there may be another change by now, and then the end
                if tail.over and place >= tail.latest:
                    yield tail.end
                    return
                if self._closing or (not follow and tail.revision >= row.revision and place >= row.log_seq):
                    return
                if news is not tail.news:
                    continue
                try:
                    await asyncio.wait_for(news.wait(), HEARTBEAT_SECONDS)
                except TimeoutError:
                    yield b": still here\n\n"

    async def _present(self, run_number: int) -> Any:
        columns = (Run.number, Run.id, Run.status, Run.status_reason, Run.attempt, Run.revision, Run.log_seq)
        async with self._readers, self._database.read() as session:
            return (await session.execute(select(*columns).where(Run.number == run_number))).one()

    async def _older(self, tail: Tail, seq: int, until: int) -> list[tuple[int, bytes]]:
        """Events that are not kept ready any more, a few at a time."""
        pieces = await undisturbed(self._indexed(tail.number, seq, until))
        return await asyncio.to_thread(_events, tail.folder, pieces)

    async def _indexed(self, run_number: int, seq: int, until: int) -> Sequence[Any]:
        async with self._readers, self._database.read() as session:
            return await pieces_after(session, run_number, seq, until)

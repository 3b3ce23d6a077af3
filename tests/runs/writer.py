"""A run whose process is played: its log files, their index and its changes of state, without a worker."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.db import Database, new_id
from tunix_rt.jobs import queue
from tunix_rt.runs import logs, states
from tunix_rt.runs.follow import Follower, catch_up
from tunix_rt.runs.models import Run
from tunix_rt.runs.states import RunStatus


class Scribe:
    """Writes for many runs: what they ask for while a transaction is under way goes into the next one together."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._asked: list[tuple[Callable[[AsyncSession], Awaitable[Any]], asyncio.Future[Any]]] = []
        self._turn = asyncio.Lock()

    async def write(self, work: Callable[[AsyncSession], Awaitable[Any]]) -> Any:
        """Do some work in a transaction; returns what it returned, once that is committed."""
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked.append((work, told))
        async with self._turn:
            asked, self._asked = self._asked, []
            if asked:
                async with self.database.write() as session:
                    found = [(one, await done(session)) for done, one in asked]
                for one, result in found:
                    one.set_result(result)
        return await told


class Played:
    """A run in the database and its folder.

    Attributes:
        number: its own.
        id: its own.
        history: each state that it was in, with the reason, which is another one each time.
        file: number of the present attempt's log files.
    """

    def __init__(self, scribe: Scribe, home: Path, number: int, id: str) -> None:
        self.scribe, self.number, self.id = scribe, number, id
        self.folder = logs.folder_of(home, id)
        (self.folder / "logs").mkdir(parents=True)
        self.history: list[tuple[str, str | None]] = [(RunStatus.PENDING, None)]
        self.file = 1
        self.follower = Follower(number, self.folder, logs.Place(), 0, {}, None)

    @property
    def path(self) -> str:
        """Where its logs are read."""
        return f"/api/tunix/runs/{self.id}/logs"

    def write(self, data: bytes, stream: str = "stdout") -> None:
        """Append to a log file, as the process does."""
        with logs.path_of(self.folder, self.file, stream).open("ab") as file:
            file.write(data)

    async def index(self) -> bool:
        """Enter what is new into the index, as a worker does; whether there was any."""
        new = self.follower.look([(self.file, stream) for stream in logs.STREAMS])
        if new is None:
            return False
        await self.scribe.write(lambda session: self.follower.store(session, new))
        self.follower.advance(new)
        return True

    async def say(self, data: bytes, stream: str = "stdout") -> None:
        """Write and enter."""
        self.write(data, stream)
        await self.index()

    async def move(self, after: RunStatus) -> None:
        """Change its state; an attempt that ends is caught up with in the same transaction, as when it is settled."""
        before, reason = RunStatus(self.history[-1][0]), f"change {len(self.history)}"

        async def work(session: AsyncSession) -> None:
            if after is RunStatus.PENDING or after in states.FINAL:
                self.follower = await catch_up(session, self.number, self.folder)
            assert await states.move(session, self.number, before, after, "test", reason)

        self.history.append((after, reason))  # first: a viewer may be told before we are
        await self.scribe.write(work)

    async def again(self, file: int) -> None:
        """Crash and be started once more."""
        await self.move(RunStatus.PENDING)
        await self.move(RunStatus.RUNNING)
        self.file = file

    def written(self, stream: str) -> bytes:
        """All that its processes wrote to a stream."""
        found = (logs.path_of(self.folder, file, name) for file, name in logs.files(self.folder) if name == stream)
        return b"".join(path.read_bytes() for path in found)


async def played(scribe: Scribe, home: Path, *, running: bool = True) -> Played:
    """A new run, running where it is not said otherwise."""

    async def work(session: AsyncSession) -> tuple[int, str]:
        identity = new_id()
        job, _ = await queue.enqueue(session, "run", {"run": str(identity)}, needs="tunix")
        run = Run(
            id=identity,
            job_number=job,
            dataset_key="none-v1",
            model_id="scratch",
            engine="tunix",
            mode="local",
            status=RunStatus.PENDING,
            max_attempts=3,
            priority=0,
            params={},
            request_digest="",
            dataset_digest="",
            config={},
        )
        session.add(run)
        await session.flush()
        await states.begin(session, run.number, "test")
        return run.number, str(identity)

    found = Played(scribe, home, *await scribe.write(work))
    if running:
        await found.move(RunStatus.RUNNING)
    return found

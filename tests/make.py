"""Builders of stored things, through the product's own doors."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg import sql
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt import worker
from tunix_rt.base.db import Database
from tunix_rt.base.settings import Settings
from tunix_rt.jobs import loop
from tunix_rt.jobs.lease import Lease
from tunix_rt.jobs.loop import Outcome
from tunix_rt.jobs.models import Job
from tunix_rt.jobs.queue import Claimed, Settled
from tunix_rt.jobs.retry import End
from tunix_rt.runs.handlers import Command, Ended, training_command
from tunix_rt.runs.states import RunStatus

TINY = {"layers": 1, "width": 16, "hidden": 32, "heads": 2, "kv_heads": 2}
"""Dimensions of a model for tests."""


def trace(number: int, **changes: Any) -> dict[str, Any]:
    """A small valid trace; each number another one."""
    return {
        "trace_version": "1.0",
        "prompt": f"What is {number} + 1?",
        "steps": [{"i": 0, "type": "sum", "content": f"{number} + 1 = {number + 1}"}],
        "final_answer": str(number + 1),
        "meta": {"number": number},
    } | changes


async def stored(api: httpx.AsyncClient, *traces: dict[str, Any]) -> list[str]:
    """Store traces; returns their ids in order."""
    ids: list[str] = []
    for first in range(0, len(traces), 1000):
        answer = await api.post("/api/traces/batch", json=list(traces[first : first + 1000]))
        assert answer.status_code == 201, answer.text
        ids += [item["id"] for item in answer.json()["traces"]]
    return ids


async def dataset(api: httpx.AsyncClient, name: str = "data", **request: Any) -> dict[str, Any]:
    """Build a data set of what is stored; returns its manifest."""
    answer = await api.post("/api/datasets/build", json={"name": name, **request})
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


async def run(api: httpx.AsyncClient, dataset_key: str = "data-v1", **request: Any) -> str:
    """Submit a real run; returns its id."""
    body = {"dataset_key": dataset_key, "dry_run": False, **request}
    answer = await api.post("/api/tunix/run?mode=async", json=body)
    assert answer.status_code == 202, answer.text
    found: str = answer.json()["run_id"]
    return found


async def clock_jumps(database: Database, seconds: float) -> None:
    """Let the queue's clock jump forwards (or backwards): every moment that it waits for comes closer."""
    async with database.write() as session:
        columns = (Job.number, Job.available_at, Job.lease_expires_at, Job.claimed_at)
        jump = timedelta(seconds=seconds)
        for number, *moments in (await session.execute(select(*columns))).all():
            available, expires, claimed = (None if at is None else at - jump for at in moments)
            values = {"available_at": available, "lease_expires_at": expires, "claimed_at": claimed}
            await session.execute(update(Job).where(Job.number == number).values(values))


@dataclass
class Told:
    """A job's real handler, but for the work itself: that ends as it is told."""

    handler: loop.Handler
    outcome: Outcome

    async def claimed(self, session: AsyncSession, job: Claimed) -> None:
        await self.handler.claimed(session, job)

    async def work(self, lease: Lease) -> Outcome:
        return self.outcome

    async def settled(self, session: AsyncSession, job: Claimed, outcome: Outcome, settled: Settled) -> None:
        await self.handler.settled(session, job, outcome, settled)


def ended(end: End, status: RunStatus | None = None, reason: str | None = None, code: int = 0) -> Outcome:
    """How a run's attempt ended; its state, where it is not the usual one of such an end."""
    usual = {
        End.DONE: RunStatus.COMPLETED,
        End.RELEASED: RunStatus.PENDING,
        End.CANCELLED: RunStatus.CANCELLED,
    }.get(end, RunStatus.FAILED)
    return Outcome(end, reason, Ended(status or usual, code))


@dataclass
class Hand:
    """A worker in a test's hand: claims real runs and ends their attempts as told, with the product's own functions.

    Attributes:
        command: what `does` starts in a run's folder.
    """

    database: Database
    settings: Settings
    name: str = "hand"
    offers: Sequence[str] = ("tunix", "torch")
    lease_seconds: float = 60.0
    command: Command = training_command
    handlers: loop.Handlers = field(init=False)

    def __post_init__(self) -> None:
        self.handlers = worker.handlers(self.database, self.settings, self.command)

    async def claims(self) -> Claimed | None:
        """The next run's job, if there is one."""
        return await loop.claim(self.database, self.handlers, self.name, list(self.offers), self.lease_seconds)

    async def takes(self) -> Claimed:
        """The next run's job; there is one."""
        job = await self.claims()
        assert job is not None, "no run waits"
        return job

    def lease(self, job: Claimed) -> Lease:
        """What holds a job."""
        return Lease(self.database, job, self.lease_seconds, asyncio.Event())

    async def ends(self, job: Claimed, outcome: Outcome) -> Settled | None:
        """End an attempt; None where the job is somebody else's by now."""
        return await loop.perform(self.lease(job), Told(self.handlers[job.kind], outcome))

    async def does(self, job: Claimed) -> Settled | None:
        """Do a job in earnest, by `command`."""
        return await loop.perform(self.lease(job), self.handlers[job.kind])

    async def reaps(self) -> int:
        """Settle the jobs whose leases ran out."""
        return await loop.reap(self.database, self.handlers, self.lease_seconds)


def folder(settings: Settings, run_id: str) -> Path:
    """The folder of a run."""
    return settings.home / "runs" / run_id


@asynccontextmanager
async def out_of_reach(database: Database) -> AsyncIterator[None]:
    """The database cannot be written to: another process holds SQLite's lock, or the server takes no connection."""
    url = database.engine.url
    if database.is_sqlite:
        # In a thread: who has the lock may need this one to give it back.
        opened = sqlite3.connect(str(url.database), isolation_level=None, check_same_thread=False, timeout=60)
        with closing(opened) as connection:
            await asyncio.to_thread(connection.execute, "BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")
        return
    server = url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    name = sql.Identifier(str(url.database))
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (url.database,))
        yield
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))

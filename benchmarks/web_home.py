"""A home that is full, for `benchmarks.web`: long lists, a long log, many points; and a log that lines pour into."""

import asyncio
import itertools
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select, update

from benchmarks import runs_list, traces
from benchmarks.servers import Place
from tunix_rt.base.db import Database
from tunix_rt.runs import metrics
from tunix_rt.runs.follow import catch_up
from tunix_rt.runs.logs import folder_of
from tunix_rt.runs.models import Run
from tunix_rt.runs.states import RunStatus

RUNS, TRACES, LINES, POINTS = 10_000, 100_000, 100_000, 1_000_000
LINE = "{:>9} step of a training that says what it does, loss {:.6f}, Tokens per second 12345.6\n"


@dataclass(frozen=True)
class Seeded:
    """What is looked at: ids of a run with a long log and many points, and of one that runs."""

    long: str
    live: str


async def seed(where: Place, api: Any) -> Seeded:
    """Fill a home."""
    await runs_list.fill(where, RUNS)
    with tempfile.TemporaryDirectory() as name:
        file = traces.written(Path(name) / "traces.jsonl", TRACES)
        with file.open("rb") as lines:
            while part := b"".join(itertools.islice(lines, 5_000)):
                api.post("/api/traces/import", params={"format": "gsm8k"}, content=part).raise_for_status()
    database = Database(where.url)
    async with database.write() as session:
        found = (await session.execute(select(Run.number, Run.id).order_by(Run.number.desc()).limit(2))).all()
        (live_number, live), (long_number, long) = found
        running = {"status": RunStatus.RUNNING, "completed_at": None, "duration_seconds": None}
        await session.execute(update(Run).where(Run.number == live_number).values(running))
    values = np.exp(-np.arange(POINTS) / 3e5) + np.random.default_rng(0).normal(0, 0.1, POINTS)
    for first in range(0, POINTS, 20_000):
        async with database.write() as session:
            points = {("loss", step): float(values[step]) for step in range(first, first + 20_000)}
            await metrics.store(session, long_number, points)
    logs = folder_of(where.home, long) / "logs"
    logs.mkdir(parents=True)
    (logs / "0001.stdout.log").write_text("".join(LINE.format(n, 1 / (n + 1)) for n in range(LINES)))
    (folder_of(where.home, live) / "logs").mkdir(parents=True)
    async with database.write() as session:
        await catch_up(session, long_number, folder_of(where.home, long))
    await database.close()
    return Seeded(str(long), str(live))


async def flood(where: Place, run: str, seconds: float) -> None:
    """Write 20,000 lines a second into a run's log and enter them into its index, as its worker does."""
    database = Database(where.url)
    folder = folder_of(where.home, run)
    async with database.read() as session:
        number = await session.scalar(select(Run.number).where(Run.id == uuid.UUID(run)))
    assert number is not None
    began = time.monotonic()
    written = 0
    with (folder / "logs" / "0001.stdout.log").open("a") as log:
        while (since := time.monotonic() - began) < seconds:
            log.writelines(LINE.format(n, 0.5) for n in range(written, int(since * 20_000)))
            log.flush()
            written = int(since * 20_000)
            async with database.write() as session:
                await catch_up(session, number, folder)
            await asyncio.sleep(0.05)
    await database.close()

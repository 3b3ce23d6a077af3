"""Who claims jobs: the registry of workers, and the durations that they bring."""

import os
import socket
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.db import is_sqlite, moment, new_id
from tunix_rt.base.durations import BUCKETS, Histogram
from tunix_rt.jobs.models import Worker, WriteDuration

FORGOTTEN_AFTER_SECONDS = 3600.0


async def register(session: AsyncSession, name: str, offers: Mapping[str, Any]) -> uuid.UUID:
    """Enter this process as a worker, and forget those that have been silent for an hour."""
    await session.execute(delete(Worker).where(Worker.last_heartbeat < moment(session, -FORGOTTEN_AFTER_SECONDS)))
    identity = new_id()
    insert = insert_sqlite if is_sqlite(session) else insert_postgresql
    await session.execute(
        insert(Worker).values(
            id=identity,
            name=name,
            host=socket.gethostname(),
            pid=os.getpid(),
            offers=dict(offers),
            draining=False,
            started_at=moment(session),
            last_heartbeat=moment(session),
        )
    )
    return identity


async def beat(
    session: AsyncSession, identity: uuid.UUID, job_number: int | None, offers: Mapping[str, Any], draining: bool
) -> None:
    """Note that a worker lives, what it does and what it offers."""
    await session.execute(
        update(Worker)
        .where(Worker.id == identity)
        .values(last_heartbeat=moment(session), job_number=job_number, offers=dict(offers), draining=draining)
        .execution_options(synchronize_session=False)
    )


async def remove(session: AsyncSession, identity: uuid.UUID) -> None:
    """Strike a worker off: it has ended in good order."""
    await session.execute(delete(Worker).where(Worker.id == identity))


async def alive(session: AsyncSession, lease_seconds: float) -> Sequence[Worker]:
    """Workers that were heard of within a lease, by name."""
    query = select(Worker).where(Worker.last_heartbeat > moment(session, -lease_seconds)).order_by(Worker.name)
    return (await session.scalars(query)).all()


async def every(session: AsyncSession) -> Sequence[Worker]:
    """All workers that are not forgotten yet, the latest heard of first."""
    return (await session.scalars(select(Worker).order_by(Worker.last_heartbeat.desc(), Worker.id))).all()


async def add_durations(session: AsyncSession, taken: Mapping[str, Histogram]) -> None:
    """Add a process's durations to those of all."""
    insert = insert_sqlite if is_sqlite(session) else insert_postgresql
    for operation, histogram in sorted(taken.items()):  # in one order, so that two processes never wait crosswise
        empty = insert(WriteDuration).values(operation=operation, counts=[0] * (len(BUCKETS) + 1), total=0.0)
        await session.execute(empty.on_conflict_do_nothing())
        query = select(WriteDuration).where(WriteDuration.operation == operation).with_for_update()
        row = (await session.scalars(query.execution_options(populate_existing=True))).one()
        together = Histogram(list(row.counts), row.total)
        together.add(histogram)
        row.counts, row.total = together.counts, together.total


async def durations(session: AsyncSession) -> dict[str, Histogram]:
    """Durations of write transactions by operation, of all processes together."""
    return {row.operation: Histogram(row.counts, row.total) for row in await session.scalars(select(WriteDuration))}

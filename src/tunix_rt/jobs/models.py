"""Tables of the queue: jobs, the workers that do them, and how long their transactions took."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Double, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from tunix_rt.base.db import Base, Json, RowNumber, Utc, new_id, now


class JobState(StrEnum):
    """The life of a job; from `running` it goes back to `pending` when it is to be done again."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


PENDING, RUNNING = text("state = 'pending'"), text("state = 'running'")
"""In these words, and not with a bound value, SQLite takes the indexes that have them as their condition."""


class Job(Base):
    """A piece of work.

    `claim` is the fencing token: it grows whenever somebody takes the job, and every write on behalf of the job is
    guarded by it, so whoever has lost the job cannot write any more.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_claim", "rank", "number", sqlite_where=PENDING, postgresql_where=PENDING),
        Index("ix_jobs_lease", "lease_expires_at", sqlite_where=RUNNING, postgresql_where=RUNNING),
    )

    number: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)  # order of arrival
    kind: Mapped[str] = mapped_column(String(64))
    key: Mapped[str | None] = mapped_column(String(255), unique=True)  # idempotency: one job a key
    needs: Mapped[str | None] = mapped_column(String(64))  # what a worker must offer; null: nothing
    payload: Mapped[dict[str, Any]] = mapped_column(Json)
    rank: Mapped[int]  # minus the priority, so that an ascending index gives the order of claiming
    state: Mapped[str] = mapped_column(String(16), default=JobState.PENDING)
    attempt: Mapped[int] = mapped_column(default=1)  # from 1; grows when an attempt crashed
    max_attempts: Mapped[int]
    claim: Mapped[int] = mapped_column(default=0)
    expirations: Mapped[int] = mapped_column(default=0)  # how often a lease ran out
    worker: Mapped[str | None] = mapped_column(String(200))  # who has it, or had it last
    created_at: Mapped[datetime] = mapped_column(Utc, default=now)
    available_at: Mapped[datetime] = mapped_column(Utc, default=now)  # not to be claimed before
    claimed_at: Mapped[datetime | None] = mapped_column(Utc)
    lease_expires_at: Mapped[datetime | None] = mapped_column(Utc)
    finished_at: Mapped[datetime | None] = mapped_column(Utc)
    reason: Mapped[str | None] = mapped_column(Text)  # how the last attempt ended, where it was not done


class Worker(Base):
    """A process that claims jobs; its row lasts as long as it is heard of, and an hour beyond."""

    __tablename__ = "workers"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(200))
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    offers: Mapped[dict[str, Any]] = mapped_column(Json)  # engine -> available, version, devices, reason
    draining: Mapped[bool] = mapped_column(default=False)
    job_number: Mapped[int | None] = mapped_column(RowNumber)  # what it is doing
    started_at: Mapped[datetime] = mapped_column(Utc)
    last_heartbeat: Mapped[datetime] = mapped_column(Utc, index=True)


class WriteDuration(Base):
    """Durations of write transactions of one operation, of all processes together; see `base.durations`."""

    __tablename__ = "write_durations"

    operation: Mapped[str] = mapped_column(String(64), primary_key=True)
    counts: Mapped[list[int]] = mapped_column(Json)
    total: Mapped[float] = mapped_column(Double)  # seconds

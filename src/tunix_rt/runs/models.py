"""Tables of the runs: the run itself, its history, its metrics, and the index of its logs."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Double, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from tunix_rt.base.db import Base, Json, RowNumber, Utc, new_id, now


class Run(Base):
    """A run, from the moment it is accepted.

    What lists show comes first; what is large comes last, since SQLite reads a row up to the column asked for.
    """

    __tablename__ = "runs"
    __table_args__ = (
        Index(None, "created_at", "id"),
        Index(None, "status", "created_at", "id"),
        Index(None, "dataset_key", "created_at", "id"),
        Index(None, "model_id", "created_at", "id"),
        Index(None, "retry_of"),
    )

    number: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    id: Mapped[uuid.UUID] = mapped_column(unique=True, default=new_id)
    job_number: Mapped[int] = mapped_column(ForeignKey("jobs.number"), unique=True)
    created_at: Mapped[datetime] = mapped_column(Utc, default=now)
    dataset_key: Mapped[str] = mapped_column(String(200))
    model_id: Mapped[str] = mapped_column(String(200))
    engine: Mapped[str] = mapped_column(String(64))
    mode: Mapped[str] = mapped_column(String(16))  # dry-run, local or ray
    status: Mapped[str] = mapped_column(String(32))
    status_reason: Mapped[str | None] = mapped_column(Text)
    queued_at: Mapped[datetime] = mapped_column(Utc, default=now)  # when it last began to wait
    started_at: Mapped[datetime | None] = mapped_column(Utc)  # when it was first claimed
    completed_at: Mapped[datetime | None] = mapped_column(Utc)
    wait_seconds: Mapped[float | None] = mapped_column(Double)  # from accepted to first claimed
    duration_seconds: Mapped[float | None] = mapped_column(Double)  # from first claimed to its end
    ran_seconds: Mapped[float] = mapped_column(Double, default=0.0)  # of earlier attempts, for the time limit
    attempt: Mapped[int] = mapped_column(default=1)
    max_attempts: Mapped[int]
    priority: Mapped[int]
    timeout_seconds: Mapped[float | None] = mapped_column(Double)
    exit_code: Mapped[int | None]  # of the last attempt's process; negative: the signal that killed it
    crash_reason: Mapped[str | None] = mapped_column(Text)  # of the last attempt that crashed
    worker: Mapped[str | None] = mapped_column(String(200))  # who has it, or had it last
    score: Mapped[float | None] = mapped_column(Double)  # of its newest evaluation; null: none yet
    progress: Mapped[dict[str, Any] | None] = mapped_column(Json)  # step, total_steps, eta_seconds
    metrics: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)  # the latest value of each
    params: Mapped[dict[str, Any]] = mapped_column(Json)  # the config, flat: a.b.c -> value
    eval_set: Mapped[str | None] = mapped_column(String(200))
    retry_of: Mapped[uuid.UUID | None]  # the run whose config, and last checkpoint, this one goes on from
    from_start: Mapped[bool] = mapped_column(default=False)
    request_digest: Mapped[str] = mapped_column(String(71))  # of what was asked, for idempotency
    dataset_digest: Mapped[str] = mapped_column(String(71))
    revision: Mapped[int] = mapped_column(default=0)  # grows with every change of state
    log_seq: Mapped[int] = mapped_column(BigInteger, default=0)  # number of the last piece of its logs
    events_offset: Mapped[int] = mapped_column(BigInteger, default=0)  # bytes of events.jsonl that were taken in
    config: Mapped[dict[str, Any]] = mapped_column(Json)
    provenance: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    result: Mapped[dict[str, Any] | None] = mapped_column(Json)  # of a dry run its checks, else how it ended


class RunEvent(Base):
    """A change of a run's state: who, when, why."""

    __tablename__ = "run_events"
    __table_args__ = (Index(None, "run_number", "number"),)

    number: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    run_number: Mapped[int] = mapped_column(ForeignKey("runs.number", ondelete="CASCADE"))
    time: Mapped[datetime] = mapped_column(Utc)
    before: Mapped[str | None] = mapped_column(String(32))
    after: Mapped[str] = mapped_column(String(32))
    actor: Mapped[str] = mapped_column(String(200))
    reason: Mapped[str | None] = mapped_column(Text)


class RunMetricBlock(Base):
    """A metric over some steps; where an attempt does a step again, its value replaces the earlier one."""

    __tablename__ = "run_metric_blocks"

    run_number: Mapped[int] = mapped_column(ForeignKey("runs.number", ondelete="CASCADE"), primary_key=True)
    block: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)  # step // metrics.BLOCK
    key: Mapped[str] = mapped_column(String(100), primary_key=True)
    points: Mapped[bytes]  # see metrics.POINT


class RunLogChunk(Base):
    """A piece of what a run's process wrote: in which file its bytes lie."""

    __tablename__ = "run_log_chunks"

    run_number: Mapped[int] = mapped_column(ForeignKey("runs.number", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)  # from 1, without gaps
    file: Mapped[int]  # number of the file; each start of a process has its own
    stream: Mapped[str] = mapped_column(String(8))  # stdout or stderr
    offset: Mapped[int] = mapped_column(BigInteger)
    length: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(Utc)

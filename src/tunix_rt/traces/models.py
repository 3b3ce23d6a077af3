"""Tables of the traces."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Double, ForeignKey, Index, String, Text, or_
from sqlalchemy.orm import Mapped, mapped_column

from tunix_rt.base.db import Base, Json, RowNumber, Utc, new_id, now
from tunix_rt.traces.format import NO_SOURCE


class Trace(Base):
    """A stored trace. Its text is indexed for full text: FTS5 on SQLite, a GIN index on PostgreSQL (migration 0001).

    `number` is ours alone: data sets and the full-text index point to it.
    """

    __tablename__ = "traces"
    __table_args__ = (Index(None, "created_at", "id"), Index(None, "step_count", "id"))

    number: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    id: Mapped[uuid.UUID] = mapped_column(unique=True, default=new_id)
    digest: Mapped[str] = mapped_column(String(71), unique=True)  # sha256: of the canonical JSON without meta
    created_at: Mapped[datetime] = mapped_column(Utc, default=now)
    trace_version: Mapped[str] = mapped_column(String(16))
    prompt: Mapped[str] = mapped_column(Text)
    steps: Mapped[list[dict[str, Any]]] = mapped_column(Json)  # in the order of i
    final_answer: Mapped[str] = mapped_column(Text)
    meta: Mapped[dict[str, Any]] = mapped_column(Json)
    source: Mapped[str | None] = mapped_column(String(200), index=True)
    step_count: Mapped[int]
    step_characters: Mapped[int]  # of all steps' contents together


def without_source() -> ColumnElement[bool]:
    """Match traces that have no source, or one that was called `none` before the word was reserved."""
    return or_(Trace.source.is_(None), Trace.source == NO_SOURCE)


class TraceScore(Base):
    """A score of a trace by some criteria; scoring again replaces it."""

    __tablename__ = "trace_scores"

    trace_number: Mapped[int] = mapped_column(ForeignKey("traces.number", ondelete="CASCADE"), primary_key=True)
    criteria: Mapped[str] = mapped_column(String(64), primary_key=True)
    score: Mapped[float] = mapped_column(Double)
    details: Mapped[dict[str, Any]] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(Utc, default=now)

"""Tables of the data sets."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from tunix_rt.base.db import Base, Json, RowNumber, Utc, new_id, now


class Dataset(Base):
    """A sealed version; it never changes."""

    __tablename__ = "datasets"
    __table_args__ = (Index(None, "created_at", "id"), Index(None, "name", "created_at"))

    number: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    id: Mapped[uuid.UUID] = mapped_column(unique=True, default=new_id)
    dataset_key: Mapped[str] = mapped_column(String(200), unique=True)
    name: Mapped[str] = mapped_column(String(100))
    version: Mapped[str] = mapped_column(String(99))
    digest: Mapped[str] = mapped_column(String(71), index=True)
    created_at: Mapped[datetime] = mapped_column(Utc, default=now)
    trace_count: Mapped[int]
    manifest: Mapped[dict[str, Any]] = mapped_column(Json)  # filters, strategy, seed, splits, stats, parent, provenance


class DatasetItem(Base):
    """A trace in a data set: its place in the order, and its split."""

    __tablename__ = "dataset_items"

    dataset_number: Mapped[int] = mapped_column(ForeignKey("datasets.number", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    trace_number: Mapped[int] = mapped_column(ForeignKey("traces.number", ondelete="RESTRICT"), index=True)
    split: Mapped[str] = mapped_column(String(64))

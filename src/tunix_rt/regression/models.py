"""The table of baselines."""

import uuid
from datetime import datetime

from sqlalchemy import Double, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from tunix_rt.base.db import Base, RowNumber, Utc, new_id, now


class Baseline(Base):
    """What later evaluations are held against. Setting a name again adds a row, and the newest one counts."""

    __tablename__ = "baselines"
    __table_args__ = (Index(None, "name", "number"), Index(None, "created_at", "id"))

    number: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    id: Mapped[uuid.UUID] = mapped_column(unique=True, default=new_id)
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(Utc, default=now)
    evaluation_number: Mapped[int] = mapped_column(ForeignKey("evaluations.number", ondelete="RESTRICT"))
    metric: Mapped[str] = mapped_column(String(32))
    direction: Mapped[str] = mapped_column(String(8))
    margin: Mapped[float] = mapped_column(Double)  # in the metric's unit

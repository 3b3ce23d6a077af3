"""Tables of the evaluation: eval sets and their items, evaluations and theirs."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Double, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tunix_rt.base.db import Base, Json, RowNumber, Utc, new_id, now


class EvalSet(Base):
    """An uploaded eval set; it never changes, and its content is stored once whatever it is called."""

    __tablename__ = "eval_sets"
    __table_args__ = (Index(None, "created_at", "id"),)

    number: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    id: Mapped[uuid.UUID] = mapped_column(unique=True, default=new_id)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    digest: Mapped[str] = mapped_column(String(71), unique=True)  # see files.digest
    created_at: Mapped[datetime] = mapped_column(Utc, default=now)
    n_items: Mapped[int]


class EvalItem(Base):
    """A question of an eval set, at its place in the file."""

    __tablename__ = "eval_items"
    __table_args__ = (UniqueConstraint("eval_set_number", "item_id"),)

    eval_set_number: Mapped[int] = mapped_column(ForeignKey("eval_sets.number", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    item_id: Mapped[str] = mapped_column(String(200))
    prompt: Mapped[str] = mapped_column(Text)
    expected_answer: Mapped[str] = mapped_column(Text)
    section: Mapped[str | None] = mapped_column(String(200))
    category: Mapped[str | None] = mapped_column(String(200))
    difficulty: Mapped[str | None] = mapped_column(String(200))
    meta: Mapped[dict[str, Any]] = mapped_column(Json)


class Evaluation(Base):
    """One judgement of one set of predictions. The figures are kept for lists; the items are the truth."""

    __tablename__ = "evaluations"
    __table_args__ = (
        Index(None, "created_at", "id"),
        Index(None, "eval_set_number", "judge_digest", "decoding_digest"),
        Index(None, "name", "created_at"),
    )

    number: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    id: Mapped[uuid.UUID] = mapped_column(unique=True, default=new_id)
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(Utc, default=now)
    eval_set_number: Mapped[int] = mapped_column(ForeignKey("eval_sets.number", ondelete="RESTRICT"))
    model_id: Mapped[str | None] = mapped_column(String(200), index=True)
    dataset_key: Mapped[str | None] = mapped_column(String(200), index=True)
    run_id: Mapped[uuid.UUID | None] = mapped_column(index=True)
    judge: Mapped[str] = mapped_column(String(64))
    judge_version: Mapped[str] = mapped_column(String(32))
    judge_digest: Mapped[str] = mapped_column(String(71))
    decoding: Mapped[dict[str, Any]] = mapped_column(Json)  # as given; empty when nothing was said
    decoding_digest: Mapped[str] = mapped_column(String(71))  # or "unknown"
    predictions_digest: Mapped[str] = mapped_column(String(71))  # of the uploaded bytes
    n_items: Mapped[int]
    n_scored: Mapped[int]
    n_missing: Mapped[int]
    n_unscored: Mapped[int]
    n_correct: Mapped[int]
    n_unknown: Mapped[int]  # ids in the predictions that the eval set does not have
    n_repeated: Mapped[int]  # ids of the eval set with several predictions
    score: Mapped[float | None] = mapped_column(Double)  # share, 0 to 1; null when nothing was scored
    ci_low: Mapped[float | None] = mapped_column(Double)
    ci_high: Mapped[float | None] = mapped_column(Double)


class EvaluationItem(Base):
    """What became of one item: the raw output, what was found in it, and the score with its reason."""

    __tablename__ = "evaluation_items"

    evaluation_number: Mapped[int] = mapped_column(
        ForeignKey("evaluations.number", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # that of the eval item
    item_id: Mapped[str] = mapped_column(String(200))
    output: Mapped[str | None] = mapped_column(Text)  # null: no prediction, or several
    extracted: Mapped[str | None] = mapped_column(Text)
    rule: Mapped[str | None] = mapped_column(String(64))
    score: Mapped[float | None] = mapped_column(Double)  # null: unscored
    reason: Mapped[str | None] = mapped_column(Text)
    missing: Mapped[bool]
    finish_reason: Mapped[str | None] = mapped_column(String(64))
    prompt_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]
    latency_s: Mapped[float | None] = mapped_column(Double)

"""Tables of the evaluation: eval sets and their items, evaluations and theirs."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Double, ForeignKey, Index, String, Text, UniqueConstraint, text
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


class Predictions(Base):
    """What was answered to an eval set: generated here or uploaded, stored once, judged as often as anybody likes."""

    __tablename__ = "predictions"
    __table_args__ = (UniqueConstraint("eval_set_number", "digest"),)

    number: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    eval_set_number: Mapped[int] = mapped_column(ForeignKey("eval_sets.number", ondelete="RESTRICT"))
    digest: Mapped[str] = mapped_column(String(71))  # of the bytes of the file
    created_at: Mapped[datetime] = mapped_column(Utc, default=now)
    samples: Mapped[int]  # answers an item: the highest `sample`, and one


class PredictionLine(Base):
    """A line of the file of predictions, as it came: also one that no item of the eval set has."""

    __tablename__ = "prediction_lines"

    predictions_number: Mapped[int] = mapped_column(
        ForeignKey("predictions.number", ondelete="CASCADE"), primary_key=True
    )
    line: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # from 0; blank ones do not count
    item_id: Mapped[str] = mapped_column(String(200))
    sample: Mapped[int]
    output: Mapped[str] = mapped_column(Text)
    finish_reason: Mapped[str | None] = mapped_column(String(64))
    prompt_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]
    latency_s: Mapped[float | None] = mapped_column(Double)


_WAIVED = text("waiver IS NOT NULL")


class Evaluation(Base):
    """One judgement of one set of predictions. The figures are kept for lists; the items are the truth."""

    __tablename__ = "evaluations"
    __table_args__ = (
        Index(None, "created_at", "id"),
        Index(None, "eval_set_number", "judge_digest", "decoding_digest"),
        Index(None, "name", "created_at"),
        Index("ix_evaluations_waived", "number", sqlite_where=_WAIVED, postgresql_where=_WAIVED),
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
    predictions_number: Mapped[int] = mapped_column(ForeignKey("predictions.number", ondelete="RESTRICT"), index=True)
    samples: Mapped[int]
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
    scores: Mapped[bytes] = mapped_column(deferred=True)  # of the items, as `packed` has it: what boards are made of
    # Of training traces behind the model: {method, n, clean: figures without those items}; null: not looked at.
    contamination: Mapped[dict[str, Any] | None] = mapped_column(Json)
    waiver: Mapped[str | None] = mapped_column(Text)  # why it is on the board in spite of that


class EvaluationItem(Base):
    """What became of one sample of an item: what was found in the output, and the score with its reason."""

    __tablename__ = "evaluation_items"

    evaluation_number: Mapped[int] = mapped_column(
        ForeignKey("evaluations.number", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # that of the eval item
    sample: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    line: Mapped[int | None]  # of the predictions; null: there is none, or several
    extracted: Mapped[str | None] = mapped_column(Text)
    rule: Mapped[str | None] = mapped_column(String(64))
    score: Mapped[float | None] = mapped_column(Double)  # null: unscored
    reason: Mapped[str | None] = mapped_column(Text)
    missing: Mapped[bool]
    contamination: Mapped[str | None] = mapped_column(String(32))  # how the item overlaps with a training trace


class ContaminationCheck(Base):
    """What of an eval set overlaps with the training split of a data set, by one method; worked out once."""

    __tablename__ = "contamination_checks"
    __table_args__ = (UniqueConstraint("dataset_digest", "eval_set_number", "method"),)

    number: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    dataset_digest: Mapped[str] = mapped_column(String(71))
    eval_set_number: Mapped[int] = mapped_column(ForeignKey("eval_sets.number", ondelete="CASCADE"))
    method: Mapped[str] = mapped_column(String(32))
    n_traces: Mapped[int]
    found: Mapped[dict[str, Any]] = mapped_column(Json)  # by the item's position
    created_at: Mapped[datetime] = mapped_column(Utc, default=now)

"""Boards: the evaluations that may be compared, ranked so that rows which cannot be told apart share a rank."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import rfc8785
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.errors import Conflict
from tunix_rt.evaluation import statistics
from tunix_rt.evaluation.models import EvalSet, Evaluation, EvaluationItem
from tunix_rt.evaluation.schemas import BoardRow, BoardView, Contamination, Decoding, EvaluationView

UNKNOWN = "unknown"
HELD_BACK = 0.05
"""Share of items that overlap with training traces, above which a row is kept off the board until that is waived."""


@dataclass(frozen=True, slots=True)
class Board:
    """What two scores must share to be comparable at all, by digest."""

    eval_set: str
    judge: str
    decoding: str


def decoding_digest(decoding: Decoding) -> str:
    """`sha256:` of the canonical JSON of what was said of the decoding but for the seed; `unknown` if nothing was."""
    said = decoding.model_dump(exclude={"seed"}, exclude_none=True)
    return "sha256:" + hashlib.sha256(rfc8785.dumps(said)).hexdigest() if said else UNKNOWN


def same_board(base: tuple[str, Board], other: tuple[str, Board]) -> None:
    """Check that two evaluations, by name, may be compared.

    Raises:
        Conflict: their eval set, judge or decoding differ.
    """
    differ = [
        f"{what} ({getattr(base[1], field)[:19]} and {getattr(other[1], field)[:19]})"
        for field, what in (("eval_set", "eval set"), ("judge", "judge"), ("decoding", "decoding"))
        if getattr(base[1], field) != getattr(other[1], field)
    ]
    if differ:
        raise Conflict(
            f"{base[0]!r} and {other[0]!r} cannot be compared: they differ in their {' and their '.join(differ)}.",
            hint="Judge both sets of predictions on the same eval set, with the same judge and decoding.",
        )


def view(evaluation: Evaluation, eval_set: EvalSet) -> EvaluationView:
    """An evaluation as lists show it."""
    low, high = evaluation.ci_low, evaluation.ci_high
    found = evaluation.contamination
    contamination = None if found is None else Contamination.model_validate(found)
    return EvaluationView(
        id=evaluation.id,
        name=evaluation.name,
        created_at=evaluation.created_at,
        eval_set=eval_set.name,
        eval_set_digest=eval_set.digest,
        judge=evaluation.judge,
        judge_version=evaluation.judge_version,
        judge_digest=evaluation.judge_digest,
        decoding=Decoding.model_validate(evaluation.decoding),
        decoding_digest=evaluation.decoding_digest,
        model_id=evaluation.model_id,
        dataset_key=evaluation.dataset_key,
        run_id=evaluation.run_id,
        n_items=evaluation.n_items,
        n_scored=evaluation.n_scored,
        n_missing=evaluation.n_missing,
        n_unscored=evaluation.n_unscored,
        n_correct=evaluation.n_correct,
        n_unknown=evaluation.n_unknown,
        n_repeated=evaluation.n_repeated,
        score=evaluation.score,
        ci=None if low is None or high is None else (low, high),
        established=evaluation.n_scored >= statistics.ESTABLISHED,
        samples=evaluation.samples,
        contamination=contamination,
        waiver=evaluation.waiver,
        held_back=contamination is not None and contamination.share > HELD_BACK and evaluation.waiver is None,
    )


@dataclass(frozen=True)
class Filters:
    """Which evaluations count (`eval_set`, `judge`, dates) and which rows of their boards are shown (the rest)."""

    eval_set: str | None = None  # digest
    judge: str | None = None
    date_from: datetime | None = None
    date_to: datetime | None = None
    model_id: str | None = None
    dataset_key: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """What an evaluation must fulfil to count."""
        found = [Evaluation.judge == self.judge] if self.judge is not None else []
        if self.eval_set is not None:
            found.append(EvalSet.digest == self.eval_set)
        if self.date_from is not None:
            found.append(Evaluation.created_at >= self.date_from)
        if self.date_to is not None:
            found.append(Evaluation.created_at <= self.date_to)
        return found

    def shows(self, row: Evaluation) -> bool:
        """Whether a row is shown; its rank is that among all rows of its board."""
        return self.model_id in (None, row.model_id) and self.dataset_key in (None, row.dataset_key)


async def boards(session: AsyncSession, filters: Filters) -> list[tuple[tuple[datetime, uuid.UUID], Board]]:
    """The boards that have evaluations, each with its newest evaluation's (created_at, id), newest first."""
    newest = (
        select(func.max(Evaluation.number).label("number"))
        .join(EvalSet, EvalSet.number == Evaluation.eval_set_number)
        .where(*filters.conditions())
        .group_by(Evaluation.eval_set_number, Evaluation.judge_digest, Evaluation.decoding_digest)
        .subquery()
    )
    rows = await session.execute(
        select(
            Evaluation.created_at, Evaluation.id, EvalSet.digest, Evaluation.judge_digest, Evaluation.decoding_digest
        )
        .join(newest, newest.c.number == Evaluation.number)
        .join(EvalSet, EvalSet.number == Evaluation.eval_set_number)
    )
    found = [((row[0], row[1]), Board(row[2], row[3], row[4])) for row in rows]
    return sorted(found, key=lambda pair: (pair[0][0], pair[0][1].int), reverse=True)


async def board(session: AsyncSession, which: Board, filters: Filters) -> BoardView | None:
    """One board, ranked; None when the filters leave no row to show."""
    found = (
        await session.execute(
            select(Evaluation, EvalSet)
            .join(EvalSet, EvalSet.number == Evaluation.eval_set_number)
            .where(
                EvalSet.digest == which.eval_set,
                Evaluation.judge_digest == which.judge,
                Evaluation.decoding_digest == which.decoding,
                *filters.conditions(),
            )
            .order_by(Evaluation.created_at.desc(), Evaluation.number.desc())
        )
    ).all()
    rows, older = _newest([(row[0], row[1]) for row in found])
    if not any(filters.shows(evaluation) for evaluation, _ in rows):
        return None
    ranking = statistics.rank(await _outcomes(session, [evaluation for evaluation, _ in rows]))
    order = sorted(
        range(len(rows)), key=lambda place: (ranking.ranks[place], -(rows[place][0].score or 0.0), rows[place][0].name)
    )
    shown = [
        BoardRow(
            **view(*rows[place]).model_dump(),
            rank=ranking.ranks[place],
            p_value=None if place == order[0] else float(ranking.p_values[place, order[0]]),
            older=older[_identity(rows[place][0])],
        )
        for place in order
        if filters.shows(rows[place][0])
    ]
    first, eval_set = rows[0]
    return BoardView(
        eval_set=eval_set.name,
        eval_set_digest=which.eval_set,
        judge=first.judge,
        judge_version=first.judge_version,
        judge_digest=which.judge,
        decoding=Decoding.model_validate({**first.decoding, "seed": None}),
        decoding_digest=which.decoding,
        n_items=eval_set.n_items,
        rows=shown,
    )


def _identity(evaluation: Evaluation) -> object:
    """What an evaluation is of: a run, or else whatever bears this name."""
    return evaluation.run_id or evaluation.name


def _newest(
    found: Sequence[tuple[Evaluation, EvalSet]],
) -> tuple[list[tuple[Evaluation, EvalSet]], dict[object, int]]:
    """The newest evaluation of each run or name, and how many older ones each has."""
    rows: list[tuple[Evaluation, EvalSet]] = []
    older: dict[object, int] = {}
    for evaluation, eval_set in found:
        key = _identity(evaluation)
        if key in older:
            older[key] += 1
        else:
            older[key] = 0
            rows.append((evaluation, eval_set))
    return rows, older


async def _outcomes(
    session: AsyncSession, rows: Sequence[Evaluation]
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Scores of rows on one board, float64 (rows, items); NaN where unscored."""
    table = np.full((len(rows), rows[0].n_items), np.nan)
    place = {row.number: index for index, row in enumerate(rows)}
    scores = await session.stream(
        select(EvaluationItem.evaluation_number, EvaluationItem.position, EvaluationItem.score).where(
            EvaluationItem.evaluation_number.in_(list(place))
        )
    )
    async for number, position, score in scores:
        if score is not None:
            table[place[number], position] = score
    return table

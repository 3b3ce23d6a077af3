"""Boards: which evaluations may be compared with one another, and which boards there are."""

import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, case, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.errors import Conflict
from tunix_rt.evaluation import statistics
from tunix_rt.evaluation.decoding import ACROSS, UNKNOWN, Decoded
from tunix_rt.evaluation.models import EvalSet, Evaluation
from tunix_rt.evaluation.schemas import Contamination, Decoding, EvaluationView

HELD_BACK = 0.05
"""Share of items that overlap with training traces, above which a row is kept off the board until that is waived."""


@dataclass(frozen=True, slots=True)
class Board:
    """What two scores must share to be comparable at all, by digest."""

    eval_set: str
    judge: str
    decoding: str


Stored = tuple[Evaluation, EvalSet]


def board_of(evaluation: Evaluation, eval_set: EvalSet) -> Board:
    """The board that an evaluation belongs to."""
    return Board(eval_set.digest, evaluation.judge_digest, evaluation.decoding_digest)


def decoded(evaluation: Evaluation) -> Decoded:
    """The decoding of an evaluation's predictions."""
    return Decoded(Decoding.model_validate(evaluation.decoding), evaluation.decoding_digest)


async def recorded_decoding(session: AsyncSession, digest: str | None) -> Decoding | None:
    """The parameters that evaluations have for a decoding's digest, without a seed; None if none has any."""
    if digest in (None, UNKNOWN):
        return None
    text = cast(Evaluation.decoding, Text)
    query = select(Evaluation.decoding).where(Evaluation.decoding_digest == digest, text != "{}").limit(1)
    found = await session.scalar(query)
    return None if found is None else Decoding.model_validate({**found, "seed": None})


def same_board(base: Stored, other: Stored, across_decodings: bool | None = None) -> None:
    """Check that two evaluations may be compared.

    Args:
        base: the first.
        other: the second.
        across_decodings: whether their decodings may differ; None: they never may.

    Raises:
        Conflict: their eval set, judge or decoding differ.
    """
    boards = board_of(*base), board_of(*other)
    differ = [
        f"{what} ({getattr(boards[0], field)[:19]} and {getattr(boards[1], field)[:19]})"
        for field, what in (("eval_set", "eval set"), ("judge", "judge"))
        if getattr(boards[0], field) != getattr(boards[1], field)
    ]
    hint = "Judge both sets of predictions on the same eval set, with the same judge and decoding."
    if boards[0].decoding != boards[1].decoding and not across_decodings:
        if not differ and across_decodings is not None:
            hint = ACROSS
        differ.append(f"decoding ({decoded(base[0]).label}; and {decoded(other[0]).label})")
    if differ:
        names = f"{base[0].name!r} and {other[0].name!r}"
        raise Conflict(f"{names} cannot be compared: they differ in their {' and their '.join(differ)}.", hint=hint)


def held_back(contamination: Mapping[str, Any] | None, n_repeated: int, waiver: str | None) -> bool:
    """Whether an evaluation is kept off its board: what it is scored on was seen in training, or partly left out.

    Repeated predictions are refused; evaluations of earlier versions may have them, and left their items out.
    """
    contaminated = contamination is not None and contamination["share"] > HELD_BACK
    return (contaminated or n_repeated > 0) and waiver is None


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
        held_back=held_back(found, evaluation.n_repeated, evaluation.waiver),
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
            found.append(Evaluation.eval_set_number.in_(select(EvalSet.number).where(EvalSet.digest == self.eval_set)))
        if self.date_from is not None:
            found.append(Evaluation.created_at >= self.date_from)
        if self.date_to is not None:
            found.append(Evaluation.created_at <= self.date_to)
        return found

    def counted(self) -> tuple[object, ...]:
        """What `conditions` depend on, on one board."""
        return self.judge, self.date_from, self.date_to

    def shown(self) -> list[ColumnElement[bool]]:
        """What an evaluation must fulfil to be shown; its rank is that among all rows of its board."""
        found = [Evaluation.model_id == self.model_id] if self.model_id is not None else []
        if self.dataset_key is not None:
            found.append(Evaluation.dataset_key == self.dataset_key)
        return found


@dataclass(frozen=True, slots=True)
class State:
    """All that a board's ranking depends on: an evaluation never changes, but it can be waived, and others join it.

    Attributes:
        count: of its evaluations.
        newest: the highest number among them.
        waivers: numbers and reasons.
    """

    count: int
    newest: int
    waivers: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A board that has evaluations to show.

    Attributes:
        place: (created_at, id) of its newest evaluation.
    """

    place: tuple[datetime, uuid.UUID]
    board: Board
    state: State

    def comes_after(self, place: tuple[datetime, uuid.UUID]) -> bool:
        """Whether a list that shows the newest first has this board after that place."""
        return (self.place[0], self.place[1].int) < (place[0], place[1].int)


async def boards(session: AsyncSession, filters: Filters) -> list[Found]:
    """The boards that have evaluations to show, that with the newest evaluation first."""
    key = (Evaluation.eval_set_number, Evaluation.judge_digest, Evaluation.decoding_digest)
    newest = (
        select(func.max(Evaluation.number).label("number"), func.count().label("count"))
        .where(*filters.conditions())
        .group_by(*key)
    )
    if filters.shown():
        newest = newest.having(func.sum(case((and_(*filters.shown()), 1), else_=0)) > 0)
    of_each = newest.subquery()
    rows = (
        await session.execute(
            select(Evaluation.created_at, Evaluation.id, EvalSet.digest, of_each.c.count, of_each.c.number, *key)
            .join(of_each, of_each.c.number == Evaluation.number)
            .join(EvalSet, EvalSet.number == Evaluation.eval_set_number)
        )
    ).all()
    waived = select(Evaluation.number, Evaluation.waiver, *key).where(Evaluation.waiver.is_not(None))
    waivers: dict[Any, list[tuple[int, str]]] = defaultdict(list)
    for number, reason, *of in await session.execute(waived.order_by(Evaluation.number)):
        waivers[tuple(of)].append((number, str(reason)))
    found = [
        Found((when, name), Board(digest, of[1], of[2]), State(count, number, tuple(waivers[tuple(of)])))
        for when, name, digest, count, number, *of in rows
    ]
    return sorted(found, key=lambda one: (one.place[0], one.place[1].int), reverse=True)

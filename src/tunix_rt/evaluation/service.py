"""Storing and reading evaluations. Judging itself (`judging`) is pure and runs with no session held."""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base import ids
from tunix_rt.base.db import Database, new_id, now
from tunix_rt.base.errors import NotFound, cut
from tunix_rt.base.http import Page, Paging
from tunix_rt.base.sorting import Sorting
from tunix_rt.datasets.contamination import KINDS, METHOD
from tunix_rt.evaluation import comparing, contamination, files, judging, leaderboard, packed, predictions, scorecard
from tunix_rt.evaluation.decoding import Decoded
from tunix_rt.evaluation.eval_sets import insert_all
from tunix_rt.evaluation.judges import Judge
from tunix_rt.evaluation.leaderboard import Board
from tunix_rt.evaluation.models import EvalItem, EvalSet, Evaluation, EvaluationItem, PredictionLine
from tunix_rt.evaluation.schemas import (
    Contamination,
    Decoding,
    EvaluationCreated,
    EvaluationDetail,
    EvaluationView,
    ItemView,
    Side,
)
from tunix_rt.runs import service as runs


@dataclass(frozen=True)
class Marks:
    """Which items of an eval set overlap with the training traces behind a model.

    Attributes:
        method: how they were looked for, with its version.
        kinds: by the item's position, how it overlaps.
    """

    method: str
    kinds: Mapping[int, str]


async def store(
    session: AsyncSession,
    *,
    name: str,
    eval_set: EvalSet,
    judge: Judge,
    answered: files.Predictions,
    result: judging.Judged,
    decoded: Decoded,
    model_id: str | None = None,
    dataset_key: str | None = None,
    run_id: uuid.UUID | None = None,
    marks: Marks | None = None,
    identity: uuid.UUID | None = None,
) -> Evaluation:
    """Store an evaluation with its items, and the predictions where they are new.

    Args:
        session: of the caller.
        name: what it is called on the board.
        eval_set: what was answered.
        judge: who judged.
        answered: the predictions.
        result: what the judge said of them.
        decoded: how they were drawn, as far as it is known.
        model_id: whose they are. dataset_key: what it was trained on. run_id: by which run.
        marks: which items overlap with the training traces behind the model; None: nobody knows its traces.
        identity: the id that it was promised; None: a new one.
    """
    stored = await predictions.store(session, eval_set, answered)
    figures = scorecard.figures(result.rows)
    evaluation = Evaluation(
        id=identity or new_id(),
        name=name,
        created_at=now(),
        eval_set_number=eval_set.number,
        model_id=model_id,
        dataset_key=dataset_key,
        run_id=run_id,
        judge=judge.name,
        judge_version=judge.version,
        judge_digest=judge.digest,
        decoding=decoded.decoding.model_dump(exclude_none=True),
        decoding_digest=decoded.digest,
        predictions_number=stored.number,
        samples=result.samples,
        contamination=None if marks is None else contaminated(result.rows, marks).model_dump(mode="json"),
        scores=packed.pack(scorecard.item_score(samples).score for samples in scorecard.by_item(result.rows)),
        n_unknown=len(result.unknown),
        n_repeated=len(result.repeated),
        ci_low=figures.ci[0] if figures.ci else None,
        ci_high=figures.ci[1] if figures.ci else None,
        **figures.model_dump(exclude={"ci"}),
    )
    session.add(evaluation)
    await session.flush()
    rows = [
        {
            "evaluation_number": evaluation.number,
            "position": row.position,
            "sample": row.sample,
            "line": row.line,
            "extracted": row.judgement.extracted,
            "rule": row.judgement.rule,
            "score": row.judgement.score,
            "reason": row.judgement.reason,
            "missing": row.missing,
            "contamination": marks.kinds.get(row.position) if marks else None,
        }
        for row in result.rows
    ]
    await insert_all(session, EvaluationItem, rows)
    if run_id is not None:
        await runs.note_score(session, run_id, evaluation.score)
    return evaluation


async def find(session: AsyncSession, text: str) -> tuple[Evaluation, EvalSet]:
    """An evaluation by its id or a unique prefix of it; see `base.ids.resolve`."""
    query = (
        select(Evaluation, EvalSet)
        .join(EvalSet, EvalSet.number == Evaluation.eval_set_number)
        .where(Evaluation.id == await ids.resolve(session, Evaluation.id, text, "evaluation"))
    )
    evaluation, eval_set = (await session.execute(query)).one()
    return evaluation, eval_set


async def newest_of(
    session: AsyncSession, run_id: uuid.UUID, board: Board | None = None
) -> tuple[Evaluation, EvalSet] | None:
    """The newest evaluation of a run; of one board where it is given."""
    conditions = [Evaluation.run_id == run_id]
    if board is not None:
        conditions += [
            EvalSet.digest == board.eval_set,
            Evaluation.judge_digest == board.judge,
            Evaluation.decoding_digest == board.decoding,
        ]
    found = await evaluations(session, conditions, 1)
    return found[0] if found else None


async def items(
    session: AsyncSession,
    evaluation: Evaluation,
    *,
    item: str | None = None,
    outcome: str | None = None,
    section: str | None = None,
    category: str | None = None,
    difficulty: str | None = None,
    contaminated: bool | None = None,
    sort: str = "position",
    start: int = 0,
    limit: int | None = None,
) -> list[Any]:
    """Judged samples with their questions and predictions.

    Args:
        session: of the caller.
        evaluation: whose.
        item: only the samples of the item with this id.
        outcome: only such. section: only with this label. category: likewise. difficulty: likewise.
        contaminated: whether the item overlaps with a training trace.
        sort: `position` (the eval set's order), `score`, `latency_s` or `completion_tokens`; with `-` from the top.
        start: place of the first one. limit: how many.
    """
    score, absent = EvaluationItem.score, EvaluationItem.missing
    of_outcome: dict[str | None, list[ColumnElement[bool]]] = {
        None: [],
        "unscored": [score.is_(None)],
        "missing": [score.is_not(None), absent.is_(True)],
        "correct": [score == 1, absent.is_(False)],
        "wrong": [score < 1, absent.is_(False)],
    }
    conditions = of_outcome[outcome]
    for column, value in (
        (EvalItem.item_id, item),
        (EvalItem.section, section),
        (EvalItem.category, category),
        (EvalItem.difficulty, difficulty),
    ):
        if value is not None:
            conditions.append(column == value)
    if contaminated is not None:
        conditions.append(
            EvaluationItem.contamination.is_not(None) if contaminated else EvaluationItem.contamination.is_(None)
        )
    column = _SORTED[sort.removeprefix("-")]
    order = [] if column is None else [(column.desc() if sort.startswith("-") else column.asc()).nulls_last()]
    query = (
        select(EvaluationItem, EvalItem, PredictionLine)
        .join(EvalItem, _question_of(evaluation))
        .outerjoin(
            PredictionLine,
            (PredictionLine.predictions_number == evaluation.predictions_number)
            & (PredictionLine.line == EvaluationItem.line),
        )
        .where(EvaluationItem.evaluation_number == evaluation.number, *conditions)
        .order_by(*order, EvaluationItem.position, EvaluationItem.sample)
        .offset(start)
        .limit(limit)
    )
    return list((await session.execute(query)).all())


_SORTED: dict[str, Any] = {
    "position": None,
    "score": EvaluationItem.score,
    "latency_s": PredictionLine.latency_s,
    "completion_tokens": PredictionLine.completion_tokens,
}


def _question_of(evaluation: Evaluation) -> ColumnElement[bool]:
    return and_(EvalItem.position == EvaluationItem.position, EvalItem.eval_set_number == evaluation.eval_set_number)


def item_view(judged_item: EvaluationItem, item: EvalItem, said: PredictionLine | None) -> ItemView:
    """A judged sample with its question and prediction."""
    return ItemView(
        id=item.item_id,
        sample=judged_item.sample,
        prompt=item.prompt,
        expected_answer=item.expected_answer,
        section=item.section,
        category=item.category,
        difficulty=item.difficulty,
        output=said.output if said else None,
        extracted=judged_item.extracted,
        rule=judged_item.rule,
        score=judged_item.score,
        outcome=scorecard.outcome(judged_item.score, judged_item.missing),
        reason=judged_item.reason,
        finish_reason=said.finish_reason if said else None,
        prompt_tokens=said.prompt_tokens if said else None,
        completion_tokens=said.completion_tokens if said else None,
        latency_s=said.latency_s if said else None,
        contamination=judged_item.contamination,
    )


async def side(session: AsyncSession, evaluation: Evaluation) -> comparing.Compared:
    """An evaluation as one side of a comparison."""
    low, high = evaluation.ci_low, evaluation.ci_high
    about = Side(
        id=evaluation.id,
        name=evaluation.name,
        score=evaluation.score,
        n_scored=evaluation.n_scored,
        ci=None if low is None or high is None else (low, high),
        decoding=Decoding.model_validate(evaluation.decoding),
        decoding_digest=evaluation.decoding_digest,
    )
    return about, comparing.items(await rows(session, evaluation))


async def rows(session: AsyncSession, evaluation: Evaluation) -> list[Any]:
    """What the aggregates need of an evaluation's items, without the outputs, in order."""
    query = (
        select(
            EvaluationItem.position,
            EvaluationItem.sample,
            EvaluationItem.score,
            EvaluationItem.missing,
            EvaluationItem.extracted,
            EvaluationItem.rule,
            EvaluationItem.contamination,
            EvalItem.item_id,
            EvalItem.expected_answer,
            EvalItem.section,
            EvalItem.category,
            EvalItem.difficulty,
        )
        .join(EvalItem, _question_of(evaluation))
        .where(EvaluationItem.evaluation_number == evaluation.number)
        .order_by(EvaluationItem.position, EvaluationItem.sample)
    )
    return list((await session.execute(query)).all())


def contaminated(rows: Sequence[judging.Row], marks: Marks) -> Contamination:
    """How far the items overlap with training traces, and the figures without those that do."""
    clean = scorecard.figures(row for row in rows if row.position not in marks.kinds)
    n_items = len({row.position for row in rows})
    return Contamination(
        method=marks.method, n=len(marks.kinds), share=len(marks.kinds) / n_items if n_items else 0.0, clean=clean
    )


def detail(evaluation: Evaluation, eval_set: EvalSet, rows: Sequence[Any]) -> EvaluationDetail:
    """An evaluation with what its rows amount to."""
    return EvaluationDetail(
        **leaderboard.view(evaluation, eval_set).model_dump(),
        sampled=scorecard.sampled(rows, evaluation.samples),
        scorecard=scorecard.scorecard(rows),
        rules=dict(Counter(row.rule for row in rows if row.rule is not None).most_common()),
    )


def created(evaluation: Evaluation, eval_set: EvalSet, result: judging.Judged) -> EvaluationCreated:
    """A new evaluation, with the ids of its predictions that fit nothing."""
    return EvaluationCreated(
        **detail(evaluation, eval_set, result.rows).model_dump(),
        unknown_ids=[cut(name) for name in result.unknown[:20]],
        repeated_ids=result.repeated[:20],
    )


async def marks(database: Database, dataset_keys: Sequence[str], eval_set: EvalSet) -> Marks | None:
    """Which items overlap with the training traces behind a model, each by its strongest overlap.

    Args:
        database: which has them.
        dataset_keys: what the model was trained on, as far as it is known.
        eval_set: whose items.

    Returns:
        None where not one of the data sets is here.
    """
    found = []
    for key in dataset_keys:
        try:
            found.append(await contamination.check(database, key, eval_set))
        except NotFound:  # a data set of somebody else's
            continue
    kinds: dict[int, str] = {}
    for position, overlap in (one for findings in found for one in findings.overlaps.items()):
        kinds[position] = min(kinds.get(position, overlap.kind), overlap.kind, key=KINDS.index)
    return Marks(METHOD, kinds) if found else None


async def marks_of(
    database: Database, before: uuid.UUID | None, dataset_key: str | None, eval_set: EvalSet
) -> Marks | None:
    """Those of an evaluation of the same predictions, for another judge changes nothing about them; else as `marks`."""
    if before is not None:
        async with database.read() as session:
            evaluation, _ = await find(session, str(before))
            if evaluation.contamination is not None:
                kinds = {row.position: row.contamination for row in await rows(session, evaluation)}
                method = evaluation.contamination["method"]
                return Marks(method, {position: kind for position, kind in kinds.items() if kind is not None})
    return await marks(database, [dataset_key] if dataset_key else [], eval_set)


ORDERS = {
    "name": Evaluation.name,
    "eval_set": EvalSet.name,
    "score": Evaluation.score,
    "n_scored": Evaluation.n_scored,
    "created_at": Evaluation.created_at,
    "judge": Evaluation.judge,
    "model_id": Evaluation.model_id,
}


async def page(session: AsyncSession, q: str | None, paging: Paging | Sorting) -> Page[EvaluationView]:
    """A page of the evaluations that hold these words in a name or at the beginning of an id."""
    conditions = [_holds(q)] if q and q.strip() else []
    if isinstance(paging, Paging):
        conditions += paging.where(Evaluation.created_at, Evaluation.id)
        found = await evaluations(session, conditions, paging.limit + 1)
        return paging.page([leaderboard.view(*row) for row in found], key=lambda row: (row.created_at, row.id))
    query = select(Evaluation, EvalSet).join(EvalSet, EvalSet.number == Evaluation.eval_set_number).where(*conditions)
    statement = paging.over(query, paging.column(ORDERS), Evaluation.id)
    rows = (await session.execute(statement)).all()
    return paging.page([leaderboard.view(row[0], row[1]) for row in rows], [(row[2], row[0].id) for row in rows])


def _holds(q: str) -> ColumnElement[bool]:
    words = q.strip()
    names = (Evaluation.name, EvalSet.name, Evaluation.judge, Evaluation.model_id, Evaluation.dataset_key)
    found = [column.icontains(words, autoescape=True) for column in names]
    prefix = words.lower().replace("-", "")
    if 4 <= len(prefix) <= 32 and set(prefix) <= set("0123456789abcdef"):
        low, high = (uuid.UUID(prefix.ljust(32, digit)) for digit in "0f")
        found += [column.between(low, high) for column in (Evaluation.id, Evaluation.run_id)]
    return or_(*found)


async def evaluations(session: AsyncSession, conditions: Sequence[Any], limit: int) -> list[tuple[Evaluation, EvalSet]]:
    """Evaluations, newest first."""
    query = (
        select(Evaluation, EvalSet)
        .join(EvalSet, EvalSet.number == Evaluation.eval_set_number)
        .where(*conditions)
        .order_by(Evaluation.created_at.desc(), Evaluation.id.desc())
        .limit(limit)
    )
    return [(row[0], row[1]) for row in await session.execute(query)]

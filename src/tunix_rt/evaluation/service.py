"""Storing and reading evaluations. Judging itself is pure (`scorecard`) and runs with no session held."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base import ids
from tunix_rt.base.db import now
from tunix_rt.base.errors import BadInput, Fault, cut
from tunix_rt.evaluation import comparing, files, leaderboard, scorecard
from tunix_rt.evaluation.eval_sets import insert_all
from tunix_rt.evaluation.judges import Judge
from tunix_rt.evaluation.leaderboard import Board
from tunix_rt.evaluation.models import EvalItem, EvalSet, Evaluation, EvaluationItem
from tunix_rt.evaluation.schemas import Decoding, ItemView, Side


def judged(items: Sequence[EvalItem], predictions: files.Predictions, judge: Judge) -> scorecard.Judged:
    """Judge predictions; holds no session and may take long.

    Raises:
        BadInput: not one of them is for an item of this eval set.
    """
    result = scorecard.judge_all(items, predictions, judge)
    if len(result.unknown) == len(predictions.by_id):
        raise BadInput(
            f"None of the {len(predictions.by_id):,} ids in the predictions is in this eval set.",
            hint="Are these the predictions for another eval set?",
            faults=[
                Fault(
                    "line 1", f"the id {cut(result.unknown[0], 60)!r}; the eval set has {cut(items[0].item_id, 60)!r}"
                )
            ],
        )
    return result


async def store(
    session: AsyncSession,
    *,
    name: str,
    eval_set: EvalSet,
    judge: Judge,
    predictions_digest: str,
    result: scorecard.Judged,
    decoding: Decoding,
    model_id: str | None = None,
    dataset_key: str | None = None,
    run_id: uuid.UUID | None = None,
) -> Evaluation:
    """Store an evaluation and its items."""
    figures = scorecard.figures(result.rows)
    evaluation = Evaluation(
        name=name,
        created_at=now(),
        eval_set_number=eval_set.number,
        model_id=model_id,
        dataset_key=dataset_key,
        run_id=run_id,
        judge=judge.name,
        judge_version=judge.version,
        judge_digest=judge.digest,
        decoding=decoding.model_dump(exclude_none=True),
        decoding_digest=leaderboard.decoding_digest(decoding),
        predictions_digest=predictions_digest,
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
            "position": position,
            "item_id": row.item_id,
            "extracted": row.judgement.extracted,
            "rule": row.judgement.rule,
            "score": row.judgement.score,
            "reason": row.judgement.reason,
            "missing": row.missing,
            "output": row.prediction.output if row.prediction else None,
            "finish_reason": row.prediction.finish_reason if row.prediction else None,
            "prompt_tokens": row.prediction.prompt_tokens if row.prediction else None,
            "completion_tokens": row.prediction.completion_tokens if row.prediction else None,
            "latency_s": row.prediction.latency_s if row.prediction else None,
        }
        for position, row in enumerate(result.rows)
    ]
    await insert_all(session, EvaluationItem, rows)
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


def board_of(evaluation: Evaluation, eval_set: EvalSet) -> Board:
    """The board that an evaluation belongs to."""
    return Board(eval_set.digest, evaluation.judge_digest, evaluation.decoding_digest)


async def items(
    session: AsyncSession,
    evaluation: Evaluation,
    *,
    outcome: str | None = None,
    section: str | None = None,
    category: str | None = None,
    difficulty: str | None = None,
    after: int = -1,
    limit: int | None = None,
) -> list[tuple[EvaluationItem, EvalItem]]:
    """Judged items with their questions, in the eval set's order, after a position."""
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
        (EvalItem.section, section),
        (EvalItem.category, category),
        (EvalItem.difficulty, difficulty),
    ):
        if value is not None:
            conditions.append(column == value)
    query = (
        select(EvaluationItem, EvalItem)
        .join(
            EvalItem,
            (EvalItem.position == EvaluationItem.position) & (EvalItem.eval_set_number == evaluation.eval_set_number),
        )
        .where(EvaluationItem.evaluation_number == evaluation.number, EvaluationItem.position > after, *conditions)
        .order_by(EvaluationItem.position)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in await session.execute(query)]


def item_view(judged_item: EvaluationItem, item: EvalItem) -> ItemView:
    """A judged item with its question."""
    return ItemView(
        id=item.item_id,
        prompt=item.prompt,
        expected_answer=item.expected_answer,
        section=item.section,
        category=item.category,
        difficulty=item.difficulty,
        output=judged_item.output,
        extracted=judged_item.extracted,
        rule=judged_item.rule,
        score=judged_item.score,
        outcome=scorecard.outcome(judged_item.score, judged_item.missing),
        reason=judged_item.reason,
        finish_reason=judged_item.finish_reason,
        prompt_tokens=judged_item.prompt_tokens,
        completion_tokens=judged_item.completion_tokens,
        latency_s=judged_item.latency_s,
    )


async def side(session: AsyncSession, evaluation: Evaluation) -> comparing.Compared:
    """An evaluation as one side of a comparison."""
    query = (
        select(
            EvalItem.item_id,
            EvalItem.expected_answer,
            EvaluationItem.score,
            EvaluationItem.extracted,
            EvaluationItem.rule,
        )
        .join(
            EvalItem,
            (EvalItem.position == EvaluationItem.position) & (EvalItem.eval_set_number == evaluation.eval_set_number),
        )
        .where(EvaluationItem.evaluation_number == evaluation.number)
        .order_by(EvaluationItem.position)
    )
    low, high = evaluation.ci_low, evaluation.ci_high
    about = Side(
        id=evaluation.id,
        name=evaluation.name,
        score=evaluation.score,
        n_scored=evaluation.n_scored,
        ci=None if low is None or high is None else (low, high),
    )
    return about, [comparing.Judged(*row) for row in (await session.execute(query)).all()]


async def rows(session: AsyncSession, evaluation: Evaluation) -> list[Any]:
    """What the aggregates need of an evaluation's items, without its texts: score, missing, rule and labels."""
    query = (
        select(
            EvaluationItem.score,
            EvaluationItem.missing,
            EvaluationItem.rule,
            EvalItem.section,
            EvalItem.category,
            EvalItem.difficulty,
        )
        .join(
            EvalItem,
            (EvalItem.position == EvaluationItem.position) & (EvalItem.eval_set_number == evaluation.eval_set_number),
        )
        .where(EvaluationItem.evaluation_number == evaluation.number)
        .order_by(EvaluationItem.position)
    )
    return list((await session.execute(query)).all())


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

"""Verifying an evaluation: its figures computed again from its items, and its items judged again."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from tunix_rt.base.errors import Problem
from tunix_rt.evaluation import files, judges, judging, scorecard
from tunix_rt.evaluation.models import EvalItem, Evaluation
from tunix_rt.evaluation.schemas import Contamination, Difference, Verified

_TOLD = 100
_COUNTS = ("n_items", "n_scored", "n_missing", "n_unscored", "n_correct", "score")


def verified(
    evaluation: Evaluation, rows: Sequence[Any], items: Sequence[EvalItem], answered: files.Predictions
) -> Verified:
    """Compare what is stored with what comes out now.

    Args:
        evaluation: as it is stored.
        rows: its items, see `service.rows`.
        items: of its eval set.
        answered: its predictions.
    """
    found = _figures(evaluation, rows)
    n_judged, why = 0, None
    try:
        judge = judges.named(evaluation.judge)
    except Problem as problem:
        why = f"{problem.detail} {problem.hint or ''}".strip()
    else:
        if judge.digest != evaluation.judge_digest:
            why = f"the judge is another one now: {judge.digest[:19]}, not {evaluation.judge_digest[:19]}"
        elif not judge.repeatable:
            why = "the judge is a service, which does not answer the same for sure"
        else:
            n_judged = len(answered.lines)
            found += _judgements(rows, judging.judged(items, answered, judge))
    return Verified(
        ok=not found,
        n_items=evaluation.n_items,
        n_judged=n_judged,
        not_judged=why,
        n_differences=len(found),
        differences=found[:_TOLD],
    )


def _figures(evaluation: Evaluation, rows: Sequence[Any]) -> list[Difference]:
    low, high = evaluation.ci_low, evaluation.ci_high
    stored = {name: getattr(evaluation, name) for name in _COUNTS}
    figures = scorecard.figures(rows)
    computed = {name: getattr(figures, name) for name in _COUNTS}
    stored["ci"], computed["ci"] = None if low is None or high is None else (low, high), figures.ci
    if evaluation.contamination is not None:
        stored["clean"] = Contamination.model_validate(evaluation.contamination).clean
        computed["clean"] = scorecard.figures(row for row in rows if row.contamination is None)
    return [
        Difference(what=name, stored=stored[name], computed=computed[name])
        for name in stored
        if stored[name] != computed[name]
    ]


def _judgements(rows: Sequence[Any], again: judging.Judged) -> list[Difference]:
    now = {(row.position, row.sample): row for row in again.rows}
    found = []
    for row in rows:
        new = now[row.position, row.sample]
        stored = {"score": row.score, "extracted": row.extracted, "rule": row.rule}
        computed = {name: dataclasses.asdict(new.judgement)[name] for name in stored}
        if stored != computed:
            found.append(Difference(what=f"item {row.item_id}, sample {row.sample}", stored=stored, computed=computed))
    return found

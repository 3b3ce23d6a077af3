"""Baselines in the database, and evaluations held against them."""

import asyncio
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.db import Database
from tunix_rt.base.errors import BadInput, Conflict, Fault, NotFound, WrongUsage, cut, nearest
from tunix_rt.evaluation import comparing, leaderboard, service, statistics
from tunix_rt.evaluation.models import EvalSet, Evaluation
from tunix_rt.regression import report, values
from tunix_rt.regression.decision import decide
from tunix_rt.regression.models import Baseline
from tunix_rt.regression.schemas import BaselineRequest, BaselineView, CheckRequest, CheckView, Direction, Metric
from tunix_rt.runs import service as runs

Stored = tuple[Evaluation, EvalSet]
_DIRECTIONS: dict[Metric, Direction] = {"score": "higher", "completion_tokens": "lower", "latency_s": "lower"}


# --- baselines --------------------------------------------------------------------------------------------------


async def set_baseline(session: AsyncSession, asked: BaselineRequest) -> tuple[BaselineView, bool]:
    """Set a baseline; the name may have had another one before.

    Returns:
        The baseline, and whether it is new: the same one again is the one that is there.

    Raises:
        BadInput: it needs a margin, or not one item has a value of the metric.
        NotFound: there is no such evaluation.
    """
    stored = await _evaluation(session, asked.evaluation_id, asked.run_id)
    margin = asked.margin
    if margin is None and asked.metric != "score":
        raise BadInput(
            f"A baseline of {asked.metric} needs a margin: what is little depends on the model.",
            hint=f"Say how many {_UNITS[asked.metric]} an item more do not matter, as margin.",
            faults=[Fault("margin", "is missing")],
        )
    if np.isnan(await values.of(session, stored[0], asked.metric)).all():
        raise BadInput(
            f"Not one item of {cut(stored[0].name, 60)!r} has a {asked.metric}.",
            hint=None if asked.metric == "score" else f"Predictions carry it as {asked.metric}, where it is known.",
        )
    new = Baseline(
        name=asked.name,
        evaluation_number=stored[0].number,
        metric=asked.metric,
        direction=asked.direction or _DIRECTIONS[asked.metric],
        margin=statistics.MARGIN if margin is None else margin,
    )
    known = await _newest(session, asked.name)
    if known is not None and all(getattr(known, field) == getattr(new, field) for field in _CONTENT):
        return _view(known, *stored), False
    session.add(new)
    await session.flush()
    return _view(new, *stored), True


_CONTENT = ("evaluation_number", "metric", "direction", "margin")
_UNITS: dict[Metric, str] = {"score": "points", "completion_tokens": "tokens", "latency_s": "seconds"}


async def baselines(session: AsyncSession, conditions: Sequence[Any], limit: int) -> list[BaselineView]:
    """The baseline of each name, newest first."""
    newest = select(func.max(Baseline.number)).group_by(Baseline.name)
    query = (
        select(Baseline, Evaluation, EvalSet)
        .join(Evaluation, Evaluation.number == Baseline.evaluation_number)
        .join(EvalSet, EvalSet.number == Evaluation.eval_set_number)
        .where(Baseline.number.in_(newest), *conditions)
        .order_by(Baseline.created_at.desc(), Baseline.id.desc())
        .limit(limit)
    )
    return [_view(*row) for row in await session.execute(query)]


async def _newest(session: AsyncSession, name: str) -> Baseline | None:
    query = select(Baseline).where(Baseline.name == name).order_by(Baseline.number.desc()).limit(1)
    found: Baseline | None = await session.scalar(query)
    return found


async def find(session: AsyncSession, name: str) -> Baseline:
    """The baseline that a name has now.

    Raises:
        NotFound: it has none; the near ones are named.
    """
    found = await _newest(session, name)
    if found is None:
        names = (await session.scalars(select(Baseline.name).distinct().order_by(Baseline.name).limit(1_000))).all()
        near = difflib.get_close_matches(name, names, n=10, cutoff=0.4) or names[:10]
        raise NotFound(
            f"There is no baseline {cut(name, 100)!r}.{nearest(name, near)}",
            hint="Set it: tunix-rt baselines set NAME --evaluation ID",
        )
    return found


def _view(baseline: Baseline, evaluation: Evaluation, eval_set: EvalSet) -> BaselineView:
    return BaselineView(
        id=baseline.id,
        name=baseline.name,
        created_at=baseline.created_at,
        evaluation_id=evaluation.id,
        evaluation=evaluation.name,
        run_id=evaluation.run_id,
        eval_set=eval_set.name,
        eval_set_digest=eval_set.digest,
        judge=evaluation.judge,
        metric=baseline.metric,
        direction=baseline.direction,
        margin=baseline.margin,
    )


# --- evaluations ------------------------------------------------------------------------------------------------


async def _evaluation(
    session: AsyncSession, evaluation_id: str | None, run_id: str | None, beside: Stored | None = None
) -> Stored:
    """An evaluation, or the newest of a run: on the board of `beside` where the run has one there.

    Raises:
        WrongUsage: neither was named, or both.
        NotFound: there is no such evaluation or run.
        Conflict: the run has no evaluation yet.
    """
    if (evaluation_id is None) == (run_id is None):
        raise WrongUsage("Name an evaluation or a run, one of the two.", hint="As evaluation_id, or as run_id.")
    if evaluation_id is not None:
        return await service.find(session, evaluation_id)
    run = await runs.find(session, str(run_id))
    conditions = [Evaluation.run_id == run.id]
    if beside is not None:
        there = [
            Evaluation.eval_set_number == beside[0].eval_set_number,
            Evaluation.judge_digest == beside[0].judge_digest,
            Evaluation.decoding_digest == beside[0].decoding_digest,
        ]
        found = await service.evaluations(session, [*conditions, *there], 1)
        if found:
            return found[0]
    found = await service.evaluations(session, conditions, 1)
    if not found:
        raise Conflict(
            f"The run {run.id} has not been evaluated.", hint=f"Evaluate it: tunix-rt runs evaluate {run.id}"
        )
    return found[0]


# --- checks -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loaded:
    """All that a check looks at.

    Attributes:
        values: of the baseline's evaluation and of the other one, float64 (items,).
        sides: the items of both, where the metric is the score.
    """

    baseline: BaselineView
    base: Evaluation
    other: Evaluation
    values: tuple[NDArray[np.float64], NDArray[np.float64]]
    sides: tuple[comparing.Compared, comparing.Compared] | None


async def check(database: Database, asked: CheckRequest) -> CheckView:
    """Hold an evaluation against a baseline; holds no session while it computes.

    Raises:
        NotFound: there is no such baseline, evaluation or run.
        Conflict: the two are not on one board, or the run was not evaluated.
    """
    async with database.read() as session:
        loaded = await _load(session, asked)
    return await asyncio.to_thread(_check, loaded, asked)


async def _load(session: AsyncSession, asked: CheckRequest) -> Loaded:
    baseline = await find(session, asked.baseline)
    held = select(Evaluation, EvalSet).join(EvalSet, EvalSet.number == Evaluation.eval_set_number)
    row = (await session.execute(held.where(Evaluation.number == baseline.evaluation_number))).one()
    base: Stored = (row[0], row[1])
    other = await _evaluation(session, asked.evaluation_id, asked.run_id, base)
    leaderboard.same_board(base, other)
    view = _view(baseline, *base)
    found = (await values.of(session, base[0], view.metric), await values.of(session, other[0], view.metric))
    sides = None
    if view.metric == "score":
        sides = (await service.side(session, base[0]), await service.side(session, other[0]))
    return Loaded(view, base[0], other[0], found, sides)


def _check(loaded: Loaded, asked: CheckRequest) -> CheckView:
    view = loaded.baseline
    margin = view.margin if asked.margin is None else asked.margin
    before, after = loaded.values
    both = ~(np.isnan(before) | np.isnan(after))
    before, after = before[both], after[both]
    sign = 1.0 if view.direction == "higher" else -1.0
    gains = sign * (after - before)
    gains[np.abs(gains) < 1e-12] = 0.0  # means that were added up in another order
    decided = decide(gains, margin, view.metric == "score", asked.seed)
    if loaded.base.id == loaded.other.id:  # it cannot be worse than itself, whatever n allows to say of its like
        decided = report.itself(decided)
    n = len(gains)
    changed = comparing.changed(*loaded.sides) if loaded.sides else []
    return CheckView(
        verdict=decided.verdict,
        reason=report.reason(decided, view, margin, n, same=loaded.base.id == loaded.other.id),
        baseline=view,
        evaluation=report.checked(loaded.other),
        base=report.checked(loaded.base),
        metric=view.metric,
        direction=view.direction,
        margin=margin,
        n=n,
        base_mean=float(before.mean()) if n else None,
        other_mean=float(after.mean()) if n else None,
        difference=None if decided.gain is None else sign * decided.gain,
        ci=report.turned(decided.ci, sign),
        p_value=decided.p_value,
        test=decided.test,
        fixed=int((gains > 0).sum()),
        broken=int((gains < 0).sum()),
        unchanged=int((gains == 0).sum()),
        n_left_out=len(both) - n,
        established=n >= statistics.ESTABLISHED,
        sufficient_n=decided.sufficient_n,
        notes=report.notes(loaded.base, loaded.other, n, len(both)),
        items=changed[: comparing.LISTED],
        items_left_out=max(0, len(changed) - comparing.LISTED),
    )

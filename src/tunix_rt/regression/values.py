"""What a metric is of each item of an evaluation; of several samples their mean."""

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.evaluation import packed
from tunix_rt.evaluation.models import Evaluation, EvaluationItem, PredictionLine
from tunix_rt.regression.schemas import Metric


async def of(session: AsyncSession, evaluation: Evaluation, metric: Metric) -> NDArray[np.float64]:
    """The metric's values, float64 (items,) in the eval set's order; NaN where an item has none."""
    if metric == "score":
        scores = await session.scalar(select(Evaluation.scores).where(Evaluation.number == evaluation.number))
        assert scores is not None, "the evaluation is stored"
        return packed.unpack([scores], evaluation.n_items).reshape(-1)
    column = {"completion_tokens": PredictionLine.completion_tokens, "latency_s": PredictionLine.latency_s}[metric]
    query = (
        select(EvaluationItem.position, func.sum(column), func.count(column))
        .join(
            PredictionLine,
            (PredictionLine.predictions_number == evaluation.predictions_number)
            & (PredictionLine.line == EvaluationItem.line),
        )
        .where(EvaluationItem.evaluation_number == evaluation.number)
        .group_by(EvaluationItem.position)
    )
    told = np.full(evaluation.n_items, np.nan)
    for position, total, count in await session.execute(query):
        if total is not None:
            told[position] = float(total) / count
    return told

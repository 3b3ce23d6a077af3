"""Predictions in the database: stored once by content, as they came, so that any judge can look at them again."""

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.evaluation import files
from tunix_rt.evaluation.eval_sets import insert_all
from tunix_rt.evaluation.models import EvalSet, PredictionLine, Predictions
from tunix_rt.evaluation.schemas import PredictionLine as Line

_TOLD = ("sample", "output", "finish_reason", "prompt_tokens", "completion_tokens", "latency_s")


async def store(session: AsyncSession, eval_set: EvalSet, predictions: files.Predictions) -> Predictions:
    """Store predictions for an eval set; the same file again is the one that is there."""
    same = select(Predictions).where(
        Predictions.eval_set_number == eval_set.number, Predictions.digest == predictions.digest
    )
    known = await session.scalar(same)
    if known is not None:
        return known
    stored = Predictions(eval_set_number=eval_set.number, digest=predictions.digest, samples=predictions.samples)
    try:
        async with session.begin_nested():
            session.add(stored)
    except IntegrityError:  # somebody stores the same at this moment
        return (await session.scalars(same)).one()
    rows = [
        {
            "predictions_number": stored.number,
            "line": number,
            "item_id": line.id,
            **{field: getattr(line, field) for field in _TOLD},
        }
        for number, line in enumerate(predictions.lines)
    ]
    await insert_all(session, PredictionLine, rows)
    return stored


async def load(session: AsyncSession, number: int) -> files.Predictions:
    """Stored predictions, as they were read from their file."""
    stored = (await session.scalars(select(Predictions).where(Predictions.number == number))).one()
    columns = [PredictionLine.item_id, *(getattr(PredictionLine, field) for field in _TOLD)]
    query = select(*columns).where(PredictionLine.predictions_number == number).order_by(PredictionLine.line)
    lines = [
        Line.model_construct(id=row.item_id, **{field: getattr(row, field) for field in _TOLD})
        for row in await session.execute(query)
    ]
    return files.Predictions(stored.digest, lines)

"""What follows what: called in the transaction that ends the step before."""

from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.evaluation import eval_sets, handlers, judges
from tunix_rt.runs.models import Run
from tunix_rt.training.generate import Decoding


async def completed(session: AsyncSession, run: Run) -> None:
    """A run is completed: where it was asked for with an eval set, it is evaluated."""
    if run.eval_set is not None:
        key = f"{handlers.KIND}:{run.id}"
        await handlers.enqueue(session, run, run.eval_set, judges.DEFAULT, Decoding(), key=key)


async def known(session: AsyncSession, eval_set: str) -> None:
    """Refuse a run whose eval set is not there.

    Raises:
        NotFound: there is none of that name.
    """
    await eval_sets.find(session, eval_set)

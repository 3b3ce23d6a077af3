"""What follows what: called in the transaction that ends the step before."""

from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.errors import Problem
from tunix_rt.evaluation import eval_sets, handlers, judges
from tunix_rt.runs.models import Run
from tunix_rt.training.generate import Decoding


async def completed(session: AsyncSession, run: Run) -> None:
    """A run is completed: where it was asked for with an eval set, it is evaluated."""
    if run.eval_set is None:
        return
    try:
        eval_set = await eval_sets.find(session, run.eval_set)
    except Problem:  # it was there when the run was asked for; the run is completed all the same
        return
    await handlers.enqueue(session, run, eval_set, judges.DEFAULT, Decoding(), key=f"{handlers.KIND}:{run.id}")


async def known(session: AsyncSession, eval_set: str) -> None:
    """Refuse a run whose eval set is not there.

    Raises:
        NotFound: there is none of that name.
    """
    await eval_sets.find(session, eval_set)

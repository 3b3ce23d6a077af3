"""What follows what: called in the transaction that ends the step before; and what a step takes from a later one."""

import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.db import Database
from tunix_rt.base.errors import BadInput, Fault, NotFound
from tunix_rt.datasets.models import Dataset
from tunix_rt.evaluation import eval_sets, handlers, judges, queued
from tunix_rt.evaluation.models import Evaluation
from tunix_rt.registry import folders
from tunix_rt.registry import service as registry
from tunix_rt.regression.models import Baseline
from tunix_rt.runs import service as runs
from tunix_rt.runs.models import Run
from tunix_rt.runs.prepare import Registered, is_registered
from tunix_rt.traces.models import Trace
from tunix_rt.training.decoding import Decoding

NEWEST: dict[str, ColumnElement[Any]] = {
    name: select(func.max(table.number)).scalar_subquery()
    for name, table in (("traces", Trace), ("datasets", Dataset), ("evaluations", Evaluation), ("baselines", Baseline))
} | {"evaluation_queue": queued.CHANGES}
"""What viewers are told of when there is more of it, or it changes, whichever process made it."""


async def completed(session: AsyncSession, run: Run) -> None:
    """A run is completed: where it was asked for with an eval set, it is evaluated."""
    if run.eval_set is not None:
        await handlers.enqueue(session, run, run.eval_set, judges.DEFAULT, Decoding(), automatic=True)


async def known(session: AsyncSession, eval_set: str) -> None:
    """Refuse a run whose eval set is not there.

    Raises:
        NotFound: there is none of that name.
    """
    await eval_sets.find(session, eval_set)


async def registered(session: AsyncSession, model_id: str) -> Registered:
    """The version that `name@alias` or `name:version` means now, for a run that shall start from it.

    Raises:
        NotFound: there is no such family, alias or version.
        BadInput: it is an adapter, which no training starts from.
    """
    name, version = await registry.referred(session, model_id)
    if version.kind == "adapter":
        raise BadInput(
            f"{name}:{version.version} is an adapter; a training starts from a whole model.",
            hint="Merge it (tunix-rt models pull, then models merge) and put the folder under TUNIX_RT_HOME/models.",
            faults=[Fault("/model_id", "names an adapter")],
        )
    return Registered(f"{name}:{version.version}", model_id, version.digest)


async def behind(session: AsyncSession, run: Run) -> list[str]:
    """The data sets that a run's model was trained on: its own, and those of the versions that it goes back to."""
    found = [run.dataset_key]
    while is_registered(run.model_id):
        try:
            _, version = await registry.referred(session, run.model_id)
            run = await runs.find(session, str(version.run_id))
        except NotFound:  # it was removed: nobody knows any more
            break
        found.append(run.dataset_key)
    return list(dict.fromkeys(found))


async def base_folder(database: Database, home: Path, model_id: str) -> Path:
    """The folder of the version that a run starts from, whole.

    Raises:
        Failed: a file of it is damaged.
    """
    async with database.read() as session:
        _, version = await registry.referred(session, model_id)
    return await asyncio.to_thread(folders.folder, home, version.digest, registry.files(version))

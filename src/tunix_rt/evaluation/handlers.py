"""The job that evaluates a run: its model answers the eval set, a judge judges, and the evaluation is stored."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.db import Database, new_id
from tunix_rt.base.errors import Failed, Unavailable
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation import eval_sets, files, generation, judges, judging, service
from tunix_rt.evaluation.decoding import Decoded
from tunix_rt.evaluation.models import EvalSet
from tunix_rt.evaluation.schemas import Decoding as DecodingView
from tunix_rt.jobs import queue
from tunix_rt.jobs.lease import Lease
from tunix_rt.jobs.loop import Outcome
from tunix_rt.jobs.models import Job
from tunix_rt.jobs.queue import Claimed, Settled
from tunix_rt.jobs.retry import End
from tunix_rt.runs import service as runs
from tunix_rt.runs.logs import folder_of
from tunix_rt.runs.models import Run
from tunix_rt.runs.schemas import MOST_PRIORITY
from tunix_rt.training.decoding import Decoding

KIND = "evaluate"
PRIORITY = MOST_PRIORITY + 1
"""Of all jobs that evaluate: above every training's, since they are short and somebody waits for what a run came to."""
Behind = Callable[[AsyncSession, Run], Awaitable[Sequence[str]]]
"""The data sets whose training traces are behind a run's model."""


async def enqueue(
    session: AsyncSession, run: Run, eval_set: str, judge: str, decoding: Decoding, *, automatic: bool = False
) -> int:
    """Ask for a run's evaluation; returns the job's number. The automatic one is asked for once."""
    key = f"{KIND}:{run.id}" if automatic else f"{KIND}:{run.id}:{new_id()}"
    payload = {
        "run": str(run.id),
        "eval_set": eval_set,
        "judge": judge,
        "max_new_tokens": decoding.max_new_tokens,
        "temperature": decoding.temperature,
        "samples": decoding.samples,
        "seed": decoding.seed,
    }
    number, _ = await queue.enqueue(session, KIND, payload, key=key, needs=run.engine, priority=PRIORITY)
    return number


def decoded(decoding: Decoding) -> Decoded:
    """How a run's answers were drawn, as their evaluation has it."""
    parameters = DecodingView(**decoding.parameters, seed=decoding.seed if decoding.temperature else None)
    return Decoded(parameters, decoding.digest)


async def newest_job(session: AsyncSession, run: Run) -> Job | None:
    """The newest job that evaluates a run, found by its key: every one of the run's begins alike."""
    first = f"{KIND}:{run.id}"
    keys = Job.key.between(first, f"{first}:g")  # what follows is hexadecimal, which any collation puts before g
    job: Job | None = await session.scalar(select(Job).where(keys).order_by(Job.number.desc()).limit(1))
    return job


async def why_none(session: AsyncSession, run: Run) -> str:
    """What became of the newest job that was to evaluate a run, as the end of a sentence; empty where there is none."""
    found = await newest_job(session, run)
    if found is None:
        return ""
    return f"; its job is {found.state}" + (f": {found.reason}" if found.reason else "")


@dataclass(frozen=True)
class Done:
    """What is stored when the job is settled."""

    run: Run
    eval_set: EvalSet
    judge: judges.Judge
    answered: files.Predictions
    judged: judging.Judged
    decoded: Decoded
    marks: service.Marks | None


class EvaluateHandler:
    """See `jobs.loop.Handler`."""

    def __init__(self, database: Database, settings: Settings, behind: Behind) -> None:
        self._database, self._settings, self._behind = database, settings, behind

    async def claimed(self, session: AsyncSession, job: Claimed) -> None:
        """See `jobs.loop.Handler`: nothing is noted."""

    async def work(self, lease: Lease) -> Outcome:
        """See `jobs.loop.Handler`."""
        asked = lease.job.payload
        decoding = Decoding(asked["max_new_tokens"], asked["temperature"], asked["seed"], asked["samples"])
        judge = judges.named(asked["judge"], self._settings)
        async with self._database.read() as session:
            run = await runs.find(session, asked["run"])
            eval_set = await eval_sets.find(session, asked["eval_set"])
            items = await eval_sets.items(session, eval_set)
            behind = await self._behind(session, run)
        folder = folder_of(self._settings.home, run.id)
        output = generation.place(folder, eval_set.digest, decoding)
        try:
            await generation.generate(folder, output, items, decoding, lease)
            answered = await asyncio.to_thread(_read, output)
            judged = await asyncio.to_thread(judging.judged, items, answered, judge)
        except generation.Drained:
            return Outcome(End.RELEASED, "its worker was asked to stop")
        except (Unavailable, Failed) as problem:
            return Outcome(End.CRASHED, problem.detail)
        marks = await service.marks(self._database, behind, eval_set)
        return Outcome(End.DONE, result=Done(run, eval_set, judge, answered, judged, decoded(decoding), marks))

    async def settled(self, session: AsyncSession, job: Claimed, outcome: Outcome, settled: Settled) -> None:
        """See `jobs.loop.Handler`."""
        del job, settled
        done: Any = outcome.result
        if outcome.end is not End.DONE or not isinstance(done, Done):
            return
        await service.store(
            session,
            name=f"run {str(done.run.id)[:13]}",
            eval_set=done.eval_set,
            judge=done.judge,
            answered=done.answered,
            result=done.judged,
            decoded=done.decoded,
            model_id=done.run.model_id,
            dataset_key=done.run.dataset_key,
            run_id=done.run.id,
            marks=done.marks,
        )


def _read(path: Path) -> files.Predictions:
    with path.open("rb") as file:
        return files.predictions(file)

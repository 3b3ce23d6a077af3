"""Evaluations of runs that are not there yet: which wait, are being done or failed, and where that of a run is."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import String, cast, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement, TextClause

from tunix_rt.base.db import present
from tunix_rt.evaluation.handlers import KIND, newest_job
from tunix_rt.evaluation.models import EvalSet, Evaluation
from tunix_rt.evaluation.schemas import QueuedEvaluation
from tunix_rt.jobs import queue, workers
from tunix_rt.jobs.models import PENDING, RUNNING, Job, JobState, Worker
from tunix_rt.runs import service as runs
from tunix_rt.runs.models import Run
from tunix_rt.runs.schemas import RunEvaluation
from tunix_rt.runs.states import FINAL, RunStatus

MOST = 200
"""Evaluations of each state that are listed."""
RECENT_JOBS = 1000
"""Jobs among which failed evaluations are looked for: no index finds them."""


def _mark(state: TextClause) -> ColumnElement[str]:
    parts = (func.count(), func.coalesce(func.sum(Job.number), 0), func.coalesce(func.sum(Job.claim), 0))
    text: ColumnElement[str] = literal("")
    for part in parts:
        text = text + cast(part, String) + "/"
    return select(text).where(state, Job.kind == KIND).scalar_subquery()


CHANGES = _mark(PENDING) + _mark(RUNNING)
"""What changes in the database when an evaluation of a run is asked for, taken, put back or over."""


async def of_run(session: AsyncSession, run: Run, lease_seconds: float) -> RunEvaluation:
    """Where the evaluation of a run is."""
    if run.mode == "dry-run":
        return RunEvaluation(state="none")
    if run.status != RunStatus.COMPLETED:
        planned = run.status not in FINAL and run.eval_set is not None
        return RunEvaluation(state="planned" if planned else "none", eval_set=run.eval_set)
    newest = select(Evaluation.id, Evaluation.created_at).where(Evaluation.run_id == run.id)
    made = (await session.execute(newest.order_by(Evaluation.created_at.desc()).limit(1))).one_or_none()
    job = await newest_job(session, run)
    identity = None if made is None else made.id
    if job is None or job.state == JobState.DONE or _superseded(job, None if made is None else made.created_at):
        return RunEvaluation(state="none" if made is None else "done", eval_set=run.eval_set, evaluation_id=identity)
    [view] = await _views(session, [job], [run], lease_seconds)
    return RunEvaluation.model_validate(view.model_dump() | {"evaluation_id": identity})


async def unfinished(session: AsyncSession, lease_seconds: float) -> list[QueuedEvaluation]:
    """Evaluations of runs that are being done, those that wait, first the one that is claimed first, and failed ones.

    Failed ones are those among the newest jobs whose run was not evaluated, nor asked to be, since then.
    """
    evaluates = select(Job).where(Job.kind == KIND)
    running = (await session.scalars(evaluates.where(RUNNING).order_by(Job.number).limit(MOST))).all()
    pending = (await session.scalars(evaluates.where(PENDING).order_by(Job.rank, Job.number).limit(MOST))).all()
    recent = evaluates.where(Job.number > select(func.max(Job.number)).scalar_subquery() - RECENT_JOBS)
    newest: dict[str, Job] = {}
    for job in await session.scalars(recent.order_by(Job.number.desc())):
        newest.setdefault(job.payload["run"], job)
    failed = [job for job in newest.values() if job.state in (JobState.FAILED, JobState.CANCELLED)]
    made = await _newest_evaluations(session, failed)
    failed = [job for job in failed if not _superseded(job, made.get(job.payload["run"]))]
    jobs = [*running, *pending, *failed[:MOST]]
    named = {uuid.UUID(job.payload["run"]) for job in jobs}
    found = (await session.scalars(select(Run).where(Run.id.in_(named)))).all()
    return await _views(session, jobs, found, lease_seconds)


async def _newest_evaluations(session: AsyncSession, jobs: Sequence[Job]) -> dict[str, Any]:
    """When the runs of these jobs were last evaluated."""
    named = [uuid.UUID(job.payload["run"]) for job in jobs]
    query = select(Evaluation.run_id, func.max(Evaluation.created_at)).where(Evaluation.run_id.in_(named))
    return {str(run): at for run, at in (await session.execute(query.group_by(Evaluation.run_id))).all()}


def _superseded(job: Job, evaluated_at: Any) -> bool:
    """Whether a run was evaluated after this job of its had failed."""
    return job.finished_at is not None and evaluated_at is not None and evaluated_at > job.finished_at


async def _views(
    session: AsyncSession, jobs: Sequence[Job], found: Sequence[Run], lease_seconds: float
) -> list[QueuedEvaluation]:
    by_id = {str(run.id): run for run in found}
    alive, at = await workers.alive(session, lease_seconds), await present(session)
    before: dict[int, int] = {}
    for engine in {job.needs for job in jobs if job.state == JobState.PENDING and job.needs is not None}:
        before |= await queue.counts_before(session, KIND, engine, _offers(engine, alive))
    asked = {job.payload["eval_set"] for job in jobs}
    sets = select(EvalSet.name, EvalSet.digest).where(or_(EvalSet.digest.in_(asked), EvalSet.name.in_(asked)))
    names = {digest: name for name, digest in (await session.execute(sets)).all()}
    views = []
    for job in jobs:
        run, waits = by_id.get(job.payload["run"]), job.state == JobState.PENDING
        if run is None:  # it was removed in the meantime
            continue
        state = "waiting" if waits else "running" if job.state == JobState.RUNNING else "failed"
        reason = job.reason if state == "failed" else None
        if waits:
            reason = runs.why_pending(job.reason, job.available_at, at, run.engine, alive)
        views.append(
            QueuedEvaluation(
                state=state,
                eval_set=names.get(job.payload["eval_set"], job.payload["eval_set"]),
                before=before.get(job.number, 0) if waits else None,
                reason=reason,
                job=job.number,
                run_id=run.id,
                dataset_key=run.dataset_key,
                model_id=run.model_id,
                judge=job.payload["judge"],
                created_at=job.created_at,
            )
        )
    return views


def _offers(engine: str, alive: Sequence[Worker]) -> set[str]:
    """What the workers that take jobs of an engine offer, and that engine."""
    having = runs.takers(engine, alive)
    return {engine} | {name for worker in having for name, offer in worker.offers.items() if offer.get("available")}

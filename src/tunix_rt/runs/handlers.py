"""How a run is done: prepare its folder, run its process, and write down what became of it."""

import logging
import sys
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.db import Database, moment
from tunix_rt.base.settings import Settings
from tunix_rt.jobs import queue
from tunix_rt.jobs.lease import Lease
from tunix_rt.jobs.loop import Outcome
from tunix_rt.jobs.models import Job, JobState
from tunix_rt.jobs.queue import Claimed, Settled
from tunix_rt.jobs.retry import End
from tunix_rt.runs import states
from tunix_rt.runs.execute import Exit, execute
from tunix_rt.runs.follow import Follower, catch_up
from tunix_rt.runs.logs import folder_of
from tunix_rt.runs.models import Run
from tunix_rt.runs.prepare import Bases, prepare
from tunix_rt.runs.states import RunStatus

log = logging.getLogger(__name__)

KIND = "run"
STOPPED, REFUSED = 130, 2
"""Exit codes of the process that are no crash, besides 0; see `training.process`."""

Command = Callable[[Path, bool], Sequence[str]]


def training_command(folder: Path, dry: bool) -> Sequence[str]:
    """The training child; `-P` keeps the run's folder, where it starts, off the module path."""
    return [sys.executable, "-P", "-m", "tunix_rt.training.process", str(folder), *(["--plan"] if dry else [])]


@dataclass(frozen=True)
class Ended:
    """What an attempt brought, for the run's row.

    Attributes:
        status: where the run goes, if the job is over.
        exit_code: of the process; None where it never started.
        result: the figures it ended with, or the checks of a dry run.
    """

    status: RunStatus
    exit_code: int | None = None
    result: dict[str, Any] | None = None


class RunHandler:
    """Does jobs of the kind `run`.

    Args:
        database: where runs are written down.
        settings: home and grace.
        command: what to start in a run's folder; the training child.
        completed: what follows a completed training, in the transaction that completes it.
        bases: where the versions of the registry lie that runs start from.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        command: Command = training_command,
        completed: Callable[[AsyncSession, Run], Awaitable[None]] | None = None,
        *,
        bases: Bases,
    ) -> None:
        self._database, self._settings, self._command = database, settings, command
        self._completed = completed
        self._bases = bases

    async def claimed(self, session: AsyncSession, job: Claimed) -> None:
        """See `jobs.loop.Handler`."""
        run, at = await _locked(session, job)
        values: dict[str, Any] = {"worker": job.worker}
        if run.started_at is None:
            values |= {"started_at": at, "wait_seconds": max(0.0, (at - run.created_at).total_seconds())}
        moved = await states.move(
            session, run.number, RunStatus.PENDING, RunStatus.RUNNING, job.worker, _beginning(job), **values
        )
        if not moved:
            raise RuntimeError(f"run {run.id} is {run.status}, but its job {job.number} was pending")

    async def work(self, lease: Lease) -> Outcome:
        """See `jobs.loop.Handler`."""
        async with self._database.read() as session:
            run = (await session.scalars(select(Run).where(Run.id == _run_id(lease.job)))).one()
        if run.status == RunStatus.CANCEL_REQUESTED:
            return Outcome(End.CANCELLED, "cancelled before its process started", Ended(RunStatus.CANCELLED))
        left = None if run.timeout_seconds is None else run.timeout_seconds - run.ran_seconds
        if left is not None and left <= 0:
            return _outcome(run, Exit(0, "timeout", killed=False), None)
        prepared = await prepare(self._database, self._settings.home, run, self._bases)
        async with lease.write("prepare") as session:
            statement = update(Run).where(Run.number == run.number).values(provenance=prepared.provenance)
            await session.execute(statement.execution_options(synchronize_session=False))
            follower = await Follower.of(session, run.number, prepared.path)
        command = self._command(prepared.path, run.mode == "dry-run")
        ended = await execute(command, follower, lease, self._settings.cancel_grace_seconds, left)
        return _outcome(run, ended, follower)

    async def settled(self, session: AsyncSession, job: Claimed, outcome: Outcome, settled: Settled) -> None:
        """See `jobs.loop.Handler`."""
        run, at = await _locked(session, job)
        progress = None
        try:
            progress = (await catch_up(session, run.number, folder_of(self._settings.home, run.id))).progress
        except OSError as error:  # the run's state must be true all the same
            log.error("what the run left cannot be read", extra={"run": str(run.id), "reason": str(error)})
        ended: Ended = outcome.result or Ended(RunStatus.FAILED)
        values = _figures(run, at, ended)
        if outcome.end is End.CRASHED:
            values["crash_reason"] = outcome.reason
        if settled.state is JobState.PENDING:
            after, reason = RunStatus.PENDING, outcome.reason
            values |= {"queued_at": at, "attempt": settled.attempt}
            if outcome.end is End.CRASHED:
                reason = f"attempt {job.attempt} of {job.max_attempts} crashed: {outcome.reason}"
        else:
            after, reason = ended.status, outcome.reason
            if outcome.end is End.CRASHED and job.max_attempts > 1:
                reason = f"all {job.max_attempts} attempts crashed; the last: {outcome.reason}"
            values |= ending(run.started_at, at)
            if progress is not None:
                values["progress"] = progress | {"eta_seconds": None}
        actor = job.worker
        if after is not RunStatus.CANCELLED and await states.move(
            session, run.number, RunStatus.RUNNING, after, actor, reason, **values
        ):
            if after is RunStatus.COMPLETED and run.mode == "local" and self._completed is not None:
                await self._completed(
                    session, (await session.scalars(select(Run).where(Run.number == run.number))).one()
                )
            return
        # Whoever asked to cancel was told that it is going to be cancelled, whatever became of the attempt.
        values |= ending(run.started_at, at) | {"attempt": job.attempt}
        values.pop("queued_at", None)
        reason = "cancelled; its checkpoints and logs are kept"
        await states.move(session, run.number, RunStatus.CANCEL_REQUESTED, RunStatus.CANCELLED, actor, reason, **values)
        if settled.state is JobState.PENDING:
            await queue.cancel(session, job.number)


def _run_id(job: Claimed) -> uuid.UUID:
    return uuid.UUID(job.payload["run"])


async def _locked(session: AsyncSession, job: Claimed) -> tuple[Any, datetime]:
    """The run's row, which stays as it is until this transaction ends, and the database's present."""
    columns = (Run.number, Run.id, Run.status, Run.created_at, Run.started_at, Run.ran_seconds, Run.mode)
    claimed_at = select(Job.claimed_at).where(Job.number == Run.job_number).scalar_subquery().label("claimed_at")
    query = select(*columns, claimed_at, moment(session).label("at")).where(Run.id == _run_id(job))
    row = (await session.execute(query.with_for_update(of=Run))).one()
    return row, row.at


def _beginning(job: Claimed) -> str | None:
    return None if job.attempt == 1 else f"attempt {job.attempt} of {job.max_attempts}"


def _figures(run: Any, at: datetime, ended: Ended) -> dict[str, Any]:
    ran = (at - run.claimed_at).total_seconds() if run.claimed_at is not None else 0.0
    values: dict[str, Any] = {"ran_seconds": run.ran_seconds + max(0.0, ran)}
    if ended.exit_code is not None:
        values["exit_code"] = ended.exit_code
    if ended.result is not None:
        values["result"] = ended.result
    return values


def ending(started_at: datetime | None, at: datetime) -> dict[str, Any]:
    """Columns of a run that ends at a moment; one that never started lasted for no time that could be told."""
    lasted = None if started_at is None else max(0.0, (at - started_at).total_seconds())
    return {"completed_at": at, "duration_seconds": lasted}


def _outcome(run: Run, ended: Exit, follower: Follower | None) -> Outcome:
    """What the end of a process means."""
    end = (follower.end if follower else None) or {}
    result: dict[str, Any] | None = None
    if follower is not None:
        result = follower.checks or {"reason": end.get("reason"), "step": end.get("step"), "metrics": follower.latest}

    def is_(status: RunStatus) -> Ended:
        return Ended(status, ended.code if follower else None, result)

    detail = (
        str(end.get("detail") or "")
        or f"its process ended with exit code {ended.code} and without a word in events.jsonl"
    )
    if end.get("hint"):
        detail = f"{detail} {end['hint']}"
    if ended.asked == "cancel":
        return Outcome(End.CANCELLED, None, is_(RunStatus.CANCELLED))
    if ended.code == 0 and end.get("reason") == "completed":
        return Outcome(End.DONE, None, is_(RunStatus.COMPLETED))
    if ended.asked == "timeout":
        reason = f"over its limit of {run.timeout_seconds:g} s (timeout_seconds); its checkpoints are kept"
        return Outcome(End.REFUSED, reason, is_(RunStatus.TIMEOUT))
    if ended.asked == "drain":
        reason = "its worker was asked to stop; it goes on from its last checkpoint"
        return Outcome(End.RELEASED, reason, is_(RunStatus.PENDING))
    if ended.code == REFUSED:
        return Outcome(End.REFUSED, detail, is_(RunStatus.FAILED))
    if ended.code < 0:
        killed = "; the system may have run out of memory" if ended.code == -9 else ""
        return Outcome(End.CRASHED, f"its process was killed by signal {-ended.code}{killed}", is_(RunStatus.FAILED))
    if ended.code == STOPPED:
        return Outcome(End.RELEASED, "its process was stopped by somebody else's signal", is_(RunStatus.PENDING))
    return Outcome(End.CRASHED, detail, is_(RunStatus.FAILED))

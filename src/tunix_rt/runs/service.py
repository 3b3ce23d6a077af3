"""Runs as their users meet them: asked for, looked at, cancelled, done again."""

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base import ids
from tunix_rt.base.db import new_id, present
from tunix_rt.base.errors import BadInput, Conflict, Fault, cut, nearest
from tunix_rt.datasets import seal
from tunix_rt.jobs import here, queue, workers
from tunix_rt.jobs.models import Job, Worker
from tunix_rt.runs import logs, states
from tunix_rt.runs.handlers import KIND, ending
from tunix_rt.runs.models import Run, RunEvent
from tunix_rt.runs.prepare import Registered, model_folder
from tunix_rt.runs.schemas import Accepted, Change, RetryRequest, RunDetail, RunEvaluation, RunRequest, RunState, links
from tunix_rt.runs.states import FINAL, RunStatus
from tunix_rt.training import config as configs
from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import ENGINES

OWN_FIELDS = {"dataset": "dataset_key", "model_id": "model_id", "engine": "engine"}
"""Keys of a config that a request names itself, and as what."""


def resolved(home: Path, request: RunRequest, base: Registered | None = None) -> TrainingConfig:
    """The whole config of what is asked for.

    Args:
        home: where models lie.
        request: what is asked for.
        base: what its `model_id` means, where it is a name of the registry.

    Raises:
        BadInput: an unknown engine; a fault in the config, at its place in the request.
        NotFound: no such model.
    """
    raw = dict(request.config)
    asked = {"dataset": request.dataset_key, "model_id": request.model_id, "engine": request.engine}
    for key, value in asked.items():
        if key in raw and value is not None and raw[key] != value:
            raise BadInput(
                f"config.{key} is {cut(repr(raw[key]), 60)}, but {OWN_FIELDS[key]} is {cut(repr(value), 60)}.",
                hint=f"Leave {key} out of the config.",
                faults=[Fault(f"/config/{key}", f"differs from {OWN_FIELDS[key]}")],
            )
        if value is not None:
            raw[key] = value
    engine = raw.get("engine", ENGINES[0])
    if engine not in ENGINES:
        where = "/engine" if request.engine is not None else "/config/engine"
        raise BadInput(
            f"No engine named {cut(str(engine), 60)!r}.{nearest(str(engine), ENGINES)}",
            faults=[Fault(where, "unknown engine")],
        )
    if base is not None:
        raw["model_id"] = base.model_id
    try:
        config = configs.validate(raw, "config")
    except BadInput as error:
        faults = [Fault("/config/" + fault.pointer.replace(".", "/"), fault.detail) for fault in error.faults]
        first = f"{faults[0].pointer}: {faults[0].detail}"
        more = f" ({len(faults)} errors in all)" if len(faults) > 1 else ""
        raise BadInput(first + more, hint=error.hint, faults=faults) from None
    if base is None:
        model_folder(home, config.model_id)
    return config


async def submit(
    session: AsyncSession, home: Path, request: RunRequest, key: str | None = None, base: Registered | None = None
) -> tuple[Run, int, bool]:
    """Write a run down, with the job that does it: once this session commits, it will be done.

    Args:
        session: of the caller.
        home: where models lie.
        request: what is asked for.
        key: the caller's idempotency key: with it, the same request is one run, however often it is sent.
        base: see `resolved`.

    Returns:
        The run, the number of its job, and whether it is new.

    Raises:
        BadInput: see `resolved`.
        NotFound: no such data set or model.
        Conflict: the key was used for another request.
    """
    config = resolved(home, request, base)
    dataset = await seal.get(session, request.dataset_key)
    asked = request.model_dump(mode="json")
    run = Run(
        id=new_id(),
        dataset_key=dataset.dataset_key,
        dataset_digest=dataset.digest,
        model_id=config.model_id,
        engine=config.engine,
        mode="dry-run" if request.dry_run else "local",
        eval_set=request.eval_set,
        priority=request.priority,
        max_attempts=request.max_attempts,
        timeout_seconds=request.timeout_seconds,
        config=config.model_dump(mode="json"),
        provenance={} if base is None else {"registry": asdict(base)},
        request_digest=_digest(asked),
    )
    return await _enter(session, run, key)


async def retry(
    session: AsyncSession, run: Run, request: RetryRequest, key: str | None = None
) -> tuple[Run, int, bool]:
    """Do a run again: a new one with the same config, from the last checkpoint of the old one.

    Raises:
        Conflict: it is not over; or it is completed, and there is nothing to go on with.
    """
    if run.status not in FINAL:
        raise Conflict(f"The run is {run.status}; only one that is over is done again.", hint="Cancel it first.")
    if run.status == RunStatus.COMPLETED and not request.from_start:
        raise Conflict(
            "The run is completed: its last checkpoint is its end.",
            hint="Train it anew with `from_start` (tunix-rt runs retry ID --from-start).",
        )
    copied = (
        "dataset_key",
        "dataset_digest",
        "model_id",
        "engine",
        "mode",
        "eval_set",
        "priority",
        "max_attempts",
        "timeout_seconds",
        "config",
    )
    kept = {name: run.provenance[name] for name in ("registry",) if name in run.provenance}
    again = Run(
        id=new_id(),
        provenance=kept,
        retry_of=run.id,
        from_start=request.from_start,
        request_digest=_digest({"retry": str(run.id), **request.model_dump()}),
        **{name: getattr(run, name) for name in copied},
    )
    return await _enter(session, again, key)


async def _enter(session: AsyncSession, run: Run, key: str | None) -> tuple[Run, int, bool]:
    number, new = await queue.enqueue(
        session,
        KIND,
        {"run": str(run.id)},
        key=None if key is None else f"{KIND}:{key}",
        needs=run.engine,
        priority=run.priority,
        max_attempts=run.max_attempts,
    )
    if not new:
        found = (await session.scalars(select(Run).where(Run.job_number == number))).one()
        if found.request_digest != run.request_digest:
            raise Conflict(
                f"The Idempotency-Key {cut(str(key), 60)!r} was used for another request (run {found.id}).",
                hint="Take a new key for a new request.",
            )
        return found, number, False
    run.job_number = number
    run.status = RunStatus.PENDING
    run.params = configs.flat(run.config)
    run.created_at = run.queued_at = await present(session)
    session.add(run)
    await session.flush()
    await states.begin(session, run.number, here.NAME)
    return run, number, True


def _digest(asked: dict[str, Any]) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


async def find(session: AsyncSession, text: str) -> Run:
    """A run by its id or a unique prefix of it; see `base.ids.resolve`."""
    found = await session.scalar(select(Run).where(Run.id == await ids.resolve(session, Run.id, text, "run")))
    assert found is not None, "resolved in this session"
    return found


async def cancel(session: AsyncSession, run: Run) -> RunStatus:
    """Cancel a run: at once where nobody has it, else its worker is asked to.

    Returns:
        Its state now: `cancelled` or `cancel_requested`.

    Raises:
        Conflict: it is over.
    """
    while True:
        if await queue.cancel(session, run.job_number):
            reason = "cancelled before it started" if run.started_at is None else "cancelled while it waited to go on"
            values = ending(run.started_at, await present(session))
            await states.move(session, run.number, RunStatus.PENDING, RunStatus.CANCELLED, here.NAME, reason, **values)
            return RunStatus.CANCELLED
        asked = "asked to cancel"
        if await states.move(session, run.number, RunStatus.RUNNING, RunStatus.CANCEL_REQUESTED, here.NAME, asked):
            return RunStatus.CANCEL_REQUESTED
        status = await session.scalar(select(Run.status).where(Run.number == run.number))
        if status == RunStatus.CANCEL_REQUESTED:
            return RunStatus.CANCEL_REQUESTED
        if status in FINAL:
            raise await states.refusal(session, run.number, "it cannot be cancelled any more")
        # Else its worker put it back, or somebody took it, between two of our looks (on PostgreSQL).


async def save_now(session: AsyncSession, run: Run) -> None:
    """Ask a running training for a checkpoint after its present step; its worker passes that on.

    Raises:
        Conflict: it is a dry run, or not running.
    """
    if run.mode == "dry-run":
        raise Conflict(
            "The run is a dry run: it trains nothing that could be saved.",
            hint="Start it as a training: tunix-rt runs submit CONFIG",
        )
    if await states.wish(session, run.number, here.NAME, "asked to save a checkpoint after the present step"):
        return
    status = await session.scalar(select(Run.status).where(Run.number == run.number))
    why, hint = _NOTHING_TO_SAVE.get(RunStatus(status or run.status), _OVER)
    raise Conflict(f"The run is {status}: {why}.", hint=hint)


_NOTHING_TO_SAVE = {
    RunStatus.PENDING: ("no step of it is done here", "Ask again once it runs: tunix-rt runs logs ID -f"),
    RunStatus.CANCEL_REQUESTED: ("it saves a checkpoint as it ends", "See it then: tunix-rt runs artifacts ID"),
    RunStatus.COMPLETED: ("its last checkpoint is its end", "See it: tunix-rt runs artifacts ID"),
}
_OVER = (
    "nothing more is trained",
    "See the checkpoints that it left: tunix-rt runs artifacts ID; or go on from the last: tunix-rt runs retry ID",
)


async def waiting_reason(session: AsyncSession, run: Run, lease_seconds: float) -> str | None:
    """Why a run is in its state; of a pending one, also why nobody takes it."""
    if run.status != RunStatus.PENDING:
        return run.status_reason
    available = await session.scalar(select(Job.available_at).where(Job.number == run.job_number))
    alive = await workers.alive(session, lease_seconds)
    return why_pending(run.status_reason, available, await present(session), run.engine, alive)


def why_pending(
    known: str | None, available_at: datetime | None, at: datetime, engine: str, alive: Sequence[Worker]
) -> str | None:
    """Why nobody takes a job that needs an engine, as far as there is a reason beside the order of the queue.

    Args:
        known: a reason that goes before.
        available_at: when it may be claimed.
        at: the present.
        engine: what it needs.
        alive: workers that were heard of.
    """
    reasons = [known] if known else []
    if available_at is not None and available_at > at:
        reasons.append(f"it is tried again at {available_at.isoformat(timespec='seconds').replace('+00:00', 'Z')}")
    nobody = _nobody(engine, alive)
    if nobody is not None:
        reasons.append(nobody)
    return "; ".join(reasons) or None


def _nobody(engine: str, alive: Sequence[Worker]) -> str | None:
    if not alive:
        return "no worker is running: start one with `tunix-rt worker`, or `tunix-rt serve`"
    if takers(engine, alive):
        return None
    why = {worker.offers.get(engine, {}).get("reason") for worker in alive} - {None}
    return f"no running worker has the engine {engine!r}" + (f": {'; '.join(sorted(why))}" if why else "")


def takers(engine: str, alive: Sequence[Worker]) -> list[Worker]:
    """The workers that take jobs of an engine."""
    return [worker for worker in alive if worker.offers.get(engine, {}).get("available") and not worker.draining]


async def accepted(session: AsyncSession, run: Run, lease_seconds: float) -> Accepted:
    """A run as its request is answered."""
    return Accepted(
        run_id=run.id,
        status=RunStatus(run.status),
        status_reason=await waiting_reason(session, run, lease_seconds),
        mode=run.mode,
        created_at=run.created_at,
        links=links(run.id, run.retry_of, run.dataset_key),
    )


async def state(session: AsyncSession, run: Run, lease_seconds: float) -> RunState:
    """Where a run is."""
    reason = await waiting_reason(session, run, lease_seconds)
    return RunState.model_validate({**_columns(run), "run_id": run.id, "status_reason": reason})


async def detail(
    session: AsyncSession, home: Path, run: Run, lease_seconds: float, evaluation: RunEvaluation
) -> RunDetail:
    """All of a run, with where its evaluation is."""
    events = await session.scalars(select(RunEvent).where(RunEvent.run_number == run.number).order_by(RunEvent.number))
    folder = logs.folder_of(home, run.id)
    found = {
        **_columns(run),
        "run_id": run.id,
        "status_reason": await waiting_reason(session, run, lease_seconds),
        "evaluation": evaluation,
        "events": [
            Change(
                time=event.time,
                before=None if event.before is None else RunStatus(event.before),
                after=RunStatus(event.after),
                actor=event.actor,
                reason=event.reason,
            )
            for event in events
        ],
        "links": links(run.id, run.retry_of, run.dataset_key),
        **{stream: logs.tail(folder, stream) for stream in logs.STREAMS},
    }
    return RunDetail.model_validate(found)


def _columns(run: Run) -> dict[str, Any]:
    return {column.name: getattr(run, column.name) for column in Run.__table__.columns}


async def note_score(session: AsyncSession, run_id: uuid.UUID, score: float | None) -> None:
    """Show a run with the score of its newest evaluation."""
    statement = update(Run).where(Run.id == run_id).values(score=score)
    await session.execute(statement.execution_options(synchronize_session=False))

"""What there is to train with: the engines of the workers, and of this machine where no worker runs."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.jobs import workers
from tunix_rt.jobs.models import Job, Worker
from tunix_rt.runs.schemas import EngineStatus, Offer, Status, WorkerView
from tunix_rt.training import engines, probe
from tunix_rt.training.engines import abilities


def offers() -> dict[str, Any]:
    """The engines of this machine as far as is known without loading them; `training.probe` tells the devices too."""
    return {
        name: {
            "available": known.available,
            "version": known.version,
            "devices": [],
            "reason": " ".join(filter(None, (known.reason, known.hint))) or None,
        }
        for name, known in engines.capabilities().items()
    }


class LocalEngines:
    """The engines of this machine with their devices: looked for once, by a process of its own, when first asked."""

    def __init__(self) -> None:
        self._asked: asyncio.Task[dict[str, Any]] | None = None

    async def ask(self) -> dict[str, Any]:
        """See `training.probe.ask`."""
        if self._asked is None:
            self._asked = asyncio.create_task(asyncio.to_thread(probe.ask))
        return await asyncio.shield(self._asked)


def status(alive: Sequence[Worker], here: Mapping[str, Any] | None) -> Status:
    """The engines that the living workers have.

    Args:
        alive: workers that were heard of.
        here: the engines of this machine; asked for where no worker lives.
    """
    found = {}
    for name in engines.ENGINES:
        offered = {worker.name: worker.offers[name] for worker in alive if name in worker.offers}
        having = {worker: offer for worker, offer in offered.items() if offer["available"]}
        if here is not None:
            offered = {"": here[name]}
        shown = next(iter(having.values()), None) or next(iter(offered.values()), None) or offers()[name]
        reason = shown["reason"]
        if shown["available"] and not having:
            reason = "no worker is running: start one with `tunix-rt worker` or `tunix-rt serve`"
        found[name] = EngineStatus(
            available=shown["available"],
            version=shown["version"],
            devices=sorted({device for offer in (having or offered).values() for device in offer["devices"]}),
            workers=sorted(having),
            reason=reason,
            abilities=abilities.CAPABILITIES[name].document(),
        )
    return Status(engines=found, workers=len(alive))


async def worker_views(session: AsyncSession, lease_seconds: float) -> list[WorkerView]:
    """Every worker that is not forgotten, the latest heard of first."""
    living = {worker.id for worker in await workers.alive(session, lease_seconds)}
    found = await workers.every(session)
    numbers = [worker.job_number for worker in found if worker.job_number is not None]
    jobs = {job.number: job for job in await session.scalars(select(Job).where(Job.number.in_(numbers)))}

    def current(number: int | None) -> uuid.UUID | None:
        job = jobs.get(number) if number is not None else None
        return uuid.UUID(job.payload["run"]) if job is not None and "run" in job.payload else None

    return [
        WorkerView(
            name=worker.name,
            host=worker.host,
            pid=worker.pid,
            engines={
                name: Offer(version=offer["version"], devices=offer["devices"])
                for name, offer in worker.offers.items()
                if offer["available"]
            },
            unavailable={
                name: offer["reason"] or "unknown" for name, offer in worker.offers.items() if not offer["available"]
            },
            current_run=current(worker.job_number) if worker.id in living else None,
            alive=worker.id in living,
            draining=worker.draining,
            started_at=worker.started_at,
            last_heartbeat=worker.last_heartbeat,
        )
        for worker in found
    ]

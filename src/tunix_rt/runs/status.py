"""What there is to train with: the engines of the workers, and of this machine where no worker runs."""

import uuid
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.jobs import workers
from tunix_rt.jobs.models import Job
from tunix_rt.runs.schemas import EngineStatus, Status, WorkerView
from tunix_rt.training import engines


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


async def status(session: AsyncSession, lease_seconds: float) -> Status:
    """The engines that the living workers have; of this machine where there are none."""
    alive = await workers.alive(session, lease_seconds)
    found = {}
    for name in engines.ENGINES:
        having = [worker for worker in alive if worker.offers.get(name, {}).get("available")]
        shown = having[0].offers[name] if having else None
        if shown is None:
            shown = next((worker.offers[name] for worker in alive if name in worker.offers), None) or offers()[name]
        devices = sorted({device for worker in having for device in worker.offers[name]["devices"]})
        reason = shown["reason"]
        if not having and shown["available"]:
            reason = "installed here, but no worker is running: start one with `tunix-rt worker` or `tunix-rt serve`"
        found[name] = EngineStatus(
            available=bool(having),
            version=shown["version"],
            devices=devices,
            workers=[worker.name for worker in having],
            reason=reason,
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
            engines=worker.offers,
            current_run=current(worker.job_number) if worker.id in living else None,
            alive=worker.id in living,
            draining=worker.draining,
            started_at=worker.started_at,
            last_heartbeat=worker.last_heartbeat,
        )
        for worker in found
    ]

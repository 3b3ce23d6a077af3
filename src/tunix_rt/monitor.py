"""How the system is: liveness, readiness, and figures for Prometheus, those of the workers included."""

import asyncio
import logging
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from pydantic import BaseModel
from sqlalchemy import case, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt import __version__, migrations
from tunix_rt.base import durations
from tunix_rt.base.db import DATABASE_DOWN, Database, explain
from tunix_rt.base.http import StrictRoute
from tunix_rt.base.tasks import undisturbed
from tunix_rt.jobs import queue, workers
from tunix_rt.jobs.models import Job
from tunix_rt.runs.models import Run
from tunix_rt.runs.states import FINAL
from tunix_rt.runs.tail import Hub

log = logging.getLogger(__name__)
router = APIRouter(route_class=StrictRoute, tags=["health"])

FREE_BYTES = 200 * 2**20
"""Less than this free, and the server is not ready: a checkpoint or a database's journal needs as much."""
ANSWER_SECONDS = 5.0
RUN_BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
WAIT_BUCKETS = (0.01, 0.05, 0.1, 0.3, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0)
REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Health(BaseModel):
    """Liveness: the process answers."""

    status: str
    version: str


class Check(BaseModel):
    """One thing that is needed, and how it is."""

    ok: bool
    detail: str


class Ready(BaseModel):
    """Readiness: `ready`, or `unready` with the checks that failed. Workers do not decide it: runs wait for them."""

    status: str
    checks: dict[str, Check]


class Requests:
    """Durations of this process's answers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "Time to answer a request; of a stream, to its beginning.",
            ("method", "route", "status"),
            buckets=REQUEST_BUCKETS,
            registry=self.registry,
        )

    def seen(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._seconds.labels(method, route, str(status)).observe(seconds)


@router.get("/api/health")
async def health() -> Health:
    """Liveness; never touches the database."""
    return Health(status="healthy", version=__version__)


@router.get("/api/ready", responses={503: {"model": Ready}})
async def ready(request: Request, response: Response) -> Ready:
    """Readiness: 200, or 503 with what is wrong."""
    state = request.app.state
    database, migrated, alive = await _database_checks(state.database, state.settings.lease_seconds)
    checks = {
        "database": database,
        "migrations": migrated,
        "disk": await asyncio.to_thread(_disk, state.settings.home),
        "workers": alive,
    }
    decides = [checks[name].ok for name in ("database", "migrations", "disk")]
    response.status_code = 200 if all(decides) else 503
    return Ready(status="ready" if all(decides) else "unready", checks=checks)


async def _database_checks(database: Database, lease_seconds: float) -> tuple[Check, Check, Check]:
    unknown = Check(ok=False, detail="unknown: the database does not answer")
    try:
        async with asyncio.timeout(ANSWER_SECONDS), database.read() as session:
            version = await session.scalar(text("SELECT version_num FROM alembic_version"))
            names = [worker.name for worker in await workers.alive(session, lease_seconds)]
    except DATABASE_DOWN as error:
        return Check(ok=False, detail=explain(error).detail), unknown, unknown
    except TimeoutError:
        return Check(ok=False, detail=f"no answer within {ANSWER_SECONDS:g} s"), unknown, unknown
    needed = migrations.head()
    found = Check(ok=version == needed, detail=f"at version {version}; this release needs {needed}")
    alive = Check(ok=bool(names), detail=f"{len(names)} alive" if names else "none is running: runs wait for one")
    return Check(ok=True, detail="answers"), found, alive


def _disk(home: Path) -> Check:
    try:
        free = shutil.disk_usage(home).free
    except OSError as error:
        return Check(ok=False, detail=f"the home folder cannot be read: {error.strerror}")
    if not os.access(home, os.W_OK):
        return Check(ok=False, detail="the home folder cannot be written to")
    return Check(ok=free >= FREE_BYTES, detail=f"{free / 2**30:.1f} GiB free; {FREE_BYTES / 2**30:.1f} GiB are needed")


# --- Prometheus -------------------------------------------------------------------------------------------------


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """All figures, in Prometheus' text format."""
    state = request.app.state
    hub: Hub = state.hub
    families = [
        _gauge("tunix_log_viewers", "Open log streams of this process.", {(): float(hub.viewers)}, ()),
        *await _shared(state.database),
    ]
    registry = CollectorRegistry()
    registry.register(_Found(families))
    text_ = generate_latest(registry) + generate_latest(state.requests.registry)
    return Response(text_, media_type="text/plain; version=0.0.4; charset=utf-8")


class _Found:
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client`."""
        return self._families


async def _shared(database: Database) -> list[Metric]:
    """What all processes share: it stands in the database, whoever has brought it."""
    async with database.read() as session:
        depth = await queue.depth(session)
        oldest = await queue.oldest_pending_seconds(session)
        expired = await session.scalar(select(func.coalesce(func.sum(Job.expirations), 0)))
        beats = {(worker.name,): worker.last_heartbeat.timestamp() for worker in reversed(await workers.every(session))}
        writes = await workers.durations(session)
        runs = await _runs(session)
    for operation, histogram in database.write_durations.found.items():  # ours that are not handed in yet
        writes.setdefault(operation, durations.Histogram()).add(histogram)
    expirations = CounterMetricFamily("tunix_lease_expirations", "Jobs whose worker was not heard of in time.")
    expirations.add_metric((), float(expired or 0))
    seconds = HistogramMetricFamily(
        "tunix_db_write_seconds", "Duration of write transactions, of all processes.", labels=["operation"]
    )
    for operation, histogram in sorted(writes.items()):
        seconds.add_metric([operation], _cumulative(durations.BUCKETS, histogram.counts), histogram.total)
    return [
        *runs,
        _gauge(
            "tunix_queue_depth", "Jobs by state.", {(str(name),): float(n) for name, n in depth.items()}, ("status",)
        ),
        _gauge("tunix_queue_oldest_pending_seconds", "Age of the job that waits longest.", {(): oldest}, ()),
        _gauge("tunix_worker_last_heartbeat_seconds", "Unix time of a worker's last heartbeat.", beats, ("worker",)),
        expirations,
        seconds,
    ]


async def _runs(session: AsyncSession) -> list[Metric]:
    """Counts and durations of runs that are over, and how long all had to wait."""

    def counted(column: Any, bounds: Sequence[float]) -> list[Any]:
        below = [func.sum(case((column <= bound, 1), else_=0)) for bound in bounds]
        return [func.count(column), func.coalesce(func.sum(column), 0.0), *below]

    query = select(
        Run.mode,
        Run.status,
        func.count(),
        *counted(Run.duration_seconds, RUN_BUCKETS),
        *counted(Run.wait_seconds, WAIT_BUCKETS),
    ).group_by(Run.mode, Run.status)
    total = CounterMetricFamily("tunix_runs", "Runs that are over, by how they ended.", labels=["status", "mode"])
    lasted = HistogramMetricFamily(
        "tunix_runs_duration_seconds", "From first start to the end.", labels=["mode", "status"]
    )
    waited = HistogramMetricFamily("tunix_queue_wait_seconds", "From being accepted to the first start.")
    waits, wait_sum = [0] * (len(WAIT_BUCKETS) + 1), 0.0
    for mode, status, count, *figures in (await session.execute(query)).all():
        middle = 2 + len(RUN_BUCKETS)
        if status in FINAL:
            total.add_metric([status, mode], count)
            lasted.add_metric([mode, status], _buckets(RUN_BUCKETS, figures[2:middle], figures[0]), figures[1])
        of_wait = [*figures[middle + 2 :], figures[middle]]
        waits = [ours + int(theirs) for ours, theirs in zip(waits, of_wait, strict=True)]
        wait_sum += figures[middle + 1]
    waited.add_metric([], _buckets(WAIT_BUCKETS, waits[:-1], waits[-1]), wait_sum)
    return [total, lasted, waited]


def _buckets(bounds: Sequence[float], below: Sequence[int], count: int) -> list[tuple[str, float]]:
    return [*((str(bound), float(n)) for bound, n in zip(bounds, below, strict=True)), ("+Inf", float(count))]


def _cumulative(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    sums = [sum(counts[: place + 1]) for place in range(len(counts))]
    return _buckets(bounds, sums[:-1], sums[-1])


def _gauge(name: str, help_: str, values: Mapping[Any, float], labels: Sequence[str]) -> Metric:
    family = GaugeMetricFamily(name, help_, labels=list(labels))
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family


async def hand_in(database: Database, every_seconds: float = 10.0) -> None:
    """Add this process's durations to those of all, now and then, until cancelled."""
    while True:
        await asyncio.sleep(every_seconds)
        if database.write_durations.found.keys() <= {"figures"}:
            continue
        try:
            await undisturbed(_hand_in(database))
        except DATABASE_DOWN as error:
            log.warning("figures could not be stored yet", extra={"reason": type(error).__name__})


async def _hand_in(database: Database) -> None:
    taken = database.write_durations.take()
    try:
        async with database.write("figures") as session:
            await workers.add_durations(session, taken)
    except BaseException:
        database.write_durations.give_back(taken)
        raise

"""HTTP routes of the runs."""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path as PathOnDisk
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import Receive, Scope, Send

from tunix_rt.base.db import Database
from tunix_rt.base.errors import BadInput, Fault, nearest
from tunix_rt.base.http import Download, Page, Pagination, ReadSession, StrictRoute, WriteSession, ZonedTime
from tunix_rt.base.settings import Settings
from tunix_rt.base.sorting import Sorted, Sorting
from tunix_rt.base.together import Together
from tunix_rt.datasets import service as datasets
from tunix_rt.datasets import tokens
from tunix_rt.datasets.schemas import TokenRows
from tunix_rt.jobs import workers
from tunix_rt.runs import artifacts, feed, logs, metrics, samples, search, service, status, tokenizers
from tunix_rt.runs.prepare import Registered, is_registered
from tunix_rt.runs.schemas import (
    Accepted,
    Artifact,
    Checked,
    CheckpointView,
    ExportRequest,
    Mode,
    RetryRequest,
    RunDetail,
    RunRequest,
    RunRow,
    RunState,
    SampleView,
    Series,
    Status,
    Tokenizers,
    WorkerView,
)
from tunix_rt.runs.states import RunStatus
from tunix_rt.runs.tail import Hub
from tunix_rt.training import config as configs
from tunix_rt.training.config import TrainingConfig

router = APIRouter(route_class=StrictRoute, tags=["runs"])

Id = Annotated[str, Path(description="the id, or 6 or more of its first hexadecimal digits where they are unique")]
Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$"),
]


def _settings(request: Request) -> Settings:
    found: Settings = request.app.state.settings
    return found


def _database(request: Request) -> Database:
    found: Database = request.app.state.database
    return found


class EventStream(StreamingResponse):
    """Server-Sent Events, closed with their connection: the base leaves that to the garbage collector, some day."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None], headers: dict[str, str]) -> None:
        super().__init__(events, headers=headers)
        self.events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See `StreamingResponse`."""
        async with aclosing(self.events):
            await super().__call__(scope, receive, send)


# --- asking -----------------------------------------------------------------------------------------------------


@router.get("/api/tunix/config-schema")
async def config_schema() -> dict[str, Any]:
    """The training config as JSON Schema: every key with what it means, its bounds and its default."""
    return TrainingConfig.model_json_schema()


@router.get("/api/tunix/status")
async def engines(request: Request, session: ReadSession) -> Status:
    """The engines, who has them with which devices, and why one is not available."""
    alive = await workers.alive(session, _settings(request).lease_seconds)
    return status.status(alive, None if alive else await request.app.state.local_engines.ask())


@router.post(
    "/api/tunix/run",
    status_code=202,
    responses={200: {"model": Checked, "description": "a dry run that is done"}},
)
async def run(
    request: Request,
    response: Response,
    body: RunRequest,
    key: Key = None,
    mode: Annotated[str | None, Query(description="`async`: answer as soon as it is written down")] = None,
) -> Accepted | Checked:
    """Ask for a run. With `mode=async` it is done by a worker; without, a dry run is done before the answer."""
    if mode is not None and mode != "async":
        raise BadInput(
            f"No mode named {mode[:60]!r}.{nearest(mode, ('async',))}", faults=[Fault("mode", "unknown mode")]
        )
    if mode is None and not body.dry_run:
        raise BadInput(
            "A training outlasts a request.",
            hint="Send it to POST /api/tunix/run?mode=async and follow its logs; or leave dry_run true.",
            faults=[Fault("mode", "a real run needs mode=async")],
        )
    settings, database = _settings(request), _database(request)
    async with database.write("submit") as session:
        if body.eval_set is not None:
            await request.app.state.known_eval_set(session, body.eval_set)
        found, number, _ = await service.submit(session, settings.home, body, key, await _base(request, session, body))
        accepted = await service.accepted(session, found, settings.lease_seconds)
    response.headers["location"] = accepted.links["self"]
    if mode == "async":
        return accepted
    response.status_code = 200
    await request.app.state.here.over(number)
    async with database.read() as session:
        done = await service.find(session, str(found.id))
        accepted = await service.accepted(session, done, settings.lease_seconds)
        return Checked(**accepted.model_dump(), checks=done.result)


@router.post("/api/tunix/sft/manifest", status_code=201, response_class=Response)
async def manifest(request: Request, session: ReadSession, body: RunRequest) -> Response:
    """The whole config that such a run would be trained with, as YAML; nothing is started."""
    config = service.resolved(_settings(request).home, body, await _base(request, session, body))
    return Response(configs.dump(config), status_code=201, media_type="application/yaml")


async def _base(request: Request, session: AsyncSession, body: RunRequest) -> Registered | None:
    """What the request's `model_id` means now, where it is a name of the registry."""
    found: Registered | None = None
    if is_registered(body.model_id):
        found = await request.app.state.registered(session, body.model_id)
    return found


@router.post("/api/tunix/sft/export", response_class=StreamingResponse)
async def export(request: Request, body: ExportRequest) -> StreamingResponse:
    """A data set as a trainer reads it, a record a line."""
    lines = await datasets.open_export(_database(request), body.dataset_key, body.format, body.split)
    return StreamingResponse(lines, media_type="application/x-ndjson")


# --- looking ----------------------------------------------------------------------------------------------------


async def _filters(
    request: Request,
    status: Annotated[list[RunStatus] | None, Query()] = None,
    dataset_key: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    model_id: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    mode: Annotated[
        Mode | Literal["all"] | None, Query(description="default: every run but dry runs; `all`: dry runs too")
    ] = None,
    engine: Annotated[str | None, Query(min_length=1, max_length=64)] = None,
    retry_of: Annotated[uuid.UUID | None, Query(description="runs that do this one again")] = None,
    created_after: Annotated[ZonedTime | None, Query()] = None,
    created_before: Annotated[ZonedTime | None, Query()] = None,
) -> search.RunFilters:
    return search.RunFilters(
        status=tuple(status or ()),
        dataset_key=dataset_key,
        model_id=model_id,
        mode=mode,
        engine=engine,
        retry_of=retry_of,
        created_after=created_after,
        created_before=created_before,
        conditions=search.conditions_of(request.query_params.multi_items()),
    )


@router.get(
    "/api/tunix/runs",
    response_model=Page[RunRow],
    openapi_extra={"x-query-prefixes": list(search.PREFIXES)},
)
async def runs(
    request: Request,
    filters: Annotated[search.RunFilters, Depends(_filters)],
    paging: Sorted,
) -> Response:
    """Runs, newest first or sorted (by `metric.NAME` too); also those of `param.NAME=VALUE` and `metric.NAME<VALUE`."""
    database, lists = _database(request), request.app.state.lists

    async def page() -> bytes:
        async with database.read() as session:
            found = await search.find(session, filters, paging)
        return found.model_dump_json().encode()

    together: Together[bytes] = lists
    asked = (filters, paging.limit, paging.after, paging.sort if isinstance(paging, Sorting) else None)
    return Response(await together.ask(asked, page), media_type="application/json")


@router.get("/api/tunix/runs/{id}")
async def show(request: Request, id: Id, session: ReadSession) -> RunDetail:
    """All of a run."""
    settings = _settings(request)
    found = await service.find(session, id)
    evaluation = await request.app.state.evaluation_of(session, found, settings.lease_seconds)
    return await service.detail(session, settings.home, found, settings.lease_seconds, evaluation)


@router.get("/api/tunix/runs/{id}/status")
async def state(request: Request, id: Id, session: ReadSession) -> RunState:
    """Where a run is."""
    return await service.state(session, await service.find(session, id), _settings(request).lease_seconds)


@router.get(
    "/api/tunix/runs/{id}/logs",
    status_code=200,  # said, since FastAPI asks the class's constructor for it
    response_class=EventStream,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def follow_logs(
    request: Request,
    id: Id,
    since_seq: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
    follow: bool = True,
    last_event_id: Annotated[str | None, Header(max_length=32)] = None,
) -> EventStream:
    """The logs of a run as Server-Sent Events, from the piece after `Last-Event-ID` or `since_seq` on."""
    async with _database(request).read() as session:
        found = await service.find(session, id)
    hub: Hub = request.app.state.hub
    events = hub.stream(found.number, _since(last_event_id, since_seq), follow)
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return EventStream(events, headers=headers)


@router.get(
    "/api/events",
    status_code=200,
    response_class=EventStream,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def events(
    request: Request,
    run: Annotated[str | None, Query(description="also the logs of this run, as its own stream tells them")] = None,
    since_seq: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
    last_event_id: Annotated[str | None, Header(max_length=32)] = None,
) -> EventStream:
    """What happens to all, from now on: `run` with a row of the list, `changed` with names such as `evaluations`."""
    all_runs: feed.Feed = request.app.state.feed
    streams = [all_runs.stream()]
    if run is not None:
        async with _database(request).read() as session:
            found = await service.find(session, run)
        hub: Hub = request.app.state.hub
        streams.append(hub.stream(found.number, _since(last_event_id, since_seq)))
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return EventStream(feed.together(*streams), headers=headers)


def _since(last_event_id: str | None, since_seq: int | None) -> int:
    if not last_event_id:  # browsers send an empty one before the first event
        return since_seq or 0
    if not last_event_id.isascii() or not last_event_id.isdigit() or int(last_event_id) >= 2**63:
        raise BadInput(
            f"The Last-Event-ID {last_event_id!r} is not one that this stream gave.",
            faults=[Fault("Last-Event-ID", "not the number of an event")],
        )
    return int(last_event_id)


@router.get("/api/tunix/runs/{id}/metrics", response_model_exclude_none=True)
async def metrics_(
    id: Id,
    session: ReadSession,
    keys: Annotated[list[str] | None, Query(description="names, or several with commas; default: all")] = None,
    max_points: Annotated[int, Query(ge=4, le=100_000)] = 1000,
    smooth: Annotated[
        float, Query(ge=0, lt=1, description="also `smoothed`: moving averages by this amount; 0: none")
    ] = 0.0,
) -> Series:
    """Metrics by step, as they were measured, thinned with every extreme kept."""
    found = await service.find(session, id)
    wanted = [key for part in keys or () for key in part.split(",") if key]
    return await metrics.series(session, found.number, wanted, max_points, smooth)


@router.get("/api/tunix/runs/{id}/samples")
async def samples_(
    request: Request,
    id: Id,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Page[SampleView]:
    """What the training answered at its evaluations, the newest step first, the prompts of a step in order."""
    return await asyncio.to_thread(samples.page, await _folder(request, id), limit, cursor)


@router.get("/api/tunix/runs/{id}/artifacts")
async def artifacts_(request: Request, id: Id) -> Page[Artifact]:
    """Every file that the run left, by path."""
    folder = await _folder(request, id)
    found = await asyncio.to_thread(artifacts.listed, folder)
    return Page(data=found, pagination=Pagination(limit=len(found), next_cursor=None))


@router.get("/api/tunix/runs/{id}/artifacts/{path:path}", response_class=Download)
async def artifact(
    request: Request, id: Id, path: str, if_none_match: Annotated[str | None, Header(max_length=1000)] = None
) -> Response:
    """A file of the run, whole or a range of it; its ETag is its SHA-256."""
    file, known = await asyncio.to_thread(artifacts.file_of, await _folder(request, id), path)
    etag = f'"{await asyncio.to_thread(artifacts.digest_of, file, known)}"'
    headers = {"etag": etag}
    if if_none_match is not None and etag in [part.strip().removeprefix("W/") for part in if_none_match.split(",")]:
        return Response(status_code=304, headers=headers)
    return Download(file, stat_result=known, media_type=artifacts.media_type(file), filename=file.name, headers=headers)


@router.get("/api/tunix/runs/{id}/checkpoints")
async def checkpoints(request: Request, id: Id, session: ReadSession) -> Page[CheckpointView]:
    """The run's checkpoints, oldest first."""
    run = await service.find(session, id)
    found = await artifacts.checkpoints(session, run.number, logs.folder_of(_settings(request).home, run.id))
    return Page(data=found, pagination=Pagination(limit=len(found), next_cursor=None))


async def _folder(request: Request, id: str) -> Any:
    async with _database(request).read() as session:
        return logs.folder_of(_settings(request).home, (await service.find(session, id)).id)


@router.get("/api/workers")
async def workers_(request: Request, session: ReadSession) -> Page[WorkerView]:
    """Workers, the latest heard of first."""
    found = await status.worker_views(session, _settings(request).lease_seconds)
    return Page(data=found, pagination=Pagination(limit=len(found), next_cursor=None))


# --- acting -----------------------------------------------------------------------------------------------------


@router.post("/api/tunix/runs/{id}/cancel", status_code=202)
async def cancel(request: Request, id: Id, session: WriteSession) -> RunState:
    """Cancel a run; its checkpoints and logs are kept."""
    found = await service.find(session, id)
    await service.cancel(session, found)
    await session.refresh(found)
    return await service.state(session, found, _settings(request).lease_seconds)


@router.post("/api/tunix/runs/{id}/checkpoint", status_code=202)
async def checkpoint(request: Request, id: Id, session: WriteSession) -> RunState:
    """Ask a running training to save a checkpoint after its present step; it appears among its checkpoints."""
    found = await service.find(session, id)
    await service.save_now(session, found)
    await session.refresh(found)
    return await service.state(session, found, _settings(request).lease_seconds)


@router.post("/api/tunix/runs/{id}/retry", status_code=202)
async def retry(
    request: Request,
    response: Response,
    id: Id,
    session: WriteSession,
    body: RetryRequest | None = None,
    key: Key = None,
) -> Accepted:
    """Do a run again, as a new one, from its last checkpoint or from the start."""
    found = await service.find(session, id)
    again, _, _ = await service.retry(session, found, body or RetryRequest(), key)
    accepted = await service.accepted(session, again, _settings(request).lease_seconds)
    response.headers["location"] = accepted.links["self"]
    return accepted


# --- tokenizers, and data sets as they make a model see them ----------------------------------------------------


@router.get("/api/tokenizers")
async def tokenizers_(request: Request, session: ReadSession) -> Tokenizers:
    """The tokenizers that this server has: of model folders and of runs."""
    newest = await tokenizers.runs(session)
    return Tokenizers(data=await asyncio.to_thread(tokenizers.listed, _settings(request).home, newest))


async def _seen(
    request: Request,
    tokenizer: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] = None,
    run: Annotated[str | None, Query(description="the id of a run, whose own tokenizer is meant")] = None,
    template: Literal["reasoning", "answer"] = "reasoning",
    max_length: Annotated[int | None, Query(ge=8, le=1_048_576)] = None,
    overlong: Literal["raise", "truncate", "drop"] = "raise",
) -> tuple[PathOnDisk, configs.DataChoice]:
    """A tokenizer's folder, and how rows are made with it."""
    async with _database(request).read() as session:
        folder = await tokenizers.chosen(session, _settings(request).home, tokenizer, run)
    return folder, configs.DataChoice(template=template, max_length=max_length, overlong=overlong)


Seen = Annotated[tuple[PathOnDisk, configs.DataChoice], Depends(_seen)]


@router.get("/api/datasets/{key}/ledger")
async def ledger(key: str, request: Request, seen: Seen, split: str | None = None) -> dict[str, Any]:
    """The ledger of a data set: what becomes of every row and token with this tokenizer."""
    return await tokens.ledger(_database(request), seen[0], key, seen[1], split)


@router.get("/api/datasets/{key}/tokens")
async def rows_of_tokens(
    key: str,
    request: Request,
    seen: Seen,
    split: str | None = None,
    after: Annotated[int, Query(ge=-1, lt=2**31)] = -1,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> TokenRows:
    """Rows of a data set token by token, each token supervised, context or truncated."""
    return await tokens.shown(_database(request), seen[0], key, seen[1], split, after, limit)

"""HTTP routes of the data sets."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from tunix_rt.base.errors import BadInput, Fault
from tunix_rt.base.http import Page, Paged, ReadSession, StrictRoute, UploadRoute, WriteSession, uploaded
from tunix_rt.base.sorting import Sorted
from tunix_rt.datasets import preview, seal, service
from tunix_rt.datasets.ingest import ingest
from tunix_rt.datasets.schemas import (
    AuditRequest,
    BuildRequest,
    Diff,
    Ingested,
    Manifest,
    Name,
    Preview,
    Statistics,
)
from tunix_rt.traces.format import MAX_SOURCE
from tunix_rt.traces.schemas import TraceRow
from tunix_rt.traces.stream import OnError

router = APIRouter(prefix="/api/datasets", tags=["datasets"], route_class=StrictRoute)
uploads = APIRouter(route_class=UploadRoute)
SPLIT = re.compile(r"([a-z0-9][a-z0-9._-]*)=(0?\.\d{1,17})")


@router.post("/build", status_code=201)
async def build(request: BuildRequest, session: WriteSession, response: Response) -> Manifest:
    """Build and seal a version: 201, or 200 when it exists with the same content."""
    dataset, created = await seal.build(session, request)
    response.status_code = 201 if created else 200
    return service.manifest(dataset)


@uploads.post(
    "/ingest",
    status_code=201,
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/x-ndjson": {"schema": {"type": "string"}}}}
    },
)
async def ingest_(
    request: Request,
    response: Response,
    name: Name,
    version: Name | None = None,
    format: Annotated[str | None, Query(description="left out: told from the first record")] = None,
    source: Annotated[str | None, Query(min_length=1, max_length=MAX_SOURCE)] = None,
    on_error: OnError = "stop",
    split: Annotated[list[str] | None, Query(max_length=20, description="a held-out split: eval=0.1")] = None,
    group_by: Annotated[str, Query(description="never divided: trace, prompt or meta.KEY")] = "trace",
) -> Ingested:
    """Import a file and build a version of exactly its traces: 201, or 200 when it exists with the same content."""
    asked = _asked({"name": name, "version": version, "splits": _shares(split or []), "group_by": group_by})
    found, created = await ingest(request.app.state.database, uploaded(request), asked, format, source, on_error)
    request.app.state.feed.announce("traces")
    response.status_code = 201 if created else 200
    return found


def _asked(values: dict[str, Any]) -> BuildRequest:
    try:
        return BuildRequest.model_validate(values)
    except ValidationError as error:
        faults = [{**fault, "loc": ("query", *fault["loc"])} for fault in error.errors(include_url=False)]
        raise RequestValidationError(faults) from None


def _shares(splits: list[str]) -> dict[str, float]:
    read = [SPLIT.fullmatch(split) for split in splits]
    if not all(read):
        raise BadInput("split: a name and a share, as eval=0.1", faults=[Fault("split", "is not NAME=SHARE")])
    return {match[1]: float(match[2]) for match in read if match}


@router.post("/preview")
async def preview_(request: BuildRequest, session: ReadSession) -> Preview:
    """What a build would hold, counted now; nothing is sealed."""
    return await preview.preview(session, request)


@router.get("")
async def manifests(
    session: ReadSession,
    paging: Sorted,
    name: str | None = None,
    q: Annotated[str | None, Query(max_length=200, description="part of a key")] = None,
) -> Page[Manifest]:
    """Versions, newest first, or sorted by `created_at`, `dataset_key` or `trace_count`."""
    return await service.manifests(session, paging, name, q)


@router.get("/diff")
async def diff(session: ReadSession, base: Annotated[str, Query()], other: Annotated[str, Query()]) -> Diff:
    """What `other` adds to and removes from `base`."""
    return await service.diff(session, base, other)


@router.get("/{key}")
async def manifest(key: str, session: ReadSession) -> Manifest:
    """The manifest."""
    return service.manifest(await seal.get(session, key))


@router.get("/{key}/traces")
async def traces(key: str, session: ReadSession, paging: Paged, split: str | None = None) -> Page[TraceRow]:
    """Its traces, newest first."""
    return await service.traces(session, key, split, paging)


@router.get("/{key}/statistics")
async def statistics(key: str, session: ReadSession, split: str | None = None) -> Statistics:
    """How its traces are spread, in bins to draw."""
    return await preview.statistics(session, key, split)


@router.get("/{key}/export.jsonl", response_class=StreamingResponse)
async def export(key: str, request: Request, format: str = "trace", split: str | None = None) -> StreamingResponse:
    """Stream the records, in the manifest's order, byte-identical each time."""
    lines = await service.open_export(request.app.state.database, key, format, split)
    return StreamingResponse(lines, media_type="application/x-ndjson")


@router.post("/{key}/audit")
async def audit(key: str, body: AuditRequest, request: Request) -> dict[str, Any]:
    """The ledger: what becomes of every row and every token."""
    state = request.app.state
    return await service.audit(state.database, state.settings.home, key, body)


router.include_router(uploads)

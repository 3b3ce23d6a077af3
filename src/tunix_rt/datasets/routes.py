"""HTTP routes of the data sets."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from tunix_rt.base.http import Page, Paged, ReadSession, StrictRoute, WriteSession
from tunix_rt.datasets import preview, seal, service
from tunix_rt.datasets.schemas import AuditRequest, BuildRequest, Diff, Manifest, Preview, Statistics
from tunix_rt.traces.schemas import TraceRow

router = APIRouter(prefix="/api/datasets", tags=["datasets"], route_class=StrictRoute)


@router.post("/build", status_code=201)
async def build(request: BuildRequest, session: WriteSession, response: Response) -> Manifest:
    """Build and seal a version: 201, or 200 when it exists with the same content."""
    dataset, created = await seal.build(session, request)
    response.status_code = 201 if created else 200
    return service.manifest(dataset)


@router.post("/preview")
async def preview_(request: BuildRequest, session: ReadSession) -> Preview:
    """What a build would hold, counted now; nothing is sealed."""
    return await preview.preview(session, request)


@router.get("")
async def manifests(session: ReadSession, paging: Paged, name: str | None = None) -> Page[Manifest]:
    """Versions, newest first."""
    return await service.manifests(session, paging, name)


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

"""HTTP routes of the traces."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from tunix_rt.base.errors import BadInput, Fault
from tunix_rt.base.http import Page, ReadSession, StrictRoute, UploadRoute, UtcTime, WriteSession, uploaded
from tunix_rt.base.sorting import Sorted
from tunix_rt.base.tasks import undisturbed
from tunix_rt.traces import export, intake, make, service, stored_sources, stream
from tunix_rt.traces.compare import compare
from tunix_rt.traces.format import MAX_SOURCE, TraceIn
from tunix_rt.traces.schemas import (
    BatchCreated,
    Comparison,
    Count,
    Created,
    GenerateBody,
    Generated,
    ImportReport,
    ScoreBody,
    Scored,
    SetSourceBody,
    SourceChange,
    SourceCounts,
    Sources,
    TraceFilters,
    TraceOut,
    TraceRow,
)

router = APIRouter(prefix="/api/traces", tags=["traces"], route_class=StrictRoute)
uploads = APIRouter(route_class=UploadRoute)

META = "meta."
FILTERED: dict[str, Any] = {"x-query-prefixes": [META]}
Id = Annotated[str, Path(description="the id, or 6 or more of its first hexadecimal digits where they are unique")]
Name = Annotated[str, Query(description="as the id in a path")]


async def filters(
    request: Request,
    source: Annotated[
        str | None, Query(min_length=1, max_length=MAX_SOURCE, description="`none`: traces without a source")
    ] = None,
    q: Annotated[str | None, Query(max_length=1_000, description="words that all occur in prompt or answer")] = None,
    min_steps: Annotated[Count | None, Query()] = None,
    max_steps: Annotated[Count | None, Query()] = None,
    created_after: Annotated[UtcTime | None, Query()] = None,
    created_before: Annotated[UtcTime | None, Query()] = None,
) -> TraceFilters:
    """The filters of a query; `meta.KEY=VALUE` stands for a top-level key of meta."""
    keys = [key for key in request.query_params if key.startswith(META)]
    meta = {key.removeprefix(META): request.query_params[key] for key in keys}
    for key in keys:
        if len(request.query_params.getlist(key)) > 1:
            raise BadInput(f"{key} is given more than once; no trace can match both.", faults=[Fault(key, "repeated")])
    try:
        return TraceFilters(
            source=source,
            q=q,
            meta=meta,
            min_steps=min_steps,
            max_steps=max_steps,
            created_after=created_after,
            created_before=created_before,
        )
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in item["loc"]) or "query"
        said = item["msg"].removeprefix("Value error, ")
        raise BadInput(f"{where}: {said}", faults=[Fault(where, said)]) from None


Filters = Annotated[TraceFilters, Depends(filters)]


@router.post("", status_code=201)
async def create(trace: TraceIn, session: WriteSession, response: Response) -> Created:
    """Store a trace: 201, or 200 when its content is already there."""
    stored = await intake.store(session, [trace])
    response.status_code = 201 if stored.created_count else 200
    return stored.traces[0]


@router.post("/batch", status_code=201)
async def batch(
    traces: Annotated[list[TraceIn], Body(min_length=1, max_length=1_000)], session: WriteSession
) -> BatchCreated:
    """Store up to 1,000 traces, all or none."""
    return await intake.store(session, traces)


@uploads.post(
    "/import",
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/x-ndjson": {"schema": {"type": "string"}}}}
    },
)
async def import_(
    request: Request,
    format: Annotated[str | None, Query(description="left out: told from the first record")] = None,
    source: Annotated[
        str | None,
        Query(min_length=1, max_length=MAX_SOURCE, description="left out: the line's meta.source; `none`: no source"),
    ] = None,
    default_source: Annotated[
        str | None, Query(min_length=1, max_length=MAX_SOURCE, description="of lines whose meta names no source")
    ] = None,
    on_error: stream.OnError = "stop",
) -> ImportReport:
    """Import a file of any size, as the body or as a form's file; every line is accounted for.

    A trace that is stored already keeps its source; where it has none, it gets the line's.
    """
    state = request.app.state
    report = await stream.bring_in(
        state.database, uploaded(request), format, source, on_error, default_source=default_source
    )
    state.feed.announce("traces")
    return report


@router.get("", openapi_extra=FILTERED)
async def find(session: ReadSession, filters: Filters, paging: Sorted) -> Page[TraceRow]:
    """Traces, newest first, or sorted by `created_at` or `step_count`."""
    return await service.find(session, filters, paging)


@router.get("/export.jsonl", openapi_extra=FILTERED, response_class=StreamingResponse)
async def export_(request: Request, filters: Filters) -> StreamingResponse:
    """Stream the traces that match, oldest first, byte-identical each time."""
    return StreamingResponse(export.lines(request.app.state.database, filters), media_type="application/x-ndjson")


@router.get("/compare")
async def compare_(session: ReadSession, base: Name, other: Name) -> Comparison:
    """Two traces with their scores, and their steps aligned."""
    return compare(await service.get(session, base), await service.get(session, other))


@router.get("/sources")
async def sources() -> Sources:
    """The sources of generated traces, with the JSON schema of their options."""
    return await asyncio.to_thread(make.listed)


@router.get("/source-counts", openapi_extra=FILTERED)
async def source_counts(session: ReadSession, filters: Filters) -> SourceCounts:
    """Count the stored traces that match by source."""
    return await stored_sources.counts(session, filters)


@router.post("/set-source")
async def set_source(request: Request, body: SetSourceBody) -> SourceChange:
    """Set the source of stored traces: of those with the ids, or of all that match; all or none are changed."""
    state = request.app.state

    async def work() -> SourceChange:
        async with state.database.write("set-source") as session:
            return await stored_sources.change(session, body)

    change = await undisturbed(work())
    if change.changed:
        state.feed.announce("traces")
    return change


@router.post("/generate")
async def generate(request: Request, body: GenerateBody) -> Generated:
    """Generate and store traces; the same request again finds them present."""
    generated = await make.generate(request.app.state.database, body)
    request.app.state.feed.announce("traces")
    return generated


@router.get("/{id}")
async def get(id: Id, session: ReadSession) -> TraceOut:
    """A whole trace with its scores."""
    return await service.get(session, id)


@router.delete("/{id}", status_code=204)
async def delete(id: Id, session: WriteSession) -> None:
    """Delete a trace that no data set holds."""
    await service.remove(session, id)


@router.post("/{id}/score", status_code=201)
async def score(id: Id, body: ScoreBody, session: WriteSession) -> Scored:
    """Score a trace; scoring again replaces the score."""
    return await service.score(session, id, body.criteria)


router.include_router(uploads)

"""HTTP routes of the registry."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.responses import StreamingResponse

from tunix_rt.base.http import Download, Page, Paged, ReadSession, StrictRoute, WriteSession
from tunix_rt.registry import archive, content, promote, service
from tunix_rt.registry.schemas import (
    AliasRequest,
    AliasView,
    FamilyDetail,
    FamilyRequest,
    FamilyView,
    Move,
    PromoteRequest,
    VerifiedVersion,
    VersionDetail,
    VersionView,
)

router = APIRouter(prefix="/api/models", tags=["models"], route_class=StrictRoute)
IfNoneMatch = Annotated[str | None, Header(max_length=1000)]


# --- families ---------------------------------------------------------------------------------------------------


@router.post("", status_code=201)
async def create(session: WriteSession, response: Response, body: FamilyRequest) -> FamilyDetail:
    """Make a family: 201, or 200 with the one that is there."""
    found, new = await service.create(session, body)
    response.status_code = 201 if new else 200
    return await service.detail(session, found.name)


@router.get("")
async def families(session: ReadSession, paging: Paged) -> Page[FamilyView]:
    """Families, newest first."""
    return await service.families(session, paging)


@router.get("/{name}")
async def family(session: ReadSession, name: str) -> FamilyDetail:
    """A family: its newest versions, where its aliases point, and how they came there."""
    return await service.detail(session, name)


@router.get("/{name}/versions")
async def versions(session: ReadSession, name: str, paging: Paged) -> Page[VersionView]:
    """All versions of a family, newest first."""
    return await service.versions(session, name, paging)


@router.get("/{name}/history")
async def history(session: ReadSession, name: str, paging: Paged) -> Page[Move]:
    """Every move of a family's aliases, newest first."""
    return await service.history(session, name, paging)


# --- versions ---------------------------------------------------------------------------------------------------


@router.post("/{name}/promote", status_code=201)
async def promote_(request: Request, response: Response, name: str, body: PromoteRequest) -> VersionView:
    """Make a version of a completed run's model: 201, or 200 with the version that has this content."""
    state = request.app.state
    found, new = await promote.promote(state.database, state.settings.home, name, body)
    response.status_code = 201 if new else 200
    return found


@router.get("/{name}/{version}/manifest")
async def manifest(request: Request, session: ReadSession, name: str, version: str) -> VersionDetail:
    """A version with its files and its card."""
    found = await service.version(session, name, version)
    seen = await service.shown(session, name, found)
    return await asyncio.to_thread(service.with_content, request.app.state.settings.home, found, seen)


@router.get("/{name}/{version}/download", response_class=StreamingResponse)
async def download(request: Request, name: str, version: str, if_none_match: IfNoneMatch = None) -> Response:
    """A version as a zip, streamed; the same bytes each time, and its ETag is the version's digest."""
    async with request.app.state.database.read() as session:
        found = await service.version(session, name, version)
    headers = _headers(found.digest) | {"content-disposition": f'attachment; filename="{name}-{version}.zip"'}
    if _known(if_none_match, headers):
        return Response(status_code=304, headers=headers)
    home, files = request.app.state.settings.home, service.files(found)
    await asyncio.to_thread(service.refuse_missing, home, files)
    return StreamingResponse(
        archive.stream(home, f"{name}-{version}", files), media_type="application/zip", headers=headers
    )


@router.get("/{name}/{version}/files/{path:path}", response_class=Download)
async def file(request: Request, name: str, version: str, path: str, if_none_match: IfNoneMatch = None) -> Response:
    """A file of a version, whole or a range of it; its ETag is its SHA-256."""
    async with request.app.state.database.read() as session:
        found = service.file(await service.version(session, name, version), path)
    headers = _headers(found.sha256)
    if _known(if_none_match, headers):
        return Response(status_code=304, headers=headers)
    place = content.place(request.app.state.settings.home, found)
    await asyncio.to_thread(service.refuse_missing, request.app.state.settings.home, [found])
    return Download(place, media_type="application/octet-stream", filename=path.rpartition("/")[2], headers=headers)


@router.post("/{name}/{version}/verify")
async def verify(request: Request, name: str, version: str) -> VerifiedVersion:
    """Compute the digests of a version's files again, and say which are damaged."""
    async with request.app.state.database.read() as session:
        found = await service.version(session, name, version)
    return await asyncio.to_thread(service.verified, request.app.state.settings.home, name, found)


def _headers(digest: str) -> dict[str, str]:
    return {"etag": f'"{digest}"'}


def _known(if_none_match: str | None, headers: dict[str, str]) -> bool:
    """Whether the caller has it already."""
    given = (part.strip().removeprefix("W/") for part in (if_none_match or "").split(","))
    return headers["etag"] in given


# --- aliases ----------------------------------------------------------------------------------------------------


@router.put("/{name}/aliases/{alias}")
async def set_alias(
    session: WriteSession,
    name: str,
    alias: Annotated[str, Path(max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*$")],
    body: AliasRequest,
) -> AliasView:
    """Point an alias at a version; what it pointed at before stays in the history."""
    return await service.set_alias(session, name, alias, body)

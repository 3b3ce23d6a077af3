"""What every route shares: strict requests, errors as problem+json, sessions, paging.

Errors have one shape, RFC 9457 problem details, from a 404 to a 500; a 500 says nothing of the inside.
"""

import base64
import binascii
import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import unquote_to_bytes

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError
from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunix_rt.base import jsontext
from tunix_rt.base import log as logs
from tunix_rt.base.db import Database, explain
from tunix_rt.base.errors import BadInput, Fault, NoSuchRange, NotFound, Problem, TooLarge, cut, nearest
from tunix_rt.base.security_headers import with_security_headers
from tunix_rt.base.settings import Settings
from tunix_rt.base.times import parse_utc

log = logging.getLogger(__name__)
T = TypeVar("T")

Time = Annotated[
    datetime, PlainSerializer(lambda t: t.isoformat(timespec="microseconds").replace("+00:00", "Z"), return_type=str)
]
"""A time as it leaves us: RFC 3339, UTC, ending in `Z`."""

UtcTime = Annotated[datetime, BeforeValidator(parse_utc)]
"""A time in a request; without a zone it is UTC."""

ZonedTime = Annotated[datetime, BeforeValidator(partial(parse_utc, zone_required=True))]
"""A time in a request that must have a zone."""


class Body(BaseModel):
    """Base of every request body: unknown fields are an error that names the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, value: Any) -> Any:
        fields = cls.__pydantic_fields__
        if isinstance(value, dict) and not value.keys() <= fields.keys():
            unknown = [str(key) for key in value if key not in fields]
            raise ValidationError.from_exception_data(
                cls.__name__,
                [
                    InitErrorDetails(
                        type=PydanticCustomError("unknown_field", "{said}", {"said": f"unknown field.{near}"}),
                        loc=(key,),
                        input=None,
                    )
                    for key in unknown[:20]
                    for near in (nearest(key, fields),)
                ],
            )
        return value


# --- requests ---------------------------------------------------------------------------------------------------


class StrictRequest(Request):
    """A request whose body has a limit, however it is sent, and whose JSON is parsed by `base.jsontext`."""

    upload = False

    async def stream(self) -> AsyncGenerator[bytes, None]:
        settings: Settings = self.app.state.settings
        limit = settings.upload_limit_bytes if self.upload else settings.body_limit_bytes
        size = 0
        async for chunk in super().stream():
            size += len(chunk)
            if limit is not None and size > limit:
                raise TooLarge(
                    f"The body is over the limit of {limit:,} bytes.",
                    hint="Send it in parts, or raise TUNIX_RT_UPLOAD_LIMIT_BYTES (uploads) or "
                    "TUNIX_RT_BODY_LIMIT_BYTES on the server.",
                )
            yield chunk

    async def json(self) -> Any:
        return jsontext.loads(await self.body())


class UploadRequest(StrictRequest):
    """A request that streams a file, under the limit of uploads."""

    upload = True


class StrictRoute(APIRoute):
    """A route that refuses query parameters which it does not declare."""

    request_class: type[StrictRequest] = StrictRequest

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]  # a Coroutine is an Awaitable
        handle = super().get_route_handler()
        known = {field.alias for field in get_flat_params(self.dependant) if field.field_info.in_.value == "query"}  # type: ignore[attr-defined]  # Param carries in_
        prefixes = tuple((self.openapi_extra or {}).get("x-query-prefixes", ()))

        async def strict(request: Request) -> Response:
            unknown = [key for key in request.query_params if key not in known and not key.startswith(prefixes or "\0")]
            if unknown:
                raise BadInput(
                    f"Unknown query parameter {cut(unknown[0], 60)!r}."
                    + nearest(unknown[0], known | {f"{prefix}KEY" for prefix in prefixes}),
                    faults=[Fault(cut(key, 60), "unknown query parameter") for key in unknown],
                )
            _check_address(request)
            try:
                return await handle(self.request_class(request.scope, request.receive))
            except HTTPException as error:
                if isinstance(error.__cause__, Problem):  # raised while FastAPI read the body: it calls any such a 400
                    raise error.__cause__ from None
                raise

        return strict


def _check_address(request: Request) -> None:
    """Refuse what no database keeps; the framework would pass on NUL, and U+FFFD in place of wrong UTF-8."""
    raw = unquote_to_bytes(request.scope["query_string"])
    if b"\0" in raw or "\0" in request.scope["path"]:
        raise BadInput("The address holds NUL (%00), which no stored text does.")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"The query is not UTF-8: %{raw[error.start]:02x} stands in it.") from None


class UploadRoute(StrictRoute):
    """A strict route under the limit of uploads; its handler reads `request.stream()`."""

    request_class = UploadRequest


async def uploaded(request: Request) -> AsyncIterator[bytes]:
    """Stream an upload: the raw body, or the first file of a multipart form."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        async for chunk in request.stream():
            yield chunk
        return
    async with request.form(max_files=1, max_fields=8) as form:
        files = [value for value in form.values() if not isinstance(value, str)]
        if not files:
            raise BadInput("The form holds no file.", hint="Send the file as a form field, or as the body itself.")
        while chunk := await files[0].read(2**18):
            yield chunk


class Download(FileResponse):
    """A file, whole or in ranges, as it was when it was looked at: what is appended meanwhile is left out."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See `FileResponse`; a range that cannot be given is an error of our shape."""
        left = 0
        asked = cut(Headers(scope=scope).get("range", ""), 60)

        async def bounded(message: Message) -> None:
            nonlocal left
            if message["type"] == "http.response.start":
                if message["status"] == 416:
                    raise NoSuchRange(
                        f"The range {asked!r} lies beyond the end of the file.",
                        hint="Its size stands in the list that it is from.",
                    )
                if message["status"] == 400:
                    raise BadInput(
                        f"The range {asked!r} is none.",
                        hint="Write it as Range: bytes=0-1023.",
                        faults=[Fault("Range", "not a range of bytes")],
                    )
                left = int(Headers(raw=message["headers"])["content-length"])
            elif message["type"] == "http.response.body":
                body = message.get("body", b"")[:left]
                left -= len(body)
                message = {**message, "body": body}
            await send(message)

        await super().__call__(scope, receive, bounded)


# --- sessions ---------------------------------------------------------------------------------------------------


async def _reading(request: Request) -> AsyncIterator[AsyncSession]:
    database: Database = request.app.state.database
    async with database.read() as session:
        yield session


async def _writing(request: Request) -> AsyncIterator[AsyncSession]:
    database: Database = request.app.state.database
    async with database.write() as session:
        yield session


# The scope "function" ends the block, and so commits, before the answer leaves.
ReadSession = Annotated[AsyncSession, Depends(_reading, scope="function")]
WriteSession = Annotated[AsyncSession, Depends(_writing, scope="function")]


# --- paging -----------------------------------------------------------------------------------------------------


class Pagination(BaseModel):
    """Where a list goes on: `next_cursor` is opaque, null on the last page."""

    limit: int
    next_cursor: str | None


class Page(BaseModel, Generic[T]):
    """A page of a list, newest first."""

    data: list[T]
    pagination: Pagination


class Paging:
    """The caller's place in a list, keyed on (created_at, id): no row is skipped or repeated while others arrive.

    Args:
        limit: rows of a page, 1 to 200.
        cursor: opaque place from an earlier page.

    Raises:
        BadInput: the cursor is not one of ours.
    """

    def __init__(self, limit: int = 20, cursor: str | None = None) -> None:
        self.limit = limit
        self.after: tuple[datetime, uuid.UUID] | None = None
        if cursor is not None:
            try:
                when, identity = base64.urlsafe_b64decode(cursor.encode("ascii")).decode("ascii").split("|")
                self.after = (parse_utc(when, zone_required=True), uuid.UUID(identity))
            except (ValueError, binascii.Error):
                raise BadInput(
                    f"The cursor {cut(cursor, 60)!r} is not one that this list gave.",
                    hint="Leave `cursor` out to start from the newest.",
                    faults=[Fault("cursor", "not a cursor")],
                ) from None

    def where(
        self, created_at: InstrumentedAttribute[datetime], identity: InstrumentedAttribute[uuid.UUID]
    ) -> list[ColumnElement[bool]]:
        """The condition for rows after this place; empty at the start."""
        if self.after is None:
            return []
        when, last = self.after
        return [or_(created_at < when, and_(created_at == when, identity < last))]

    def page(self, rows: Sequence[T], key: Callable[[T], tuple[datetime, uuid.UUID]]) -> Page[T]:
        """Make a page of up to `limit` + 1 rows: the surplus row only says that there are more."""
        more = len(rows) > self.limit
        data = list(rows[: self.limit])
        cursor = None
        if more:
            when, last = key(data[-1])
            cursor = base64.urlsafe_b64encode(f"{when.isoformat()}|{last}".encode()).decode()
        return Page(data=data, pagination=Pagination(limit=self.limit, next_cursor=cursor))


async def _paging(  # a coroutine, as all dependencies are: anything else is called in a thread, which takes longer
    limit: Annotated[int, Query(ge=1, le=200)] = 20, cursor: Annotated[str | None, Query(max_length=200)] = None
) -> Paging:
    return Paging(limit, cursor)


Paged = Annotated[Paging, Depends(_paging)]


# --- errors -----------------------------------------------------------------------------------------------------


class StoredCounts(BaseModel):
    """What is stored of a request that commits in batches and failed."""

    created: int
    already_present: int


class ProblemDetails(BaseModel):
    """The one shape of every error (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    hint: str | None = None
    errors: list[dict[str, str]] | None = None
    stored: StoredCounts | None = None
    request_id: str | None = None


def problem_response(request: Request, problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """Render a problem as problem+json."""
    details = ProblemDetails(
        title=problem.title,
        status=problem.status,
        detail=problem.detail,
        code=problem.code,
        hint=problem.hint,
        errors=[{"pointer": fault.pointer, "detail": fault.detail} for fault in problem.faults] or None,
        stored=StoredCounts(**asdict(problem.stored)) if problem.stored else None,
        request_id=request.scope.get("request_id"),
    )
    return Response(
        details.model_dump_json(exclude_none=True),
        status_code=problem.status,
        media_type="application/problem+json",
        headers=headers,
    )


async def _on_problem(request: Request, problem: Problem) -> Response:
    if isinstance(problem.__cause__, DBAPIError):
        log.error("database error", extra={"kind": problem.code}, exc_info=problem.__cause__)
    return problem_response(request, problem)


async def _on_validation(request: Request, error: RequestValidationError) -> Response:
    faults = [Fault(_pointer(item["loc"]), _sentence(item)) for item in error.errors()[:100]]
    first = faults[0]
    more = f" ({len(faults)} errors in all)" if len(faults) > 1 else ""
    unread = first.pointer == "/" and "json" not in request.headers.get("content-type", "")
    hint = "Send the body as Content-Type: application/json." if unread else None
    return problem_response(request, BadInput(f"{first.pointer}: {first.detail}{more}", hint=hint, faults=faults))


def _pointer(location: Sequence[str | int]) -> str:
    where, *rest = location or ("body",)
    if where == "body":
        return "/" + "/".join(cut(str(part), 60).replace("~", "~0").replace("/", "~1") for part in rest)
    return ".".join(cut(str(part), 60) for part in rest) or str(where)


def _sentence(item: dict[str, Any]) -> str:
    text = str(item["msg"]).removeprefix("Value error, ")
    given = item.get("input")
    if item["type"] not in ("missing", "extra_forbidden") and isinstance(given, str | int | float | bool):
        text += f" (given: {cut(repr(given), 100)})"
    return text


async def _on_http(request: Request, error: HTTPException) -> Response:
    path = request.scope["path"]
    problem = Problem(_HTTP.get(error.status_code, str(error.detail)).format(path=cut(path)))
    if error.status_code == 404 and path.endswith("/") and path != "/":
        problem.hint = "Paths of the API do not end with a slash."
    problem.status, problem.title = error.status_code, str(error.detail)
    problem.code = problem.title.lower().replace(" ", "_")
    return problem_response(request, problem, dict(error.headers or {}))


_HTTP = {
    404: "There is nothing at {path}.",
    405: "This method is not allowed at {path}.",
}


async def _on_database(request: Request, error: DBAPIError) -> Response:
    problem = explain(error)
    problem.__cause__ = error
    return await _on_problem(request, problem)


class RequestContext:
    """Request ids in log lines and responses, the security headers, and a 500 without internals as the last resort."""

    def __init__(self, app: ASGIApp, seen: Callable[[str, str, int, float], None]) -> None:
        self.app = app
        self.seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["request_id"] = str(uuid.uuid4())
        began, status = time.perf_counter(), 0

        def told() -> None:
            # The route's template, never the path: a path has ids in it, and there is no end of them.
            self.seen(scope["method"], getattr(scope.get("route"), "path", "none"), status, time.perf_counter() - began)

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = with_security_headers(
                    [*message["headers"], (b"x-request-id", scope["request_id"].encode())]
                )
                if (b"content-type", b"text/event-stream; charset=utf-8") in message["headers"]:
                    told()  # how long somebody watches is not how long it took
                    status = -status
            await send(message)

        with logs.bind(request_id=scope["request_id"]):
            try:
                await self.app(scope, receive, watch)
            except ClientDisconnect:
                log.info("client gone", extra={"path": scope["path"]})
            except Exception:
                log.exception("request failed", extra={"path": scope["path"]})
                if status:  # the answer cannot be taken back: break it off, so that nobody takes it for whole
                    raise
                problem = Problem(
                    "Something failed inside the server.",
                    hint="The server's log holds the cause under this request_id.",
                )
                problem.title, problem.code = "Internal error", "internal"
                await problem_response(Request(scope), problem)(scope, receive, watch)
            finally:
                if status > 0:
                    told()


def install(app: FastAPI, seen: Callable[[str, str, int, float], None]) -> None:
    """Give an application our errors and request ids.

    Args:
        app: the application.
        seen: told of each answer: method, route, status, seconds.
    """
    app.add_exception_handler(Problem, _on_problem)  # type: ignore[arg-type]  # handlers take the class they are given for
    app.add_exception_handler(RequestValidationError, _on_validation)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _on_http)  # type: ignore[arg-type]
    app.add_exception_handler(DBAPIError, _on_database)  # type: ignore[arg-type]
    app.add_middleware(RequestContext, seen=seen)


def missing(what: str, name: object) -> NotFound:
    """The error for something that is not there."""
    return NotFound(f"There is no {what} {cut(str(name), 100)!r}.")

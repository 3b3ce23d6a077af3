"""The API as the command line uses it: over the network, or in this process on the embedded database.

Either way a command makes the same requests and meets the same checks, so that it cannot behave differently with
and without a server.
"""

import asyncio
import contextlib
import urllib.parse
from collections.abc import AsyncIterator, Coroutine, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx

from tunix_rt.base import errors, jsontext
from tunix_rt.base.errors import Fault, Problem, Stored, Unavailable

T = TypeVar("T")
_KINDS = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, Problem) and kind is not Problem
}


class _InProcess(httpx.AsyncBaseTransport):
    """Speaks ASGI to an application in this process, streaming both ways (httpx's own collects the answer)."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        body = request.stream.__aiter__()
        sent = False
        started: asyncio.Future[MutableMapping[str, Any]] = asyncio.get_running_loop().create_future()
        chunks: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=4)
        gone = asyncio.Event()

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if sent:
                await gone.wait()
                return {"type": "http.disconnect"}
            try:
                return {"type": "http.request", "body": await anext(body), "more_body": True}
            except StopAsyncIteration:
                sent = True
                return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                started.set_result(message)
            elif message["type"] == "http.response.body" and message.get("body"):
                await chunks.put(message["body"])

        async def run() -> None:
            try:
                await self.app(self._scope(request), receive, send)
            except BaseException as error:
                if not started.done():
                    started.set_exception(error)
                    return
                raise
            finally:
                if started.done() and not gone.is_set():  # who has gone takes nothing from a full queue
                    await chunks.put(None)

        task = asyncio.create_task(run())
        try:
            head = await started
        except asyncio.CancelledError:  # Ctrl-C: the application comes to rest before its database is closed
            await _Answer(chunks, task, gone).aclose()
            raise
        return httpx.Response(head["status"], headers=head["headers"], stream=_Answer(chunks, task, gone))

    @staticmethod
    def _scope(request: httpx.Request) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "headers": [(key.lower(), value) for key, value in request.headers.raw],
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.split(b"?")[0],
            "query_string": request.url.query,
            "server": (request.url.host, request.url.port),
            "client": ("127.0.0.1", 0),
            "root_path": "",
        }


class _Answer(httpx.AsyncByteStream):
    def __init__(self, chunks: "asyncio.Queue[bytes | None]", task: "asyncio.Task[None]", gone: asyncio.Event) -> None:
        self.chunks, self.task, self.gone = chunks, task, gone

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self.chunks.get()) is not None:
            yield chunk
        await self.task

    async def aclose(self) -> None:
        self.gone.set()
        if not self.task.done():
            self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


@asynccontextmanager
async def client(url: str | None) -> AsyncIterator[httpx.AsyncClient]:
    """Open the API.

    Args:
        url: a server's address; None for the embedded database of this machine.
    """
    if url:
        async with httpx.AsyncClient(base_url=url, timeout=httpx.Timeout(30, read=None)) as remote:
            try:
                yield remote
            except httpx.TransportError as error:
                raise Unavailable(
                    f"No answer from {url}: {error}",
                    hint="Is the server running? Unset TUNIX_RT_URL (or leave out --url) to work on this machine.",
                ) from error
        return
    from tunix_rt.app import create_app  # loads the database and the server, which `--help` must not
    from tunix_rt.base.settings import Settings

    app = create_app(Settings(upload_limit_bytes=None, body_limit_bytes=2**30))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=_InProcess(app), base_url="http://localhost", timeout=None) as embedded,  # noqa: S113  # in process
    ):
        yield embedded


def check(status: int, content: bytes) -> None:
    """Raise the problem that an answer carries, as the class that the server raised."""
    if status < 400:
        return
    try:
        body = jsontext.loads(content)
        kind = _KINDS.get(body["code"], Problem)
        faults = [Fault(item["pointer"], item["detail"]) for item in body.get("errors", ())]
        problem = kind(body["detail"], hint=body.get("hint"), faults=faults)
        problem.stored = Stored(**body["stored"]) if "stored" in body else None
    except (errors.BadInput, KeyError, TypeError, AttributeError):
        raise Unavailable(
            f"The server answered {status} with something that is not ours.", hint="Is TUNIX_RT_URL a Tunix RT server?"
        ) from None
    raise problem


async def call(api: httpx.AsyncClient, method: str, path: str, **request: Any) -> Any:
    """Make a request and return its JSON (None for an empty answer).

    Raises:
        Problem: whatever the server said is wrong.
    """
    answer = await api.request(method, path, **request)
    check(answer.status_code, answer.content)
    return jsontext.loads(answer.content) if answer.content else None


@asynccontextmanager
async def stream(api: httpx.AsyncClient, path: str, **request: Any) -> AsyncIterator[AsyncIterator[bytes]]:
    """Open a streamed download; raises as `call` does."""
    async with api.stream("GET", path, **request) as answer:
        if answer.status_code >= 400:
            check(answer.status_code, await answer.aread())
        yield answer.aiter_bytes()


async def every(
    api: httpx.AsyncClient, path: str, limit: int | None, params: dict[str, Any], literal: Sequence[str] = ()
) -> AsyncIterator[Any]:
    """Walk a list, page by page, up to `limit` rows (None: all).

    Args:
        params: of the query.
        literal: more of the query, quoted already, for what is no `name=value`.
    """
    cursor: str | None = None
    while limit is None or limit > 0:
        size = 200 if limit is None else min(limit, 200)
        query = {**params, "limit": size} | ({"cursor": cursor} if cursor else {})
        body = await call(api, "GET", f"{path}?{'&'.join([str(httpx.QueryParams(query)), *literal])}")
        for row in body["data"]:
            yield row
        limit = None if limit is None else limit - len(body["data"])
        cursor = body["pagination"]["next_cursor"]
        if cursor is None:
            return


def quote(name: str) -> str:
    """A caller's name as one segment of a path."""
    return urllib.parse.quote(name, safe="")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end."""
    return asyncio.run(work)

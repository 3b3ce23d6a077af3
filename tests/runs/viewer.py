"""A viewer of server-sent events at the ASGI level: it reads as slowly as it likes and breaks off at any byte."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from fastapi import FastAPI
from starlette.types import Message

from tunix_rt.app import create_app
from tunix_rt.base.settings import Settings

PATIENCE_SECONDS = 240.0
"""How long a test waits for what must come; nothing is asserted about how soon it comes."""

Manner = Literal["told", "raises", "cancelled"]
"""How a server learns that a viewer is gone: by a message to receive, by an error of send, or not at all: the whole
request is cancelled, as at the end of a server."""
MANNERS: list[Manner] = ["told", "raises", "cancelled"]


@dataclass(frozen=True)
class Event:
    """A whole event."""

    name: str
    id: str | None
    data: Any


def parsed(stream: bytes) -> list[Event]:
    """The whole events of a stream; comments and the time to reconnect are left out, and what was cut off is too."""
    found = []
    for block in stream.split(b"\n\n")[:-1]:
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if not line.startswith(b":"))
        if b"data" in fields:
            name, number = fields[b"event"].decode(), fields.get(b"id")
            found.append(Event(name, number.decode() if number else None, json.loads(fields[b"data"])))
    return found


def chunk(event: Event) -> bytes:
    """The bytes of a piece of a log; base64 only where they are no text."""
    if "encoding" not in event.data:
        return str(event.data["chunk"]).encode()
    assert event.data["encoding"] == "base64"
    found = base64.b64decode(event.data["chunk"], validate=True)
    with pytest.raises(UnicodeDecodeError):
        found.decode()
    return found


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[FastAPI]:
    """The application on a server of its own."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


async def eventually(fact: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not fact():
            await asyncio.sleep(0.005)


async def at_once() -> None:
    """The pace of a viewer that takes what comes."""


class Viewer:
    """One connection.

    Args:
        app: the application.
        path: what is asked for.
        query: of the address.
        last_event_id: the header.
        pace: awaited before anything is taken.
        cut_after: the connection breaks once so many bytes of the body are taken.
        manner: how the server learns of it.

    Attributes:
        status: of the answer; 0 before it.
        headers: of the answer.
        body: what was taken.
        whole: the server ended the answer itself.
    """

    def __init__(
        self,
        app: FastAPI,
        path: str,
        query: str = "",
        last_event_id: str | None = None,
        pace: Callable[[], Awaitable[None]] = at_once,
        cut_after: int | None = None,
        manner: Manner = "told",
    ) -> None:
        self.pace, self.cut_after, self.manner = pace, cut_after, manner
        self.status, self.headers, self.body, self.whole = 0, dict[str, str](), bytearray(), False
        self._asked, self._gone, self._news = False, asyncio.Event(), asyncio.Event()
        headers = [(b"host", b"localhost")]
        if last_event_id is not None:
            headers.append((b"last-event-id", last_event_id.encode("latin-1")))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4" if manner == "raises" else "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        self.task = asyncio.create_task(app(scope, self._receive, self._send))
        self.task.add_done_callback(lambda _: self._tell())

    @property
    def events(self) -> list[Event]:
        """The whole events that were taken."""
        return parsed(bytes(self.body))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something about this connection holds; fails where the connection ends before."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():
                assert not self.task.done(), f"the connection ended with {bytes(self.body[-500:])!r}"
                news = self._news
                await news.wait()

    async def ended(self) -> None:
        """Wait for the end of the request, whoever ends it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.wait({self.task})
        if not self.task.cancelled():
            self.task.result()

    def leave(self) -> None:
        """Break the connection off now."""
        self._gone.set()
        if self.manner == "cancelled":
            self.task.cancel()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        await self.pace()
        if not self._gone.is_set():
            body = message.get("body", b"")
            room = len(body) if self.cut_after is None else self.cut_after - len(self.body)
            self.body += body[:room]
            self.whole = not message.get("more_body", False) and room >= len(body)
            if room < len(body):
                self.leave()
            self._tell()
        if self._gone.is_set() and self.manner == "raises":
            raise BrokenPipeError


def said(viewer: Viewer) -> bytes:
    """What a viewer was told of stdout, joined."""
    return b"".join(chunk(event) for event in viewer.events if event.name == "log" and event.data["stream"] == "stdout")

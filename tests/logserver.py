"""A small HTTP server that behaves as badly as networks do: it cuts, repeats, refuses, and says nothing."""

import asyncio
import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from tests import ports


@dataclass
class Asked:
    """A request as it came in; `target` is the path with its query, undecoded."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        """The query, decoded."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))


@dataclass
class Answer:
    """How a request is answered.

    Attributes:
        content: the body; for a log stream, made from `Server.output` where it is None.
        kind: content type.
        cut_at: bytes of the body after which the connection is cut; None: never.
        repeat: log events that are sent again although they were seen.
        pieces: bytes that are sent at once.
        unclosed: the stream ends without `end`, in good order.
        silent: nothing is ever sent, not even a status line.
        stops: the server stops listening before it answers.
    """

    status: int = 200
    content: bytes | None = None
    kind: str = "text/event-stream"
    cut_at: int | None = None
    repeat: int = 0
    pieces: int = 65_536
    unclosed: bool = False
    silent: bool = False
    stops: bool = False


def document(value: Any, status: int = 200) -> Answer:
    """An answer of JSON."""
    kind = "application/json" if status < 400 else "application/problem+json"
    return Answer(status=status, content=json.dumps(value).encode(), kind=kind)


@dataclass
class Server:
    """Answers each request by the next of `answers`, and the log stream in full when none is left.

    Attributes:
        output: what the run printed: stream and bytes of each log event, numbered from 1.
        status: how the run ends.
    """

    output: list[tuple[str, bytes]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    status: str = "completed"
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reserved = ports.reserve()
        self.port = ports.number(self.reserved)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the same port as before."""

        async def work() -> None:
            self.listening = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

        asyncio.run_coroutine_threadsafe(work(), self.loop).result(240)

    def stop(self) -> None:
        """Refuse connections."""

        async def work() -> None:
            self.listening.close()

        asyncio.run_coroutine_threadsafe(work(), self.loop).result(240)

    def close(self) -> None:
        """End it."""

        async def work() -> None:
            self.listening.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(work(), self.loop).result(240)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(240)
        self.loop.close()
        self.reserved.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            asked = Asked(method, target, headers, body)
            self.asked.append(asked)
            await self._answer(asked, self.answers.pop(0) if self.answers else Answer(), writer)
        writer.close()

    async def _answer(self, asked: Asked, answer: Answer, writer: asyncio.StreamWriter) -> None:
        if answer.stops:
            self.listening.close()
        if answer.silent:
            await asyncio.sleep(3600)
        writer.write(
            f"HTTP/1.1 {answer.status} X\r\ncontent-type: {answer.kind}\r\nconnection: close\r\n"
            "transfer-encoding: chunked\r\n\r\n".encode()
        )
        left = answer.cut_at
        since = int(asked.headers.get("last-event-id") or asked.query.get("since_seq") or 0)
        body = self.stream(since, answer) if answer.content is None else answer.content
        for start in range(0, len(body), answer.pieces):
            piece = body[start : start + answer.pieces]
            piece = piece if left is None else piece[:left]
            if piece:
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                await writer.drain()
            left = None if left is None else left - len(piece)
            if left == 0:
                return
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    def stream(self, since: int, answer: Answer) -> bytes:
        """The log stream after an event."""
        told = json.dumps({"status": "running", "status_reason": None, "attempt": 1})
        body = b": heartbeat\n\n" + f"event: status\ndata: {told}\n\n".encode()
        for seq, (stream, chunk) in enumerate(self.output, 1):
            if seq > since - answer.repeat:
                body += log_event(seq, stream, chunk)
        if not answer.unclosed:
            end = {"status": self.status, "status_reason": None, "last_seq": len(self.output)}
            body += f"event: end\ndata: {json.dumps(end)}\n\n".encode()
        return body


def log_event(seq: int, stream: str, chunk: bytes) -> bytes:
    """A log event as the API sends it: characters as they are, other bytes in base64."""
    data: dict[str, Any] = {"seq": seq, "stream": stream, "created_at": "2026-01-31T12:00:00Z"}
    try:
        data["chunk"] = chunk.decode()
    except UnicodeDecodeError:
        data |= {"chunk": base64.b64encode(chunk).decode(), "encoding": "base64"}
    return f"event: log\nid: {seq}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


@contextlib.contextmanager
def serving(**about: Any) -> Iterator[Server]:
    """A server for a test."""
    server = Server(**about)
    try:
        yield server
    finally:
        server.close()

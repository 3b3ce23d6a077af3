"""Follows what a run prints: server-sent events, put together to the bytes that the run wrote.

A connection may break at any byte and be opened again: a log event has a number, and one that was seen before is
dropped.
"""

import asyncio
import base64
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO

import httpx
import orjson

from tunix_rt.base.errors import Unavailable
from tunix_rt.cli import door, show
from tunix_rt.cli.ansi import Filter

SILENCE_SECONDS = 45.0  # three heartbeats of the server
PAUSE_SECONDS = (0.2, 5.0)  # first and longest pause before a connection is opened again


@dataclass(frozen=True)
class Event:
    """One event as it was sent: its name, and its data before anything is made of it."""

    name: str
    data: bytes


class Parser:
    """Cuts a stream of bytes into events; lines end at line feeds alone, never at what text calls a line end."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._name = "message"
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that `chunk` completes; an event that is cut off is never given."""
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            self._line += part
            line = bytes(self._line).removesuffix(b"\r")
            self._line.clear()
            if line:
                self._field(line)
            else:
                if self._data:
                    yield Event(self._name, b"\n".join(self._data))
                self._name, self._data = "message", []
        self._line += rest

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")  # a comment has no name
        value = value.removeprefix(b" ")
        if name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"data":
            self._data.append(value)


class Screen:
    """Where the events of a run go: its stdout to ours, its stderr to ours, talk to stderr.

    Args:
        raw: write the run's bytes as they are, and talk of broken connections only.
        as_json: write each event as a line of JSON on stdout instead.
        told: say changes of the run's status.
    """

    def __init__(self, *, raw: bool, as_json: bool, told: bool) -> None:
        self.raw, self.as_json, self.told = raw, as_json, told
        self.filters = {stream: Filter(colours=show.colours(stream)) for stream in (sys.stdout, sys.stderr)}
        self.used: TextIO = sys.stdout
        self.mid_line = False
        self.status: tuple[Any, ...] = ()
        self.flush()  # what was printed before us, since we write below the text layer

    def log(self, stream: str, chunk: bytes) -> None:
        """Write what the run wrote to `stream`, its `stdout` or `stderr`."""
        target = sys.stderr if stream == "stderr" else sys.stdout
        if self.raw:
            self._write(target, chunk)
        else:
            self._write(target, self._encoded(target, self.filters[target].feed(chunk)))

    def changed(self, data: dict[str, Any]) -> None:
        """Say a status once, however often the server tells it."""
        now = (data.get("status"), data.get("status_reason"), data.get("attempt"))
        if self.told and not self.raw and now != self.status:
            attempt = f" (attempt {now[2]})" if (now[2] or 1) > 1 else ""
            self.say(f"[{now[0]}{attempt}]" + (f" {now[1]}" if now[1] else ""))
        self.status = now

    def event(self, name: str, data: dict[str, Any]) -> None:
        """Write an event as a line of JSON."""
        self._write(sys.stdout, orjson.dumps({"event": name, **data}) + b"\n")

    def say(self, text: str) -> None:
        """Talk to the person, on a line of its own."""
        self.flush()
        if self.mid_line and sys.stderr.isatty():
            show.say("")
        self.mid_line = False
        show.say(show.printable(text))

    def flush(self) -> None:
        """Bring out what is written."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            stream.buffer.flush()

    def close(self) -> None:
        """Write what was held back: the start of a sequence that never came to its end."""
        for target, kept in self.filters.items():
            self._write(target, self._encoded(target, kept.end()))
        self.flush()

    def _write(self, target: TextIO, chunk: bytes) -> None:
        if not chunk:
            return
        if target is not self.used:  # the order of the two on one terminal
            self.flush()
            self.used = target
        target.buffer.write(chunk)
        self.mid_line = not chunk.endswith(b"\n")

    @staticmethod
    def _encoded(target: TextIO, text: str) -> bytes:
        return text.encode(target.encoding or "utf-8", "backslashreplace")


class _Broken(Exception):
    """The connection is no use any more; another one may be."""


class Follower:
    """Reads the logs of one run to their end.

    Args:
        api: the API.
        run: id of the run.
        screen: where its events go.
        since_seq: number of the last log event that is not wanted; None: all are.
    """

    def __init__(self, api: httpx.AsyncClient, run: str, screen: Screen, since_seq: int | None = None) -> None:
        self.api, self.run, self.screen, self.seen = api, run, screen, since_seq
        self.ended: dict[str, Any] | None = None

    async def read(self) -> dict[str, Any] | None:
        """Print what there is now.

        Returns:
            What the server said at the run's end; None where the run is not over.

        Raises:
            Problem: whatever the server said is wrong.
            httpx.TransportError: the connection broke.
        """
        try:
            await self._connect({"follow": "false"})
        finally:
            self.screen.close()
        return self.ended

    async def follow(self, *, known: bool = False) -> dict[str, Any]:
        """Print all until the run is over, through any number of broken connections.

        Args:
            known: the server has answered before; else one that cannot be reached is an error, not a reason to wait.

        Returns:
            What the server said at the run's end: `status`, `status_reason`, `last_seq`.

        Raises:
            Problem: the server refuses: no such run, say.
            httpx.TransportError: no server was ever reached.
        """
        pause, said = PAUSE_SECONDS[0], False
        try:
            while True:
                before, began = self.seen, time.monotonic()
                try:
                    await self._connect({})
                    why = "the stream ended before the run did"
                except httpx.ConnectError as error:
                    if not known:
                        raise
                    why = str(error)
                except httpx.TransportError as error:
                    why = str(error) or type(error).__name__
                except _Broken as error:
                    why = str(error)
                if self.ended is not None:
                    return self.ended
                known = True
                if self.seen != before or time.monotonic() - began > PAUSE_SECONDS[1]:
                    pause, said = PAUSE_SECONDS[0], False
                if not said:
                    self.screen.say(f"Connection lost ({why}); connecting again. Ctrl-C stops watching, not the run.")
                said = True
                self.screen.flush()
                await asyncio.sleep(pause)
                pause = min(2 * pause, PAUSE_SECONDS[1])
        except asyncio.CancelledError:
            self.screen.close()
            self.screen.say(f"Stopped watching; the run goes on. To end it: tunix-rt runs cancel {self.run}")
            raise
        finally:
            self.screen.close()

    async def _connect(self, query: dict[str, Any]) -> None:
        """One connection, to the end of the run or of the stream."""
        headers = {"accept": "text/event-stream", "accept-encoding": "identity"}
        if self.seen is not None:
            headers["last-event-id"] = str(self.seen)
            query = query | {"since_seq": self.seen}
        path = f"/api/tunix/runs/{door.quote(self.run)}/logs"
        timeout = httpx.Timeout(10, read=SILENCE_SECONDS)
        async with self.api.stream("GET", path, params=query, headers=headers, timeout=timeout) as answer:
            if answer.status_code >= 500 and "follow" not in query:
                raise _Broken(f"the server answers {answer.status_code}")
            if answer.status_code >= 400:
                door.check(answer.status_code, await answer.aread())
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                raise Unavailable(
                    f"The server answered {answer.status_code} with something that is no log.",
                    hint="Is TUNIX_RT_URL a Tunix RT server?",
                )
            parser = Parser()
            async for chunk in answer.aiter_bytes():
                for event in parser.feed(chunk):
                    self._take(event)
                self.screen.flush()
                if self.ended is not None:
                    return

    def _take(self, event: Event) -> None:
        try:
            data = orjson.loads(event.data)
            if event.name == "log":
                self._log(data)
                return
            if self.screen.as_json:
                self.screen.event(event.name, data)
            elif event.name == "status":
                self.screen.changed(data)
            if event.name == "end":
                self.ended = dict(data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unavailable(
                f"The server sent an event {event.name!r} that is not as agreed: {error}",
                hint="Are the server and this tunix-rt of the same release? See: tunix-rt --version",
            ) from None

    def _log(self, data: dict[str, Any]) -> None:
        seq, chunk = int(data["seq"]), data["chunk"]
        if self.seen is not None and seq <= self.seen:
            return
        if self.screen.as_json:
            self.screen.event("log", data)
        elif data.get("encoding") == "base64":
            self.screen.log(data["stream"], base64.b64decode(chunk, validate=True))
        else:
            self.screen.log(data["stream"], chunk.encode())
        self.seen = seq

"""A server that speaks the protocol of a chat endpoint, and misbehaves as it is told: over real sockets."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests import ports

Reply = tuple[int, dict[str, str], bytes]


@dataclass
class Server:
    """What was asked, and what is answered.

    Attributes:
        reply: from a request's body to its reply; `says` makes the usual one.
        asked: bodies of the requests, in order. keys: their authorization headers. most: requests at once.
    """

    url: str = ""
    reply: Callable[[dict[str, Any]], Reply] = lambda body: says(verdict(body, 7))
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    now: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def in_turn(self, *replies: Reply | Callable[[dict[str, Any]], Reply]) -> None:
        """Answer these, one after the other, and the last one from then on."""
        left = list(replies)

        def reply(body: dict[str, Any]) -> Reply:
            with self.lock:
                one = left.pop(0) if len(left) > 1 else left[0]
            return one(body) if callable(one) else one

        self.reply = reply


def says(text: str, finish_reason: str = "stop") -> Reply:
    """A completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    return 200, {}, json.dumps({"object": "chat.completion", "choices": [choice]}).encode()


def verdict(body: dict[str, Any], score: Any) -> str:
    """A well-behaved judge's verdict on a request: points, or `first`, `second`, `tie`."""
    check = re.search(r'The check is exactly "(\w+)"', body["messages"][0]["content"])
    assert check
    name = "better" if isinstance(score, str) else "score"
    return json.dumps({"check": check[1], "reasoning": "It is so.", name: score})


def output_of(body: dict[str, Any], name: str = "OUTPUT") -> str:
    """What stands in a fence of the request."""
    found = re.search(rf"<<<{name} (\w+)>>>\n(.*)\n<<<END OF {name} \1>>>", body["messages"][1]["content"], re.DOTALL)
    assert found
    return found[2]


@contextmanager
def serving() -> Iterator[Server]:
    """A server on a port of its own."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:  # the library's name
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with server.lock:
                server.asked.append(body)
                server.keys.append(self.headers["authorization"])
                server.now += 1
                server.most = max(server.most, server.now)
            try:
                status, headers, content = server.reply(body)
            finally:
                with server.lock:
                    server.now -= 1
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                for piece in (content,) if "drip" not in headers else (content[i : i + 1] for i in range(len(content))):
                    self.wfile.write(piece)
                    self.wfile.flush()
                    if "drip" in headers:
                        time.sleep(float(headers["drip"]))
            except OSError:
                self.close_connection = True  # the judge has gone

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # a judge that has lost its patience

    http = Quiet(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


@contextmanager
def closed_port() -> Iterator[str]:
    """An address at which nobody listens."""
    with ports.reserve() as reserved:
        yield f"http://127.0.0.1:{ports.number(reserved)}/v1"

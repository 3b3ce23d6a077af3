"""A load generator in a process of its own: `python -m benchmarks.load PORT CLIENTS SECONDS REQUESTS`.

REQUESTS is a JSON file: a list of [method, path, body or null]. Each client keeps one connection, sends the next
request when the last is answered, and begins at a place of its own in the list. The protocol is read by hand: the
generator takes little of the cores that it shares with the server. Prints one JSON document: how many answers, the
requests a second, latencies, how many were not 200, the generator's CPU time.
"""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import uvloop

from benchmarks import servers
from benchmarks.servers import Server

Request = tuple[str, str, dict[str, Any] | None]


def run(
    server: Server, requests: list[Request], folder: Path, clients: int, seconds: float, failing: bool = False
) -> dict[str, Any]:
    """Put a load on a server; see the module. CPU time and peak memory of the server's processes are added.

    Raises:
        RuntimeError: a request failed, unless it may (`failing`).
    """
    file = folder / "requests.json"
    file.write_text(json.dumps(requests))
    before = sum(map(servers.cpu_seconds, servers.family(server.pid)))
    command = [sys.executable, "-m", "benchmarks.load", str(server.port), str(clients), str(seconds), str(file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=servers.ROOT)
    found: dict[str, Any] = json.loads(done.stdout)
    if not found["count"] or (found["failures"] and not failing):
        raise RuntimeError(f"{found['count']} answers, {found['failures']} failures\n{done.stderr}")
    cpu = sum(map(servers.cpu_seconds, servers.family(server.pid))) - before
    found["server_cpu_ms_a_request"] = 1000 * cpu / max(1, found["count"])
    found["server_peak_mib"] = sum(map(servers.peak_mib, servers.family(server.pid)))
    return found


class Client(asyncio.Protocol):
    """One connection.

    Args:
        requests: as bytes.
        first: where to begin in them.
        latencies: where to note the seconds of each answer.
        ended: told the status of an answer that is not 200, or of a broken connection 0.
    """

    def __init__(self, requests: list[bytes], first: int, latencies: list[float], failures: list[int]) -> None:
        self.requests, self.next = requests, first
        self.latencies, self.failures = latencies, failures
        self.stopping = False
        self._answer = bytearray()
        self._length = -1
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class
        self._send()

    def _send(self) -> None:
        self._answer.clear()
        self._length = -1
        self._sent = time.perf_counter()
        self.transport.write(self.requests[self.next % len(self.requests)])
        self.next += 1

    def data_received(self, data: bytes) -> None:
        """Take in a part of an answer."""
        self._answer += data
        if self._length < 0:
            end = self._answer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._answer[:end]).lower()
            _, found, length = head.partition(b"content-length:")
            if not found:
                raise RuntimeError("an answer without content-length")
            self._length = end + 4 + int(length.split(b"\r\n", 1)[0])
        if len(self._answer) < self._length:
            return
        self.latencies.append(time.perf_counter() - self._sent)
        status = int(self._answer[9:12])
        if status != 200:
            self.failures.append(status)
        if self.stopping:
            self.transport.close()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """A connection that the server closed is a failure."""
        if not self.stopping:
            self.failures.append(0)


def as_bytes(port: int, request: Request) -> bytes:
    """A request of HTTP/1.1."""
    method, path, body = request
    content = b"" if body is None else json.dumps(body).encode()
    kind = "" if body is None else f"content-type: application/json\r\ncontent-length: {len(content)}\r\n"
    return f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{kind}\r\n".encode() + content


async def load(port: int, clients: int, seconds: float, requests: list[Request]) -> dict[str, Any]:
    """Run the clients; what comes in the first tenth of the time, at most 2 seconds, is not counted."""
    latencies: list[float] = []
    failures: list[int] = []
    told = [as_bytes(port, request) for request in requests]
    connected: list[Client] = []
    events = asyncio.get_running_loop()
    for number in range(clients):
        first = number * len(told) // clients
        _, client = await events.create_connection(
            lambda first=first: Client(told, first, latencies, failures),  # type: ignore[misc]  # mypy cannot infer it
            "127.0.0.1",
            port,
        )
        connected.append(client)
    await asyncio.sleep(min(2.0, seconds / 10))
    latencies.clear()
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    counted = list(latencies)
    for client in connected:
        client.stopping = True
    await asyncio.sleep(0)
    return {
        "count": len(counted),
        "per_second": len(counted) / took,
        "latency_ms": servers.spread([1000 * one for one in counted or [0.0]]),
        "failures": len(failures),
        "generator_cpu_share": cpu / took,
    }


def main() -> None:
    """Load, and print."""
    port, clients, seconds, file = sys.argv[1:]
    requests: list[Request] = [tuple(one) for one in json.loads(Path(file).read_text())]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(load(int(port), int(clients), float(seconds), requests))))


if __name__ == "__main__":
    main()

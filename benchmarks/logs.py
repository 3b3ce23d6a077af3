"""The live logs: `python -m benchmarks.logs [--json]`.

Method. A real `tunix-rt serve --workers 0` and a real worker process whose runs are a child that prints. Latency: the
child prints a line with its time every 0.2 s; one light process holds `--viewers` streams open and notes, for each
line and viewer, how long after its printing it was read. Idle: the same streams on a run that prints nothing; the CPU
time of the API process over `--idle` seconds, and on PostgreSQL its connections. Flood: a child prints `--lines` lines
of 60 bytes as fast as it can, once with a worker following and once straight into files of the same folder with nobody
following, in turn; medians of its own CPU and wall time, and whether every byte is in the file and in the index.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import psycopg
import uvloop

from benchmarks import servers
from benchmarks.servers import Place, Server
from tunix_rt import worker
from tunix_rt.base.settings import Settings
from tunix_rt.runs.logs import folder_of

CHILD = """
import json, os, resource, sys, time
kind, count = sys.argv[1], int(sys.argv[2])
began = time.perf_counter()
if kind == "clock":
    for _ in range(count):
        print(time.time(), flush=True)
        time.sleep(0.2)
elif kind == "idle":
    while not os.path.exists("stop"):
        time.sleep(0.2)
else:
    out = sys.stdout
    out.reconfigure(line_buffering=True)
    for number in range(count):
        out.write(f"{number:>10} step of a training that is quick to say so\\n")
used = resource.getrusage(resource.RUSAGE_SELF)
took = {"wall": time.perf_counter() - began, "cpu": used.ru_utime + used.ru_stime}
open("took.json", "w").write(json.dumps(took))
open("events.jsonl", "a").write(json.dumps({"event": "end", "time": "", "reason": "completed"}) + "\\n")
"""


def child(kind: str, count: int) -> list[str]:
    """The command of a child that prints."""
    return [sys.executable, "-c", CHILD, kind, str(count)]


def work(kind: str, count: int) -> int:
    """Be a worker whose runs are that child."""

    def command(folder: Path, dry: bool) -> Sequence[str]:  # noqa: ARG001  # the shape of `handlers.Command`
        return child(kind, count)

    return worker.main(Settings(), name="bench", command=command)


class Viewer(asyncio.Protocol):
    """One stream: notes how late each line of the clock is."""

    def __init__(self, request: bytes, late: list[float], ended: asyncio.Event) -> None:
        self.request, self.late, self.ended = request, late, ended
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        cast(asyncio.Transport, transport).write(self.request)  # uvloop's own class

    def data_received(self, data: bytes) -> None:
        """Take in what there is."""
        at = time.time()
        *blocks, self.rest = (self.rest + data).split(b"\n\n")
        for block in blocks:
            if b"event: log\n" in block:
                content = json.loads(block.rpartition(b"data: ")[2].split(b"\n")[0])
                self.late += [at - float(line) for line in content["chunk"].split()]
            elif b"event: end\n" in block:
                self.ended.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The stream is over."""
        self.ended.set()


async def watch(port: int, run: str, viewers: int, seconds: float | None) -> list[float]:
    """Hold streams open until they end, or for so long."""
    events = asyncio.get_running_loop()
    request = f"GET /api/tunix/runs/{run}/logs HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()
    late: list[float] = []
    ends = [asyncio.Event() for _ in range(viewers)]
    for ended in ends:
        await events.create_connection(lambda ended=ended: Viewer(request, late, ended), "127.0.0.1", port)  # type: ignore[misc]  # the default binds this one
    print("watching", flush=True)
    if seconds is not None:
        await asyncio.sleep(seconds)
    else:
        await asyncio.gather(*(ended.wait() for ended in ends))
    return late


def started_worker(where: Place, kind: str, count: int) -> "subprocess.Popen[bytes]":
    """A worker whose runs are that child."""
    command = [sys.executable, "-m", "benchmarks.logs", "--child", "work", kind, str(count)]
    with (where.home / "worker.log").open("ab") as log:
        return subprocess.Popen(command, env=where.environment, stdout=log, stderr=log, cwd=servers.ROOT)


def watching(server: Server, run: str, viewers: int, seconds: float | None) -> "subprocess.Popen[str]":
    """A process of viewers, once all have connected."""
    words = [str(server.port), run, str(viewers), "" if seconds is None else str(seconds)]
    command = [sys.executable, "-m", "benchmarks.logs", "--child", "watch", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=servers.ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "watching\n"
    return process


def latency(where: Place, viewers: int, lines: int) -> dict[str, float]:
    """Seconds from a line's printing to its reading, over all viewers."""
    with servers.serve(where) as server, servers.client(server) as api:
        run = servers.submit(api, servers.dataset(api))
        process = watching(server, run, viewers, None)
        time.sleep(1.0)
        hand = started_worker(where, "clock", lines)
        try:
            out, _ = process.communicate(timeout=120)
        finally:
            servers.end(hand)
        late = json.loads(out)
        if len(late) != lines * viewers:
            raise RuntimeError(f"{len(late)} lines were read, not {lines} by {viewers} viewers")
        return servers.spread(late)


def idle(where: Place, viewers: int, seconds: float) -> dict[str, Any]:
    """What viewers cost who see nothing."""
    found: dict[str, Any] = {}
    with servers.serve(where) as server, servers.client(server) as api:
        run = servers.submit(api, servers.dataset(api))
        hand = started_worker(where, "idle", 0)
        servers.wait_for(api, run, "running")
        time.sleep(1.0)
        for name, count in (("nobody", 0), ("viewers", viewers)):
            process = watching(server, run, count, seconds + 1.5)
            time.sleep(1.0)
            before, began = servers.cpu_seconds(server.pid), time.perf_counter()
            time.sleep(seconds)
            found[f"{name}_core_share"] = (servers.cpu_seconds(server.pid) - before) / (time.perf_counter() - began)
            if where.kind == "postgresql":
                with psycopg.connect(servers.plain(where.url)) as connection:
                    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    row = connection.execute(query).fetchone()
                    found[f"{name}_connections"] = None if row is None else row[0] - 1
            process.communicate()
        (folder_of(where.home, run) / "stop").touch()
        servers.wait_for(api, run, "completed")
        servers.end(hand)
    return found


def flood(where: Place, lines: int, rounds: int) -> dict[str, Any]:
    """What being followed costs a child that prints as fast as it can."""
    followed: list[dict[str, float]] = []
    alone: list[dict[str, float]] = []
    with servers.serve(where) as server, servers.client(server) as api:
        key = servers.dataset(api)
        hand = started_worker(where, "flood", lines)
        for number in range(rounds):
            run = servers.submit(api, key)
            servers.wait_for(api, run, "completed")
            folder = folder_of(where.home, run)
            followed.append(json.loads((folder / "took.json").read_text()))
            log = folder / "logs" / "0001.stdout.log"
            listed = api.get(f"/api/tunix/runs/{run}/logs?follow=false").text
            told = "".join(
                json.loads(part.split("\n")[0])["chunk"] for part in listed.split("data: ") if '"chunk"' in part
            ).encode()
            if told != log.read_bytes() or told.count(b"\n") != lines:
                raise RuntimeError(f"{len(told)} bytes are indexed, {log.stat().st_size} written")
            beside = where.home / f"alone{number}"
            beside.mkdir()
            with (beside / "out").open("ab") as out:
                subprocess.run(child("flood", lines), stdout=out, check=True, cwd=beside)
            alone.append(json.loads((beside / "took.json").read_text()))
        servers.end(hand)
    middle = {
        f"{name}_{kind}_seconds": statistics.median(one[kind] for one in taken)
        for name, taken in (("followed", followed), ("alone", alone))
        for kind in ("wall", "cpu")
    }
    return {
        "lines": lines,
        "lines_per_second": lines / middle["followed_wall_seconds"],
        "wall_ratio": middle["followed_wall_seconds"] / middle["alone_wall_seconds"],
        "cpu_ratio": middle["followed_cpu_seconds"] / middle["alone_cpu_seconds"],
        **middle,
    }


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description="The live logs.")
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--clock", type=int, default=40, help="lines of the latency's child")
    parser.add_argument("--idle", type=float, default=10.0)
    parser.add_argument("--lines", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        kind, *words = given.child
        if kind == "work":
            sys.exit(work(words[0], int(words[1])))
        port, run, viewers, seconds = (*words, "")[:4]
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(json.dumps(runner.run(watch(int(port), run, int(viewers), float(seconds) if seconds else None))))
        return
    found: dict[str, Any] = {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as name, servers.postgres() as server:
        for kind in ("sqlite", "postgresql"):

            def where(kind: str = kind) -> Place:
                return servers.place(kind, Path(name), server)

            found[kind] = {
                "latency_seconds": latency(where(), given.viewers, given.clock),
                "idle": idle(where(), given.viewers, given.idle),
                "flood": flood(where(), given.lines, given.rounds),
            }
    if given.json:
        print(json.dumps(found))
        return
    for kind in ("sqlite", "postgresql"):
        late, quiet, loud = (found[kind][part] for part in ("latency_seconds", "idle", "flood"))
        p50, p95 = (1000 * late[name] for name in ("p50", "p95"))
        print(f"{kind}: a line to {given.viewers} viewers: p50 {p50:.0f} ms, p95 {p95:.0f} ms")
        print(f"  idle: {quiet['viewers_core_share']:.1%} of a core with {given.viewers} viewers, "
              f"{quiet['nobody_core_share']:.1%} with none; connections {quiet.get('viewers_connections', '-')} and "
              f"{quiet.get('nobody_connections', '-')}")  # fmt: skip
        print(f"  flood: {loud['lines_per_second']:,.0f} lines/s followed; wall x {loud['wall_ratio']:.2f}, "
              f"CPU x {loud['cpu_ratio']:.2f} of nobody following")  # fmt: skip


if __name__ == "__main__":
    main()

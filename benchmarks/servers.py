"""What the benchmarks measure, as processes of its own: our server, a durable PostgreSQL, the products beside ours."""

import contextlib
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
from tests.postgres import Postgres

from tunix_rt import migrations

ROOT = Path(__file__).parents[1]
DURABLE = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_min_messages": "warning",
}
"""PostgreSQL as it comes: what it has acknowledged survives a loss of power."""


# --- figures ----------------------------------------------------------------------------------------------------


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, int(share * len(ordered) + 0.999999) - 1))]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 95th and 99th percentile, largest, and how many."""
    return {
        "p50": statistics.median(values),
        "p95": percentile(values, 0.95),
        "p99": percentile(values, 0.99),
        "largest": max(values),
        "count": len(values),
    }


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, user and system (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid: int) -> float:
    """Largest resident size of a process so far (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**10
    raise RuntimeError("no VmHWM")


def family(pid: int) -> list[int]:
    """A process and all that it started, theirs too (Linux)."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in children.read_text().split()]
    return found


def time_of(text: str) -> float:
    """A time of ours as seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


# --- databases --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL that forces what it acknowledges onto a real disk."""
    server = Postgres(DURABLE, Path(tempfile.gettempdir()))
    try:
        yield server.start()
    finally:
        server.stop()


def empty_database(server: Postgres) -> str:
    """The libpq URL of a new database."""
    name = f"bench_{secrets.token_hex(6)}"
    with psycopg.connect(plain(server.url()), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return plain(server.url(name))


def plain(url: str) -> str:
    """A PostgreSQL URL without SQLAlchemy's driver."""
    return url.replace("+psycopg", "")


@dataclass(frozen=True)
class Place:
    """Where an installation of ours lies.

    Attributes:
        kind: `sqlite` or `postgresql`.
        home: its folder.
        url: its database, with SQLAlchemy's driver.
    """

    kind: str
    home: Path
    url: str

    @property
    def environment(self) -> dict[str, str]:
        """For its processes."""
        return os.environ | {"TUNIX_RT_HOME": str(self.home), "TUNIX_RT_DATABASE_URL": self.url}


def place(kind: str, folder: Path, server: Postgres | None) -> Place:
    """A fresh installation with a migrated database."""
    home = Path(tempfile.mkdtemp(dir=folder))
    if kind == "sqlite":
        url = f"sqlite+aiosqlite:///{home / 'tunix-rt.db'}"
    else:
        assert server is not None, "PostgreSQL was started"
        url = empty_database(server).replace("postgresql:", "postgresql+psycopg:")
    migrations.upgrade(url.replace("+aiosqlite", ""))
    return Place(kind, home, url)


# --- processes --------------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def end(process: "subprocess.Popen[Any]", within_seconds: float = 30) -> None:
    """Ask a process to end, and see to it that it does."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(within_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Server:
    """A running HTTP server.

    Attributes:
        pid: of its process.
        port: on this machine.
        start_seconds: from its start to its first answer.
    """

    pid: int
    port: int
    start_seconds: float

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def started(
    command: list[str], port: int, path: str, environment: dict[str, str], log: Path, within_seconds: float = 180
) -> Iterator[Server]:
    """A server's process, from its first answer on; its output goes to `log`."""
    began = time.perf_counter()
    with log.open("ab") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=ROOT)
    try:
        while not _answers(port, path):
            if process.poll() is not None or time.perf_counter() - began > within_seconds:
                raise RuntimeError(f"{' '.join(command[:6])} did not start:\n{log.read_text()[-4000:]}")
            time.sleep(0.005)
        yield Server(process.pid, port, time.perf_counter() - began)
    finally:
        end(process)


def _answers(port: int, path: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=30, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@contextlib.contextmanager
def serve(where: Place, workers: int = 0) -> Iterator[Server]:
    """`tunix-rt serve`, answering."""
    port = free_port()
    command = [*(sys.executable, "-m", "tunix_rt.cli.main", "serve"), "--port", str(port), "--workers", str(workers)]
    with started(command, port, "/api/tunix/runs?limit=1", where.environment, where.home / "serve.log") as server:
        yield server


def client(server: Server) -> httpx.Client:
    """An HTTP client of a server on this machine."""
    return httpx.Client(base_url=server.url, timeout=60, trust_env=False)


def dataset(api: httpx.Client) -> str:
    """A tiny data set, for runs that train nothing; returns its key."""
    traces = [
        {
            "trace_version": "1.0",
            "prompt": f"What is {n} + 1?",
            "steps": [{"i": 0, "type": "sum", "content": f"{n} + 1 = {n + 1}"}],
            "final_answer": str(n + 1),
            "meta": {},
        }
        for n in range(8)
    ]
    api.post("/api/traces/batch", json=traces).raise_for_status()
    built = api.post("/api/datasets/build", json={"name": "tiny"}).raise_for_status().json()
    return str(built["dataset_key"])


def submit(api: httpx.Client, dataset_key: str) -> str:
    """Ask for a run, as a real one; returns its id."""
    body = {"dataset_key": dataset_key, "dry_run": False, "max_attempts": 1}
    return str(api.post("/api/tunix/run?mode=async", json=body).raise_for_status().json()["run_id"])


def wait_for(api: httpx.Client, run_id: str, *states: str, within_seconds: float = 120) -> dict[str, Any]:
    """A run once it is in one of these states."""
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        found: dict[str, Any] = api.get(f"/api/tunix/runs/{run_id}/status").raise_for_status().json()
        if found["status"] in states:
            return found
        time.sleep(0.02)
    raise RuntimeError(f"run {run_id} is {found['status']}: {found['status_reason']}")


# --- other products ---------------------------------------------------------------------------------------------


def other_python(name: str, *packages: str) -> Path:
    """The interpreter of a throw-away environment with the newest of these packages, made on first use."""
    uv, folder = ROOT / ".cache" / "uv" / "bin" / "uv", ROOT / ".cache" / "benchmarks" / name
    python = folder / "bin" / "python"
    if not (folder / ".installed").exists():
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *packages], check=True)
        (folder / ".installed").touch()
    return python


def version_of(python: Path, package: str) -> str:
    """The version of a package in such an environment."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()

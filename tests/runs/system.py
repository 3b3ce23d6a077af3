"""A whole system of real processes on a home of its own: `tunix-rt serve`, its workers and their trainings.

Every process that a home's settings reach is found by its environment, so that none is left behind and nobody else's is
touched.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from tests import ports
from tests.runs.viewer import Event, parsed

PATIENCE_SECONDS = 240.0
"""How long a test waits for what must come."""
ENDED = ("completed", "failed", "timeout", "cancelled")


def until(holds: Callable[[], Any], what: str, within_seconds: float = PATIENCE_SECONDS) -> Any:
    """Poll until something holds, and return it."""
    deadline = time.monotonic() + within_seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {within_seconds:g} s: {what}"
        time.sleep(0.05)
    return found


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def parent(pid: int) -> int | None:
    """Who started a process; None where it has ended."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> bool:
    """Send a signal; False where there is no such process any more."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


class System:
    """Serves a home.

    Args:
        folder: for everything.
        database_url: empty: SQLite in the home.
        settings: further settings, by name without their prefix.
        command: how `tunix-rt` is started.
    """

    def __init__(
        self,
        folder: Path,
        database_url: str = "",
        command: tuple[str, ...] = ("-m", "tunix_rt.cli.main"),
        **settings: object,
    ) -> None:
        self.folder, self.home = folder, folder / "home"
        self.command = [sys.executable, *command]
        self._reserved = ports.reserve()  # a server that is started again must get its port back
        self.port = ports.number(self._reserved)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("TUNIX_RT_")}
        kept["JAX_PLATFORMS"] = "cpu"
        named = {"home": self.home, "database_url": database_url, **settings}
        self.environment = kept | {f"TUNIX_RT_{key.upper()}": str(value) for key, value in named.items()}
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)
        self.servers: list[subprocess.Popen[bytes]] = []

    # --- processes

    def serve(self, workers: int, port: int | None = None) -> subprocess.Popen[bytes]:
        """Start a server, and wait until it answers."""
        words = ["serve", "--workers", str(workers), "--port", str(self.port if port is None else port)]
        with (self.folder / "serve.log").open("ab") as log:
            process = subprocess.Popen(
                [*self.command, *words], env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        self.servers.append(process)

        def answers() -> bool:
            assert process.poll() is None, self.said()[-2000:]
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"http://127.0.0.1:{port or self.port}/api/health", timeout=5).status_code == 200
            return False

        until(answers, "the server answers")
        return process

    @contextlib.contextmanager
    def away(self, by: signal.Signals = signal.SIGTERM, workers: int = 1) -> Iterator[None]:
        """No server answers while the block runs: the newest one is ended by a signal, and another takes its port."""
        self.servers[-1].send_signal(by)
        self.servers[-1].wait(PATIENCE_SECONDS)
        try:
            yield
        finally:
            self.serve(workers)

    def said(self) -> str:
        """What all servers and workers said."""
        path = self.folder / "serve.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def processes(self) -> dict[int, str]:
        """Every living process of this home, with its command line."""
        mark, found = f"TUNIX_RT_HOME={self.home}\0".encode(), {}
        for path in Path("/proc").iterdir():
            if path.name.isdigit() and lives(int(path.name)):
                with contextlib.suppress(OSError):
                    if mark in (path / "environ").read_bytes() + b"\0":
                        found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def training(self, run: str) -> list[int]:
        """The processes that train a run."""
        return [pid for pid, command in self.processes().items() if str(self.folder_of(run)) in command]

    def worker_of(self, run: str) -> int:
        """The process that a run's training hangs on."""
        [training] = until(lambda: self.training(run), "a training")
        found = parent(training)
        assert found is not None
        return found

    def workers(self) -> list[int]:
        """The processes that take runs."""
        return [pid for pid, command in self.processes().items() if " worker --name " in command]

    def close(self) -> None:
        """End whatever is left."""
        self.api.close()
        while found := self.processes():
            for pid in found:
                kill(pid)
        for server in self.servers:
            server.wait()
        self._reserved.close()

    # --- runs

    def folder_of(self, run: str) -> Path:
        """A run's folder."""
        return self.home / "runs" / run

    def get(self, path: str, **params: Any) -> Any:
        """Ask the API, which may just be coming back."""

        def asked() -> httpx.Response | None:
            with contextlib.suppress(httpx.TransportError):
                answer = self.api.get(path, params=params)
                return None if answer.status_code >= 500 else answer
            return None

        answer = until(asked, path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Mapping[str, Any] | None = None, key: str | None = None) -> httpx.Response:
        """Ask the API, again where the connection broke: whoever posts says by the key that it is the same."""

        def asked() -> httpx.Response | None:
            with contextlib.suppress(httpx.TransportError):
                answer = self.api.post(path, json=body, headers={} if key is None else {"idempotency-key": key})
                return None if answer.status_code >= 500 else answer
            return None

        found: httpx.Response = until(asked, path)
        return found

    def data_set(self, rows: int = 60) -> str:
        """A data set of sums."""
        answer = self.post("/api/traces/generate", {"source": "addition", "count": rows, "seed": 1})
        assert answer.status_code == 200, answer.text
        answer = self.post("/api/datasets/build", {"name": "sums"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["dataset_key"])

    def submit(self, dataset: str, key: str, **request: Any) -> str:
        """Ask for a run; returns its id."""
        body = {"dataset_key": dataset, "dry_run": False, "max_attempts": 20, **request}
        answer = self.post("/api/tunix/run?mode=async", body, key)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run_id"])

    def status(self, run: str) -> str:
        """Where a run is."""
        return str(self.get(f"/api/tunix/runs/{run}/status")["status"])

    def lines(self, run: str) -> int:
        """How many events a run's processes wrote."""
        path = self.folder_of(run) / "events.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def stream(self, run: str) -> list[Event]:
        """All that the stream of a run that is over tells."""
        with self.api.stream("GET", f"/api/tunix/runs/{run}/logs") as answer:
            assert answer.status_code == 200
            return parsed(answer.read())

    def wrote(self, run: str, stream: str) -> bytes:
        """All that a run's processes wrote to a stream."""
        return b"".join(path.read_bytes() for path in sorted((self.folder_of(run) / "logs").glob(f"*.{stream}.log")))


class Watching:
    """A viewer that follows a run through all that happens, in a thread; it comes back with its place, as a browser."""

    def __init__(self, system: System, run: str) -> None:
        self.url = f"{system.api.base_url}/api/tunix/runs/{run}/logs".replace("//api", "/api")
        self.events: list[Event] = []
        self.connections = 0
        self.wrong: BaseException | None = None
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def ended(self) -> list[Event]:
        """All log events and the end, once it has come."""
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the stream never told the end"
        if self.wrong is not None:
            raise self.wrong
        return self.events

    def give_up(self) -> None:
        """Watch no more."""
        self._given_up.set()

    def _watch(self) -> None:
        try:
            with httpx.Client(timeout=httpx.Timeout(10, read=60)) as api:
                while not self._given_up.is_set() and not (self.events and self.events[-1].name == "end"):
                    with contextlib.suppress(httpx.TransportError):
                        self._connect(api)
                    self._given_up.wait(0.1)
        except BaseException as error:  # told to whoever asks for the end
            self.wrong = error

    def _connect(self, api: httpx.Client) -> None:
        places = [event.id for event in self.events if event.id is not None]
        headers = {"last-event-id": places[-1]} if places else {}
        with api.stream("GET", self.url, headers=headers) as answer:
            if answer.status_code >= 500:
                return
            assert answer.status_code == 200, answer.read()
            self.connections += 1
            rest = b""
            for chunk in self._chunks(answer):
                whole, blank, rest = (rest + chunk).rpartition(b"\n\n")
                self.events += [event for event in parsed(whole + blank) if event.name != "status"]

    def _chunks(self, answer: httpx.Response) -> Iterator[bytes]:
        for chunk in answer.iter_bytes():
            if self._given_up.is_set():
                return
            yield chunk

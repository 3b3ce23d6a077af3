"""`tunix-rt serve`: the API with workers beside it, which live as long as they should and no longer."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

import tunix_rt
from tests.background import ignoring_sigint

# Stands in for a worker: says in a file what happens to it.
STUB = """
import os, pathlib, select, signal, sys
folder, name, parent_fd, stubborn = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "stubborn"

def ended(number, frame):
    (folder / f"{os.getpid()}.told").write_text(signal.Signals(number).name)
    if not stubborn:
        os._exit(0)

signal.signal(signal.SIGTERM, ended)
signal.signal(signal.SIGINT, ended)
(folder / f"{os.getpid()}.tmp").write_text(f"{name} {os.getsid(0)}")
(folder / f"{os.getpid()}.tmp").rename(folder / f"{os.getpid()}.started")
while not select.select([parent_fd], [], [], 60)[0] or os.read(parent_fd, 1):
    pass
(folder / f"{os.getpid()}.orphaned").touch()
"""
SERVE = """
import sys
from tunix_rt.cli import main, serve, supervise
stub, folder, kind = sys.argv.pop(1), sys.argv.pop(1), sys.argv.pop(1)
supervise.command = lambda name, parent_fd: [sys.executable, stub, folder, name, str(parent_fd), kind]
supervise.PAUSE_SECONDS = (0.05, 0.2)
serve.DRAIN_SECONDS = 1.0 if kind == "stubborn" else 30.0
main.main()
"""

SOURCE = Path(tunix_rt.__file__).parent

PATIENCE_SECONDS = 240.0
"""How long a test waits for what must come."""


def until(fact: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not fact():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s: {what}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


class Serving:
    """A `serve` with workers of ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "stub.py").write_text(STUB)
        self.process: subprocess.Popen[str] | None = None

    def start(self, *words: str, kind: str = "plain", background: bool = False, **environment: str) -> str:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("TUNIX_RT_")}
        kept |= {"TUNIX_RT_HOME": str(self.folder / "home"), "TUNIX_RT_CANCEL_GRACE_SECONDS": "0"} | environment
        stub = [str(self.folder / "stub.py"), str(self.folder), kind]
        command = [sys.executable, "-c", SERVE, *stub, "serve", "--port", "0", *words]
        with (self.folder / "serve.err").open("w") as err:
            self.process = subprocess.Popen(
                ignoring_sigint(command) if background else command,
                env=kept, stderr=err, text=True, start_new_session=True,
            )  # fmt: skip
        until(lambda: "\n  workers " in self.said() or not is_alive(self.pid), "an address")
        return self.said().partition("http://")[2].partition("\n")[0]

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def said(self) -> str:
        return (self.folder / "serve.err").read_text()

    def workers(self, count: int) -> list[int]:
        """Process ids of the workers that ever started, once there are `count`."""
        until(lambda: len(list(self.folder.glob("*.started"))) == count, f"{count} workers started")
        return [int(path.stem) for path in self.folder.glob("*.started")]

    def ended(self) -> int:
        assert self.process is not None
        return self.process.wait(PATIENCE_SECONDS)


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    found = Serving(tmp_path)
    try:
        yield found
    finally:
        for pid in [found.pid, *(int(path.stem) for path in tmp_path.glob("*.started"))]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        found.ended()


def test_a_worker_that_dies_is_started_again_and_all_end_with_the_server(serving: Serving) -> None:
    address = serving.start("--workers", "2")
    assert httpx.get(f"http://{address}/api/health", timeout=10).status_code == 200
    first = serving.workers(2)
    names = {(serving.folder / f"{pid}.started").read_text() for pid in first}
    assert {name.split()[0].rsplit("-", 2)[1:][1] for name in names} == {"1", "2"}
    assert {int(name.split()[1]) for name in names} == set(first)  # each in a session of its own
    os.kill(first[0], signal.SIGKILL)
    [second] = set(serving.workers(3)) - set(first)
    assert (
        f"Worker {(serving.folder / f'{first[0]}.started').read_text().split()[0]} was ended by SIGKILL"
        in serving.said()
    )
    os.kill(serving.pid, signal.SIGTERM)
    assert serving.ended() == 0
    assert not is_alive(first[1])
    assert not is_alive(second)
    for pid in (first[1], second):
        assert (serving.folder / f"{pid}.told").read_text() == "SIGTERM"
    assert "Traceback" not in serving.said()


def test_workers_hear_that_a_killed_server_is_gone(serving: Serving) -> None:
    serving.start("--workers", "2")
    pids = serving.workers(2)
    os.kill(serving.pid, signal.SIGKILL)
    for pid in pids:
        until(lambda pid=pid: (serving.folder / f"{pid}.orphaned").exists(), "the end of the pipe")  # type: ignore[misc]  # bound early


def test_ctrl_c_asks_the_workers_and_a_second_one_kills_them(serving: Serving) -> None:
    serving.start(kind="stubborn", TUNIX_RT_CANCEL_GRACE_SECONDS="60")
    [worker] = serving.workers(1)
    os.killpg(serving.pid, signal.SIGINT)  # as a terminal does: the whole group
    until(lambda: (serving.folder / f"{worker}.told").exists(), "the worker is told")
    assert (serving.folder / f"{worker}.told").read_text() == "SIGTERM"
    until(lambda: "Waiting up to 61 s for " in serving.said(), "what is waited for")
    assert is_alive(worker)
    os.killpg(serving.pid, signal.SIGINT)
    assert serving.ended() == 130
    until(lambda: not is_alive(worker), "the worker's end")


def test_ctrl_c_leaves_a_server_alone_that_was_started_in_the_background(serving: Serving) -> None:
    serving.start(background=True)
    [worker] = serving.workers(1)
    os.killpg(serving.pid, signal.SIGINT)
    os.kill(serving.pid, signal.SIGTERM)
    assert serving.ended() == 0  # by SIGTERM; by Ctrl-C it is 130
    assert (serving.folder / f"{worker}.told").read_text() == "SIGTERM"


def test_a_worker_that_does_not_end_is_killed_in_the_end(serving: Serving) -> None:
    serving.start(kind="stubborn")
    [worker] = serving.workers(1)
    os.kill(serving.pid, signal.SIGINT)
    assert serving.ended() == 130
    assert not is_alive(worker)
    assert "Killing " in serving.said()


def test_without_workers_the_api_is_served_and_an_open_address_is_warned_of(serving: Serving) -> None:
    address = serving.start("--workers", "0", "--host", "0.0.0.0")  # noqa: S104  # the warning is the point
    assert httpx.get(f"http://{address}/api/health", timeout=10).status_code == 200
    until(lambda: "no accounts" in serving.said(), "the warning")
    said = serving.said()
    assert f"home      {serving.folder / 'home'}" in said
    assert "workers   none" in said
    os.kill(serving.pid, signal.SIGTERM)
    assert serving.ended() == 0


@pytest.mark.parametrize("built", [True, False])
def test_the_first_line_is_the_address_of_the_web_app(serving: Serving, built: bool) -> None:
    package = shutil.copytree(SOURCE, serving.folder / "source" / "tunix_rt", ignore=shutil.ignore_patterns("dist"))
    if built:
        (package / "web" / "dist").mkdir()
        (package / "web" / "dist" / "index.html").write_text("<!doctype html>the app")
    address = serving.start("--workers", "0", PYTHONPATH=str(package.parent))
    first, second, *_ = serving.said().splitlines()
    assert first == (f"Web app: http://{address}" if built else f"API: http://{address}")
    assert second.split() == (["API", f"http://{address}/docs"] if built else ["web", "app", *second.split()[2:]])
    assert ("make web" in second) is not built
    page = httpx.get(first.split()[-1], headers={"accept": "text/html"}, timeout=60)
    assert ("the app" in page.text) is built
    os.kill(serving.pid, signal.SIGTERM)
    assert serving.ended() == 0


def test_a_server_answers_to_the_names_that_it_was_given(serving: Serving) -> None:
    words = ("--workers", "0", "--host", "0.0.0.0", "--allowed-hosts", "RT.example.org,10.1.2.3")  # noqa: S104  # a host
    address = serving.start(*words, "--allowed-hosts", "[fe80::1]", TUNIX_RT_ALLOWED_HOSTS="other.example.org")
    port = address.rpartition(":")[2]
    for host, status in (
        *((host, 200) for host in ("localhost", "0.0.0.0", "rt.example.org", "10.1.2.3", "[fe80::1]")),  # noqa: S104
        *((host, status) for host, status in (("other.example.org", 200), ("evil.test", 421), ("10.1.2.4", 421))),
    ):
        answer = httpx.get(f"http://127.0.0.1:{port}/api/traces", headers={"host": f"{host}:{port}"}, timeout=60)
        assert answer.status_code == status, host
    os.kill(serving.pid, signal.SIGTERM)
    assert serving.ended() == 0


@pytest.mark.parametrize("name", ["http://rt.example.org", "rt.example.org:8000", "*", "a..b"])
def test_a_name_that_is_none_is_an_error_that_shows_the_form(serving: Serving, name: str) -> None:
    serving.start("--allowed-hosts", name)
    assert serving.ended() == 2
    assert repr(name) in serving.said()
    assert "--allowed-hosts rt.example.org,10.0.0.5" in serving.said()


def test_a_database_that_does_not_answer_is_one_clear_error(serving: Serving) -> None:
    serving.start(TUNIX_RT_DATABASE_URL="postgresql://me:hunter2@127.0.0.1:1/none")
    assert serving.ended() == 1
    assert "Error: " in serving.said()
    assert "Traceback" not in serving.said()
    assert "hunter2" not in serving.said()
    assert not list(serving.folder.glob("*.started"))

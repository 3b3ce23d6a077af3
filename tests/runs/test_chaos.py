"""Real processes, killed at random moments: afterwards every run is what its history, its logs and its folder say."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from tests.postgres import FAST, Postgres
from tests.runs.system import ENDED, System, Watching, kill, lives, parent, until
from tests.runs.viewer import chunk
from tests.training.bare import COMMAND
from tunix_rt import migrations
from tunix_rt.runs.states import MOVES, RunStatus

QUICK = str(Path(__file__).with_name("quick.py"))
LEASE_SECONDS = 2.0

# --- what is true of a run that is over -------------------------------------------------------------------------


def moved(history: list[dict[str, Any]]) -> list[str]:
    """The states of a run, after a check that its history is one that the table of states allows, with one end."""
    states = [change["to"] for change in history]
    assert [change["from"] for change in history] == [None, *states[:-1]]
    assert states[0] == "pending"
    for change in history[1:]:
        assert RunStatus(change["to"]) in MOVES[RunStatus(change["from"])], change
    assert [state in ENDED for state in states] == [False] * (len(states) - 1) + [True]
    return states


def crashes(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [change for change in history if change["to"] == "pending" and "crashed" in (change["reason"] or "")]


def logged(system: System, run: str) -> None:
    """What the viewers get is what the processes wrote, all of it."""
    events = system.stream(run)
    pieces = [event for event in events if event.name == "log"]
    assert [event.data["seq"] for event in pieces] == list(range(1, len(pieces) + 1))
    assert [event.name for event in events if event.name != "log"] == ["status", "end"]
    assert events[-1].data["last_seq"] == len(pieces)
    for stream in ("stdout", "stderr"):
        told = b"".join(chunk(event) for event in pieces if event.data["stream"] == stream)
        assert told == system.wrote(run, stream), (run, stream)


def steps(folder: Path) -> list[dict[str, Any]]:
    path = folder / "events.jsonl"
    if not path.exists():  # it was cancelled before its process had written a line
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [event for event in map(json.loads, lines) if event["event"] == "step"]


# --- a seeded schedule of kills, with real trainings -------------------------------------------------------------

STEPS = 1000
CONFIG = {
    "steps": STEPS,
    "batch_size": 4,
    "checkpoint_every_steps": 20,
    "eval_every_steps": 250,
    "model": {"layers": 1, "width": 16, "hidden": 32, "heads": 2, "kv_heads": 2},
}
SEED = "TUNIX_RT_TEST_SEED"
"""Environment variable that names another schedule."""
KILLS = ["the worker", "the training", "the API", "the server, by SIGTERM", "the worker of a run to be cancelled"]
MORE_KILLS = ["PostgreSQL, by SIGINT", "PostgreSQL, by SIGQUIT"]


class Chaos:
    """Kills what it serves, by a seed.

    Attributes:
        runs: that were asked for.
        cancelled: those of them that were to be cancelled.
        crashed: run and attempt of each process that was killed with work to do.
    """

    def __init__(self, system: System, postgres: Postgres | None, seed: int) -> None:
        self.system, self.postgres, self.seed, self.draw = system, postgres, seed, random.Random(seed)
        self.kills = [*KILLS, *(MORE_KILLS if postgres else [])]
        self.draw.shuffle(self.kills)
        self.runs: list[str] = []
        self.watching: list[Watching] = []
        self.cancelled: set[str] = set()
        self.over: set[str] = set()
        self.draining: set[int] = set()
        self.crashed: list[tuple[str, int]] = []
        self.reference = system.folder / "reference"

    def play(self) -> None:
        server = self.system.serve(2)
        self.dataset = self.system.data_set()
        self.keep_two_going()
        train_undisturbed = self.undisturbed(self.runs[0])
        try:
            for kind in self.kills:
                run, training, worker = self.some_moment()
                if kind == "the API":
                    self.draining |= set(self.system.workers())
                    server.kill()
                    server.wait()
                    server = self.system.serve(2)  # while the orphaned workers are still at it
                elif kind == "the server, by SIGTERM":
                    server.terminate()
                    assert server.wait(240) == 0
                    server = self.system.serve(2)
                elif self.postgres is not None and kind.startswith("PostgreSQL"):
                    self.postgres.restart(signal.Signals[kind.rpartition(" ")[2]])
                elif kind == "the training":
                    self.crash(run, [training], given_back=worker in self.draining)
                else:
                    if kind == "the worker of a run to be cancelled" and self.cancels(run):
                        self.cancelled.add(run)
                    self.crash(run, [worker], given_back=False)
            until(lambda: not any(map(self.goes_on, self.runs)), "the end of every run")
            until(lambda: not self.going(), "the end of every training")
            assert train_undisturbed.wait(240) == 0
        finally:
            train_undisturbed.kill()
            train_undisturbed.wait()

    def keep_two_going(self) -> dict[str, int]:
        """Have two runs that are not over; returns those that are trained now, each with the process that does."""
        while sum(self.goes_on(run) for run in self.runs) < 2:
            run = self.system.submit(self.dataset, f"run-{len(self.runs)}", config=CONFIG)
            self.runs.append(run)
            self.watching.append(Watching(self.system, run))
        return self.going()

    def undisturbed(self, run: str) -> "subprocess.Popen[bytes]":
        """Train what a run trains, without a worker and from the start to the end."""
        folder = self.system.folder_of(run)
        until(lambda: (folder / "config.yaml").exists(), "a run is prepared")
        self.reference.mkdir()
        for name in ("config.yaml", "provenance.json"):
            shutil.copyfile(folder / name, self.reference / name)
        for name in ("data", "tokenizer"):
            shutil.copytree(folder / name, self.reference / name)
        command = [*COMMAND, "tunix_rt.training.process", str(self.reference)]
        with (self.system.folder / "reference.log").open("wb") as log:
            return subprocess.Popen(command, env=self.system.environment, stdout=log, stderr=log)

    def some_moment(self) -> tuple[str, int, int]:
        """Wait until a training is anywhere between its start and its end; returns its run, itself and its worker."""
        while True:
            going = until(self.keep_two_going, "a training")
            often = {run: sum(crashed == run for crashed, _ in self.crashed) for run in going}
            run: str = self.draw.choice([run for run in going if often[run] == min(often.values())])
            more = self.draw.choice([0, self.draw.randint(1, 300), self.draw.randint(300, 900)])
            training = going[run]
            worker = parent(training)
            if self.gets_on(run, training, more) and worker in self.system.workers() and lives(training):
                return run, training, worker

    def goes_on(self, run: str) -> bool:
        if run not in self.over and self.system.status(run) in ENDED:
            self.over.add(run)
        return run not in self.over

    def going(self) -> dict[str, int]:
        """The runs that are trained now, each with its process."""
        commands = self.system.processes().items()
        folders = {str(self.system.folder_of(run)): run for run in self.runs}
        return {run: pid for pid, command in commands for folder, run in folders.items() if folder in command}

    def gets_on(self, run: str, training: int, more: int) -> bool:
        """Wait for some events more; whether they came before the training ended."""
        enough = self.system.lines(run) + more
        until(lambda: self.system.lines(run) >= enough or not lives(training), "some steps")
        return lives(training)

    def cancels(self, run: str) -> bool:
        return self.system.post(f"/api/tunix/runs/{run}/cancel").status_code == 202

    def crash(self, run: str, pids: list[int], *, given_back: bool) -> None:
        """Kill processes that work for a run; noted where that costs the run an attempt."""
        attempt = self.system.get(f"/api/tunix/runs/{run}/status")["attempt"]
        killed = [pid for pid in pids if kill(pid)]
        until(lambda: not any(map(lives, pids)), "they are dead")
        if killed and not given_back and not finished(self.system.folder_of(run)):
            self.crashed.append((run, attempt))


def finished(folder: Path) -> bool:
    """Whether the last thing that a training wrote is that it is completed."""
    lines = (folder / "events.jsonl").read_bytes().splitlines() if (folder / "events.jsonl").exists() else []
    return bool(lines) and b'"reason":"completed"' in lines[-1]


@pytest.fixture(params=["sqlite", "postgresql"])
def chaos(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Chaos]:
    """A home on a database of its own; PostgreSQL keeps what it has acknowledged when it is killed."""
    server = Postgres(FAST | {"synchronous_commit": "on"}).start() if request.param == "postgresql" else None
    seed = int(os.environ.get(SEED, "1"))
    try:
        if server is not None:
            migrations.upgrade(server.url())
        system = System(
            tmp_path,
            server.url() if server else "",
            (QUICK, "trained"),
            lease_seconds=LEASE_SECONDS,
            cancel_grace_seconds=10,
        )
        found = Chaos(system, server, seed)
        try:
            yield found
        finally:
            for watching in found.watching:
                watching.give_up()
            system.close()
    finally:
        if server is not None:
            server.stop()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_whatever_is_killed_every_run_is_true_afterwards(chaos: Chaos) -> None:
    try:
        chaos.play()
        for run, watching in zip(chaos.runs, chaos.watching, strict=True):
            true(chaos, run, watching)
        assert chaos.crashed, "nothing was killed at work"
        assert sum(watching.connections for watching in chaos.watching) > len(chaos.runs), "no viewer came back"
        chaos.system.servers[-1].terminate()
        assert chaos.system.servers[-1].wait(240) == 0
        assert chaos.system.processes() == {}
        errors = [line for line in chaos.system.said().splitlines() if "Z error " in line]
        assert [line for line in errors if "the heartbeat died" not in line] == []
    except (AssertionError, Exception) as error:
        error.add_note(f"{SEED}={chaos.seed}: killed {chaos.kills}, costing {chaos.crashed}")
        error.add_note(chaos.system.said()[-6000:])
        raise


def true(chaos: Chaos, run: str, watching: Watching) -> None:
    system, folder = chaos.system, chaos.system.folder_of(run)
    found = system.get(f"/api/tunix/runs/{run}")
    history = found["events"]
    assert moved(history)[-1] == found["status"] == ("cancelled" if run in chaos.cancelled else "completed"), found
    assert found["attempt"] == 1 + len(crashes(history))
    if run not in chaos.cancelled:
        assert all(found["attempt"] > attempt for killed, attempt in chaos.crashed if killed == run), history
    logged(system, run)
    viewed = watching.ended()
    assert viewed[-1].data["status"] == found["status"]
    for stream in ("stdout", "stderr"):
        pieces = [event for event in viewed if event.name == "log" and event.data["stream"] == stream]
        assert b"".join(map(chunk, pieces)) == system.wrote(run, stream)
    expected = {event["step"]: event["loss"] for event in steps(chaos.reference)}
    assert len(expected) == STEPS
    done = steps(folder)
    assert [event for event in done if event["loss"] != expected[event["step"]]] == []
    shown = system.get(f"/api/tunix/runs/{run}/metrics", keys="loss", max_points=100_000)["series"].get("loss", [])
    assert shown == [[step, expected[step]] for step in sorted({event["step"] for event in done})]
    if run not in chaos.cancelled:
        assert len(shown) == STEPS
        assert found["progress"]["step"] == STEPS
        weights = [
            hashlib.sha256((path / "model" / "model.safetensors").read_bytes()).digest()
            for path in (folder, chaos.reference)
        ]
        assert weights[0] == weights[1]


# --- single facts, with trainings that are played ----------------------------------------------------------------


@pytest.fixture
def system(database_url: str, tmp_path: Path) -> Iterator[System]:
    found = System(tmp_path, database_url, (QUICK, "played"), lease_seconds=LEASE_SECONDS, cancel_grace_seconds=5)
    try:
        yield found
    finally:
        found.close()


def started(system: System, count: int, at_steps: int = 7) -> tuple[str, int, int]:
    """A run of `count` steps that has done some; with the processes of its worker and its training."""
    run = system.submit(system.data_set(), "one", config={"steps": count})
    until(lambda: system.lines(run) > at_steps, "some steps")
    [training] = system.training(run)
    return run, system.worker_of(run), training


def freeze(pid: int, url: str) -> None:
    """Stop a worker in its tracks, though not inside a transaction: its locks would hold up everybody meanwhile."""

    def unlocked() -> bool:
        kill(pid, signal.SIGSTOP)
        with contextlib.suppress(sqlite3.OperationalError, psycopg.errors.LockNotAvailable):
            if url.startswith("sqlite"):
                with contextlib.closing(sqlite3.connect(make_url(url).database or "", timeout=0.5)) as connection:
                    connection.execute("BEGIN IMMEDIATE")
            else:
                with psycopg.connect(url.replace("+psycopg", "")) as connection:
                    connection.execute("SET lock_timeout = 500")
                    connection.execute("SELECT number FROM jobs FOR UPDATE")
            return True
        kill(pid, signal.SIGCONT)
        return False

    until(unlocked, "a moment between two transactions")


def test_a_killed_worker_takes_its_training_along_and_the_run_goes_on(system: System) -> None:
    system.serve(2)
    run, worker, training = started(system, 60)
    killed_at = datetime.now(UTC)
    kill(worker)
    until(lambda: not lives(training), "the training ends with its worker", 2)
    until(lambda: system.status(run) in ENDED, "the run's end")
    found = system.get(f"/api/tunix/runs/{run}")
    assert moved(found["events"]) == ["pending", "running", "pending", "running", "completed"]
    assert found["attempt"] == 2
    assert "was not heard of" in found["crash_reason"]
    requeued = datetime.fromisoformat(found["events"][2]["time"])
    assert (requeued - killed_at).total_seconds() < LEASE_SECONDS + 5
    done = [event["step"] for event in steps(system.folder_of(run))]
    first = next((place for place in range(1, len(done)) if done[place] != done[place - 1] + 1), 0)
    assert done[:first] == list(range(1, first + 1))
    assert done[first:] == list(range(done[first], 61))
    assert b"Killed by the lifeline: the worker is gone" in system.wrote(run, "stderr")
    assert done[first] % 5 == 1, "it went on from a checkpoint"
    assert first == 0 or first - 5 < done[first] <= first, "from the newest one"
    assert not (system.folder_of(run) / "overlap").exists()
    logged(system, run)


def test_a_frozen_worker_loses_its_run_before_another_starts_it_and_its_late_result_is_refused(system: System) -> None:
    system.serve(2)
    run, worker, training = started(system, 100)
    freeze(worker, system.environment["TUNIX_RT_DATABASE_URL"])
    try:
        until(lambda: not lives(training), "the training ends without a sign of its worker")
        assert b"Killed by the lifeline: no sign of the worker" in system.wrote(run, "stderr")
        assert system.status(run) == "running", "nobody else may have it yet"
        [second] = until(lambda: system.training(run), "another worker starts it")
        assert second != training
    finally:
        kill(worker, signal.SIGCONT)
    until(lambda: system.status(run) in ENDED, "the run's end")
    told = ("the job is somebody else's now", "the heartbeat died")  # whichever of the two it does first
    until(lambda: any(word in system.said() for word in told), "the late worker is told")
    found = system.get(f"/api/tunix/runs/{run}")
    assert moved(found["events"]) == ["pending", "running", "pending", "running", "completed"]
    assert found["events"][1]["actor"] != found["events"][4]["actor"] == found["events"][3]["actor"]
    assert not (system.folder_of(run) / "overlap").exists()
    logged(system, run)
    more = [system.submit("sums-v1", f"more-{number}", config={"steps": 5}) for number in range(2)]
    until(lambda: all(system.status(other) in ENDED for other in more), "both are done")
    histories = [system.get(f"/api/tunix/runs/{other}")["events"] for other in more]
    assert [moved(history) for history in histories] == [["pending", "running", "completed"]] * 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # about processes: one database will do
def test_workers_drain_and_end_when_their_server_is_killed(system: System) -> None:
    server = system.serve(1)
    run, _, _ = started(system, 30)
    server.kill()
    server.wait()
    until(lambda: not system.processes(), "no process is left")
    before = system.lines(run)
    system.serve(1)
    until(lambda: system.status(run) in ENDED, "the run's end")
    found = system.get(f"/api/tunix/runs/{run}")
    assert moved(found["events"]) == ["pending", "running", "pending", "running", "completed"]
    assert found["attempt"] == 1, "a run that is given back has used up no attempt"
    assert "asked to stop" in found["events"][2]["reason"]
    assert [event["step"] for event in steps(system.folder_of(run))] == list(range(1, 31)), "no step was done twice"
    assert system.lines(run) > before
    logged(system, run)


def test_two_servers_share_one_home(system: System) -> None:
    system.serve(1)
    other = System(
        system.folder, system.environment["TUNIX_RT_DATABASE_URL"], (QUICK, "played"), lease_seconds=LEASE_SECONDS
    )
    try:
        other.serve(1)
        dataset = system.data_set()
        asked = [(system, other)[number % 2].submit(dataset, f"{number}", config={"steps": 10}) for number in range(4)]
        again = [(other, system)[number % 2].submit(dataset, f"{number}", config={"steps": 10}) for number in range(4)]
        assert again == asked, "a key is one run, whichever server is asked"
        watched = [Watching(other, run) for run in asked]
        actors = set()
        for run, watching in zip(asked, watched, strict=True):
            until(lambda run=run: system.status(run) in ENDED, "the run's end")  # type: ignore[misc]  # bound early
            history = other.get(f"/api/tunix/runs/{run}")["events"]
            assert moved(history) == ["pending", "running", "completed"]
            actors.add(history[1]["actor"])
            assert [event["step"] for event in steps(system.folder_of(run))] == list(range(1, 11))
            logged(system, run)
            pieces = [event for event in watching.ended() if event.name == "log"]
            assert b"".join(map(chunk, pieces)) == system.wrote(run, "stdout")
        assert len(actors) == 2
    finally:
        other.close()

"""A run's process under a worker: every byte is kept, every end is the true one, nothing is left behind."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from tests import make
from tests.make import Hand
from tunix_rt import worker
from tunix_rt.base.settings import Settings
from tunix_rt.jobs import here, loop
from tunix_rt.jobs.here import Here
from tunix_rt.jobs.lease import Lease
from tunix_rt.jobs.models import Job
from tunix_rt.jobs.queue import Settled
from tunix_rt.jobs.retry import End
from tunix_rt.runs import logs

# What a process needs to be one of ours: the last word of events.jsonl. The run's folder is where it starts.
OURS = """
import json, os, signal, sys, time
def event(kind, **fields):
    with open("events.jsonl", "a") as file:
        file.write(json.dumps({"event": kind, "time": "2026-01-01T00:00:00Z", **fields}) + "\\n")
def end(reason="completed", **fields):
    event("end", reason=reason, **fields)
def out(data): os.write(1, data)
def err(data): os.write(2, data)
"""


def script(code: str) -> Any:
    def command(folder: Path, dry: bool) -> Sequence[str]:
        return [sys.executable, "-c", OURS + code]

    return command


@pytest.fixture
async def hand(api: httpx.AsyncClient, settings: Settings) -> Hand:
    await make.stored(api, *(make.trace(number) for number in range(4)))
    await make.dataset(api)
    app: Any = api._transport.app  # type: ignore[attr-defined]  # the application under the client
    return Hand(app.state.database, settings)


async def started(hand: Hand, code: str) -> tuple[Lease, "asyncio.Task[Settled | None]"]:
    """Take the next run and do it by `code`, in the background."""
    worker = Hand(hand.database, hand.settings, command=script(code))
    lease = worker.lease(await worker.takes())
    return lease, asyncio.create_task(loop.perform(lease, worker.handlers[lease.job.kind]))


async def done(hand: Hand, code: str) -> None:
    _, task = await started(hand, code)
    await task


async def shown(api: httpx.AsyncClient, run: str) -> dict[str, Any]:
    found: dict[str, Any] = (await api.get(f"/api/tunix/runs/{run}")).json()
    return found


async def streamed(api: httpx.AsyncClient, run: str) -> dict[str, str]:
    """What a viewer gets of each stream, joined."""
    answer = await api.get(f"/api/tunix/runs/{run}/logs?follow=false")
    joined = {"stdout": "", "stderr": ""}
    for block in answer.text.split("\n\n"):
        data = [line.removeprefix("data: ") for line in block.split("\n") if line.startswith("data: ")]
        if "event: log" in block.split("\n"):
            piece = json.loads(data[0])
            assert "encoding" not in piece
            joined[piece["stream"]] += piece["chunk"]
    return joined


async def until(holds: Any) -> None:
    deadline = time.monotonic() + 240
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def folder(hand: Hand, run: str) -> Path:
    return logs.folder_of(hand.settings.home, run)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("for n in range(2000): print(n)", "".join(f"{n}\n" for n in range(2000))),
        ("out(b'x' * 300_000 + b'\\n')", "x" * 300_000 + "\n"),
        ("for b in 'naïve 日本 🙂\\n'.encode(): out(bytes([b])); time.sleep(0.01)", "naïve 日本 🙂\n"),
        (
            "for n in range(50): out(b'%d %%\\r' % n)\nout(b'\\r\\ndone')",
            "".join(f"{n} %\r" for n in range(50)) + "\r\ndone",
        ),
        ("pass", ""),
    ],
    ids=[
        "2,000 lines at its end",
        "a line over 64 KiB",
        "split characters",
        "carriage returns, no last newline",
        "silent",
    ],
)
async def test_every_byte_arrives_in_order(api: httpx.AsyncClient, hand: Hand, code: str, expected: str) -> None:
    run = await make.run(api)
    await done(hand, f"{code}\nsys.stdout.flush(); err(b'to stderr\\n'); end()")
    assert (await shown(api, run))["status"] == "completed"
    assert await streamed(api, run) == {"stdout": expected, "stderr": "to stderr\n"}
    assert (folder(hand, run) / "logs" / "0001.stdout.log").read_bytes() == expected.encode()


async def test_events_become_metrics_and_progress(api: httpx.AsyncClient, hand: Hand) -> None:
    run = await make.run(api)
    code = """
event("plan", steps=4)
for step in range(1, 4):
    event("step", step=step, loss=1 / step, learning_rate=0.1, step_seconds=2.0, epoch=0.5)
event("eval", step=3, loss="NaN", tokens=10)
out(b"half a line is none: ")
with open("events.jsonl", "a") as file: file.write('not json\\n{"event": "step"}\\n[1]\\n')
end()
"""
    await done(hand, code)
    found = await shown(api, run)
    assert found["status"] == "completed"
    assert found["progress"] == {"step": 3, "total_steps": 4, "eta_seconds": None}  # it is over
    assert found["metrics"]["loss"] == pytest.approx(1 / 3)
    assert found["metrics"]["eval_loss"] == "NaN"
    series = (await api.get(f"/api/tunix/runs/{run}/metrics?keys=loss,eval_loss")).json()["series"]
    assert series == {"loss": [[1, 1.0], [2, 0.5], [3, pytest.approx(1 / 3)]], "eval_loss": [[3, "NaN"]]}


async def test_a_refusal_is_final_and_says_why(api: httpx.AsyncClient, hand: Hand) -> None:
    run = await make.run(api)
    await done(hand, "end('failed', code='bad_input', detail='3 rows are too long.', hint='Raise it.'); sys.exit(2)")
    found = await shown(api, run)
    assert (found["status"], found["exit_code"], found["attempt"]) == ("failed", 2, 1)
    assert found["status_reason"] == "3 rows are too long. Raise it."
    assert await hand.claims() is None


@pytest.mark.parametrize(
    ("code", "exit_code", "says"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", -9, "signal 9"),
        ("end('failed', code='disk_full', detail='No space left.'); sys.exit(75)", 75, "No space left."),
        ("raise RuntimeError('a bug')", 1, "exit code 1"),
        ("sys.exit(0)", 0, "without a word"),  # nobody said that it was completed
    ],
)
async def test_a_crash_is_tried_again_until_the_attempts_are_used_up(
    api: httpx.AsyncClient, hand: Hand, code: str, exit_code: int, says: str
) -> None:
    run = await make.run(api, max_attempts=2)
    await done(hand, f"print('first', flush=True)\n{code}")
    found = await shown(api, run)
    assert (found["status"], found["attempt"], found["exit_code"]) == ("pending", 2, exit_code)
    assert says in found["crash_reason"]
    assert await hand.claims() is None, "it waits before it is tried again"
    await make.clock_jumps(hand.database, 60)
    await done(hand, f"print('second', flush=True)\n{code}")
    found = await shown(api, run)
    assert (found["status"], found["attempt"]) == ("failed", 2)
    assert "all 2 attempts crashed" in found["status_reason"]
    assert [(event["from"], event["to"]) for event in found["events"]] == [
        (None, "pending"),
        ("pending", "running"),
        ("running", "pending"),
        ("pending", "running"),
        ("running", "failed"),
    ]
    assert (await streamed(api, run))["stdout"] == "first\nsecond\n"


STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
open(f"pid-{'child' if child == 0 else 'parent'}", "w").write(str(os.getpid()))
while True:
    time.sleep(0.05)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_cancelling_ends_the_whole_group_and_keeps_what_there_is(api: httpx.AsyncClient, hand: Hand) -> None:
    run = await make.run(api)
    hand.settings = hand.settings.model_copy(update={"cancel_grace_seconds": 0.5})
    _, task = await started(hand, "print('kept', flush=True)\n" + STUBBORN)
    pids = [folder(hand, run) / f"pid-{name}" for name in ("parent", "child")]
    await until(lambda: all(path.exists() and path.read_text() for path in pids))
    assert (await api.post(f"/api/tunix/runs/{run}/cancel")).json()["status"] == "cancel_requested"
    assert (await api.post(f"/api/tunix/runs/{run}/cancel")).status_code == 202, "again while cancelling"
    await task
    found = await shown(api, run)
    assert (found["status"], found["exit_code"]) == ("cancelled", -signal.SIGKILL)
    assert (await api.post(f"/api/tunix/runs/{run}/cancel")).status_code == 409
    await until(lambda: not any(alive(int(path.read_text())) for path in pids))
    assert (await streamed(api, run))["stdout"] == "kept\n"


async def test_a_process_that_ends_by_itself_leaves_no_grandchild(api: httpx.AsyncClient, hand: Hand) -> None:
    run = await make.run(api)
    code = """
if os.fork() == 0:
    open("pid", "w").write(str(os.getpid()))
    time.sleep(600)
while not os.path.exists("pid") or not open("pid").read(): time.sleep(0.01)
end()
"""
    await done(hand, code)
    assert (await shown(api, run))["status"] == "completed"
    pid = int((folder(hand, run) / "pid").read_text())
    await until(lambda: not alive(pid))


async def test_a_run_that_completes_while_it_is_cancelled_is_cancelled(api: httpx.AsyncClient, hand: Hand) -> None:
    run = await make.run(api)
    code = "while not os.path.exists('go'): time.sleep(0.01)\nend()"
    _, task = await started(hand, "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + code)
    await until(lambda: (folder(hand, run) / "logs").exists())
    assert (await api.post(f"/api/tunix/runs/{run}/cancel")).status_code == 202
    (folder(hand, run) / "go").touch()
    await task
    found = await shown(api, run)
    assert found["status"] == "cancelled"
    assert found["events"][-1]["actor"] == "hand"
    assert found["events"][-2] | {"time": "", "reason": ""} == {
        "time": "", "from": "running", "to": "cancel_requested", "actor": "api", "reason": "",
    }  # fmt: skip


async def test_a_time_limit_is_named_and_counts_all_attempts(api: httpx.AsyncClient, hand: Hand) -> None:
    run = await make.run(api, timeout_seconds=900)
    lease, task = await started(hand, "while not os.path.exists('go'): time.sleep(0.01)\nos.kill(os.getpid(), 9)")
    async with hand.database.write() as session:  # as if it had been claimed long ago
        claimed = await session.scalar(select(Job.claimed_at).where(Job.number == lease.job.number))
        assert claimed is not None
        before = {"claimed_at": claimed - timedelta(seconds=899.5)}
        await session.execute(update(Job).where(Job.number == lease.job.number).values(before))
    await until((folder(hand, run) / "logs").exists)
    (folder(hand, run) / "go").touch()
    await task
    await make.clock_jumps(hand.database, 60)
    async with asyncio.timeout(240):
        await done(hand, "time.sleep(900)")
    found = await shown(api, run)
    assert (found["status"], found["attempt"]) == ("timeout", 2)
    assert "900 s (timeout_seconds)" in found["status_reason"]


async def test_a_worker_that_drains_gives_the_run_back_without_an_attempt(api: httpx.AsyncClient, hand: Hand) -> None:
    run = await make.run(api)
    code = """
def stop(*_): end("stopped"); os._exit(130)
signal.signal(signal.SIGTERM, stop)
open("ready", "w").close()
time.sleep(600)
"""
    lease, task = await started(hand, code)
    await until(lambda: (folder(hand, run) / "ready").exists())
    lease.stop.set()
    await task
    found = await shown(api, run)
    assert (found["status"], found["attempt"], found["exit_code"]) == ("pending", 1, 130)
    assert "asked to stop" in found["status_reason"]
    await done(hand, "end()")
    assert (await shown(api, run))["status"] == "completed"


async def test_a_worker_that_lost_its_lease_ends_its_process_and_writes_nothing(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    run = await make.run(api)
    _, task = await started(hand, "open('pid', 'w').write(str(os.getpid())); time.sleep(600)")
    path = folder(hand, run) / "pid"
    await until(lambda: path.exists() and path.read_text())
    pid = int(path.read_text())
    await make.clock_jumps(hand.database, hand.lease_seconds + 1)
    await hand.reaps()
    await make.clock_jumps(hand.database, 60)
    other = await hand.takes()
    assert other.attempt == 2
    with (folder(hand, run) / "logs" / "0001.stdout.log").open("a") as file:
        file.write("late\n")  # the next look at the logs meets the fence
    assert await task is None
    assert not alive(pid)
    assert (await shown(api, run))["status"] == "running"
    await hand.ends(other, make.ended(End.DONE))
    assert (await shown(api, run))["status"] == "completed"


async def test_what_a_dead_worker_had_not_stored_is_stored_by_who_finds_out(api: httpx.AsyncClient, hand: Hand) -> None:
    run = await make.run(api, max_attempts=1)
    await hand.takes()
    files = folder(hand, run) / "logs"
    files.mkdir(parents=True)
    (files / "0001.stdout.log").write_bytes("half of ü: ".encode() + b"\xc3")
    (folder(hand, run) / "events.jsonl").write_text(
        '{"event":"plan","steps":9}\n{"event":"step","step":1,"loss":2}\n{"ev'
    )
    await make.clock_jumps(hand.database, hand.lease_seconds + 1)
    assert await hand.reaps() == 1
    found = await shown(api, run)
    assert (found["status"], found["progress"]["step"], found["metrics"]) == ("failed", 1, {"loss": 2.0})
    assert "not heard of" in found["crash_reason"]
    assert "half of ü" in found["stdout"]
    answer = await api.get(f"/api/tunix/runs/{run}/logs?follow=false")
    assert '"encoding":"base64"' in answer.text
    assert "event: end" in answer.text


async def test_a_process_has_no_database_and_no_stdin(
    api: httpx.AsyncClient, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNIX_RT_DATABASE_URL", "postgresql://me:hunter2@h/d")
    monkeypatch.setenv("TUNIX_RT_JUDGE_KEY", "hunter2")
    run = await make.run(api)
    await done(hand, "print(sys.stdin.read() == '', 'hunter2' in str(dict(os.environ)), flush=True); end()")
    assert (await shown(api, run))["stdout"] == "True False\n"


@pytest.mark.parametrize("own", [None, "glibc.malloc.check=1"])
async def test_a_process_has_malloc_as_its_plan_counts_on_unless_the_user_sets_it(
    api: httpx.AsyncClient, hand: Hand, monkeypatch: pytest.MonkeyPatch, own: str | None
) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if own:
        monkeypatch.setenv("GLIBC_TUNABLES", own)
    run = await make.run(api)
    await done(hand, "print(os.environ['GLIBC_TUNABLES'], flush=True); end()")
    told = (await shown(api, run))["stdout"].strip()
    assert told == own if own else "glibc.malloc.tcache_count=0" in told.split(":")


async def test_a_run_whose_folder_cannot_be_made_fails_or_waits_and_never_hangs(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    run = await make.run(api, max_attempts=1)
    runs = hand.settings.home / "runs"
    runs.parent.mkdir(parents=True, exist_ok=True)
    runs.write_text("in the way")
    await hand.does(await hand.takes())
    found = await shown(api, run)
    assert found["status"] == "failed"
    assert found["crash_reason"]


async def test_a_real_dry_run_tells_its_facts(api: httpx.AsyncClient, hand: Hand) -> None:
    body = {"dataset_key": "data-v1", "config": {"model": make.TINY, "steps": 2}}
    answer = await api.post("/api/tunix/run", json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["status"], found["mode"]) == ("completed", "dry-run")
    checks = found["checks"]
    assert checks["ok"] is True
    assert checks["ledger"]["train"]["rows"]["trained"] == 4
    assert {
        name: checks[name]["ok"] for name in ("config", "dataset", "engine", "device", "plan", "disk")
    } == dict.fromkeys(("config", "dataset", "engine", "device", "plan", "disk"), True)
    body["config"]["data"] = {"max_length": 8}  # type: ignore[index]  # a dict
    found = (await api.post("/api/tunix/run", json=body)).json()
    assert found["status"] == "failed"
    assert (found["checks"]["ledger"]["ok"], found["checks"]["engine"]["ok"]) == (False, True)
    assert "overlong" in found["checks"]["ledger"]["problem"]["detail"]


async def test_more_dry_runs_at_once_than_places_are_all_answered(
    api: httpx.AsyncClient, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    app: Any = api._transport.app  # type: ignore[attr-defined]  # the application under the client
    short = hand.settings.model_copy(update={"lease_seconds": 3.0})  # shorter than the last one has to wait
    monkeypatch.setattr(here, "AT_ONCE", 1)
    handlers = worker.handlers(hand.database, short, script("event('check', ok=True); time.sleep(1); end()"))
    app.state.here = Here(hand.database, handlers, short.lease_seconds, asyncio.Event())
    body = {"dataset_key": "data-v1"}
    answers = await asyncio.gather(*(api.post("/api/tunix/run", json=body) for _ in range(5)))
    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "completed")] * 5
    for answer in answers:
        assert (await shown(api, answer.json()["run_id"]))["attempt"] == 1


async def test_a_dry_run_whose_process_is_killed_is_done_again_where_there_is_no_worker(
    api: httpx.AsyncClient, hand: Hand, tmp_path: Path
) -> None:
    app: Any = api._transport.app  # type: ignore[attr-defined]  # the application under the client
    seen = tmp_path / "seen"
    killed_once = f"""
if not os.path.exists({str(seen)!r}):
    open({str(seen)!r}, "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
event("check", ok=True)
end()
"""
    handlers = worker.handlers(hand.database, hand.settings, script(killed_once))
    app.state.here = Here(hand.database, handlers, hand.settings.lease_seconds, asyncio.Event())
    answer = await api.post("/api/tunix/run", json={"dataset_key": "data-v1"})
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert (await shown(api, answer.json()["run_id"]))["attempt"] == 2


async def test_cancelling_a_run_that_was_put_back_tells_how_long_it_took(api: httpx.AsyncClient, hand: Hand) -> None:
    run = await make.run(api)
    await done(hand, "os.kill(os.getpid(), signal.SIGKILL)")
    assert (await api.post(f"/api/tunix/runs/{run}/cancel")).json()["status"] == "cancelled"
    found = await shown(api, run)
    assert found["duration_seconds"] > 0
    assert "waited to go on" in found["status_reason"]

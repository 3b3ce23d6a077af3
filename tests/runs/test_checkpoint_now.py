"""A checkpoint on demand: the wish reaches the training wherever its worker is, once; else the true state is said."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import make
from tests.make import Hand
from tunix_rt.base.settings import Settings
from tunix_rt.jobs import loop
from tunix_rt.jobs.retry import End

RUNS = "/api/tunix/runs"

# A training that hears wishes late, as one does that loads an engine first; it ends when it is told "enough".
LATE = """
import json, os, sys, time
def event(kind, **fields):
    with open("events.jsonl", "a") as file:
        file.write(json.dumps({"event": kind, "time": "2026-01-01T00:00:00Z", **fields}) + "\\n")
open("started", "w")
while not os.path.exists("listen"): time.sleep(0.01)
from tunix_rt.training import signals
saving, step = signals.install_saving(), 0
while not os.path.exists("enough"):
    time.sleep(0.01)
    step += 1
    event("step", step=step, loss=1 / step)
    if saving():
        os.makedirs(f"checkpoints/step-{step:08d}")
event("end", reason="completed", step=step)
"""


def late(folder: Path, dry: bool) -> Sequence[str]:
    return [sys.executable, "-c", LATE]


@pytest.fixture
async def hand(api: httpx.AsyncClient, settings: Settings) -> Hand:
    await make.stored(api, *(make.trace(number) for number in range(4)))
    await make.dataset(api)
    app: Any = api._transport.app  # type: ignore[attr-defined]  # the application under the client
    return Hand(app.state.database, settings, command=late)


async def until(holds: Any) -> None:
    async with asyncio.timeout(240):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_running_training_saves_when_it_is_asked_and_goes_on(api: httpx.AsyncClient, hand: Hand) -> None:
    run = await make.run(api)
    folder, job = make.folder(hand.settings, run), await hand.takes()
    doing = asyncio.create_task(loop.perform(hand.lease(job), hand.handlers[job.kind]))
    await until((folder / "started").exists)
    asked = await api.post(f"{RUNS}/{run}/checkpoint")  # before it listens: it must not kill it
    assert (asked.status_code, asked.json()["status"]) == (202, "running")
    await asyncio.sleep(0.1)
    (folder / "listen").touch()

    def saved() -> list[str]:
        return sorted(path.name for path in folder.glob("checkpoints/step-*"))

    await until(saved)
    assert (await api.post(f"{RUNS}/{run}/checkpoint")).status_code == 202
    await until(lambda: len(saved()) == 2)
    (folder / "enough").touch()
    await doing
    assert len(saved()) == 2, "each wish was passed on once"
    found = (await api.get(f"{RUNS}/{run}")).json()
    assert (found["status"], found["attempt"]) == ("completed", 1)
    moves = [(event["from"], event["to"], event["actor"]) for event in found["events"]]
    assert moves == [
        (None, "pending", "api"),
        ("pending", "running", "hand"),
        ("running", "running", "api"),
        ("running", "running", "api"),
        ("running", "completed", "hand"),
    ]
    assert "checkpoint" in found["events"][2]["reason"]
    listed = (await api.get(f"{RUNS}/{run}/checkpoints")).json()["data"]
    assert [row["path"] for row in listed] == [f"checkpoints/{name}" for name in saved()]
    told = (await api.get(f"{RUNS}/{run}/logs?follow=false")).text
    assert told.rstrip().rpartition("\n\n")[2].startswith("event: end")


async def test_a_run_that_does_not_run_is_refused_with_its_true_state(api: httpx.AsyncClient, hand: Hand) -> None:
    async def refused(run: str) -> tuple[int, str, str]:
        answer = await api.post(f"{RUNS}/{run}/checkpoint")
        return answer.status_code, answer.json()["detail"], answer.json()["hint"]

    run = await make.run(api)
    code, detail, hint = await refused(run)
    assert (code, "pending" in detail, "runs logs" in hint) == (409, True, True)
    job = await hand.takes()
    await api.post(f"{RUNS}/{run}/cancel")
    code, detail, _ = await refused(run)
    assert (code, "cancel_requested" in detail) == (409, True)
    await hand.ends(job, make.ended(End.CANCELLED))
    code, detail, hint = await refused(run)
    assert (code, "cancelled" in detail, "runs retry" in hint) == (409, True, True)
    body = {"dataset_key": "data-v1", "dry_run": True}
    dry = (await api.post("/api/tunix/run?mode=async", json=body)).json()["run_id"]
    await hand.takes()
    code, detail, _ = await refused(dry)
    assert (code, "dry run" in detail) == (409, True)
    assert (await api.post(f"{RUNS}/019ab3f2-0000-7000-8000-000000000000/checkpoint")).status_code == 404


async def test_a_wish_of_a_lost_attempt_is_not_passed_on_to_the_next(api: httpx.AsyncClient, hand: Hand) -> None:
    run = await make.run(api)
    first = await hand.takes()
    assert (await api.post(f"{RUNS}/{run}/checkpoint")).status_code == 202
    await hand.ends(first, make.ended(End.RELEASED))
    folder, job = make.folder(hand.settings, run), await hand.takes()
    doing = asyncio.create_task(loop.perform(hand.lease(job), hand.handlers[job.kind]))
    await until((folder / "started").exists)
    (folder / "listen").touch()
    await until(lambda: (folder / "events.jsonl").exists())
    await asyncio.sleep(0.2)
    (folder / "enough").touch()
    await doing
    assert not (folder / "checkpoints").exists()  # it went on from what the attempt before had left

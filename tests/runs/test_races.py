"""What meets in the middle: cancels and ends, keys and retries, hostile bodies, and a worker cut off from all."""

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.make import Hand, clock_jumps, dataset, ended, folder, out_of_reach, run, stored, trace
from tunix_rt.base.db import Database
from tunix_rt.base.settings import Settings
from tunix_rt.jobs import queue
from tunix_rt.jobs.retry import End

ASYNC = "/api/tunix/run?mode=async"
RUNS = "/api/tunix/runs"
PATIENCE = 240.0
"""Seconds after which a test gives up; never what it asserts."""


@pytest.fixture
async def hand(api: httpx.AsyncClient, database: Database, settings: Settings) -> Hand:
    """A worker in hand, and a data set `data-v1`."""
    await stored(api, *(trace(number) for number in range(4)))
    await dataset(api)
    return Hand(database, settings)


async def shown(api: httpx.AsyncClient, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await api.get(f"{RUNS}/{run_id}")).json()
    return found


async def test_whatever_becomes_of_its_attempt_a_cancelled_run_ends_cancelled(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    for end in End:
        run_id = await run(api)
        job = await hand.takes()
        assert (await api.post(f"{RUNS}/{run_id}/cancel")).json()["status"] == "cancel_requested"
        await hand.ends(job, ended(end, reason="why"))
        found = await shown(api, run_id)
        assert (found["status"], found["attempt"]) == ("cancelled", 1), end
        assert found["completed_at"] is not None
        assert await hand.claims() is None, "nothing is left to do"


async def test_a_cancelled_run_whose_worker_died_ends_cancelled(api: httpx.AsyncClient, hand: Hand) -> None:
    run_id = await run(api)
    await hand.takes()
    await api.post(f"{RUNS}/{run_id}/cancel")
    await clock_jumps(hand.database, hand.lease_seconds + 1)
    assert await hand.reaps() == 1
    assert (await shown(api, run_id))["status"] == "cancelled"
    await clock_jumps(hand.database, 1000)
    assert await hand.claims() is None


async def test_a_run_is_cancelled_also_while_its_worker_puts_it_back(api: httpx.AsyncClient, hand: Hand) -> None:
    run_id = await run(api)
    job = await hand.takes()
    outcome = ended(End.CRASHED, reason="why")
    async with hand.database.write() as session:
        settled = await queue.settle(session, job, outcome.end, outcome.reason)
        await hand.handlers[job.kind].settled(session, job, outcome, settled)
        cancelling = asyncio.create_task(api.post(f"{RUNS}/{run_id}/cancel"))
        await asyncio.wait({cancelling}, timeout=0.3)  # it must meet us in the middle
    answer = await cancelling
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled"), answer.text


async def test_a_run_is_cancelled_also_while_a_worker_takes_it(api: httpx.AsyncClient, hand: Hand) -> None:
    run_id = await run(api)
    async with hand.database.write() as session:
        job = await queue.claim(session, "w", ["run"], ["tunix"], 60.0)
        assert job is not None
        await hand.handlers[job.kind].claimed(session, job)
        cancelling = asyncio.create_task(api.post(f"{RUNS}/{run_id}/cancel"))
        await asyncio.wait({cancelling}, timeout=0.3)
    answer = await cancelling
    assert (answer.status_code, answer.json()["status"]) == (202, "cancel_requested"), answer.text
    await hand.ends(job, ended(End.CANCELLED))
    assert (await shown(api, run_id))["status"] == "cancelled"


async def test_many_who_cancel_and_one_that_ends_agree(api: httpx.AsyncClient, hand: Hand) -> None:
    for _ in range(4):
        run_id = await run(api)
        job = await hand.takes()
        told = await asyncio.gather(
            *(api.post(f"{RUNS}/{run_id}/cancel") for _ in range(4)), hand.ends(job, ended(End.DONE))
        )
        codes = [answer.status_code for answer in told[:-1] if isinstance(answer, httpx.Response)]
        status = (await shown(api, run_id))["status"]
        assert status == ("cancelled" if 202 in codes else "completed")
        assert set(codes) <= {202, 409}


async def test_doing_again_is_asked_once_with_a_key(api: httpx.AsyncClient, hand: Hand) -> None:
    run_id = await run(api)
    await hand.ends(await hand.takes(), ended(End.REFUSED))
    headers = {"Idempotency-Key": "again"}
    answers = await asyncio.gather(*(api.post(f"{RUNS}/{run_id}/retry", headers=headers) for _ in range(4)))
    assert len({answer.json()["run_id"] for answer in answers}) == 1
    answer = await api.post(f"{RUNS}/{run_id}/retry", headers=headers, json={"from_start": True})
    assert answer.status_code == 409
    body = {"dataset_key": "data-v1", "dry_run": False}
    assert (await api.post(ASYNC, json=body, headers=headers)).status_code == 409
    assert (await api.post(f"{RUNS}/{run_id}/retry", json={"from_strt": True})).status_code == 422
    assert len((await api.get(RUNS)).json()["data"]) == 2


async def test_no_config_leads_to_a_path(api: httpx.AsyncClient, hand: Hand) -> None:
    tiny = hand.settings.home / "models" / "tiny"
    tiny.mkdir(parents=True)
    for model_id in ("../models/tiny", str(tiny), "tiny/.", "./tiny", "models/../tiny", "..", ".", "tiny\n"):
        for change in ({"model_id": model_id}, {"config": {"model_id": model_id}}):
            answer = await api.post(ASYNC, json={"dataset_key": "data-v1", **change})
            assert answer.status_code == 422, f"{change}: {answer.text}"


async def test_no_body_makes_the_server_fail(api: httpx.AsyncClient, hand: Hand) -> None:
    for text in (
        '{"dataset_key": "data-v1", "timeout_seconds": NaN}',
        '{"dataset_key": "data-v1", "timeout_seconds": 1e999}',
        '{"dataset_key": "data\\u0000v1"}',
        '{"dataset_key": "\\ud800"}',
        '{"dataset_key": "data-v1", "priority": 99999999999999999999}',
        '{"dataset_key": "data-v1", "config": {"seed": 9223372036854775807}}',
        '{"dataset_key": "data-v1", "config": {"steps": 1.5}}',
        '{"dataset_key": "data-v1", "config": {"\\u0000": 1}}',
        '{"dataset_key": "data-v1", "config": {"learning_rate": "\\ud800"}}',
        '{"dataset_key": "data-v1", "config": {"model": {"layers": 1e300}}}',
        '{"dataset_key": "data-v1", "config": ' + '{"a":' * 5000 + "1" + "}" * 5001,
        "[]",
        "null",
        "{",
    ):
        for path in (ASYNC, "/api/tunix/run", "/api/tunix/sft/manifest"):
            answer = await api.post(path, content=text, headers={"content-type": "application/json"})
            assert answer.status_code == 422, f"{path} {text[:80]}: {answer.text[:300]}"
            assert answer.headers["content-type"] == "application/problem+json"
    assert (await api.get(RUNS)).json()["data"] == []


WORKER = """
import sys
from tunix_rt import worker
from tunix_rt.base.settings import Settings

async def no_probe(_): pass
worker._Worker._probe = no_probe
child = "import os, time; open('pid', 'w').write(f'{os.getpid()}\\\\n'); time.sleep(600)"
sys.exit(worker.main(Settings(), "w", command=lambda folder, dry: [sys.executable, "-S", "-c", child]))
"""


async def test_a_worker_that_is_cut_off_ends_its_process_and_then_itself(api: httpx.AsyncClient, hand: Hand) -> None:
    run_id = await run(api)
    environment = os.environ | {
        "TUNIX_RT_HOME": str(hand.settings.home),
        "TUNIX_RT_DATABASE_URL": hand.settings.database_url,
        "TUNIX_RT_LEASE_SECONDS": "2",
    }
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, env=environment)
    try:
        said = folder(hand.settings, run_id) / "pid"
        await until(lambda: said.exists() and said.read_text().endswith("\n"))
        child = int(said.read_text())
        async with out_of_reach(hand.database):
            await until(lambda: not lives(child))
        assert await asyncio.wait_for(worker.wait(), PATIENCE) == 1
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()
    await clock_jumps(hand.database, 10)
    await hand.reaps()
    found = await shown(api, run_id)
    assert (found["status"], found["attempt"]) == ("pending", 2)
    assert "was not heard of" in found["crash_reason"]


def lives(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        return not (status.exists() and status.read_text().split()[2] == "Z")
    return False


async def until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)

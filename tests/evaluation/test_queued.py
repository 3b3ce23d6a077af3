"""Evaluations that are not there yet: claimed before trainings, and shown with their runs and in a queue."""

import asyncio
from typing import Any

import httpx
import pytest

from tests import make
from tests.evaluation.make import answers, jsonl, store
from tests.make import Hand, clock_jumps, ended
from tests.registry.make import hand_of
from tests.runs.test_feed import changed, fed, watch
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation import generation
from tunix_rt.jobs import workers
from tunix_rt.jobs.loop import Outcome
from tunix_rt.jobs.retry import End
from tunix_rt.training.decoding import Decoding

QUEUE = "/api/evaluations/queue"
NO_WORKER = "no worker is running: start one with `tunix-rt worker`, or `tunix-rt serve`"


@pytest.fixture
async def hand(api: httpx.AsyncClient, settings: Settings) -> Hand:
    await make.stored(api, make.trace(1))
    await make.dataset(api)
    await store(api, name="sums")
    return hand_of(api, settings)


async def of_run(api: httpx.AsyncClient, run: str) -> dict[str, Any]:
    found: dict[str, Any] = (await api.get(f"/api/tunix/runs/{run}")).json()["evaluation"]
    return found


async def queue(api: httpx.AsyncClient) -> list[dict[str, Any]]:
    answer = await api.get(QUEUE)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def completed(api: httpx.AsyncClient, hand: Hand, **request: Any) -> str:
    run = await make.run(api, **request)
    job = await hand.takes()
    assert job.payload["run"] == run
    await hand.ends(job, ended(End.DONE))
    return run


async def test_evaluations_are_claimed_before_trainings_of_any_priority_in_order_of_arrival(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    first = await make.run(api, eval_set="sums")
    second = await make.run(api, eval_set="sums")
    jobs = [await hand.takes(), await hand.takes()]
    trainings = [await make.run(api, priority=priority) for priority in (1000, 0)]
    for job in jobs:
        await hand.ends(job, ended(End.DONE))
    asked = await api.post(f"/api/tunix/runs/{first}/evaluate?mode=async", json={"eval_set": "sums"})
    query = {"name": "theirs", "eval_set": "sums", "mode": "async"}
    assert (await api.post("/api/evaluations", params=query, content=jsonl(answers()))).status_code == 202
    order = [await hand.takes() for _ in range(6)]
    assert [(job.kind, job.payload.get("run")) for job in order] == [
        ("evaluate", first),
        ("evaluate", second),
        ("evaluate", first),
        ("judge", None),
        *(("run", run) for run in trainings),
    ]
    assert order[2].number == asked.json()["job"]
    await hand.ends(order[2], Outcome(End.RELEASED, "its worker was asked to stop"))
    await make.run(api, priority=1000)
    assert (await hand.takes()).number == order[2].number, "one that is put back keeps its place"


async def test_a_run_says_where_its_evaluation_is_from_the_request_to_the_score(
    api: httpx.AsyncClient, hand: Hand, settings: Settings
) -> None:
    other = await completed(api, hand, eval_set="sums")
    nothing = {"eval_set": None, "before": None, "reason": None, "evaluation_id": None}
    run = await make.run(api, eval_set="sums")
    planned = {**nothing, "state": "planned", "eval_set": "sums"}
    assert await of_run(api, run) == planned
    evaluates = await hand.takes()
    trains = await hand.takes()
    assert (evaluates.payload["run"], trains.payload["run"]) == (other, run)
    assert await of_run(api, run) == planned
    await hand.ends(evaluates, Outcome(End.RELEASED))
    await hand.ends(trains, ended(End.DONE))
    await make.run(api, priority=1000)
    waiting = {**nothing, "state": "waiting", "eval_set": "sums", "reason": NO_WORKER}
    assert [await of_run(api, each) for each in (other, run)] == [waiting | {"before": 0}, waiting | {"before": 1}]
    async with hand.database.write() as session:
        identity = await workers.register(
            session, "box", {"tunix": {"available": True, "version": "1", "reason": None}}
        )
    assert await of_run(api, run) == waiting | {"before": 1, "reason": None}
    asked = {"run_id": run, "state": "waiting", "before": 1, "eval_set": "sums", "dataset_key": "data-v1"}
    assert [asked.items() <= row.items() for row in await queue(api)] == [False, True]

    await hand.takes()
    evaluates = await hand.takes()
    running = {**nothing, "state": "running", "eval_set": "sums"}
    assert await of_run(api, run) == running
    assert [(row["run_id"], row["state"]) for row in await queue(api)] == [(other, "running"), (run, "running")]
    await hand.ends(evaluates, Outcome(End.CRASHED, "its child was killed"))
    found = await of_run(api, run)
    assert (found["state"], found["before"]) == ("waiting", 0)
    assert found["reason"].startswith("its child was killed; it is tried again at 20")
    await clock_jumps(hand.database, 2)
    await hand.ends(await hand.takes(), Outcome(End.REFUSED, "its answers are longer than the model's positions"))
    failed = {**nothing, "state": "failed", "eval_set": "sums"}
    failed["reason"] = "its answers are longer than the model's positions"
    assert await of_run(api, run) == failed
    assert [row["reason"] for row in await queue(api) if row["state"] == "failed"] == [failed["reason"]]

    eval_set = (await api.get("/api/eval-sets/sums")).json()
    output = generation.place(make.folder(settings, run), eval_set["digest"], Decoding())
    output.parent.mkdir(parents=True)
    output.write_bytes(jsonl(answers()))
    assert (await api.post(f"/api/tunix/runs/{run}/evaluate", json={"eval_set": eval_set["digest"]})).status_code == 201
    newest = (await api.get(f"/api/tunix/runs/{run}/evaluation")).json()["id"]
    assert await of_run(api, run) == {**nothing, "state": "done", "eval_set": "sums", "evaluation_id": newest}
    assert [row["run_id"] for row in await queue(api)] == [other], "what failed is made up for"
    async with hand.database.write() as session:
        await workers.remove(session, identity)


async def test_only_a_run_that_nobody_asked_to_evaluate_has_none(api: httpx.AsyncClient, hand: Hand) -> None:
    alone = await completed(api, hand)
    failed = await make.run(api, eval_set="sums")
    await hand.ends(await hand.takes(), ended(End.REFUSED))
    dry = await make.run(api, dry_run=True, eval_set="sums")
    assert [(await of_run(api, run))["state"] for run in (alone, failed, dry)] == ["none"] * 3
    await api.post(f"/api/tunix/runs/{alone}/evaluate?mode=async", json={"eval_set": "sums"})
    assert [(await of_run(api, alone))[name] for name in ("state", "eval_set", "before")] == ["waiting", "sums", 0]
    assert [row["run_id"] for row in await queue(api)] == [alone]


async def test_a_job_of_an_engine_that_no_such_worker_has_is_not_before_an_evaluation(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    first, second = [await make.run(api, eval_set="sums", engine=engine) for engine in ("torch", "tunix")]
    jobs = [await hand.takes(), await hand.takes()]
    for job in jobs:
        await hand.ends(job, ended(End.DONE))
    available = {"available": True, "version": "1", "reason": None}
    for offers, before in (({"tunix": available}, 0), ({"tunix": available, "torch": available}, 1)):
        async with hand.database.write() as session:
            await workers.register(session, "box", offers)
        assert [(await of_run(api, run))["before"] for run in (first, second)] == [0, before]


async def test_viewers_are_told_when_an_evaluation_is_asked_for_taken_and_over(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    async with fed(hand.database) as feed:
        stream = await watch(feed)
        await asyncio.sleep(0.5)  # the first look: what was before is not told
        await completed(api, hand, eval_set="sums")
        assert await changed(stream) == ["evaluation_queue"]
        job = await hand.takes()
        assert await changed(stream) == ["evaluation_queue"]
        await hand.ends(job, Outcome(End.REFUSED, "no model"))
        assert await changed(stream) == ["evaluation_queue"]
        await stream.aclose()

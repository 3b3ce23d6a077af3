"""Runs are evaluated: asked for over HTTP, or without anyone asking where they name an eval set."""

import asyncio
import hashlib
import json
from typing import Any

import httpx
import pytest

from tests import make
from tests.evaluation.make import jsonl, store
from tests.make import TINY, Hand
from tests.registry.make import completed, hand_of, promoted
from tunix_rt import worker
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation import generation
from tunix_rt.jobs import loop
from tunix_rt.training.decoding import Decoding

CONFIG = {"model": TINY, "steps": 2, "batch_size": 2}


@pytest.fixture
async def hand(api: httpx.AsyncClient, settings: Settings) -> Hand:
    await make.stored(api, *(make.trace(number) for number in range(100)))
    await make.dataset(api, splits={"eval": 0.1})
    app: Any = api._transport.app  # type: ignore[attr-defined]  # the application under the client
    return Hand(app.state.database, settings)


async def works(hand: Hand, kind: str) -> None:
    """Do the next job as a worker would."""
    known = worker.handlers(hand.database, hand.settings)
    claimed = await loop.claim(hand.database, known, "hand", ["tunix"], 30.0)
    assert claimed is not None
    assert claimed.kind == kind
    from tunix_rt.jobs.lease import Lease

    await loop.perform(Lease(hand.database, claimed, 30.0, asyncio.Event()), known[kind])


async def test_a_run_with_an_eval_set_is_evaluated_without_anyone_asking_and_can_be_evaluated_again(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    made = (await api.post("/api/eval-sets?dataset_key=data-v1&name=held-out", content=b"")).json()
    assert made["n_items"] > 0
    run = await make.run(api, config=CONFIG, eval_set="held-out")
    assert (await api.post(f"/api/tunix/runs/{run}/evaluate")).status_code == 409
    await works(hand, "run")
    ran = (await api.get(f"/api/tunix/runs/{run}")).json()
    assert ran["status"] == "completed", ran["status_reason"]
    none = await api.get(f"/api/tunix/runs/{run}/evaluation")
    assert (none.status_code, "its job is pending" in none.json()["detail"]) == (404, True)
    await works(hand, "evaluate")
    found = (await api.get(f"/api/tunix/runs/{run}/evaluation")).json()
    assert (found["eval_set"], found["run_id"], found["dataset_key"]) == ("held-out", run, "data-v1")
    assert (found["n_items"], found["n_missing"]) == (made["n_items"], 0)
    assert found["decoding"]["temperature"] == 0
    canonical = b'{"max_new_tokens":256,"samples":1,"temperature":0}'  # RFC 8785
    assert found["decoding_digest"] == "sha256:" + hashlib.sha256(canonical).hexdigest()
    lines = generation.place(make.folder(hand.settings, run), made["digest"], Decoding()).read_bytes().splitlines()
    assert {json.loads(line)["decoding"] for line in lines} == {found["decoding_digest"]}
    assert (await api.get(f"/api/tunix/runs/{run}")).json()["score"] == found["score"]
    again = await api.post(f"/api/tunix/runs/{run}/evaluate", json={"judge": "answer_correctness"})
    assert again.status_code == 201, again.text
    assert (again.json()["id"] != found["id"], again.json()["score"]) == (True, found["score"])
    rejudged = await api.post(f"/api/evaluations/{found['id']}/judge?judge=exact")
    assert (await api.get(f"/api/tunix/runs/{run}")).json()["score"] == rejudged.json()["score"]
    (board,) = (await api.get("/api/tunix/evaluations?judge=answer_correctness")).json()["data"]
    assert [(row["id"], row["older"]) for row in board["rows"]] == [(again.json()["id"], 1)]
    verified = (await api.post(f"/api/evaluations/{found['id']}/verify")).json()
    assert (verified["ok"], verified["n_judged"]) == (True, made["n_items"])
    other = await api.post(f"/api/tunix/runs/{run}/evaluate", json={"judge": "exact"})
    assert (other.status_code, other.json()["judge"]) == (201, "exact")
    await store(api, [{"id": "a", "prompt": "1 + " * 10_000, "expected_answer": "1"}], name="long")
    refused = await api.post(f"/api/tunix/runs/{run}/evaluate", json={"eval_set": "long"})
    assert (refused.status_code, "positions" in refused.json()["detail"]) == (409, True), refused.text
    unknown = await api.post(f"/api/tunix/runs/{run}/evaluate", json={"judge": "answer_corectness"})
    assert (unknown.status_code, "answer_correctness" in unknown.text) == (422, True)


async def test_an_eval_set_that_is_not_there_is_refused_when_the_run_is_asked_for(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    body = {"dataset_key": "data-v1", "dry_run": False, "eval_set": "nothing"}
    assert (await api.post("/api/tunix/run?mode=async", json=body)).status_code == 404


async def test_a_dry_run_is_not_evaluated(api: httpx.AsyncClient, hand: Hand) -> None:
    await store(api)
    answer = await api.post("/api/tunix/run?mode=async", json={"dataset_key": "data-v1", "config": CONFIG})
    refused = await api.post(f"/api/tunix/runs/{answer.json()['run_id']}/evaluate")
    assert (refused.status_code, "dry run" in refused.json()["detail"]) == (409, True)


async def test_what_the_base_of_a_runs_model_was_trained_on_is_behind_the_model_too(
    api: httpx.AsyncClient, settings: Settings
) -> None:
    questions = [f"{name} packs {n} boxes of {n + 3} pears and sells half of them. How many pears are left?"
                 for n, name in enumerate(("Ada", "Ben", "Cleo"), 17)]  # fmt: skip
    for key, question in zip(("old", "new"), questions, strict=False):
        await make.stored(api, make.trace(0, prompt=question))
        await make.dataset(api, key, limit=1)
    hand = hand_of(api, settings)
    await promoted(api, await completed(api, hand, dataset_key="old-v1"), version="1")
    run = await completed(api, hand, dataset_key="new-v1", model_id="sums:1")
    rows = [{"id": str(n), "prompt": question, "expected_answer": "1"} for n, question in enumerate(questions)]
    eval_set = await store(api, rows, name="pears")
    output = generation.place(make.folder(settings, run), eval_set["digest"], Decoding())
    output.parent.mkdir()
    output.write_bytes(jsonl({"id": row["id"], "output": "Answer: 1"} for row in rows))
    assert (await api.post(f"/api/tunix/runs/{run}/evaluate?mode=async", json={"eval_set": "pears"})).status_code == 202
    await works(hand, "evaluate")
    found = (await api.get(f"/api/tunix/runs/{run}/evaluation")).json()
    assert (found["contamination"]["n"], found["held_back"]) == (2, True)
    marked = (await api.get(f"/api/evaluations/{found['id']}/items?contaminated=true")).json()["data"]
    assert [row["id"] for row in marked] == ["0", "1"]
    again = (await api.post(f"/api/evaluations/{found['id']}/judge?judge=numeric")).json()
    assert (again["contamination"]["n"], again["held_back"]) == (2, True)

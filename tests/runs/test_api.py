"""Asking for runs, and a run in every state, through the public door; `test_find` and `test_left` have the rest."""

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy.ext.asyncio import AsyncSession

from tests import make
from tests.make import Hand
from tunix_rt.app import create_app
from tunix_rt.base.settings import Settings
from tunix_rt.jobs import workers
from tunix_rt.jobs.retry import End
from tunix_rt.runs import logs
from tunix_rt.runs.states import RunStatus
from tunix_rt.training.engines import abilities

RUNS = "/api/tunix/runs"


@pytest.fixture
async def hand(api: httpx.AsyncClient, settings: Settings) -> Hand:
    await make.stored(api, *(make.trace(number) for number in range(4)))
    await make.dataset(api)
    app: Any = api._transport.app  # type: ignore[attr-defined]  # the application under the client
    return Hand(app.state.database, settings)


async def asked(api: httpx.AsyncClient, **changes: Any) -> httpx.Response:
    body = {"dataset_key": "data-v1", "dry_run": False} | changes
    return await api.post("/api/tunix/run?mode=async", json=body)


def folder(hand: Hand, run: str) -> Path:
    found = logs.folder_of(hand.settings.home, run)
    found.mkdir(parents=True, exist_ok=True)
    return found


# --- asking -----------------------------------------------------------------------------------------------------


async def test_a_run_is_a_row_from_the_moment_it_is_accepted(api: httpx.AsyncClient, hand: Hand) -> None:
    answer = await asked(api, config={"learning_rate": 0.001, "model": {"layers": 1}}, priority=5, timeout_seconds=60)
    assert answer.status_code == 202
    body = answer.json()
    assert body["status"] == "pending"
    assert "no worker is running" in body["status_reason"]
    assert answer.headers["location"] == body["links"]["self"] == f"{RUNS}/{body['run_id']}"
    found = (await api.get(answer.headers["location"])).json()
    assert uuid.UUID(found["run_id"]).version == 7
    assert (found["model_id"], found["engine"], found["mode"]) == ("scratch", "tunix", "local")
    assert found["config"]["learning_rate"] == 0.001
    assert found["config"]["batch_size"] == 32, "the whole config, defaults too"
    assert (found["priority"], found["timeout_seconds"], found["max_attempts"], found["attempt"]) == (5, 60.0, 3, 1)
    assert [(event["from"], event["to"], event["actor"]) for event in found["events"]] == [(None, "pending", "api")]
    assert found["created_at"].endswith("Z")


@pytest.mark.parametrize(
    ("query", "changes", "status", "pointer"),
    [
        ("", {}, 422, "mode"),
        ("?mode=sync", {}, 422, "mode"),
        ("?mode=asinc", {}, 422, "mode"),
        ("?mode=async", {"dataset_key": "none-v1"}, 404, None),
        ("?mode=async", {"dataset": "data-v1"}, 422, "/dataset"),
        ("?mode=async", {"config": {"learning_rat": 1}}, 422, "/config/learning_rat"),
        ("?mode=async", {"config": {"data": {"max_length": 1}}}, 422, "/config/data/max_length"),
        ("?mode=async", {"config": {"model_id": "other"}}, 422, "/config/model_id"),
        ("?mode=async", {"config": {"dataset": "other-v1"}}, 422, "/config/dataset"),
        ("?mode=async", {"engine": "tunics"}, 422, "/engine"),
        ("?mode=async", {"model_id": "../x"}, 422, "/model_id"),
        ("?mode=async", {"model_id": "/etc"}, 422, "/model_id"),
        ("?mode=async", {"model_id": "a/b"}, 422, "/model_id"),
        ("?mode=async", {"model_id": ".."}, 422, "/model_id"),
        ("?mode=async", {"config": {"model_id": "/etc"}}, 422, "/config/model_id"),
        ("?mode=async", {"model_id": "absent"}, 404, None),
        ("?mode=async", {"model_id": "family@production"}, 404, None),
        ("?mode=async", {"timeout_seconds": 0}, 422, "/timeout_seconds"),
        ("?mode=async", {"max_attempts": 0}, 422, "/max_attempts"),
        ("?mode=async", {"priority": 2**70}, 422, None),
        ("?mode=async", {"config": {"seed": "a\x00b"}}, 422, None),
    ],
)
async def test_what_cannot_be_done_is_refused_at_its_place_and_leaves_no_row(
    api: httpx.AsyncClient, hand: Hand, query: str, changes: dict[str, Any], status: int, pointer: str | None
) -> None:
    body = {"dataset_key": "data-v1", "dry_run": False} | changes
    answer = await api.post(f"/api/tunix/run{query}", json=body)
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    if pointer is not None:
        assert pointer in [error["pointer"] for error in problem["errors"]]
    assert (await api.get(RUNS)).json()["data"] == []


async def test_a_real_run_without_async_says_how_to_ask(api: httpx.AsyncClient, hand: Hand) -> None:
    answer = await api.post("/api/tunix/run", json={"dataset_key": "data-v1", "dry_run": False})
    assert "mode=async" in answer.json()["hint"]
    assert "Did you mean 'tunix'?" in (await asked(api, engine="tunics")).json()["detail"]


async def test_a_dry_run_is_the_default(api: httpx.AsyncClient, hand: Hand) -> None:
    answer = await api.post("/api/tunix/run?mode=async", json={"dataset_key": "data-v1"})
    assert (answer.status_code, answer.json()["mode"]) == (202, "dry-run")


async def test_an_idempotency_key_is_one_run(api: httpx.AsyncClient, hand: Hand) -> None:
    body = {"dataset_key": "data-v1", "dry_run": False}
    headers = {"Idempotency-Key": "k-1"}
    url = "/api/tunix/run?mode=async"
    answers = await asyncio.gather(*(api.post(url, json=body, headers=headers) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {202}
    [run] = {answer.json()["run_id"] for answer in answers}
    other = await api.post(url, json=body | {"priority": 1}, headers=headers)
    assert (other.status_code, run in other.json()["detail"]) == (409, True)
    assert (await api.post(url, json=body, headers={"Idempotency-Key": "k-2"})).json()["run_id"] != run
    assert (await api.post(url, json=body, headers={"Idempotency-Key": "two words"})).status_code == 422
    assert len((await api.get(RUNS)).json()["data"]) == 2


async def test_a_run_that_no_worker_can_do_says_so(api: httpx.AsyncClient, hand: Hand) -> None:
    run = (await asked(api, engine="torch")).json()["run_id"]
    async with hand.database.write() as session:
        tunix = {"available": True, "version": "1", "devices": ["cpu:0 cpu"], "reason": None}
        torch: dict[str, Any] = {"available": False, "version": None, "devices": [], "reason": "it is not installed"}
        await workers.register(session, "one", {"tunix": tunix, "torch": torch})
    reason = (await api.get(f"{RUNS}/{run}/status")).json()["status_reason"]
    assert "'torch'" in reason
    assert "it is not installed" in reason
    assert (await api.get(f"{RUNS}/{await make.run(api)}/status")).json()["status_reason"] is None


async def test_a_run_whose_row_is_not_committed_is_not_acknowledged(
    api: httpx.AsyncClient, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def commit(_: AsyncSession) -> None:
        raise OSError("the disk went away")

    monkeypatch.setattr(AsyncSession, "commit", commit)
    assert (await asked(api)).status_code == 500
    monkeypatch.undo()
    assert (await api.get(RUNS)).json()["data"] == []
    assert await hand.claims() is None


async def test_the_manifest_is_the_whole_config_and_the_export_what_a_trainer_reads(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    body = {"dataset_key": "data-v1", "config": {"steps": 7}}
    answer = await api.post("/api/tunix/sft/manifest", json=body)
    assert answer.status_code == 201
    assert answer.headers["content-type"].startswith("application/yaml")
    found = yaml.safe_load(answer.text)
    assert (found["steps"], found["dataset"], found["model_id"], found["learning_rate"]) == (
        7,
        "data-v1",
        "scratch",
        4e-3,
    )
    answer = await api.post("/api/tunix/sft/export", json={"dataset_key": "data-v1"})
    assert answer.status_code == 200
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert len(lines) == 4
    assert all({"id", "prompts", "final_answer", "metadata"} == line.keys() for line in lines)
    assert (await api.post("/api/tunix/sft/export", json={"dataset_key": "none-v1"})).status_code == 404
    assert (await api.get(RUNS)).json()["data"] == []


# --- every state ------------------------------------------------------------------------------------------------


async def in_every_state(api: httpx.AsyncClient, hand: Hand) -> dict[RunStatus, str]:
    """A run in each state, brought there by the product's own functions."""
    found = {}
    for status, outcome in (
        (RunStatus.COMPLETED, make.ended(End.DONE)),
        (RunStatus.FAILED, make.ended(End.REFUSED, reason="it was refused", code=2)),
        (RunStatus.TIMEOUT, make.ended(End.REFUSED, RunStatus.TIMEOUT, "over its limit")),
        (RunStatus.RUNNING, None),
        (RunStatus.CANCEL_REQUESTED, None),
    ):
        found[status] = await make.run(api)
        job = await hand.takes()
        if outcome is not None:
            await hand.ends(job, outcome)
    assert (await api.post(f"{RUNS}/{found[RunStatus.CANCEL_REQUESTED]}/cancel")).status_code == 202
    found[RunStatus.CANCELLED] = await make.run(api)
    assert (await api.post(f"{RUNS}/{found[RunStatus.CANCELLED]}/cancel")).json()["status"] == "cancelled"
    found[RunStatus.PENDING] = await make.run(api)
    assert found.keys() == set(RunStatus)
    return found


async def test_a_run_in_every_state_is_shown_by_every_door(api: httpx.AsyncClient, hand: Hand) -> None:
    runs = await in_every_state(api, hand)
    listed = (await api.get(RUNS, params={"limit": 200})).json()["data"]
    assert {row["run_id"]: row["status"] for row in listed} == {run: status for status, run in runs.items()}
    for status, run in runs.items():
        assert [row["run_id"] for row in (await api.get(RUNS, params={"status": status})).json()["data"]] == [run]
        detail = (await api.get(f"{RUNS}/{run}")).json()
        assert (detail["status"], detail["events"][-1]["to"]) == (status, status)
        assert (await api.get(f"{RUNS}/{run}/status")).json()["status"] == status
        for part in ("metrics", "artifacts", "checkpoints"):
            assert (await api.get(f"{RUNS}/{run}/{part}")).status_code == 200
        stream = (await api.get(f"{RUNS}/{run}/logs?follow=false")).text
        assert f'event: status\ndata: {{"status":"{status}"' in stream
        assert ("event: end" in stream) == (status in ("completed", "failed", "timeout", "cancelled"))


async def test_cancel_and_retry_know_every_state(api: httpx.AsyncClient, hand: Hand) -> None:
    runs = await in_every_state(api, hand)
    final = {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.TIMEOUT, RunStatus.CANCELLED}
    for status, run in runs.items():
        retried = await api.post(f"{RUNS}/{run}/retry")
        assert retried.status_code == (202 if status in final - {RunStatus.COMPLETED} else 409), status
        if status in final:
            assert (await api.post(f"{RUNS}/{run}/cancel")).status_code == 409
    again = await api.post(f"{RUNS}/{runs[RunStatus.COMPLETED]}/retry", json={"from_start": True})
    assert again.status_code == 202
    found = (await api.get(again.headers["location"])).json()
    assert (found["retry_of"], found["from_start"], found["status"]) == (runs[RunStatus.COMPLETED], True, "pending")
    assert found["config"] == (await api.get(f"{RUNS}/{runs[RunStatus.COMPLETED]}")).json()["config"]
    assert (await api.post(f"{RUNS}/{runs[RunStatus.FAILED]}/retry", json={"from": 1})).status_code == 422
    assert (await api.post(f"{RUNS}/{runs[RunStatus.PENDING]}/cancel")).json()["status"] == "cancelled"
    assert await hand.claims() is not None, "a retried one is claimed, the cancelled one is not in its way"


async def test_a_pending_run_that_is_cancelled_is_never_claimed(api: httpx.AsyncClient, hand: Hand) -> None:
    run = await make.run(api)
    assert (await api.post(f"{RUNS}/{run}/cancel")).json()["status"] == "cancelled"
    assert await hand.claims() is None


@pytest.mark.parametrize("part", ["", "/status", "/logs", "/metrics", "/artifacts", "/artifacts/a", "/checkpoints"])
async def test_an_id_that_is_none_is_422_and_an_unknown_one_404(api: httpx.AsyncClient, part: str) -> None:
    assert (await api.get(f"{RUNS}/nonsense{part}")).status_code == 422
    answer = await api.get(f"{RUNS}/{uuid.uuid4()}{part}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_an_id_may_be_given_by_a_unique_beginning(api: httpx.AsyncClient, hand: Hand) -> None:
    one, two = await make.run(api), await make.run(api)
    assert (await api.get(f"{RUNS}/{one[:-2]}")).json()["run_id"] == one
    assert (await api.get(f"{RUNS}/{one.replace('-', '')}")).json()["run_id"] == one
    shared = one[: next(place for place in range(36) if one[place] != two[place])]
    assert (await api.get(f"{RUNS}/{shared}")).status_code == 409
    assert (await api.get(f"{RUNS}/{one[:5]}")).status_code == 422


async def test_a_row_has_what_a_list_shows_and_no_more(api: httpx.AsyncClient, hand: Hand) -> None:
    await make.run(api)
    [row] = (await api.get(RUNS)).json()["data"]
    shown = {"run_id", "dataset_key", "model_id", "engine", "mode", "status", "score", "attempt"}
    assert shown | {"created_at", "started_at", "completed_at", "duration_seconds"} <= row.keys()
    assert not {"config", "stdout", "stderr", "events", "provenance"} & row.keys()


# --- who does it ------------------------------------------------------------------------------------------------


async def test_workers_are_listed_with_what_they_have_and_do(api: httpx.AsyncClient, hand: Hand) -> None:
    run = await make.run(api)
    job = await hand.takes()
    tunix = {"available": True, "version": "1", "devices": ["cpu:0 cpu"], "reason": None}
    torch: dict[str, Any] = {"available": False, "version": None, "devices": [], "reason": "no"}
    async with hand.database.write() as session:
        identity = await workers.register(session, "one", {"tunix": tunix, "torch": torch})
        await workers.beat(session, identity, job.number, {"tunix": tunix, "torch": torch}, draining=False)
    [found] = (await api.get("/api/workers")).json()["data"]
    assert (found["name"], found["current_run"], found["alive"]) == ("one", run, True)
    assert found["engines"] == {"tunix": {"version": "1", "devices": ["cpu:0 cpu"]}}
    assert found["unavailable"] == {"torch": "no"}
    status = (await api.get("/api/tunix/status")).json()
    assert status["workers"] == 1
    assert status["engines"]["tunix"] == {
        "available": True,
        "version": "1",
        "devices": ["cpu:0 cpu"],
        "workers": ["one"],
        "reason": None,
        "abilities": abilities.CAPABILITIES["tunix"].document(),
    }
    assert status["engines"]["torch"]["available"] is False
    assert status["engines"]["torch"]["reason"] == "no"


async def test_a_second_api_on_the_same_database_sees_the_same(
    api: httpx.AsyncClient, settings: Settings, hand: Hand
) -> None:
    run = await make.run(api)
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as other,
    ):
        assert (await other.post(f"{RUNS}/{run}/cancel")).json()["status"] == "cancelled"
    assert (await api.get(f"{RUNS}/{run}/status")).json()["status"] == "cancelled"

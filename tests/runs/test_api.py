"""The routes of the runs, through their public door, on both databases."""

import asyncio
import hashlib
import json
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from tests import make
from tests.make import Hand
from tunix_rt.app import create_app
from tunix_rt.base.settings import Settings
from tunix_rt.jobs import workers
from tunix_rt.jobs.retry import End
from tunix_rt.runs import logs, metrics
from tunix_rt.runs.models import Run
from tunix_rt.runs.states import RunStatus

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


# --- lists ------------------------------------------------------------------------------------------------------


async def test_pages_neither_skip_nor_repeat_while_runs_arrive(api: httpx.AsyncClient, hand: Hand) -> None:
    runs = [await make.run(api) for _ in range(9)]
    found, cursor = [], None
    while True:
        page = (await api.get(RUNS, params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        found += [row["run_id"] for row in page["data"]]
        await make.run(api)
        cursor = page["pagination"]["next_cursor"]
        if cursor is None:
            break
    assert found == runs[::-1]


async def test_a_row_has_what_a_list_shows_and_no_more(api: httpx.AsyncClient, hand: Hand) -> None:
    await make.run(api)
    [row] = (await api.get(RUNS)).json()["data"]
    shown = {"run_id", "dataset_key", "model_id", "engine", "mode", "status", "score", "attempt"}
    assert shown | {"created_at", "started_at", "completed_at", "duration_seconds"} <= row.keys()
    assert not {"config", "stdout", "stderr", "events", "provenance"} & row.keys()


async def put(hand: Hand, run: str, **columns: Any) -> None:
    async with hand.database.write() as session:
        await session.execute(update(Run).where(Run.id == uuid.UUID(run)).values(**columns))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("param.learning_rate=0.001", "a"),
        ("param.learning_rate=1e-3", "a"),
        ("param.learning_rate!=0.001", "bc"),
        ("param.learning_rate>0.001", "bc"),
        ("param.learning_rate>=0.01&param.learning_rate<0.02", "b"),
        ("param.model.layers=2", "bc"),
        ("param.schedule=linear", "b"),
        ("param.schedule!=linear", "ac"),
        ("param.model.tie_embeddings=false", "c"),
        ("param.model.tie_embeddings=true", "ab"),
        ("param.steps=null", ""),
        ("param.absent=1", ""),
        ("param.absent!=1", ""),
        ("metric.loss<0.5", "a"),
        ("metric.loss%3C0.5", "a"),
        ("metric.loss<=0.5", "ab"),
        ("metric.loss%3C=0.5", "ab"),
        ("metric.loss>0.4&metric.loss<1", "b"),
        ("metric.loss>=0.5", "b"),
        ("metric.loss=0.5", "b"),
        ("metric.loss!=0.5", "ac"),
        ("metric.loss=NaN", "c"),
        ("metric.eval_loss<9", "a"),
        ("status=pending&engine=tunix&mode=local&model_id=scratch&dataset_key=data-v1", "abc"),
        ("status=running&status=failed", ""),
        ("dataset_key=other-v1", ""),
        ("created_after=2001-01-01T00:00:00Z", "abc"),
        ("created_before=2001-01-01T00:00:00Z", ""),
    ],
)
async def test_runs_are_found_by_what_they_are(api: httpx.AsyncClient, hand: Hand, query: str, expected: str) -> None:
    names = {}
    for name, config, latest in (
        ("a", {"learning_rate": 0.001, "model": {"layers": 1}}, {"loss": 0.25, "eval_loss": 1}),
        ("b", {"learning_rate": 0.01, "schedule": "linear"}, {"loss": 0.5}),
        ("c", {"learning_rate": 0.02, "model": {"tie_embeddings": False}}, {"loss": "NaN"}),
    ):
        run = await make.run(api, config=config)
        names[run] = name
        await put(hand, run, metrics=latest)
    answer = await api.get(f"{RUNS}?{query}")
    assert answer.status_code == 200, answer.text
    assert "".join(sorted(names[row["run_id"]] for row in answer.json()["data"])) == expected


@pytest.mark.parametrize(
    "query",
    [
        "param.=1",
        "param.learning_rate",
        "param.learning_rate=",
        "metric.loss<",
        "metric.loss<=",
        "metric.loss<abc",
        "metric.loss~1",
        "metric.a'b=1",
        'metric.a"b=1',
        "parameter.x=1",
        "status=done",
        "mode=fast",
        "created_after=yesterday",
        "created_after=2026-01-01T00:00:00",
        "limit=0",
        "cursor=x",
        "metric.loss=%00",
        "metric.loss=%ff",
    ],
)
async def test_a_filter_that_is_none_is_422(api: httpx.AsyncClient, query: str) -> None:
    answer = await api.get(f"{RUNS}?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


# --- what a run left --------------------------------------------------------------------------------------------


@pytest.fixture
async def left(api: httpx.AsyncClient, hand: Hand) -> tuple[str, Path]:
    run = await make.run(api)
    path = folder(hand, run)
    for name, content in {
        "config.yaml": b"steps: 1\n",
        "events.jsonl": b"{}\n",
        "checkpoints/step-00000100/state.safetensors": b"x" * 1000,
        "checkpoints/step-00000020/state.safetensors": b"y" * 10,
        "model/model.safetensors": bytes(range(256)) * 1000,
        "predictions/abc.jsonl": b"{}",
        "logs/0001.stdout.log": b"out",
        "data/train.jsonl": b"{}",
        "checkpoints/.step-00000200.ab.partial/state": b"half",
        ".hidden": b"no",
    }.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    secret = hand.settings.home / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    (path / "link").symlink_to(secret / "key")
    (path / "folder").symlink_to(secret)
    return run, path


async def test_artifacts_are_listed_with_digests_and_kinds(api: httpx.AsyncClient, left: tuple[str, Path]) -> None:
    run, path = left
    found = (await api.get(f"{RUNS}/{run}/artifacts")).json()["data"]
    assert {item["path"]: item["kind"] for item in found} == {
        "checkpoints/step-00000020/state.safetensors": "checkpoint",
        "checkpoints/step-00000100/state.safetensors": "checkpoint",
        "config.yaml": "config",
        "data/train.jsonl": "other",
        "events.jsonl": "log",
        "logs/0001.stdout.log": "log",
        "model/model.safetensors": "model",
        "predictions/abc.jsonl": "predictions",
    }
    for item in found:
        content = (path / item["path"]).read_bytes()
        assert (item["size"], item["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    (path / "config.yaml").write_bytes(b"steps: 2\n")
    changed = (await api.get(f"{RUNS}/{run}/artifacts")).json()["data"]
    [digest] = [item["sha256"] for item in changed if item["path"] == "config.yaml"]
    assert digest == hashlib.sha256(b"steps: 2\n").hexdigest()


async def test_checkpoints_are_listed_with_the_figures_of_their_step(
    api: httpx.AsyncClient, hand: Hand, left: tuple[str, Path]
) -> None:
    run, _ = left
    async with hand.database.write() as session:
        await metrics.store(session, 1, {("loss", 100): 0.5, ("eval_loss", 100): float("nan"), ("loss", 20): 2.0})
    found = (await api.get(f"{RUNS}/{run}/checkpoints")).json()["data"]
    assert [(item["step"], item["size"], item["metrics"]) for item in found] == [
        (20, 10, {"loss": 2.0}),
        (100, 1000, {"loss": 0.5, "eval_loss": "NaN"}),
    ]
    assert found[1]["path"] == "checkpoints/step-00000100"


async def test_a_file_is_given_whole_in_ranges_and_not_twice(api: httpx.AsyncClient, left: tuple[str, Path]) -> None:
    run, path = left
    url, content = f"{RUNS}/{run}/artifacts/model/model.safetensors", (path / "model/model.safetensors").read_bytes()
    whole = await api.get(url)
    assert (whole.status_code, whole.content) == (200, content)
    assert whole.headers["etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-disposition"].startswith("attachment")
    assert whole.headers["content-type"] == "application/octet-stream"
    for header, expected in (("bytes=0-9", content[:10]), ("bytes=-5", content[-5:]), ("bytes=1000-", content[1000:])):
        part = await api.get(url, headers={"Range": header})
        assert (part.status_code, part.content) == (206, expected)
    first = int(part.headers["content-range"].split()[1].split("-")[0])
    assert first == 1000
    fresh = await api.get(url, headers={"Range": "bytes=0-9", "If-Range": whole.headers["etag"]})
    stale = await api.get(url, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (fresh.status_code, stale.status_code, stale.content) == (206, 200, content)
    again = await api.get(url, headers={"If-None-Match": f'W/"x", {whole.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    beyond = await api.get(url, headers={"Range": "bytes=999999999-"})
    assert (beyond.status_code, beyond.headers["content-type"]) == (416, "application/problem+json")
    assert (await api.get(url, headers={"Range": "lines=1-2"})).status_code == 422


@pytest.mark.parametrize(
    "name",
    [
        "../../secret/key",
        "..%2f..%2fsecret%2fkey",
        "%2e%2e/%2e%2e/secret/key",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "link",
        "folder/key",
        "model",
        "model/",
        "model//model.safetensors",
        "%2e/config.yaml",
        ".hidden",
        "checkpoints/.step-00000200.ab.partial/state",
        "absent",
        "config.yaml/x",
        "a\\b",
        "x" * 5000,
    ],
)
async def test_nothing_outside_the_runs_folder_is_given(
    api: httpx.AsyncClient, left: tuple[str, Path], name: str
) -> None:
    run, _ = left
    scope = httpx.URL(f"http://test{RUNS}/{run}/artifacts/").copy_with(
        raw_path=f"{RUNS}/{run}/artifacts/{name}".encode()
    )
    answer = await api.get(scope)
    assert answer.status_code == 404, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text.replace(name, "").replace("secret/key", "")


async def test_a_file_that_grows_is_given_as_it_was_when_it_was_asked_for(
    api: httpx.AsyncClient, left: tuple[str, Path]
) -> None:
    run, path = left
    log = path / "logs" / "0001.stdout.log"
    log.write_bytes(b"a" * 500_000)
    async with api.stream("GET", f"{RUNS}/{run}/artifacts/logs/0001.stdout.log") as answer:
        with log.open("ab") as file:
            file.write(b"b" * 500_000)
        content = await answer.aread()
    assert answer.headers["content-length"] == "500000"
    assert content == b"a" * 500_000


async def test_the_end_of_the_logs_is_cut_at_a_line(api: httpx.AsyncClient, hand: Hand) -> None:
    run = await make.run(api)
    path = folder(hand, run) / "logs"
    path.mkdir()
    lines = [f"line {number} ü\n" for number in range(3000)]
    (path / "0001.stdout.log").write_text("".join(lines[:2900]))
    (path / "0003.stdout.log").write_text("".join(lines[2900:]))
    (path / "0001.stderr.log").write_bytes(b"\xff one\n")
    found = (await api.get(f"{RUNS}/{run}")).json()
    assert found["stdout"].splitlines(keepends=True) == lines[-len(found["stdout"].splitlines()) :]
    assert 10_240 - 20 < len(found["stdout"].encode()) <= 10_240
    assert found["stderr"] == "\ufffd one\n"


async def test_metrics_are_given_by_key_thinned_with_every_extreme(api: httpx.AsyncClient, hand: Hand) -> None:
    run = await make.run(api)
    values = {("loss", step): float(step % 97) for step in range(5000)}
    values |= {("loss", 1234): 1e9, ("loss", 4321): float("-inf"), ("rate", 1): 0.5}
    async with hand.database.write() as session:
        await metrics.store(session, 1, values)
        await metrics.store(session, 1, {("rate", 1): 0.25, ("rate", 2): float("nan"), ("rate", 3): float("inf")})
    found = (await api.get(f"{RUNS}/{run}/metrics", params={"max_points": 100})).json()["series"]
    assert found["rate"] == [[1, 0.25], [2, "NaN"], [3, "Infinity"]]
    assert len(found["loss"]) <= 100
    assert [1234, 1e9] in found["loss"]
    assert [4321, "-Infinity"] in found["loss"]
    assert (found["loss"][0], found["loss"][-1][0]) == ([0, 0.0], 4999)
    only = (await api.get(f"{RUNS}/{run}/metrics", params={"keys": "rate"})).json()["series"]
    assert only.keys() == {"rate"}
    for bad in ({"max_points": 0}, {"max_points": 10**9}):
        assert (await api.get(f"{RUNS}/{run}/metrics", params=bad)).status_code == 422


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
    }
    assert status["engines"]["torch"]["available"] is False
    assert status["engines"]["torch"]["reason"] == "no"


async def test_a_second_api_on_the_same_database_sees_the_same(
    api: httpx.AsyncClient, settings: Settings, hand: Hand
) -> None:
    run = await make.run(api)
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://two") as other:
        assert (await other.post(f"{RUNS}/{run}/cancel")).json()["status"] == "cancelled"
    assert (await api.get(f"{RUNS}/{run}/status")).json()["status"] == "cancelled"

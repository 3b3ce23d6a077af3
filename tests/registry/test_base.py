"""Runs that start from a version of the registry: resolved when they are asked for, whatever its aliases do later."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import make
from tests.make import Hand
from tests.registry.make import completed, hand_of, model, promoted, read, stored
from tunix_rt.base.settings import Settings
from tunix_rt.jobs.retry import End

ENDED = {"event": "end", "time": "2026-01-01T00:00:00Z", "reason": "completed"}


def quick(folder: Path, dry: bool) -> list[str]:
    """A training that is over at once."""
    return ["sh", "-c", f"echo '{json.dumps(ENDED)}' >> events.jsonl"]


@pytest.fixture
async def hand(api: httpx.AsyncClient, settings: Settings) -> Hand:
    """A worker, a data set, and two versions of `sums`, of which `best` is the first."""
    await make.stored(api, make.trace(1), make.trace(2))
    await make.dataset(api)
    found = hand_of(api, settings)
    for seed in (1, 2):
        await promoted(api, await completed(api, found, seed))
    await points(api, "1")
    return Hand(found.database, settings, command=quick)


async def points(api: httpx.AsyncClient, version: str) -> None:
    assert (await api.put("/api/models/sums/aliases/best", json={"version": version})).status_code == 200


async def shown(api: httpx.AsyncClient, run: str) -> dict[str, Any]:
    found: dict[str, Any] = (await api.get(f"/api/tunix/runs/{run}")).json()
    return found


def base(hand: Hand, run: str) -> Path:
    """Where the run's training finds its base model."""
    written = json.loads((make.folder(hand.settings, run) / "provenance.json").read_bytes())
    return Path(written["base_model"]["path"])


async def test_an_accepted_run_keeps_the_version_that_its_alias_meant_and_so_does_its_retry(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    versions = {row["version"]: row for row in (await api.get("/api/models/sums")).json()["versions"]}
    body = {"dataset_key": "data-v1", "dry_run": False, "model_id": "sums@best"}

    async def request() -> str:
        answer = await api.post("/api/tunix/run?mode=async", json=body, headers={"idempotency-key": "mine"})
        found: str = answer.json()["run_id"]
        return found

    run = await request()
    await points(api, "2")
    assert await request() == run
    manifest = await api.post("/api/tunix/sft/manifest", json=body)
    assert (manifest.status_code, "model_id: sums:2" in manifest.text) == (201, True)
    asked = await shown(api, run)
    assert (asked["model_id"], asked["config"]["model_id"]) == ("sums:1", "sums:1")
    known = {"model_id": "sums:1", "asked": "sums@best", "digest": versions["1"]["digest"]}
    assert asked["provenance"]["registry"] == known
    await hand.does(await hand.takes())
    done = await shown(api, run)
    assert (done["status"], done["provenance"]["registry"]) == ("completed", known)
    assert read(base(hand, run) / "model.safetensors")[0] == 1
    retried = (await api.post(f"/api/tunix/runs/{run}/retry", json={"from_start": True})).json()["run_id"]
    assert (await shown(api, retried))["model_id"] == "sums:1"
    await hand.does(await hand.takes())
    assert (await shown(api, retried))["provenance"]["registry"] == known
    assert base(hand, retried) == base(hand, run)
    later = await make.run(api, model_id="sums@best")
    await hand.does(await hand.takes())
    assert (await shown(api, later))["model_id"] == "sums:2"
    assert read(base(hand, later) / "model.safetensors")[0] == 2
    listed = (await api.get("/api/tunix/runs?model_id=sums:1")).json()["data"]
    assert [row["run_id"] for row in listed] == [retried, run]
    (make.folder(hand.settings, later) / "model").mkdir()
    child = await promoted(api, await completed(api, hand, 3, model_id="sums:2"))
    assert child["provenance"]["model_id"] == "sums:2"
    assert child["provenance"]["base_version_digest"] == versions["2"]["digest"]


async def test_what_no_training_can_start_from_is_refused_when_it_is_asked_for(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    for model_id, said in (
        ("sums@bset", "Did you mean 'best'?"),
        ("sums:3", "We have: 1, 2."),
        ("smus:1", "Did you mean 'sums'?"),
        ("family@production", "no model 'family'"),
    ):
        body = {"dataset_key": "data-v1", "dry_run": False, "model_id": model_id}
        answer = await api.post("/api/tunix/run?mode=async", json=body)
        assert (answer.status_code, said in answer.json()["detail"]) == (404, True), answer.text
    for model_id in ("sums@best:1", "../sums:1", "sums:", "a/b@c"):
        body = {"dataset_key": "data-v1", "dry_run": False, "model_id": model_id}
        assert (await api.post("/api/tunix/run?mode=async", json=body)).status_code == 422
    run = await make.run(api, model_id="sums:1", config={"method": "lora"})
    job = await hand.takes()
    folder = model(make.folder(hand.settings, run) / "model")
    (folder / "config.json").rename(folder / "adapter_config.json")
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    await hand.ends(job, make.ended(End.DONE))
    found = await promoted(api, run, "adapters")
    assert (found["kind"], found["provenance"]["method"], found["provenance"]["model_id"]) == (
        *("adapter", "lora"),
        "sums:1",
    )
    body = {"dataset_key": "data-v1", "dry_run": False, "model_id": "adapters:1"}
    answer = await api.post("/api/tunix/run?mode=async", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/model_id")


async def test_a_run_never_starts_from_a_damaged_version(api: httpx.AsyncClient, hand: Hand) -> None:
    run = await make.run(api, model_id="sums:1")
    for file in (await api.get("/api/models/sums/1/manifest")).json()["files"]:
        if file["path"] == "model.safetensors":
            place = stored(hand.settings, file["sha256"])
            content = place.read_bytes()
            place.unlink()
            place.write_bytes(content[:-1] + b"\0")
    await hand.does(await hand.takes())
    found = await shown(api, run)
    assert (found["status"], "model.safetensors" in found["status_reason"]) == ("failed", True)
    assert "SHA-256" in found["status_reason"]

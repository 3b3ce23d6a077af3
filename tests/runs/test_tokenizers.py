"""Data sets as a tokenizer makes the model see them: the ledger, and rows token by token."""

import uuid
from typing import Any

import httpx
import pytest

from tests.make import dataset, run, stored, trace
from tests.training.make import tokenizer_folder
from tunix_rt.base.settings import Settings
from tunix_rt.runs.logs import folder_of


async def rows(api: httpx.AsyncClient, **params: Any) -> dict[str, Any]:
    answer = await api.get("/api/datasets/data-v1/tokens", params={"tokenizer": "tiny", **params})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_the_rows_together_are_what_the_ledger_says(api: httpx.AsyncClient, settings: Settings) -> None:
    traces = [trace(n, prompt=f"What is {n} + 1?" + " please" * (n % 5)) for n in range(50)]
    await stored(api, *traces)
    await dataset(api, splits={"eval": 0.2})
    tokenizer_folder(settings.home / "models" / "tiny", *traces)
    params: dict[str, Any] = {"max_length": 60, "overlong": "truncate"}
    seen: list[dict[str, Any]] = []
    after: int | None = -1
    while after is not None:
        page = await rows(api, limit=20, after=after, **params)
        seen += page["data"]
        after = page["next_after"]
    assert [row["position"] for row in seen] == list(range(50))
    ledger = (await api.get("/api/datasets/data-v1/ledger", params={"tokenizer": "tiny", **params})).json()
    kept = [row for row in seen if row["reason"] is None]
    assert ledger["rows"]["trained"] == len(kept)
    assert ledger["tokens"]["truncated"] == sum(row["truncated"] for row in kept) > 0
    assert ledger["tokens"]["supervised"] == sum(row["stop"] - row["start"] for row in kept)
    assert ledger["tokens"]["context"] == sum(
        row["token_count"] - row["truncated"] - row["stop"] + row["start"] for row in kept
    )
    for row in kept:
        assert len(row["ids"]) == len(row["pieces"]) == row["token_count"]
        assert "".join(row["pieces"][row["start"] : row["stop"]]).endswith("<eos>")
    audit = await api.post("/api/datasets/data-v1/audit", json={"tokenizer": "tiny", **params})
    assert audit.json() == ledger


async def test_a_row_that_is_not_trained_says_why(api: httpx.AsyncClient, settings: Settings) -> None:
    await stored(api, trace(1), trace(2, prompt="§"))
    await dataset(api)
    tokenizer_folder(settings.home / "models" / "tiny", trace(1))
    [odd, good] = (await rows(api))["data"]
    assert (odd["reason"], odd["pieces"]) == ("unknown_character", [])
    assert "§" in odd["detail"]
    assert good["reason"] is None


async def test_a_split_is_shown_alone(api: httpx.AsyncClient, settings: Settings) -> None:
    await stored(api, *(trace(n) for n in range(30)))
    manifest = await dataset(api, splits={"eval": 0.3})
    tokenizer_folder(settings.home / "models" / "tiny", *(trace(n) for n in range(30)))
    held_out = (await rows(api, split="eval", limit=100))["data"]
    assert len(held_out) == manifest["splits"]["eval"]["count"]
    assert {row["split"] for row in held_out} == {"eval"}
    for path in ("tokens", "ledger"):
        answer = await api.get(f"/api/datasets/data-v1/{path}?tokenizer=tiny&split=no")
        assert answer.status_code == 404


async def test_the_tokenizers_are_those_of_models_and_of_runs(api: httpx.AsyncClient, settings: Settings) -> None:
    await stored(api, trace(1))
    await dataset(api)
    identity = await run(api)
    tokenizer_folder(settings.home / "models" / "tiny", trace(1))
    (settings.home / "models" / "other").mkdir()
    only = {"tokenizer": "tiny", "run": None, "dataset_key": None, "created_at": None}
    assert (await api.get("/api/tokenizers")).json() == {"data": [only]}
    assert (await api.get(f"/api/datasets/data-v1/tokens?run={identity}")).status_code == 404
    tokenizer_folder(folder_of(settings.home, uuid.UUID(identity)) / "tokenizer", trace(1))
    listed = (await api.get("/api/tokenizers")).json()["data"]
    assert [(one["tokenizer"], one["run"], one["dataset_key"]) for one in listed] == [
        ("tiny", None, None),
        (None, identity, "data-v1"),
    ]
    ours = (await api.get(f"/api/datasets/data-v1/tokens?run={identity}")).json()
    assert ours["data"][0]["reason"] is None
    dry = await run(api, dry_run=True)
    tokenizer_folder(folder_of(settings.home, uuid.UUID(dry)) / "tokenizer", trace(1))
    assert (await api.get("/api/tokenizers")).json()["data"] == listed, "a dry run offers none"
    assert (await api.get(f"/api/datasets/data-v1/tokens?run={dry}")).status_code == 200


@pytest.mark.parametrize("query", ["", "tokenizer=tiny&run=abcdef", "tokenizer=../tiny", "tokenizer=tiny&after=-2"])
async def test_one_tokenizer_is_named_and_never_a_path(api: httpx.AsyncClient, query: str) -> None:
    await stored(api, trace(1))
    await dataset(api)
    assert (await api.get(f"/api/datasets/data-v1/tokens?{query}")).status_code == 422

"""The sources of stored traces: named at import, filtered by, counted and changed; `none` means no source."""

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from tests.make import dataset, trace
from tunix_rt.base.db import Database
from tunix_rt.traces.models import Trace


def jsonl(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


async def bring(api: httpx.AsyncClient, *numbers: int, meta: dict[str, Any] | None = None, **params: str) -> Any:
    records = [trace(number, meta=meta or {}) for number in numbers]
    answer = await api.post("/api/traces/import", params=params, content=jsonl(*records))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def of_source(api: httpx.AsyncClient, source: str) -> list[int]:
    """The numbers in the prompts of a source's traces."""
    rows = (await api.get("/api/traces", params={"source": source, "limit": 200})).json()["data"]
    return sorted(int(row["prompt_preview"].split()[2]) for row in rows)


async def counts(api: httpx.AsyncClient, **filters: str) -> dict[str | None, int]:
    rows = (await api.get("/api/traces/source-counts", params=filters)).json()["data"]
    return {row["source"]: row["count"] for row in rows}


async def change(api: httpx.AsyncClient, **body: Any) -> tuple[int, int]:
    answer = await api.post("/api/traces/set-source", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["changed"], answer.json()["unchanged"]


# --- importing --------------------------------------------------------------------------------------------------


async def test_traces_without_a_source_are_found_counted_exported_and_built_by_the_word_none(
    api: httpx.AsyncClient,
) -> None:
    await bring(api, 1, 2)
    await bring(api, 3, source="gsm8k")
    assert await of_source(api, "none") == [1, 2]
    assert await counts(api) == {None: 2, "gsm8k": 1}
    assert await counts(api, q="4") == {"gsm8k": 1}
    assert (await api.get("/api/traces/export.jsonl?source=none")).content.count(b"\n") == 2
    manifest = await dataset(api, filters={"source": "none"})
    assert (manifest["trace_count"], manifest["filters"]) == (2, {"source": "none"})


async def test_no_source_is_ever_called_none(api: httpx.AsyncClient) -> None:
    report = await bring(api, 1, meta={"source": "a"}, source="none")
    assert report["source"] == "none"
    await bring(api, 2, meta={"source": "none"}, default_source="file")
    assert await counts(api) == {None: 2}


async def test_a_source_that_was_called_none_before_the_word_was_reserved_counts_as_none(
    api: httpx.AsyncClient, database: Database
) -> None:
    await bring(api, 1, 2, source="old")
    await bring(api, 3)
    async with database.write() as session:
        await session.execute(update(Trace).where(Trace.source == "old").values(source="none"))
    assert await counts(api) == {None: 3}
    assert await of_source(api, "none") == [1, 2, 3]
    assert await change(api, source="new", filters={"source": "none"}) == (3, 0)
    assert await of_source(api, "new") == [1, 2, 3]


async def test_a_default_source_is_that_of_lines_whose_meta_names_none(api: httpx.AsyncClient) -> None:
    content = jsonl(trace(1, meta={"source": "own"}), trace(2, meta={"source": 7}), trace(3))
    report = (await api.post("/api/traces/import?default_source=file", content=content)).json()
    assert report["source"] is None, "they differ"
    assert await of_source(api, "own") == [1]
    assert await of_source(api, "file") == [2, 3]
    assert (await bring(api, 4, default_source="file"))["source"] == "file"
    assert (await bring(api, 5, default_source="file", source="said"))["source"] == "said"
    assert (await bring(api, 6))["source"] == "none"


async def test_importing_again_with_a_source_sets_it_where_there_was_none_and_nowhere_else(
    api: httpx.AsyncClient,
) -> None:
    await bring(api, 1, 2)
    await bring(api, 3, source="first")
    report = await bring(api, 1, 2, 3, 4, source="second")
    assert (report["created"], report["already_present"], report["source_set"]) == (1, 3, 2)
    assert await counts(api) == {"second": 3, "first": 1}
    report = await bring(api, 1, 2, 3, 4, source="third")
    assert (report["already_present"], report["source_set"]) == (4, 0)
    assert await counts(api) == {"second": 3, "first": 1}


async def test_importing_again_without_a_source_takes_none_away(api: httpx.AsyncClient) -> None:
    await bring(api, 1, source="first")
    assert (await bring(api, 1))["source_set"] == 0
    assert (await bring(api, 1, source="none"))["source_set"] == 0
    assert await counts(api) == {"first": 1}


async def test_a_trace_that_is_posted_again_with_a_source_gets_it(api: httpx.AsyncClient) -> None:
    await api.post("/api/traces", json=trace(1))
    answer = await api.post("/api/traces", json=trace(1, meta={"source": "a"}))
    assert answer.status_code == 200
    assert await counts(api) == {"a": 1}


# --- changing ---------------------------------------------------------------------------------------------------


async def test_the_source_of_one_of_many_and_of_all_that_match_is_changed(api: httpx.AsyncClient) -> None:
    await bring(api, *range(10))
    rows = (await api.get("/api/traces")).json()["data"]
    ids = [row["id"] for row in rows]
    assert await change(api, source="one", ids=ids[:1]) == (1, 0)
    assert await change(api, source="one", ids=ids[:4]) == (3, 1)
    assert await change(api, source="two", ids=[ids[4], ids[4]]) == (1, 0)
    assert await change(api, source="words", filters={"q": "10"}) == (1, 0)
    assert await change(api, source="rest", filters={"source": "none"}) == (5, 0)
    assert await counts(api) == {"rest": 5, "one": 3, "two": 1, "words": 1}
    assert await change(api, source="all", filters={}) == (10, 0)
    assert await change(api, source="all", filters={}) == (0, 10)
    assert await change(api, source="none", filters={"max_steps": 1}) == (10, 0)
    assert await counts(api) == {None: 10}
    assert await change(api, source="x", filters={"source": "nothing"}) == (0, 0)


async def test_a_changed_source_leaves_digests_data_sets_and_full_text_as_they_were(api: httpx.AsyncClient) -> None:
    await bring(api, 1, 2, 3, source="before")
    rows = (await api.get("/api/traces")).json()["data"]
    manifest = await dataset(api, filters={"source": "before"})
    export = (await api.get("/api/datasets/data-v1/export.jsonl")).content
    assert await change(api, source="after", filters={}) == (3, 0)
    after = (await api.get("/api/traces")).json()["data"]
    assert [row | {"source": "before"} for row in after] == rows
    assert (await api.get("/api/datasets/data-v1")).json() == manifest
    assert (await api.get("/api/datasets/data-v1/export.jsonl")).content == export
    assert await counts(api, q="What") == {"after": 3}


async def test_of_very_many_sources_the_most_frequent_are_listed_and_no_source_always(api: httpx.AsyncClient) -> None:
    records = [trace(number, meta={"source": f"s{number // 2:04}"}) for number in range(2_003)]
    assert (await api.post("/api/traces/import", content=jsonl(*records, trace(3_000)))).status_code == 200
    answer = (await api.get("/api/traces/source-counts")).json()
    assert answer["total"] == 2_004
    assert [row["source"] for row in answer["data"]] == [*(f"s{rank:04}" for rank in range(1_000)), None]


async def test_an_id_that_is_not_there_changes_nothing(api: httpx.AsyncClient) -> None:
    await bring(api, 1)
    known = (await api.get("/api/traces")).json()["data"][0]["id"]
    body = {"source": "x", "ids": [known, "019ab3f2-0000-7000-8000-000000000000"]}
    answer = await api.post("/api/traces/set-source", json=body)
    assert answer.status_code == 404
    assert await counts(api) == {None: 1}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"source": "x"}, "either ids or filters"),
        ({"source": "x", "ids": ["0123456"], "filters": {}}, "either ids or filters"),
        ({"source": "", "filters": {}}, "at least 1 character"),
        ({"source": "x" * 201, "filters": {}}, "at most 200 characters"),
        ({"source": "x\0", "filters": {}}, "NUL"),
        ({"source": "x", "ids": []}, "at least 1 item"),
        ({"source": "x", "filters": {"sorce": "a"}}, "Did you mean 'source'?"),
        ({"filters": {}}, "required"),
    ],
)
async def test_a_wrong_request_says_what_is_wrong(api: httpx.AsyncClient, body: dict[str, Any], says: str) -> None:
    answer = await api.post("/api/traces/set-source", json=body)
    assert answer.status_code == 422
    assert says in answer.text

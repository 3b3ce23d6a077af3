"""A file uploaded as a data set."""

import json
from typing import Any

import httpx

from tests.make import stored, trace


def upload(*traces: Any) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in traces)


async def test_a_file_becomes_a_data_set_of_exactly_its_traces_in_its_order(api: httpx.AsyncClient) -> None:
    await stored(api, trace(9), trace(2))  # one in the file, one not
    file = upload(trace(3), trace(2), trace(1), trace(3))
    params = {"name": "mine", "source": "upload"}
    answer = await api.post("/api/datasets/ingest", params=params, content=file)
    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert (found["dataset_key"], found["trace_count"]) == ("mine-v1", 3)
    assert {key: found["ingested"][key] for key in ("created", "already_present", "lines")} == {
        "created": 2,
        "already_present": 2,
        "lines": 4,
    }
    export = await api.get("/api/datasets/mine-v1/export.jsonl")
    assert [json.loads(line)["prompt"] for line in export.content.splitlines()] == [
        trace(n)["prompt"] for n in (3, 2, 1)
    ]
    again = await api.post("/api/datasets/ingest", params=params, content=file)
    assert (again.status_code, again.json()["digest"], again.json()["version"]) == (200, found["digest"], "v1")


async def test_splits_are_those_of_a_build(api: httpx.AsyncClient) -> None:
    file = upload(*(trace(n) for n in range(60)))
    ingested = await api.post("/api/datasets/ingest", params={"name": "a", "split": "eval=0.2"}, content=file)
    built = await api.post("/api/datasets/build", json={"name": "b", "splits": {"eval": 0.2}})
    counts = [{name: split["count"] for name, split in each.json()["splits"].items()} for each in (ingested, built)]
    assert counts[0] == counts[1]
    assert counts[0]["eval"]


async def test_bad_lines_stop_it_or_are_skipped_and_shown(api: httpx.AsyncClient) -> None:
    file = upload(trace(1)) + b"nonsense\n"
    answer = await api.post("/api/datasets/ingest", params={"name": "a"}, content=file)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "line 2"
    assert (await api.get("/api/traces")).json()["data"] == []
    assert (await api.get("/api/datasets")).json()["data"] == []
    skipping = {"name": "a", "on_error": "skip"}
    found = (await api.post("/api/datasets/ingest", params=skipping, content=file)).json()
    assert (found["trace_count"], found["ingested"]["rejected_count"]) == (1, 1)
    empty = await api.post("/api/datasets/ingest", params=skipping, content=b"nonsense\n")
    assert (empty.status_code, empty.json()["detail"].split(":")[0]) == (422, "Dataset is empty")


async def test_a_bad_name_split_or_key_that_is_taken_is_told(api: httpx.AsyncClient) -> None:
    for params in ({"name": "../up"}, {"name": "a", "split": "eval"}, {"name": "a", "split": "train=0.5"}, {}):
        answer = await api.post("/api/datasets/ingest", params=params, content=upload(trace(1)))
        assert answer.status_code == 422, params
        assert answer.json()["errors"], params
    fixed = {"name": "a", "version": "one"}
    assert (await api.post("/api/datasets/ingest", params=fixed, content=upload(trace(1)))).status_code == 201
    taken = await api.post("/api/datasets/ingest", params=fixed, content=upload(trace(2)))
    assert (taken.status_code, "never changes" in taken.json()["detail"]) == (409, True)

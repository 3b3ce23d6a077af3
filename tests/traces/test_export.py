"""Traces on their way out: streamed, oldest first, the same bytes each time."""

import asyncio
import json
import tracemalloc
from typing import Any

import httpx
import pytest

from tests.make import stored, trace
from tunix_rt.app import create_app
from tunix_rt.base.settings import Settings
from tunix_rt.cli.door import _InProcess
from tunix_rt.traces import export


async def exported(api: httpx.AsyncClient, **params: Any) -> bytes:
    answer = await api.get("/api/traces/export.jsonl", params=params)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return answer.content


async def test_an_export_is_oldest_first_and_the_same_each_time(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await stored(api, *map(trace, range(25)))
    whole = await exported(api)
    assert [json.loads(line)["id"] for line in whole.splitlines()] == ids
    assert whole == await exported(api)
    for first, many, characters in ((1, 3, 50), (5, 5, 10**9), (25, 1, 1)):
        monkeypatch.setattr(export, "FIRST_TRACES", first)
        monkeypatch.setattr(export, "BATCH_TRACES", many)
        monkeypatch.setattr(export, "BATCH_CHARACTERS", characters)
        assert await exported(api) == whole


async def test_a_record_is_the_trace_with_its_id_in_one_form(api: httpx.AsyncClient) -> None:
    step = {"content": "c", "type": "t", "i": 4, "meta": {"long": 1.5, "b": [None]}}
    [found] = await stored(api, trace(1, prompt="é\n", steps=[step], final_answer="a", meta={"zz": 1, "a": {"d": 1}}))
    assert (await exported(api)).decode() == (
        f'{{"id":"{found}","trace_version":"1.0","prompt":"é\\n",'
        '"steps":[{"i":4,"type":"t","content":"c","meta":{"b":[null],"long":1.5}}],'
        '"final_answer":"a","meta":{"a":{"d":1},"zz":1}}\n'
    )


async def test_an_export_has_the_filters_of_the_list(api: httpx.AsyncClient) -> None:
    ids = await stored(api, *(trace(n, meta={"third": n % 3 == 0}) for n in range(9)))
    found = [json.loads(line)["id"] for line in (await exported(api, **{"meta.third": "true"})).splitlines()]
    assert found == ids[::3]
    assert await exported(api, source="other") == b""


async def test_an_export_reads_back_to_the_same_traces(api: httpx.AsyncClient) -> None:
    metas = [{"label": True}, {"x": 1.0, "y": 1e-7, "z": -0.0, "é": 2**53 - 1}, {"deep": [[{"k": None}]]}]
    steps = [{"i": i, "type": "t", "content": "c", "meta": meta} for i, meta in enumerate(metas)]
    await stored(api, trace(1, steps=steps, meta={"big": 1e20, "small": 2**63 - 1}), trace(2))
    report = (await api.post("/api/traces/import", content=await exported(api))).json()
    assert (report["created"], report["already_present"], report["format"]) == (0, 2, "trace")


async def test_both_databases_export_the_same_bytes(
    settings: Settings, api: httpx.AsyncClient, tmp_path_factory: pytest.TempPathFactory
) -> None:
    others = create_app(Settings(home=tmp_path_factory.mktemp("other")))
    metas = [{"b": 1, "aa": {"z": 1.50, "y": []}}, {"n": -0.5, "m": "é"}]
    traces = [
        trace(n, meta=metas[n % 2], steps=[{"i": 0, "type": "t", "content": "c", "meta": metas[1]}]) for n in (1, 2)
    ]
    async with (
        others.router.lifespan_context(others),
        httpx.AsyncClient(transport=httpx.ASGITransport(others), base_url="http://localhost") as other,
    ):
        found = []
        for one in (api, other):
            await stored(one, *traces)
            found.append([line.split(b",", 1)[1] for line in (await exported(one)).splitlines()])  # ids differ
    assert found[0] == found[1]


async def test_an_export_holds_little_and_may_be_left(
    settings: Settings, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = (trace(n, steps=[{"i": 0, "type": "t", "content": "word " * 4_000}]) for n in range(300))
    content = b"".join(json.dumps(one).encode() + b"\n" for one in many)
    assert (await api.post("/api/traces/import", content=content)).status_code == 200
    monkeypatch.setattr(export, "BATCH_CHARACTERS", 2**16)
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=_InProcess(app), base_url="http://localhost", timeout=None) as client,  # noqa: S113
    ):
        await client.get("/api/traces")
        tracemalloc.start()
        try:
            size = 0
            async with client.stream("GET", "/api/traces/export.jsonl") as answer:
                async for chunk in answer.aiter_bytes():
                    size += len(chunk)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert size > len(content)
        assert peak < size / 4
        async with asyncio.timeout(60), client.stream("GET", "/api/traces/export.jsonl") as answer:
            await anext(answer.aiter_bytes())
        assert (await client.get("/api/traces?limit=1")).status_code == 200

"""Importing a file: streamed, every line accounted for, nothing half stored."""

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.make import trace
from tunix_rt.app import create_app
from tunix_rt.base import jsontext
from tunix_rt.base.settings import Settings
from tunix_rt.traces import stream

BAD = [
    (b'{"question": "q", "answer": "\xff"}', "not UTF-8: byte 0xff"),
    (json.dumps(trace(1)).encode()[:-9], "cut off?"),
    (b'{"trace_version": NaN}', "NaN is not JSON"),
    (json.dumps(trace(1, steps=[{"i": 3, "type": "t", "content": "c"}] * 2)).encode(), "steps/1/i: the step number 3"),
    (json.dumps(trace(1, promt="x")).encode(), "promt: unknown field. Did you mean 'prompt'?"),
    (b"[1]", "a list, not an object"),
    (b"null", "null, not an object"),
    (b"{}", "trace_version: Field required"),
]


def jsonl(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


async def bring(api: httpx.AsyncClient, content: Any, **params: str) -> httpx.Response:
    return await api.post("/api/traces/import", params=params, content=content)


async def count(api: httpx.AsyncClient) -> int:
    return (await api.get("/api/traces/export.jsonl")).content.count(b"\n")


async def test_gsm8k_imports_whole_and_a_second_time_not_at_all(api: httpx.AsyncClient, gsm8k: Path) -> None:
    content = gsm8k.read_bytes()  # noqa: ASYNC240  # nothing else runs
    for created, present in ((7_473, 0), (0, 7_473)):
        answer = await bring(api, content)
        assert answer.status_code == 200
        assert answer.json() == {
            "format": "gsm8k",
            "created": created,
            "already_present": present,
            "rejected": [],
            "rejected_count": 0,
            "lines": 7_473,
            "blank": 0,
        }


async def test_what_repeats_within_a_file_is_already_present(api: httpx.AsyncClient) -> None:
    report = (await bring(api, jsonl(trace(1), trace(2), trace(1, meta={}), trace(2)))).json()
    assert (report["created"], report["already_present"]) == (2, 2)


async def test_one_bad_line_stops_the_whole_import(api: httpx.AsyncClient) -> None:
    for line, says in BAD:
        answer = await bring(api, jsonl(trace(1), trace(2)) + line + b"\n" + jsonl(trace(3)))
        assert answer.status_code == 422, says
        [error] = answer.json()["errors"]
        assert error["pointer"] == "line 3"
        assert says in error["detail"]
        assert answer.json()["detail"] == "1 of 4 lines is bad; nothing was stored."
    assert await count(api) == 0


async def test_bad_lines_can_be_skipped(api: httpx.AsyncClient) -> None:
    content = jsonl(trace(1)) + b"\n".join(line for line, _ in BAD) + b"\n \n" + jsonl(trace(2), trace(1))
    report = (await bring(api, content, on_error="skip")).json()
    assert [bad["line"] for bad in report["rejected"]] == list(range(2, 2 + len(BAD)))
    for bad, (_, says) in zip(report["rejected"], BAD, strict=True):
        assert says in bad["reason"]
    assert (report["created"], report["already_present"], report["blank"]) == (2, 1, 1)
    assert report["lines"] == len(BAD) + 4
    assert await count(api) == 2


async def test_the_first_hundred_bad_lines_are_shown_and_all_are_counted(api: httpx.AsyncClient) -> None:
    content = jsonl(trace(1)) + b"x\n" * 250
    report = (await bring(api, content, on_error="skip")).json()
    assert (len(report["rejected"]), report["rejected_count"]) == (100, 250)
    stopped = (await bring(api, content)).json()
    assert len(stopped["errors"]) == 100
    assert stopped["detail"].startswith("250 of 251 lines are bad")


async def test_a_file_without_a_line_is_refused(api: httpx.AsyncClient) -> None:
    for content, says in (
        (b"", "nothing"),
        (b"\n \n\t\n", "only blank lines (3)"),
        (b"\xef\xbb\xbf", "blank lines (1)"),
    ):
        for on_error in ("stop", "skip"):
            answer = await bring(api, content, on_error=on_error)
            assert answer.status_code == 422
            assert says in answer.json()["detail"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (json.dumps([trace(1), trace(2)]), "one JSON array"),
        (json.dumps([trace(1), trace(2)], indent=2), "one JSON array"),
        (json.dumps(trace(1), indent=2), "JSON over several lines"),
    ],
)
async def test_json_that_is_no_jsonl_gets_the_command_that_mends_it(
    api: httpx.AsyncClient, content: str, says: str
) -> None:
    answer = await bring(api, content.encode())
    assert answer.status_code == 422
    assert says in answer.json()["hint"]
    assert "jq -c" in answer.json()["hint"]


async def test_windows_line_ends_a_byte_order_mark_and_no_last_newline_are_fine(api: httpx.AsyncClient) -> None:
    content = b"\xef\xbb\xbf" + jsonl(trace(1), trace(2)).replace(b"\n", b"\r\n").rstrip()
    assert (await bring(api, content)).json()["created"] == 2


async def test_a_format_that_cannot_be_told_or_is_unknown_lists_the_formats(api: httpx.AsyncClient) -> None:
    answer = await bring(api, jsonl({"text": "x"}))
    [error] = answer.json()["errors"]
    assert "'text'" in error["detail"]
    assert "prompt-completion" in error["detail"]
    answer = await bring(api, jsonl({"text": "x"}), format="gsm8")
    assert "Did you mean 'gsm8k'?" in answer.json()["detail"]


async def test_the_source_is_what_was_said_else_what_meta_says(api: httpx.AsyncClient) -> None:
    await bring(api, jsonl(trace(1, meta={"source": "a"}), trace(2, meta={"source": 5}), trace(3, meta={"source": ""})))
    await bring(api, jsonl(trace(4, meta={"source": "a"})), source="b")
    found = (await api.get("/api/traces")).json()["data"]
    assert [row["source"] for row in found] == ["b", None, None, "a"]


async def test_a_file_may_come_as_a_form(api: httpx.AsyncClient) -> None:
    files = {"file": ("traces.jsonl", jsonl(trace(1), trace(2)))}
    assert (await api.post("/api/traces/import", files=files)).json()["created"] == 2


async def test_an_upload_has_its_own_limit(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"upload_limit_bytes": 3_000, "body_limit_bytes": 10}))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as api,
    ):
        assert (await bring(api, jsonl(*map(trace, range(10))))).status_code == 200
        assert (await bring(api, jsonl(*map(trace, range(99))))).status_code == 413
        assert await count(api) == 10


@pytest.mark.parametrize("params", [{"on_error": "ignore"}, {"fromat": "trace"}, {"source": ""}, {"source": "x" * 201}])
async def test_wrong_parameters_are_refused(api: httpx.AsyncClient, params: dict[str, str]) -> None:
    assert (await bring(api, jsonl(trace(1)), **params)).status_code == 422


# --- size -------------------------------------------------------------------------------------------------------


async def test_a_line_over_the_limit_is_a_bad_line_and_is_never_held(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"upload_limit_bytes": None}))
    transport = httpx.ASGITransport(app)
    size = 200 * 2**20

    async def chunks() -> AsyncIterator[bytes]:
        yield jsonl(trace(1)) + b'{"prompt": "'
        for _ in range(size // 2**18):
            yield b"x" * 2**18
        yield b'"}\n' + jsonl(trace(2))

    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as api,
    ):
        await bring(api, jsonl(trace(3)))
        tracemalloc.start()
        try:
            report = (await bring(api, chunks(), on_error="skip")).json()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert report["rejected"] == [{"line": 2, "reason": "longer than 64 MiB"}]
    assert report["created"] == 2
    assert peak < jsontext.MAX_LINE_BYTES + 16 * 2**20


async def test_large_traces_are_stored_in_batches_of_bounded_size(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    keep = stream.keep

    async def watched(database: Any, batch: Any) -> Any:
        sizes.append(len(batch))
        return await keep(database, batch)

    monkeypatch.setattr(stream, "keep", watched)
    monkeypatch.setattr(stream, "BATCH_CHARACTERS", 100_000)
    monkeypatch.setattr(stream, "HELD_CHARACTERS", 100_000)
    report = (await bring(api, jsonl(*(trace(n, prompt=f"{n} " * 10_000) for n in range(10, 30))))).json()
    assert report["created"] == 20
    assert max(sizes) <= 5


# --- crashes and company ----------------------------------------------------------------------------------------


async def test_an_import_that_broke_off_is_finished_by_running_it_again(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, calls = stream.keep, 0

    async def dying(database: Any, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("the machine went away")
        return await keep(database, batch)

    content = jsonl(*map(trace, range(50)))
    monkeypatch.setattr(stream, "BATCH_TRACES", 10)
    monkeypatch.setattr(stream, "keep", dying)
    assert (await bring(api, content)).status_code == 500
    assert await count(api) == 20, "whole batches are kept"
    report = (await bring(api, content)).json()
    assert (report["created"], report["already_present"]) == (30, 20)


async def test_two_imports_of_the_same_file_at_once_share_the_work(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BATCH_TRACES", 50)
    forward = [trace(n % 700) for n in range(1_000)]
    files = [jsonl(*forward), jsonl(*reversed(forward)), jsonl(*forward[500:], *forward[:500])]
    answers = await asyncio.gather(*(bring(api, content) for content in files))
    assert [answer.status_code for answer in answers] == [200] * 3
    reports = [answer.json() for answer in answers]
    assert sum(report["created"] for report in reports) == 700
    assert sum(report["already_present"] for report in reports) == 2_300
    assert await count(api) == 700


# --- every line is accounted for --------------------------------------------------------------------------------

lines = st.one_of(
    st.integers(0, 5).map(lambda n: (json.dumps(trace(n)).encode(), "good")),
    st.sampled_from([(line, "bad") for line, _ in BAD]),
    st.sampled_from([(b"", "blank"), (b"  \t", "blank"), (b"\r", "blank")]),
)


@given(st.lists(lines, min_size=1, max_size=30), st.booleans(), st.integers(1, 50))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
async def test_every_line_is_accounted_for(
    api: httpx.AsyncClient, drawn: list[tuple[bytes, str]], ends: bool, size: int
) -> None:
    content = b"\n".join(line for line, _ in drawn) + (b"\n" if ends else b"")
    kinds = [kind for _, kind in drawn]
    if not ends and not drawn[-1][0]:  # nothing after the last newline is no line
        kinds.pop()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), size * 10):
            yield content[start : start + size * 10]

    before = await count(api)
    answer = await bring(api, chunks(), on_error="skip", format="trace")
    if set(kinds) <= {"blank"}:
        assert answer.status_code == 422
        return
    report = answer.json()
    assert (report["lines"], report["blank"]) == (len(kinds), kinds.count("blank"))
    assert report["rejected_count"] == kinds.count("bad")
    assert [bad["line"] for bad in report["rejected"]] == [n for n, kind in enumerate(kinds, 1) if kind == "bad"]
    assert report["created"] + report["already_present"] == kinds.count("good")
    assert report["created"] == await count(api) - before

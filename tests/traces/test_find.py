"""Finding traces: filters run in the database, mean the same on both, and pages never skip or repeat."""

import asyncio
import math
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from tests.make import dataset, stored, trace
from tunix_rt.base.db import Database
from tunix_rt.traces.models import Trace
from tunix_rt.traces.schemas import TraceFilters
from tunix_rt.traces.service import conditions


async def numbers(api: httpx.AsyncClient, query: str = "", **params: Any) -> set[int]:
    """The numbers of the traces found: `meta.number` is in the prompt."""
    answer = await api.get(f"/api/traces?{query}", params=params or None)
    assert answer.status_code == 200, answer.text
    return {int(row["prompt_preview"].split()[-1].rstrip("?")) for row in answer.json()["data"]}


def numbered(number: int, prompt: str = "", **changes: Any) -> dict[str, Any]:
    return trace(number, prompt=f"{prompt} {number}?", **changes)


async def test_a_list_shows_the_beginning_of_each_trace_newest_first(api: httpx.AsyncClient) -> None:
    ids = await stored(api, trace(1), trace(2, prompt="é" * 300, final_answer="y" * 300))
    body = (await api.get("/api/traces")).json()
    assert [row["id"] for row in body["data"]] == ids[::-1]
    row = body["data"][0]
    assert (row["prompt_preview"], row["answer_preview"]) == ("é" * 200, "y" * 200)
    assert (row["step_count"], row["source"], row["trace_version"]) == (1, None, "1.0")
    assert row["created_at"].endswith("Z")
    assert body["pagination"] == {"limit": 20, "next_cursor": None}


async def test_filters_hold_together(api: httpx.AsyncClient) -> None:
    step = {"type": "t", "content": "c"}
    await stored(
        api,
        *(
            numbered(n, steps=[{"i": i, **step} for i in range(n)], meta={"source": "even" if n % 2 == 0 else "odd"})
            for n in range(1, 7)
        ),
    )
    assert await numbers(api, source="odd") == {1, 3, 5}
    assert await numbers(api, min_steps=3, max_steps=4) == {3, 4}
    assert await numbers(api, source="even", min_steps=3) == {4, 6}
    assert await numbers(api, source="none") == set()


async def test_times_exclude_the_moment_itself(api: httpx.AsyncClient) -> None:
    await stored(api, numbered(1))
    await stored(api, numbered(2))
    [second, first] = [row["created_at"] for row in (await api.get("/api/traces")).json()["data"]]
    assert await numbers(api, created_after=first) == {2}
    assert await numbers(api, created_before=second) == {1}
    assert await numbers(api, created_after="2000-01-01", created_before="2999-01-01T00:00:00+05:00") == {1, 2}


# --- meta -------------------------------------------------------------------------------------------------------

METAS: list[Any] = [
    "text", "true", True, "false", False, "null", None, 1, "1", 1.0, 1.5, "1.5", -3, 0, 0.1, 10**15, 2**53 + 1, 1e300,
    [], [1], {}, {"a": 1}, "", " ", "a\"b'c\\", "ünï", "%", "1e0", "01", "0.10", "tru", "1" * 70,
]  # fmt: skip


KEYS = ["k", "0", "a.b", 'q"k', "$", "[0]", "é", "-> x", "", "meta.k"]


async def test_a_value_of_meta_is_compared_as_text_and_a_number_as_a_number(api: httpx.AsyncClient) -> None:
    await stored(api, *(numbered(n, meta=dict.fromkeys(KEYS, value)) for n, value in enumerate(METAS)))
    await stored(api, numbered(99, meta={}))
    asked = ["text", "true", "false", "null", "1", "1.0", "1.5", "-3", "0", "-0", "0.1", "0.10", "1e0", "", " ", "[]",
             "{}", "a\"b'c\\", "ünï", "%", "01", "9007199254740993", "1e300", "1e999", "TRUE", "1" * 70]  # fmt: skip
    for said in asked:
        for key in KEYS:
            found = await numbers(api, f"meta.{quote(key)}={quote(said)}&limit=200")
            assert found == {n for n, value in enumerate(METAS) if matches(value, said)}, (key, said)


def matches(value: Any, text: str) -> bool:
    if isinstance(value, str):
        return value == text
    if isinstance(value, bool):
        return text == str(value).lower()
    if not isinstance(value, int | float) or text != text.strip() or text == "01":
        return False
    try:
        wanted = float(text) if set(text) & set(".e") else int(text)
    except ValueError:
        return False
    return wanted == value and math.isfinite(wanted)


async def test_several_keys_of_meta_hold_together(api: httpx.AsyncClient) -> None:
    await stored(api, *(numbered(n, meta={"a": n % 2, "b": n % 3}) for n in range(6)))
    assert await numbers(api, "meta.a=1&meta.b=2") == {5}


# --- full text --------------------------------------------------------------------------------------------------


FOUND: list[tuple[str, set[int]]] = [
    ("clips", {1, 2}),
    ("CLIPS friends", {1}),
    ("friends clips", {1}),
    ("seventy", {1}),
    ("clips seventy-two", {1}),
    ("clip", set()),
    ("über", {3}),
    ("uber", set()),
    ("ate", {4}),
    ("2 3", {4}),
    ("2/3", {4}),
    ("3/2", set()),
    ("50", {4}),
    ("$3.50!", {4}),
    ("example", {4}),
    ("中文", {3}),
    ("clips + -", {1, 2}),
]


async def test_all_words_must_occur_in_prompt_or_answer(api: httpx.AsyncClient) -> None:
    await stored(
        api,
        numbered(1, "She sold clips to friends", final_answer="seventy-two"),
        numbered(2, "Clips, nothing else", steps=[{"i": 0, "type": "t", "content": "friends"}], final_answer="x"),
        numbered(3, "Das ist über 中文", final_answer="x"),
        numbered(4, "At the end.She.ate 2/3 of it for $3.50, see http://example.org/a", final_answer="x"),
    )
    for q, expected in FOUND:
        assert await numbers(api, q=q) == expected, q


async def test_the_syntax_of_full_text_search_is_only_text(api: httpx.AsyncClient) -> None:
    await stored(api, numbered(1, "a"), numbered(2, "b"))
    for q in (
        'a"b',
        "a OR b",
        "NOT a",
        "a*",
        "a NEAR b",
        "prompt:a",
        "(a",
        "a & !b |",
        "a:*",
        "^a",
        "{a}",
        "'a",
        "\\a",
    ):
        answer = await api.get("/api/traces", params={"q": q})
        assert answer.status_code == 200, q
        assert len(answer.json()["data"]) <= 1, "nothing of it is an OR"


async def test_postgresql_searches_words_through_its_index(database_url: str, api: httpx.AsyncClient) -> None:
    if not database_url.startswith("postgresql"):
        pytest.skip("of PostgreSQL alone")
    database = Database(database_url)
    try:
        async with database.read() as session:
            await session.execute(text("SET LOCAL enable_seqscan = off"))
            query = select(Trace.number).where(*conditions(TraceFilters(q="two words"), session))
            plan = query.compile(session.get_bind(), compile_kwargs={"literal_binds": True})
            found = await session.execute(text("EXPLAIN " + str(plan).replace("%%", "%").replace(":", "\\:")))
            assert "ix_traces_fulltext" in str(found.all())
    finally:
        await database.close()


# --- wrong questions --------------------------------------------------------------------------------------------


WRONG = [
    ("q=%00", "NUL"),
    ("meta.x=a%00b", "NUL"),
    ("meta.%00=1", "NUL"),
    ("source=%ff", "UTF-8"),
    ("meta.x=1&meta.x=2", "meta.x"),
    ("q=", "no word"),
    ("q=%22", "no word"),
    ("q=" + "x" * 1_001, "q"),
    ("source=", "source"),
    ("min_steps=-1", "min_steps"),
    ("min_steps=many", "min_steps"),
    ("max_steps=99999999999999999999999", "max_steps"),
    ("min_steps=3&max_steps=2", "max_steps"),
    ("created_after=yesterday", "created_after"),
    ("created_after=0001-01-01T00:00:00%2B14:00", "created_after"),
    ("created_after=2026-01-02&created_before=2026-01-01", "created_before"),
    ("limit=0", "limit"),
    ("limit=201", "limit"),
    ("cursor=nonsense", "cursor"),
    ("cursor=%e2%82%ac", "cursor"),
    ("sorce=x", "Did you mean 'source'?"),
    ("meta=x", "Unknown query parameter 'meta'"),
]


async def test_a_wrong_question_is_422_and_names_itself(api: httpx.AsyncClient) -> None:
    for query, names in WRONG:
        answer = await api.get(f"/api/traces?{query}")
        assert answer.status_code == 422, query
        assert names in answer.text.replace('\\"', '"')
        if "limit" not in query and "cursor" not in query:
            assert (await api.get(f"/api/traces/export.jsonl?{query}")).status_code == 422, query


# --- pages ------------------------------------------------------------------------------------------------------


@given(before=st.integers(0, 12), limit=st.integers(1, 5), between=st.lists(st.integers(0, 4), max_size=12))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
async def test_pages_neither_skip_nor_repeat_while_traces_are_added(
    api: httpx.AsyncClient, before: int, limit: int, between: list[int]
) -> None:
    serial = iter(range(10**9))

    async def add(count: int) -> list[str]:
        new = [trace(next(serial), final_answer=f"{before}{limit}{between}") for _ in range(count)]
        return await stored(api, *new) if new else []

    await add(before)
    there = [row["id"] for row in (await api.get("/api/traces?limit=200")).json()["data"]]
    seen: list[str] = []
    cursor: dict[str, Any] = {}
    added: list[str] = []
    while True:
        page = (await api.get("/api/traces", params=cursor | {"limit": limit})).json()
        seen += [row["id"] for row in page["data"]]
        assert len(page["data"]) <= limit
        if page["pagination"]["next_cursor"] is None:
            break
        cursor = {"cursor": page["pagination"]["next_cursor"]}
        added += await add(between.pop() if between else 0)
    assert seen == there
    assert not set(added) & set(there)
    for one in there:
        await api.delete(f"/api/traces/{one}")
    for one in added:
        await api.delete(f"/api/traces/{one}")


async def test_a_list_is_whole_while_an_import_runs(api: httpx.AsyncClient) -> None:
    ids = await stored(api, *map(trace, range(100)))
    content = b"\n".join(httpx.Request("POST", "http://x", json=trace(n)).read() for n in range(100, 1_500))
    adding = asyncio.create_task(api.post("/api/traces/import", content=content))
    seen: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = (await api.get("/api/traces", params=cursor | {"limit": 7})).json()
        seen += [row["id"] for row in page["data"]]
        if page["pagination"]["next_cursor"] is None:
            break
        cursor = {"cursor": page["pagination"]["next_cursor"]}
    assert (await adding).json()["created"] == 1_400
    assert [one for one in seen if one in set(ids)] == ids[::-1]
    assert len(set(seen)) == len(seen)


async def test_traces_and_data_sets_are_sorted_over_all_rows(api: httpx.AsyncClient) -> None:
    steps = [{"i": place, "type": "sum", "content": "1"} for place in range(3)]
    ids = await stored(api, *(trace(number, steps=steps[: 1 + number % 3]) for number in range(7)))
    cursor, seen = "", list[str]()
    while True:
        body = (await api.get(f"/api/traces?sort=-step_count&limit=3{cursor}")).json()
        seen += [row["id"] for row in body["data"]]
        if (after := body["pagination"]["next_cursor"]) is None:
            break
        cursor = f"&cursor={after}"
    assert seen == [ids[place] for place in (5, 2, 4, 1, 6, 3, 0)]
    oldest = (await api.get("/api/traces?sort=created_at&limit=2")).json()["data"]
    assert oldest[0]["created_at"] <= oldest[1]["created_at"]
    for name, limit in (("b", 3), ("a_x", 5), ("c", 4)):
        await dataset(api, name, limit=limit)
    rows = (await api.get("/api/datasets?sort=-trace_count")).json()["data"]
    assert [row["dataset_key"] for row in rows] == ["a_x-v1", "c-v1", "b-v1"]
    assert [row["name"] for row in (await api.get("/api/datasets?q=A_X")).json()["data"]] == ["a_x"]
    assert (await api.get("/api/traces?sort=prompt")).status_code == 422

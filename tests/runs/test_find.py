"""Finding runs, on both databases: pages that skip and repeat nothing, and filters against a second, slower way."""

import base64
import contextlib
import json
import operator
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from tests.make import Hand, dataset, ended, folder, run, stored, trace
from tunix_rt.base.db import Database
from tunix_rt.base.errors import BadInput
from tunix_rt.base.settings import Settings
from tunix_rt.jobs.retry import End
from tunix_rt.runs.models import Run
from tunix_rt.runs.search import conditions_of

RUNS = "/api/tunix/runs"
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@pytest.fixture
async def data(api: httpx.AsyncClient) -> None:
    """Two data sets, `data-v1` and `other-v1`."""
    await stored(api, trace(1))
    await dataset(api)
    await dataset(api, "other")


async def listed(api: httpx.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    """The rows of a list whose query string is written as a user writes it."""
    answer = await api.get(f"{RUNS}?{quote(query, safe='=&!~:,')}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def ids(api: httpx.AsyncClient, query: str = "") -> list[str]:
    return [row["run_id"] for row in await listed(api, query)]


async def trained(api: httpx.AsyncClient, hand: Hand, metrics: dict[str, Any], **request: Any) -> str:
    """A completed run whose process told figures of one step."""
    run_id = await run(api, **request)
    path = folder(hand.settings, run_id)
    path.mkdir(parents=True)
    (path / "events.jsonl").write_text(json.dumps({"event": "step", "step": 1, **metrics}) + "\n")
    await hand.ends(await hand.takes(), ended(End.DONE))
    return run_id


async def test_a_sorted_list_skips_and_repeats_nothing_and_what_has_no_value_is_last(
    api: httpx.AsyncClient, data: None, database: Database
) -> None:
    made = [await run(api) for _ in range(9)]
    async with database.write() as session:
        for number, run_id in enumerate(made[:7]):
            loss = ["NaN", 0.5, 2, -1.5, 0.5, "Infinity", 1e300][number]
            started = datetime(2026, 1, 1 + number % 3, tzinfo=timezone(timedelta(hours=2)))
            values = {"metrics": {"loss": loss}, "score": number % 2 / 3, "started_at": started, "attempt": number % 4}
            await session.execute(update(Run).where(Run.id == uuid.UUID(run_id)).values(values))
    shown = {row["run_id"]: row for row in await listed(api, "limit=200")}

    def value(row: dict[str, Any], name: str) -> Any:
        found = row["metrics"].get("loss") if name == "metric.loss" else row.get(name)
        return None if found in ("NaN", "Infinity") else found

    for name in ("created_at", "status", "score", "started_at", "attempt", "metric.loss", "param.learning_rate"):
        for sign in ("", "-"):
            seen: list[str] = []
            cursor: dict[str, Any] = {}
            while True:
                answer = await api.get(RUNS, params={"limit": 2, "sort": sign + name, **cursor})
                assert answer.status_code == 200, answer.text
                page = answer.json()
                seen += [row["run_id"] for row in page["data"]]
                after = page["pagination"]["next_cursor"]
                if after is None:
                    break
                cursor = {"cursor": after}
            newest_first = made[::-1]
            some = [one for one in newest_first if name.startswith("param") or value(shown[one], name) is not None]
            if not name.startswith("param"):  # which are all the same
                some.sort(key=lambda one, name=name: value(shown[one], name), reverse=sign == "-")  # type: ignore[misc]
            assert seen == some + [one for one in newest_first if one not in some], sign + name
    forged = base64.urlsafe_b64encode(json.dumps(["-score", "x", made[0]]).encode()).decode()
    for query in (
        "sort=",
        "sort=los",
        "sort=metric.",
        "sort=id",
        "sort=-score&cursor=x",
        f"sort=-score&cursor={forged}",
    ):
        answer = await api.get(f"{RUNS}?{query}")
        assert answer.status_code == 422, query
    assert "Did you mean 'score'" in (await api.get(f"{RUNS}?sort=scoree")).json()["detail"]


async def test_pages_go_from_new_to_old_and_skip_and_repeat_nothing(api: httpx.AsyncClient, data: None) -> None:
    made = [await run(api) for _ in range(7)]
    seen: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        answer = await api.get(RUNS, params={"limit": 3, **cursor})
        page = answer.json()
        assert len(page["data"]) <= page["pagination"]["limit"] == 3
        seen += [row["run_id"] for row in page["data"]]
        if page["pagination"]["next_cursor"] is None:
            break
        cursor = {"cursor": page["pagination"]["next_cursor"]}
        await run(api)  # somebody adds one between any two pages
    assert seen == made[::-1]
    for query in ("limit=0", "limit=201", "limit=x", "cursor=x", "cursor=" + "A" * 300, "page=2", "statuss=failed"):
        assert (await api.get(f"{RUNS}?{query}")).status_code == 422, query


async def test_every_column_filters(api: httpx.AsyncClient, data: None, database: Database, settings: Settings) -> None:
    hand = Hand(database, settings)
    (settings.home / "models" / "tiny").mkdir(parents=True)
    first = await run(api)
    await hand.ends(await hand.takes(), ended(End.REFUSED))
    second = await run(api, "other-v1", model_id="tiny")
    third = await run(api, engine="torch", dry_run=True)
    times = {row["run_id"]: row["created_at"] for row in await listed(api, "mode=all")}
    for query, expected in {
        "": [second, first],
        "mode=all": [third, second, first],
        "status=failed": [first],
        "status=pending": [second],
        "status=pending&mode=all": [third, second],
        "status=pending&status=failed": [second, first],
        "status=running": [],
        "dataset_key=other-v1": [second],
        "dataset_key=other": [],
        "model_id=tiny": [second],
        "model_id=scratch": [first],
        "mode=dry-run": [third],
        "mode=local": [second, first],
        "mode=ray": [],
        "engine=torch": [],
        "engine=torch&mode=all": [third],
        "engine=tunix&status=pending": [second],
        f"created_after={times[first]}&mode=all": [third, second],
        f"created_before={times[third]}": [second, first],
        f"created_after={times[first]}&created_before={times[third]}": [second],
    }.items():
        assert await ids(api, query) == expected, query
    elsewhere = datetime.fromisoformat(times[second]).astimezone(timezone(timedelta(hours=2))).isoformat()
    assert await ids(api, f"created_after={elsewhere}&mode=all") == [third], "any zone will do"
    assert (await api.get(f"{RUNS}/{third}")).json()["mode"] == "dry-run", "by its id it is found as before"
    assert (await api.get(f"{RUNS}/{third}/status")).json()["mode"] == "dry-run"
    for query in (
        "status=done",
        "mode=slow",
        "created_after=yesterday",
        "created_after=2026-01-01T00:00:00",
        "engine=",
    ):
        answer = await api.get(f"{RUNS}?{query}")
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), query


CONFIGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"learning_rate": 0.001, "steps": 10}, {"loss": 0.25, "grad_norm": 1}),
    ({"learning_rate": 0.01, "data": {"template": "answer"}}, {"loss": 0.5, "grad_norm": 10.0}),
    ({"learning_rate": 0.1, "model": {"tie_embeddings": False}}, {"loss": 2.0}),
    ({"steps": 100, "schedule": "linear"}, {"loss": "NaN", "tokens.rate": 5}),
    ({"steps": 9, "data": {"train_split": "train"}}, {"loss": "Infinity"}),
    ({"epochs": 2}, {}),
]
FILTERS = [
    *(f"param.learning_rate{sign}0.01" for sign in OPERATORS),
    *(f"param.steps{sign}10" for sign in OPERATORS),
    *(f"metric.loss{sign}0.5" for sign in OPERATORS),
    *(f"metric.grad_norm{sign}1e0" for sign in OPERATORS),
    *(f"param.data.template{sign}answer" for sign in ("=", "!=")),
    *(f"param.model.tie_embeddings{sign}{value}" for sign in ("=", "!=") for value in ("true", "false")),
    *(f"param.schedule{sign}linear" for sign in ("=", "!=")),
    *(f"metric.loss{sign}NaN" for sign in ("=", "!=")),
    "param.schedule=true",
    "param.schedule=1",
    "param.steps=ten",
    "param.nothing=1",
    "param.nothing!=1",
    "param.data=1",
    "metric.nothing<1",
    "metric.tokens.rate>=5",
    "param.learning_rate=1e-2",
    "param.learning_rate=.01",
    "param.steps>-1",
    "param.steps<+9.5",
]


async def test_the_retries_of_a_run_are_found(api: httpx.AsyncClient, data: None) -> None:
    first, _ = await run(api), await run(api)
    await api.post(f"{RUNS}/{first}/cancel")
    again = [(await api.post(f"{RUNS}/{first}/retry")).json()["run_id"] for _ in range(2)]
    assert await ids(api, f"retry_of={first}") == again[::-1]
    assert await ids(api, f"retry_of={again[0]}") == []
    assert (await api.get(f"{RUNS}?retry_of=nonsense")).status_code == 422


def meets(figures: dict[str, Any], text: str) -> bool:
    """The slower way: whether a flat document meets a filter."""
    name, sign, value = next((*text.partition(sign),) for sign in ("!=", "<=", ">=", "<", ">", "=") if sign in text)
    key = name.partition(".")[2]
    if key not in figures:
        return False
    known = figures[key]
    try:
        wanted: Any = float(value) if value != "NaN" else value
    except ValueError:
        wanted = {"true": True, "false": False}.get(value, value)
    kinds = {bool: "truth", str: "text", type(None): "none"}  # what is not set is different from all that can be named
    same = kinds.get(type(known), "number") == kinds.get(type(wanted), "number")
    return OPERATORS[sign](known, wanted) if same else sign == "!="


async def test_hyperparameters_and_metrics_filter_as_they_are_written(
    api: httpx.AsyncClient, data: None, database: Database, settings: Settings
) -> None:
    hand = Hand(database, settings)
    made = [await trained(api, hand, metrics, config=config) for config, metrics in CONFIGS]
    figures: dict[str, dict[str, dict[str, Any]]] = {}
    for run_id in made:
        detail = (await api.get(f"{RUNS}/{run_id}")).json()
        figures[run_id] = {"param": flat(detail["config"]), "metric": detail["metrics"]}
    answers = set()
    for text in FILTERS:
        kind = text.partition(".")[0]
        expected = [run_id for run_id in reversed(made) if meets(figures[run_id][kind], text)]
        assert await ids(api, text) == expected, text
        answers.add(tuple(expected))
    assert len(answers) > 12, "filters that all find the same test nothing"
    both = "metric.loss<1&param.learning_rate>=0.01&status=completed"
    assert await ids(api, both) == [made[1]]
    assert (await listed(api, "metric.loss=NaN"))[0]["metrics"]["loss"] == "NaN"


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    parts = (flat(inner, f"{prefix}.{key}" if prefix else key) for key, inner in value.items())
    return {key: inner for part in parts for key, inner in part.items()}


async def test_what_is_no_filter_is_refused(api: httpx.AsyncClient, data: None) -> None:
    await run(api)
    for query in (
        "param.=1",
        "param.x",
        "param.x=",
        "param.x<",
        "metric.loss<>1",
        "metric.loss<x",
        "metric.loss>=true",
        "metric.loss==1",
        'metric.lo"ss=1',
        "metric.a'b=1",
        "param.$=1",
        "param." + "x" * 101 + "=1",
        "metric.loss",
        "metric.loss!1",
        "metric.loss<1e",
        "metric.loss<1e999",
        "metric.loss<NaN",
        "params.x=1",
        "param.x=%00",
    ):
        answer = await api.get(f"{RUNS}?{quote(query, safe='=&%')}")
        assert answer.status_code == 422, f"{query}: {answer.text}"
        assert answer.headers["content-type"] == "application/problem+json"
    answer = await api.get(f"{RUNS}?metric.loss%3Clow")
    assert "Compare texts by = or !=." in answer.json()["hint"]


@given(
    kind=st.sampled_from(["param", "metric"]),
    name=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    sign=st.sampled_from(sorted(OPERATORS)),
    value=st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**9), 10**9)),
)
def test_every_number_is_read_back_from_a_query_string(kind: str, name: str, sign: str, value: float) -> None:
    text = f"{kind}.{name}{sign}{value}"
    key, _, rest = text.partition("=")  # as a query string is split
    [found] = conditions_of([(key, rest)])
    assert (found.kind, found.name, found.operator, found.value) == (kind, name, sign, value)


@given(st.lists(st.tuples(st.text().map(lambda text: f"metric.{text}"), st.text()), max_size=3))
def test_no_text_makes_the_filter_fail(pairs: list[tuple[str, str]]) -> None:
    with contextlib.suppress(BadInput):
        conditions_of(pairs)

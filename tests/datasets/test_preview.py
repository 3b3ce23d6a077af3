"""What a build would hold, and what a version holds, in figures to draw."""

from typing import Any

import httpx
import pytest

from tests.make import dataset, stored, trace
from tunix_rt.datasets.statistics import BINS, distribution, sources


async def preview(api: httpx.AsyncClient, **request: Any) -> dict[str, Any]:
    answer = await api.post("/api/datasets/preview", json={"name": "data", **request})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_preview_is_what_the_build_then_holds(api: httpx.AsyncClient) -> None:
    await stored(api, *(trace(n) for n in range(60)))
    request: dict[str, Any] = {"limit": 40, "selection_strategy": "random", "seed": 5, "splits": {"eval": 0.2}}
    found = await preview(api, **request)
    assert (await api.get("/api/datasets")).json()["data"] == []
    manifest = await dataset(api, **request)
    assert found["matching"] == 60
    assert found["trace_count"] == manifest["trace_count"] == 40
    assert found["splits"] == {name: split["count"] for name, split in manifest["splits"].items()}
    for figure in ("steps", "characters"):
        assert {key: found[figure][key] for key in ("min", "mean", "max")} == manifest["stats"][figure]
    held = (await api.get("/api/datasets/data-v1/traces?limit=200")).json()["data"]
    assert len(found["sample"]) == 20
    assert {row["id"] for row in found["sample"]} <= {row["id"] for row in held}


async def test_a_preview_of_nothing_and_an_empty_split_are_told_not_refused(api: httpx.AsyncClient) -> None:
    await stored(api, trace(1))
    found = await preview(api, filters={"source": "nobody"})
    assert (found["matching"], found["trace_count"], found["steps"], found["sample"]) == (0, 0, None, [])
    one = await preview(api, splits={"eval": 0.001})
    assert one["splits"] == {"train": 1, "eval": 0}


async def test_the_statistics_of_a_version_and_of_a_split(api: httpx.AsyncClient) -> None:
    steps = [{"i": i, "type": "sum", "content": "1 + 1 = 2"} for i in range(3)]
    await stored(api, *(trace(n, meta={"source": "a"}) for n in range(30)), trace(99, steps=steps))
    await dataset(api, splits={"eval": 0.2})
    whole = (await api.get("/api/datasets/data-v1/statistics")).json()
    assert whole["trace_count"] == 31
    assert whole["steps"]["bins"] == [
        {"low": 1, "high": 1, "count": 30},
        {"low": 2, "high": 2, "count": 0},
        {"low": 3, "high": 3, "count": 1},
    ]
    assert whole["sources"] == [{"source": "a", "count": 30}, {"source": None, "count": 1}]
    parts = [(await api.get(f"/api/datasets/data-v1/statistics?split={name}")).json() for name in ("train", "eval")]
    assert sum(part["trace_count"] for part in parts) == 31
    assert (await api.get("/api/datasets/data-v1/statistics?split=no")).status_code == 404
    assert (await api.get("/api/datasets/no-v1/statistics")).status_code == 404


@pytest.mark.parametrize("values", [[5], [0, 1], list(range(1000)), [3, 3, 10_000_000]])
def test_bins_hold_every_value_once(values: list[int]) -> None:
    found = distribution(values)
    assert found is not None
    assert len(found.bins) <= BINS
    assert sum(one.count for one in found.bins) == len(values)
    for one in found.bins:
        assert one.count == sum(one.low <= value <= one.high for value in values)
    assert (found.bins[0].low, found.bins[-1].high) == (min(values), max(values))


def test_no_values_have_no_distribution() -> None:
    assert distribution([]) is None


def test_frequent_sources_come_first() -> None:
    found = sources([("b", 1), (None, 5), ("a", 1)])
    assert [(one.source, one.count) for one in found] == [(None, 5), ("a", 1), ("b", 1)]

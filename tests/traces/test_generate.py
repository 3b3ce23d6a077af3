"""Generated traces are verified, stored once, and the same for the same seed."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from tests.make import trace
from tunix_rt.traces import sources


class Options(BaseModel):
    largest: int = 10


def fake(monkeypatch: pytest.MonkeyPatch, made: list[Any], problems: list[str] | None = None) -> None:
    def generate(count: int, seed: int, options: Options) -> Iterator[Any]:
        return iter(made[:count])

    source = sources.Source("fake", "For a test.", Options, generate, lambda _: problems or [])
    monkeypatch.setattr(sources, "load", lambda _: source)


async def test_the_same_request_again_finds_its_traces(api: httpx.AsyncClient) -> None:
    body = {"source": "addition", "count": 1_200, "seed": 3, "options": {"digits": 2}}
    for created, present in ((1_200, 0), (0, 1_200)):
        answer = await api.post("/api/traces/generate", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json() == {
            "source": "addition",
            "seed": 3,
            "count": 1_200,
            "created": created,
            "already_present": present,
        }
    page = (await api.get("/api/traces?source=addition&meta.seed=3&meta.digits=2")).json()
    assert len(page["data"]) == 20


async def test_every_source_is_listed_with_its_options(api: httpx.AsyncClient) -> None:
    found = {one["name"]: one for one in (await api.get("/api/traces/sources")).json()["data"]}
    assert {"addition", "insertion-sort", "parity", "word-problems"} <= found.keys()
    assert found["addition"]["options"]["properties"]["digits"]["default"] == 3
    assert found["addition"]["problem"] is None


WRONG: list[tuple[Any, int, str]] = [
    ({"source": "adition", "count": 1}, 404, "Did you mean 'addition'?"),
    ({"source": "addition", "count": 1, "options": {"digit": 3}}, 422, "/options/digit"),
    ({"source": "addition", "count": 1, "options": {"digits": 99}}, 422, "/options/digits"),
    ({"source": "addition", "count": 10_000, "options": {"digits": 1}}, 422, ""),
    ({"source": "addition", "count": 0}, 422, "/count"),
    ({"source": "addition", "count": 1, "seed": -1}, 422, "/seed"),
    ({"source": "addition", "count": 1, "sed": 1}, 422, "Did you mean 'seed'?"),
    ({"source": "addition"}, 422, "/count"),
]


async def test_a_wrong_request_says_what_is_wrong(api: httpx.AsyncClient) -> None:
    for body, status, says in WRONG:
        answer = await api.post("/api/traces/generate", json=body)
        assert answer.status_code == status, body
        assert says in answer.text
    assert (await api.get("/api/traces")).json()["data"] == []


async def test_a_source_that_fails_its_own_verifier_stores_nothing(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(monkeypatch, [trace(1)], problems=["step 0: 1 + 1 is not 3"])
    answer = await api.post("/api/traces/generate", json={"source": "fake", "count": 1})
    assert answer.status_code == 500
    assert "1 + 1 is not 3" in answer.json()["detail"]
    assert (await api.get("/api/traces")).json()["data"] == []


@pytest.mark.parametrize(
    "made", [{"prompt": "x"}, trace(1, prompt="\0"), trace(1, prompt="\ud800"), trace(1, meta={1: set()}), 5]
)
async def test_a_source_that_makes_no_traces_is_named(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, made: Any
) -> None:
    fake(monkeypatch, [made])
    answer = await api.post("/api/traces/generate", json={"source": "fake", "count": 1})
    assert answer.status_code == 500
    assert "The source 'fake' made something that is no trace" in answer.json()["detail"]


async def test_a_broken_source_is_listed_and_hides_no_other(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "names", lambda: ["addition", "no-such"])
    good, broken = (await api.get("/api/traces/sources")).json()["data"]
    assert good["problem"] is None
    assert "no-such" in broken["problem"]

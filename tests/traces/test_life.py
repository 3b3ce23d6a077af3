"""A trace is stored once, read, scored, compared, and deleted unless a data set holds it."""

from typing import Any

import httpx
import pytest

from tests.make import dataset, stored, trace


async def test_the_same_content_is_the_same_trace(api: httpx.AsyncClient) -> None:
    first = await api.post("/api/traces", json=trace(1))
    again = await api.post("/api/traces", json=trace(1, meta={"seen": "again"}))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json()["created_at"].endswith("Z")


async def test_a_batch_answers_in_its_own_order(api: httpx.AsyncClient) -> None:
    [old] = await stored(api, trace(2))
    answer = await api.post("/api/traces/batch", json=[trace(n) for n in (3, 2, 1, 3)])
    assert answer.status_code == 201
    body = answer.json()
    assert (body["created_count"], body["already_present"]) == (2, 2)
    ids = [one["id"] for one in body["traces"]]
    assert ids[1] == old
    assert ids[0] == ids[3]
    assert ids[0] < ids[2], "ids are in the order of the request"


async def test_a_batch_with_a_bad_trace_stores_nothing(api: httpx.AsyncClient) -> None:
    assert (await api.post("/api/traces/batch", json=[trace(1), trace(2, prompt="")])).status_code == 422
    assert (await api.get("/api/traces")).json()["data"] == []


async def test_steps_come_back_in_the_order_of_i(api: httpx.AsyncClient) -> None:
    steps = [{"i": i, "type": "t", "content": str(i)} for i in (7, 0, 3)]
    [found] = await stored(api, trace(1, steps=steps))
    assert [step["i"] for step in (await api.get(f"/api/traces/{found}")).json()["steps"]] == [0, 3, 7]


async def test_an_id_may_be_shortened_while_it_is_unique(api: httpx.AsyncClient) -> None:
    first, second = await stored(api, trace(1), trace(2))
    common = len([1 for a, b in zip(first, second, strict=True) if a == b])
    assert common >= 8, "ids of one moment begin alike"
    for name in (first, first.upper(), first.replace("-", ""), first[:-1]):
        assert (await api.get(f"/api/traces/{name}")).json()["id"] == first
    several = await api.get(f"/api/traces/{first[:8]}")
    assert several.status_code == 409
    assert first in several.json()["detail"]
    assert second in several.json()["detail"]


async def test_what_is_no_id_is_422(api: httpx.AsyncClient) -> None:
    for name in ("abcde", "0" * 33, "not-an-id", "%00" * 6, "%ff" * 6, "..%2f..%2fetc", "％" * 6):
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/score")):
            answer = await api.request(method, f"/api/traces/{name}{path}", json={} if path else None)
            assert answer.status_code == (404 if "%2f" in name else 422), name


async def test_an_unknown_id_is_404(api: httpx.AsyncClient) -> None:
    unknown = "0190aaaa-0000-7000-8000-000000000000"
    assert (await api.get(f"/api/traces/{unknown}")).status_code == 404
    assert (await api.delete(f"/api/traces/{unknown}")).status_code == 404
    assert (await api.post(f"/api/traces/{unknown}/score", json={})).status_code == 404
    assert (await api.get(f"/api/traces/compare?base={unknown}&other={unknown}")).status_code == 404


async def test_a_deleted_trace_is_gone_with_its_scores_and_words(api: httpx.AsyncClient) -> None:
    [found] = await stored(api, trace(1, prompt="a singular word"))
    await api.post(f"/api/traces/{found}/score", json={"criteria": "baseline"})
    gone = await api.delete(f"/api/traces/{found}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await api.get(f"/api/traces/{found}")).status_code == 404
    assert (await api.get("/api/traces?q=singular")).json()["data"] == []
    assert await stored(api, trace(1, prompt="a singular word")) != [found]


async def test_a_trace_that_a_data_set_holds_cannot_be_deleted(api: httpx.AsyncClient) -> None:
    [found] = await stored(api, trace(1))
    await dataset(api)
    answer = await api.delete(f"/api/traces/{found}")
    assert answer.status_code == 409
    assert "data set" in answer.json()["detail"]
    assert (await api.get(f"/api/traces/{found}")).status_code == 200


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (["x" * 100], 15.0),  # 1/10 * 50 + 100/500 * 50
        (["x" * 100] * 5, 35.0),  # 5/10 * 50 + 10
        (["x" * 600] * 12, 100.0),  # both halves are full
        (["x", "xx", "xx"], 15.17),  # 15 + (5/3)/500 * 50 = 15.1666…
    ],
)
async def test_the_baseline_score(api: httpx.AsyncClient, contents: list[str], expected: float) -> None:
    steps = [{"i": i, "type": "t", "content": content} for i, content in enumerate(contents)]
    [found] = await stored(api, trace(1, steps=steps))
    for _ in range(2):
        answer = await api.post(f"/api/traces/{found}/score", json={"criteria": "baseline"})
        assert answer.status_code == 201
        assert (answer.json()["trace_id"], answer.json()["score"]) == (found, expected)
    [score] = (await api.get(f"/api/traces/{found}")).json()["scores"]
    assert (score["criteria"], score["score"]) == ("baseline", expected)


async def test_an_unknown_criteria_names_the_known(api: httpx.AsyncClient) -> None:
    [found] = await stored(api, trace(1))
    answer = await api.post(f"/api/traces/{found}/score", json={"criteria": "basline"})
    assert answer.status_code == 422
    assert "Did you mean 'baseline'?" in answer.json()["detail"]


def steps(*contents: str) -> list[dict[str, Any]]:
    return [{"i": i, "type": "t", "content": content} for i, content in enumerate(contents)]


async def test_two_traces_are_compared_step_by_step_and_word_by_word(api: httpx.AsyncClient) -> None:
    base, other = await stored(
        api,
        trace(1, steps=steps("first", "2 + 2 = 5", "same", "only here")),
        trace(1, steps=steps("first", "2 + 2 = 4", "same")),
    )
    found = (await api.get(f"/api/traces/compare?base={base}&other={other}")).json()
    assert [(pair["op"], pair["base"], pair["other"]) for pair in found["steps"]] == [
        ("equal", 0, 0),
        ("replace", 1, 1),
        ("equal", 2, 2),
        ("delete", 3, None),
    ]
    words = found["steps"][1]["words"]
    assert [(span["op"], span["text"]) for span in words] == [
        ("equal", "2 + 2 = "),
        ("delete", "5"),
        ("insert", "4"),
    ]
    assert found["same_prompt"]
    assert found["same_answer"]
    assert found["base"]["trace"]["id"] == base
    assert found["base"]["baseline"] == 20.68  # 4 steps: 20; 27/4 characters: 0.675

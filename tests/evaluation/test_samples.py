"""Several samples an item, judging again, and verification, over HTTP on both databases."""

import json
from itertools import combinations
from math import comb
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from tests import make
from tests.evaluation.make import evaluate, questions, store
from tunix_rt.evaluation import statistics
from tunix_rt.evaluation.models import EvaluationItem


def sampled(rights: list[list[bool]]) -> list[dict[str, Any]]:
    """Predictions of item i whose sample s is right where `rights[i][s]` says so; wrong ones all differ."""
    return [
        {"id": f"q{i}", "sample": s, "output": f"Answer: {i if right else 1000 + s}"}
        for i, samples in enumerate(rights)
        for s, right in enumerate(samples)
    ]


async def items(api: httpx.AsyncClient, found: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
    answer = await api.get(f"/api/evaluations/{found['id']}/items", params={"limit": 200, **params})
    rows: list[dict[str, Any]] = answer.json()["data"]
    return rows


async def test_samples_give_the_mean_pass_at_k_and_the_majority(api: httpx.AsyncClient) -> None:
    made = await store(api, questions(40))
    rights = [[True] * 4] * 10 + [[True, True, False, False]] * 20 + [[False] * 4] * 10
    found = await evaluate(api, "model", sampled(rights), made["name"], temperature=0.8, samples=4)
    assert (found["n_items"], found["n_scored"], found["n_correct"], found["samples"]) == (40, 40, 10, 4)
    assert found["score"] == 0.5
    low, high = found["ci"]
    assert 0.38 < low < 0.40 < 0.60 < high < 0.62  # of 40 items that spread half as much as right and wrong would
    passed = {int(k): one["value"] for k, one in found["sampled"]["pass_at"].items()}
    assert passed[1] == 0.5
    assert passed[2] == pytest.approx((10 + 20 * (1 - comb(2, 2) / comb(4, 2))) / 40)
    assert passed[4] == 0.75
    assert found["sampled"]["majority"]["value"] == 0.75  # two of four agree, the others each say something else
    assert len(await items(api, found)) == 160
    half = [row for row in await items(api, found, outcome="correct") if row["id"] == "q15"]
    assert [row["sample"] for row in half] == [0, 1]


async def test_a_sample_that_is_missing_counts_as_wrong(api: httpx.AsyncClient) -> None:
    made = await store(api, questions(3))
    lines = [line for line in sampled([[True, True]] * 3) if (line["id"], line["sample"]) != ("q1", 1)]
    found = await evaluate(api, "model", lines, made["name"])
    assert (found["n_missing"], found["n_unscored"]) == (1, 0)
    assert found["score"] == pytest.approx((1 + 0.5 + 1) / 3)
    rows = {(row["id"], row["sample"]): row["outcome"] for row in await items(api, found)}
    assert (rows["q1", 1], rows["q2", 1]) == ("missing", "correct")


async def test_a_sample_that_only_some_items_have_is_missing_from_the_others(api: httpx.AsyncClient) -> None:
    made = await store(api, questions(40))
    once = sampled([[i < 16] for i in range(40)])
    score = (await evaluate(api, "once", once, made["name"]))["score"]
    assert score == 0.4
    wrong = [line for line in once if line["output"] == "Answer: 1000"]
    for more in ([1], [2], [1, 2, 3]):  # second answers that are wrong, with gaps too, for the wrong items alone
        lines = once + [line | {"sample": sample} for line in wrong for sample in more]
        found = await evaluate(api, f"more {more}", lines, made["name"])
        samples = 1 + max(more)
        assert (found["n_scored"], found["samples"], found["n_missing"]) == (40, samples, 40 if more == [2] else 16)
        assert found["score"] == pytest.approx(0.4 / samples)
        assert found["sampled"]["pass_at"][str(samples)]["value"] == pytest.approx(0.4)
        assert found["sampled"]["majority"]["value"] <= 0.4
    part = [line | {"sample": 1} for line in once if line not in wrong]  # and right ones for the right items alone
    found = await evaluate(api, "right", once + part, made["name"])
    assert (found["score"], found["sampled"]["pass_at"]["2"]["value"]) == (0.4, 0.4)


async def test_the_same_file_is_stored_once_and_judged_as_often_as_anybody_likes(api: httpx.AsyncClient) -> None:
    made = await store(api, questions(5))
    lines = sampled([[True]] * 5)
    first = await evaluate(api, "model", lines, made["name"], temperature=0)
    again = await api.post(f"/api/evaluations/{first['id']}/judge?judge=answer_correctness")
    assert again.status_code == 201, again.text
    assert again.json()["decoding"] == first["decoding"]
    assert [row["output"] for row in await items(api, again.json())] == [line["output"] for line in lines]
    assert len((await api.get("/api/evaluations")).json()["data"]) == 2
    unknown = await api.post(f"/api/evaluations/{first['id']}/judge?judge=nobody")
    assert unknown.status_code == 422


async def test_items_are_sorted_by_what_they_cost(api: httpx.AsyncClient) -> None:
    made = await store(api, questions(4))
    tokens = [3, None, 9, 1]
    lines = [{"id": f"q{i}", "output": f"Answer: {i}", "completion_tokens": count} for i, count in enumerate(tokens)]
    found = await evaluate(api, "model", lines, made["name"])
    for sort, order in (("completion_tokens", "3021"), ("-completion_tokens", "2031")):
        assert [row["id"] for row in await items(api, found, sort=sort)] == [f"q{i}" for i in order]
    assert (await api.get(f"/api/evaluations/{found['id']}/items?sort=rule")).status_code == 422


async def test_a_score_that_somebody_changed_in_the_database_is_found_by_verifying(api: httpx.AsyncClient) -> None:
    made = await store(api, questions(5))
    found = await evaluate(api, "model", sampled([[True]] * 5), made["name"])
    assert (await api.post(f"/api/evaluations/{found['id']}/verify")).json()["ok"] is True
    database = api._transport.app.state.database  # type: ignore[attr-defined]  # the application under the client
    async with database.write() as session:
        await session.execute(update(EvaluationItem).where(EvaluationItem.position == 3).values(score=0.0))
    verified = (await api.post(f"/api/evaluations/{found['id']}/verify")).json()
    assert verified["ok"] is False
    assert [row["what"] for row in verified["differences"]] == ["n_correct", "score", "ci", "item q3, sample 0"]


async def test_an_eval_set_is_made_of_a_held_out_split(api: httpx.AsyncClient) -> None:
    await make.stored(api, *(make.trace(number) for number in range(40)))
    await make.dataset(api, splits={"eval": 0.5})
    made = await api.post("/api/eval-sets?dataset_key=data-v1", content=b"")
    exported = await api.post(
        "/api/tunix/sft/export", json={"dataset_key": "data-v1", "format": "eval-set", "split": "eval"}
    )
    assert (made.status_code, made.json()["n_items"]) == (201, len(exported.text.splitlines()))
    assert (await store(api, [json.loads(line) for line in exported.text.splitlines()])) == made.json()
    assert (await api.post("/api/eval-sets?dataset_key=none-v1", content=b"")).status_code == 404
    assert (await api.post("/api/eval-sets?dataset_key=data-v1&split=test", content=b"")).status_code == 404


def test_pass_at_k_is_the_share_of_draws_with_a_right_one() -> None:
    for n in range(1, 7):
        for right in range(n + 1):
            for k in range(1, n + 1):
                draws = list(combinations([True] * right + [False] * (n - right), k))
                assert statistics.pass_at(n, right, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-12)

"""Baselines and checks over HTTP, on both databases."""

from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import update

from tests import make
from tests.evaluation.make import answers, evaluate, questions, store
from tunix_rt.base.db import Database
from tunix_rt.evaluation.models import Evaluation

N = 300


async def baseline(api: httpx.AsyncClient, evaluation: dict[str, Any], name: str = "main", **about: Any) -> Any:
    body = {"name": name, "evaluation_id": evaluation["id"], **about}
    answer = await api.post("/api/regression/baselines", json=body)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


async def check(api: httpx.AsyncClient, evaluation: dict[str, Any], name: str = "main", **about: Any) -> Any:
    body = {"baseline": name, "evaluation_id": evaluation["id"], **about}
    answer = await api.post("/api/regression/check", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def made(api: httpx.AsyncClient, *rights: int, n: int = N) -> list[dict[str, Any]]:
    """Evaluations of n items, each with so many right."""
    eval_set = await store(api, questions(n))
    return [
        await evaluate(api, f"model-{right}", answers(n, right=lambda i, k=right: i < k), eval_set["name"])  # type: ignore[misc]  # k is bound to each turn's
        for right in rights
    ]


async def test_a_gate_passes_fails_or_cannot_tell(api: httpx.AsyncClient) -> None:
    base, same, worse, little = await made(api, 250, 251, 200, 243)
    await baseline(api, base)
    found = await check(api, same)
    assert (found["verdict"], found["n"], found["fixed"], found["broken"]) == ("pass", N, 1, 0)
    assert found["difference"] == pytest.approx(1 / N)
    found = await check(api, worse)
    assert (found["verdict"], found["broken"], found["sufficient_n"]) == ("fail", 50, None)
    assert found["ci"][1] < -found["margin"]
    assert [item["id"] for item in found["items"]][:2] == ["q200", "q201"]
    found = await check(api, little)
    assert found["verdict"] == "inconclusive"
    assert found["sufficient_n"] > N
    assert str(f"{found['sufficient_n']:,}") in found["reason"]
    assert (await check(api, little, margin=0.1))["verdict"] == "pass"
    assert await check(api, little, seed=3) == await check(api, little, seed=3)


async def test_a_baseline_passes_its_own_gate_however_few_its_items(api: httpx.AsyncClient) -> None:
    base, twin = await made(api, 5, 5, n=10)
    await baseline(api, base)
    assert (await check(api, base))["verdict"] == "pass"
    found = await check(api, twin)
    assert (found["verdict"], found["established"]) == ("inconclusive", False)
    assert "Not established: only 10 items" in found["notes"][0]


async def test_setting_a_name_again_moves_it_and_the_same_again_changes_nothing(api: httpx.AsyncClient) -> None:
    first, second = await made(api, 20, 30, n=40)
    one = await baseline(api, first)
    assert (await baseline(api, first))["id"] == one["id"]
    assert (one["margin"], one["direction"], one["metric"]) == (0.02, "higher", "score")
    two = await baseline(api, second, margin=0.1)
    await baseline(api, first, name="other")
    listed = (await api.get("/api/regression/baselines")).json()["data"]
    assert [(row["name"], row["evaluation_id"]) for row in listed] == [("other", first["id"]), ("main", second["id"])]
    assert (await check(api, second))["baseline"]["id"] == two["id"]
    body = (await api.get("/api/regression/baselines?limit=1")).json()
    again = (await api.get(f"/api/regression/baselines?limit=1&cursor={body['pagination']['next_cursor']}")).json()
    assert [row["name"] for row in body["data"] + again["data"]] == ["other", "main"]


async def test_tokens_and_seconds_are_better_when_they_are_fewer(api: httpx.AsyncClient) -> None:
    eval_set = await store(api, questions(40))

    async def with_tokens(name: str, tokens: int) -> dict[str, Any]:
        rows = [
            row | {"completion_tokens": tokens + i % 7, "latency_s": tokens / 10} for i, row in enumerate(answers())
        ]
        return await evaluate(api, name, rows, eval_set["name"])

    base, longer, equal = [await with_tokens(name, n) for name, n in (("a", 100), ("b", 150), ("c", 100))]
    bare = await evaluate(api, "bare", answers(), eval_set["name"])
    found = await baseline(api, base, "tokens", metric="completion_tokens", margin=5)
    assert found["direction"] == "lower"
    failed = await check(api, longer, "tokens")
    assert (failed["verdict"], failed["difference"]) == ("fail", 50)
    assert (failed["broken"], failed["items"]) == (40, [])
    assert (await check(api, equal, "tokens"))["verdict"] == "pass"
    assert (await check(api, longer, "tokens", margin=60))["verdict"] == "pass"
    await baseline(api, base, "seconds", metric="latency_s", margin=1)
    assert (await check(api, longer, "seconds"))["difference"] == pytest.approx(5)
    found = await check(api, bare, "tokens")
    assert (found["verdict"], found["n"], found["n_left_out"], found["difference"]) == ("inconclusive", 0, 40, None)
    answer = await api.post(
        "/api/regression/baselines",
        json={"name": "x", "evaluation_id": bare["id"], "metric": "latency_s", "margin": 1},
    )
    assert answer.status_code == 422
    answer = await api.post(
        "/api/regression/baselines", json={"name": "x", "evaluation_id": base["id"], "metric": "latency_s"}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "margin"


async def test_only_evaluations_of_the_baselines_board_are_held_against_it(api: httpx.AsyncClient) -> None:
    (base,) = await made(api, 20, n=40)
    (other,) = await made(api, 20, n=39)
    await baseline(api, base)
    answer = await api.post("/api/regression/check", json={"baseline": "main", "evaluation_id": other["id"]})
    assert answer.status_code == 409
    assert "eval set" in answer.json()["detail"]


async def test_a_missing_baseline_names_the_near_ones(api: httpx.AsyncClient) -> None:
    (base,) = await made(api, 20, n=40)
    await baseline(api, base, "sums-main")
    answer = await api.post("/api/regression/check", json={"baseline": "sums-mian", "evaluation_id": base["id"]})
    assert answer.status_code == 404
    assert "Did you mean 'sums-main'?" in answer.json()["detail"]


async def test_the_newest_evaluation_of_a_run_on_the_baselines_board_is_held_against_it(
    api: httpx.AsyncClient, database: Database
) -> None:
    await make.stored(api, make.trace(0))
    await make.dataset(api)
    first, second, bare = [await make.run(api) for _ in range(3)]
    (elsewhere,) = await made(api, 20, n=39)
    base, worse, newest = await made(api, 250, 200, 251)

    async def belongs(evaluation: dict[str, Any], run: str) -> None:
        async with database.write() as session:
            this = Evaluation.id == UUID(evaluation["id"])
            await session.execute(update(Evaluation).where(this).values(run_id=UUID(run)))

    await belongs(base, first)
    body = {"name": "main", "run_id": first}
    assert (await api.post("/api/regression/baselines", json=body)).json()["evaluation_id"] == base["id"]

    async def held(run: str) -> httpx.Response:
        return await api.post("/api/regression/check", json={"baseline": "main", "run_id": run})

    assert (await held(bare)).status_code == 409
    await belongs(elsewhere, second)
    assert "eval set" in (await held(second)).json()["detail"]
    await belongs(worse, second)
    assert (await held(second)).json()["verdict"] == "fail"
    await belongs(newest, second)
    found = (await held(second)).json()
    assert (found["verdict"], found["evaluation"]["id"]) == ("pass", newest["id"])


async def test_items_that_were_trained_on_are_said(api: httpx.AsyncClient, database: Database) -> None:
    base, other = await made(api, 20, 30, n=40)
    await baseline(api, base)
    async with database.write() as session:
        seen = {"method": "exact", "n": 7, "share": 0.175, "clean": {}}
        await session.execute(
            update(Evaluation).where(Evaluation.id == UUID(other["id"])).values(contamination=seen, waiver="reworded")
        )
    found = await check(api, other)
    assert (found["base"]["n_contaminated"], found["evaluation"]["n_contaminated"]) == (None, 7)
    expected = "7 items overlap with training traces behind the checked evaluation; waived: reworded."
    assert expected in found["notes"]


async def test_unscored_and_missing_items_are_said(api: httpx.AsyncClient) -> None:
    items = [*questions(40), {"id": "empty", "prompt": "?", "expected_answer": ""}]
    eval_set = await store(api, items)
    base = await evaluate(api, "base", answers(), eval_set["name"])
    other = await evaluate(api, "other", answers(38), eval_set["name"])
    await baseline(api, base)
    found = await check(api, other)
    assert (found["n"], found["n_left_out"], found["evaluation"]["n_missing"]) == (40, 1, 2)
    assert any("1 of 41 items are left out" in note for note in found["notes"])
    assert any("lacks predictions for 2 items" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("baselines", {"name": "a"}),
        ("baselines", {"name": "a", "evaluation_id": "000000", "run_id": "000000"}),
        ("baselines", {"name": "a\nb", "evaluation_id": "000000"}),
        ("baselines", {"name": "a", "evaluation_id": "000000", "metric": "speed"}),
        ("baselines", {"name": "a", "evaluation_id": "000000", "margin": -1}),
        ("baselines", {"name": "a", "evaluation_id": "000000", "magrin": 1}),
        ("check", {"baseline": "a", "evaluation_id": "000000", "margin": "x"}),
        ("check", {"evaluation_id": "000000"}),
    ],
)
async def test_what_makes_no_sense_is_refused(api: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    assert (await api.post(f"/api/regression/{path}", json=body)).status_code == 422


async def test_an_unknown_evaluation_or_run_is_404(api: httpx.AsyncClient) -> None:
    for body in ({"evaluation_id": "00000000"}, {"run_id": "00000000"}):
        assert (await api.post("/api/regression/baselines", json={"name": "a", **body})).status_code == 404

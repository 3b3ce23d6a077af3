"""Boards and comparisons over HTTP, on both databases."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from tests.evaluation.make import answers, evaluate, jsonl, questions, store
from tunix_rt import migrations
from tunix_rt.base.db import Database
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation import decoding, statistics
from tunix_rt.evaluation.decoding import UNKNOWN
from tunix_rt.evaluation.models import Evaluation
from tunix_rt.evaluation.schemas import Decoding
from tunix_rt.evaluation.standings import Keeper


async def boards(api: httpx.AsyncClient, **params: Any) -> list[dict[str, Any]]:
    answer = await api.get("/api/tunix/evaluations", params=params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def names(board: dict[str, Any]) -> list[tuple[str, int]]:
    return [(row["name"], row["rank"]) for row in board["rows"]]


async def test_rows_are_ranked_and_ties_share_a_rank(api: httpx.AsyncClient) -> None:
    made = await store(api)
    await evaluate(api, "weak", answers(right=lambda i: i < 5), made["name"])
    await evaluate(api, "good", answers(right=lambda i: i < 37), made["name"])
    await evaluate(api, "best", answers(right=lambda i: i < 39), made["name"])
    (board,) = await boards(api)
    assert names(board) == [("best", 1), ("good", 1), ("weak", 3)]
    best, good, weak = board["rows"]
    assert (best["p_value"], good["p_value"]) == (None, 0.5)  # 2 changes in one direction: 2 / 2**2
    assert weak["p_value"] == pytest.approx(3 * statistics.mcnemar(34, 0))  # Holm: the smallest of three
    assert weak["ci"] == list(statistics.wilson(5, 40) or ())


async def test_evaluating_again_does_not_put_a_model_on_the_board_twice(api: httpx.AsyncClient) -> None:
    made = await store(api)
    for right in (5, 10, 39):
        newest = await evaluate(api, "model", answers(right=lambda i, n=right: i < n), made["name"])  # type: ignore[misc]  # n is bound to each turn's
    (board,) = await boards(api)
    assert [(row["id"], row["older"], row["n_correct"]) for row in board["rows"]] == [(newest["id"], 2, 39)]
    assert len((await api.get("/api/evaluations")).json()["data"]) == 3


async def test_a_figure_from_ten_items_is_not_established(api: httpx.AsyncClient) -> None:
    made = await store(api, questions(10))
    await evaluate(api, "model", answers(10), made["name"])
    assert (await boards(api))[0]["rows"][0]["established"] is False
    larger = await store(api, questions(30))
    await evaluate(api, "model", answers(30), larger["name"])
    assert (await boards(api))[0]["rows"][0]["established"] is True


async def test_each_eval_set_and_decoding_has_its_own_board(api: httpx.AsyncClient) -> None:
    first, second = await store(api), await store(api, questions(39))
    await evaluate(api, "a", answers(), first["name"])
    await evaluate(api, "b", answers(), first["name"], temperature=0)
    await evaluate(api, "c", answers(), first["name"], temperature=0, decoding_seed=7)
    await evaluate(api, "d", answers(39), second["name"])
    found = await boards(api)
    assert [[name for name, _ in names(board)] for board in found] == [["d"], ["b", "c"], ["a"]]
    assert found[2]["decoding_digest"] == UNKNOWN
    assert found[1]["decoding"]["temperature"] == 0
    assert len({(board["eval_set_digest"], board["judge_digest"], board["decoding_digest"]) for board in found}) == 3


async def test_boards_are_paged_newest_first(api: httpx.AsyncClient) -> None:
    for count in (31, 32, 33):
        await evaluate(api, f"m{count}", answers(31), (await store(api, questions(count)))["name"])
    seen: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        body = (await api.get("/api/tunix/evaluations", params={"limit": 1, **cursor})).json()
        seen += [board["n_items"] for board in body["data"]]
        if body["pagination"]["next_cursor"] is None:
            break
        cursor = {"cursor": body["pagination"]["next_cursor"]}
    assert seen == [33, 32, 31]


async def test_a_filter_shows_some_rows_and_leaves_their_ranks(api: httpx.AsyncClient) -> None:
    made = await store(api, name="sums")
    await evaluate(api, "weak", answers(right=lambda i: i < 5), made["name"], model_id="small", dataset_key="d-v1")
    middle = await evaluate(api, "good", answers(), made["name"], model_id="large")
    assert names((await boards(api, model_id="small"))[0]) == [("weak", 2)]
    assert names((await boards(api, dataset_key="d-v1"))[0]) == [("weak", 2)]
    assert await boards(api, model_id="none") == []
    assert len(await boards(api, eval_set="sums", judge="answer_correctness")) == 1
    assert names((await boards(api, date_to="2020-01-01T00:00:00Z") or [{"rows": []}])[0]) == []
    assert names((await boards(api, date_from=middle["created_at"]))[0]) == [("good", 1)]
    for query in ("judge=answer_corectness", "eval_set=none", "date_from=2020-01-01T00:00:00", "modle_id=x"):
        assert (await api.get(f"/api/tunix/evaluations?{query}")).status_code in (404, 422)


async def test_a_board_is_shown_in_pages_of_rows(api: httpx.AsyncClient) -> None:
    made, other = await store(api), await store(api, questions(39))
    for right in (5, 12, 38, 39):
        await evaluate(api, f"m{right}", answers(right=lambda i, n=right: i < n), made["name"], model_id="m")  # type: ignore[misc]  # n is bound to each turn's
    await evaluate(api, "alone", answers(39), other["name"], model_id="alone")
    alone, board = await boards(api, rows=3)
    assert (alone["n_rows"], alone["next_row"]) == (1, None)
    assert names(board) == [("m39", 1), ("m38", 1), ("m12", 3)]
    assert (board["n_rows"], board["next_row"]) == (4, board["rows"][2]["id"])
    (rest,) = await boards(api, rows=3, row_after=board["next_row"])
    assert (names(rest), rest["n_rows"], rest["next_row"]) == ([("m5", 4)], 4, None)
    assert [board["n_rows"] for board in await boards(api, model_id="alone")] == [1]
    assert await boards(api, row_after="00000000-0000-7000-8000-000000000000") == []
    assert (await api.get("/api/tunix/evaluations?rows=0")).status_code == 422


async def test_a_board_is_ranked_once_and_again_when_it_has_changed(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranked: list[int] = []
    rank = statistics.rank

    def counted(scores: Any) -> statistics.Ranking:
        ranked.append(len(scores))
        return rank(scores)

    monkeypatch.setattr(statistics, "rank", counted)
    made = await store(api)
    await evaluate(api, "good", answers(), made["name"])
    together = await asyncio.gather(*(boards(api) for _ in range(5)))
    assert all(found == together[0] for found in together)
    await boards(api, rows=1)
    assert ranked == [1]
    await evaluate(api, "weak", answers(right=lambda i: i < 5), made["name"])
    assert [names(board) for board in await boards(api)] == [[("good", 1), ("weak", 2)]]
    assert ranked == [1, 2]


async def test_a_row_whose_items_were_trained_on_is_held_back_until_it_is_waived(
    api: httpx.AsyncClient, database: Database
) -> None:
    made = await store(api)
    await evaluate(api, "honest", answers(right=lambda i: i < 20), made["name"])
    leaked = await evaluate(api, "leaked", answers(), made["name"])
    clean = {key: leaked[key] for key in ("n_items", "n_scored", "n_missing", "n_unscored", "n_correct", "score", "ci")}
    async with database.write() as session:
        seen = {"method": "exact", "n": 20, "share": 0.5, "clean": clean}
        await session.execute(update(Evaluation).where(Evaluation.name == "leaked").values(contamination=seen))
    (board,) = await boards(api)
    assert [(row["name"], row["rank"], row["held_back"]) for row in board["rows"]] == [
        ("honest", 1, False), ("leaked", None, True),
    ]  # fmt: skip
    assert [row["p_value"] for row in board["rows"]] == [None, None]
    assert (await api.post(f"/api/evaluations/{leaked['id']}/waive", json={"reason": "reworded"})).status_code == 200
    (board,) = await boards(api)
    assert names(board) == [("leaked", 1), ("honest", 2)]
    assert (await api.post(f"/api/evaluations/{leaked['id']}/waive", json={"reason": "agreed"})).status_code == 200
    assert (await boards(api))[0]["rows"][0]["waiver"] == "agreed"


async def test_a_row_of_an_earlier_version_that_repeats_predictions_is_held_back_and_not_judged_again(
    api: httpx.AsyncClient, database: Database
) -> None:
    made = await store(api)
    await evaluate(api, "honest", answers(right=lambda i: i < 20), made["name"])
    doubled = await evaluate(api, "doubled", answers(), made["name"])
    async with database.write() as session:
        await session.execute(update(Evaluation).where(Evaluation.name == "doubled").values(n_repeated=20))
    (board,) = await boards(api)
    assert [(row["name"], row["rank"], row["held_back"]) for row in board["rows"]] == [
        ("honest", 1, False), ("doubled", None, True),
    ]  # fmt: skip
    again = await api.post(f"/api/evaluations/{doubled['id']}/judge?judge=exact")
    assert (again.status_code, "20 items" in again.json()["detail"]) == (409, True)


async def test_a_migration_gathers_the_scores_of_evaluations_that_are_there(
    api: httpx.AsyncClient, settings: Settings
) -> None:
    made = await store(api, [*questions(40), {"id": "empty", "prompt": "?", "expected_answer": ""}])
    url = settings.sqlalchemy_url.replace("+aiosqlite", "")
    for version, samples in (("0005", 1), ("0006", 3)):  # which kept one sample an item
        rows = [row | {"sample": s} for s in range(samples) for row in answers(right=lambda i, s=s: i % 3 >= s)]  # type: ignore[misc]
        evaluation = await evaluate(api, f"before {version}", rows, made["name"])
        before = await boards(api)
        await asyncio.to_thread(migrations.downgrade, url, version)
        await asyncio.to_thread(migrations.upgrade, url)
        api._transport.app.state.standings = Keeper()  # type: ignore[attr-defined]  # which keeps what it has found
        assert await boards(api) == before
        assert (await api.post(f"/api/evaluations/{evaluation['id']}/verify")).json()["ok"] is True


async def test_means_of_samples_are_ranked_too(api: httpx.AsyncClient) -> None:
    made = await store(api)

    def samples(rights: int) -> list[dict[str, Any]]:
        rows = [answers(right=lambda i, s=s: i % 4 != s or i < rights) for s in range(2)]  # type: ignore[misc]
        return [row | {"sample": sample} for sample, part in enumerate(rows) for row in part]

    for name, rights in (("better", 40), ("worse", 0)):
        await evaluate(api, name, samples(rights), made["name"])
    (board,) = await boards(api)
    assert names(board) == [("better", 1), ("worse", 2)]
    ids = [row["id"] for row in board["rows"]]
    found = (await api.get("/api/evaluations/compare", params={"base": ids[1], "other": ids[0]})).json()
    assert (found["fixed"], found["broken"], found["unchanged"], found["verdict"]) == (20, 0, 20, "better")
    assert found["test"] == "exact McNemar, two-sided"  # every difference is one half
    assert (found["items"][0]["base"]["score"], found["items"][0]["other"]["score"]) == (0.5, 1)


def test_the_seed_is_no_part_of_a_decodings_digest() -> None:
    assert decoding.digest(Decoding(temperature=1, seed=1)) == decoding.digest(Decoding(temperature=1, seed=2))
    assert decoding.digest(Decoding(temperature=1)) != decoding.digest(Decoding(temperature=0.5))
    assert decoding.digest(Decoding(seed=1)) == UNKNOWN


# --- comparing --------------------------------------------------------------------------------------------------


async def test_two_evaluations_are_compared_item_by_item(api: httpx.AsyncClient) -> None:
    made = await store(api)
    base = await evaluate(api, "base", answers(right=lambda i: i < 20), made["name"])
    other = await evaluate(api, "other", answers(39, right=lambda i: 2 <= i < 35), made["name"])
    params: dict[str, Any] = {"base": base["id"], "other": other["id"], "seed": 5}
    found = (await api.get("/api/evaluations/compare", params=params)).json()
    assert (found["n"], found["fixed"], found["broken"], found["unchanged"]) == (40, 15, 2, 23)
    assert (found["a"], found["b"], found["difference"]) == (0.5, 33 / 40, 13 / 40)
    assert found["p_value"] == pytest.approx(statistics.mcnemar(15, 2))
    assert found["verdict"] == "better"
    assert [(item["id"], item["change"]) for item in found["items"]][:3] == [
        ("q0", "broken"), ("q1", "broken"), ("q20", "fixed"),
    ]  # fmt: skip
    assert found["items"][0]["base"]["extracted"] == "0"
    again = (await api.get("/api/evaluations/compare", params=params)).json()
    assert again == found


async def test_the_other_way_round_mirrors_the_comparison(api: httpx.AsyncClient) -> None:
    made = await store(api)
    ids = [
        (await evaluate(api, name, answers(right=lambda i, n=size: i < n), made["name"]))["id"]  # type: ignore[misc]  # n is bound to each turn's
        for name, size in (("a", 20), ("b", 26))
    ]
    there, back = [
        (await api.get("/api/evaluations/compare", params={"base": a, "other": b})).json()
        for a, b in (ids, reversed(ids))
    ]
    assert there["verdict"], back["verdict"] == ("better", "worse")
    assert there["ci"] == [-bound for bound in reversed(back["ci"])]
    assert there["p_value"] == back["p_value"]


async def test_figures_of_different_boards_are_never_compared(api: httpx.AsyncClient) -> None:
    first, second = await store(api), await store(api, questions(39))
    a = await evaluate(api, "a", answers(), first["name"])
    b = await evaluate(api, "b", answers(), first["name"], max_new_tokens=64)
    c = await evaluate(api, "c", answers(39), second["name"])
    for other, what in ((b, "decoding"), (c, "eval set")):
        answer = await api.get(f"/api/evaluations/compare?base={a['id']}&other={other['id']}")
        assert answer.status_code == 409
        assert what in answer.json()["detail"]


async def test_files_are_compared_without_being_stored(api: httpx.AsyncClient) -> None:
    made = await store(api)
    sides = [answers(right=lambda i: i < 20), answers(39)]
    files = {name: (f"{name}.jsonl", jsonl(side)) for name, side in zip("ab", sides, strict=True)}
    answer = await api.post(f"/api/evaluations/compare?eval_set={made['name']}&margin=0.01", files=files)
    found = answer.json()
    assert (found["n"], found["fixed"], found["broken"], found["verdict"]) == (40, 19, 0, "better")
    assert (found["base"]["name"], found["base"]["id"], found["margin"]) == ("a.jsonl", None, 0.01)
    assert (await api.get("/api/evaluations")).json()["data"] == []


async def test_a_bad_file_of_a_comparison_is_named(api: httpx.AsyncClient) -> None:
    made = await store(api)
    files = {"a": ("x", jsonl(answers())), "b": ("y", b"\xff")}
    answer = await api.post(f"/api/evaluations/compare?eval_set={made['name']}", files=files)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "b: line 1"
    answer = await api.post(f"/api/evaluations/compare?eval_set={made['name']}", files={"a": files["a"]})
    assert answer.status_code == 422
    assert "no file 'b'" in answer.json()["detail"]


async def test_without_pairs_there_is_nothing_to_compare_and_no_nan(api: httpx.AsyncClient) -> None:
    made = await store(api, [{"id": "q0", "prompt": "?", "expected_answer": ""}])
    ids = [(await evaluate(api, name, answers(1), made["name"]))["id"] for name in "ab"]
    found = (await api.get("/api/evaluations/compare", params={"base": ids[0], "other": ids[1]})).json()
    assert (found["n"], found["difference"], found["ci"], found["p_value"]) == (0, None, None, None)
    assert (found["verdict"], found["n_unscored"]) == ("inconclusive", 1)

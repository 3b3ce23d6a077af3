"""Eval sets and evaluations over HTTP, on both databases."""

import asyncio
import json
from typing import Any

import httpx
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.make import answers, evaluate, jsonl, questions, store
from tunix_rt.evaluation import judging, scorecard, statistics
from tunix_rt.evaluation.judges import Judgement


def question(name: str, expected: str = "1", **extra: Any) -> dict[str, Any]:
    return {"id": name, "prompt": "?", "expected_answer": expected, **extra}


async def item_rows(api: httpx.AsyncClient, evaluation: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
    """All items of an evaluation, page by page."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await api.get(f"/api/evaluations/{evaluation['id']}/items", params={**params, **cursor})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        found += body["data"]
        if body["pagination"]["next_cursor"] is None:
            return found
        cursor = {"cursor": body["pagination"]["next_cursor"]}


# --- eval sets --------------------------------------------------------------------------------------------------


async def test_the_same_content_is_the_same_eval_set(api: httpx.AsyncClient) -> None:
    first = await api.post("/api/eval-sets?name=sums", content=jsonl(questions()))
    again = await api.post("/api/eval-sets?name=other", content=jsonl(questions(meta={})))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json()["name"] == "sums"
    assert first.headers["location"] == "/api/eval-sets/sums"
    listed = (await api.get("/api/eval-sets")).json()["data"]
    assert [row["digest"] for row in listed] == [first.json()["digest"]]


async def test_other_content_under_a_taken_name_is_a_conflict(api: httpx.AsyncClient) -> None:
    await store(api, questions(), name="sums")
    answer = await api.post("/api/eval-sets?name=sums", content=jsonl(questions(39)))
    assert answer.status_code == 409
    assert (await store(api, questions(39)))["name"].startswith("eval-")


async def test_order_and_every_field_count_in_the_digest(api: httpx.AsyncClient) -> None:
    items = questions(3)
    changed = [[*items[:2], items[2] | more] for more in ({"section": "x"}, {"meta": {"tolerance": 0.1}})]
    variants = [items, items[::-1], *changed, items[:2]]
    assert len({(await store(api, variant))["digest"] for variant in variants}) == 5


async def test_an_eval_set_is_found_by_name_and_digest(api: httpx.AsyncClient) -> None:
    made = await store(api, name="sums")
    for name in ("sums", made["digest"], made["digest"][:13]):
        assert (await api.get(f"/api/eval-sets/{name}")).json() == made
    for name in ("nothing", "sha256:0000000", "a%20b"):
        assert (await api.get(f"/api/eval-sets/{name}")).status_code == 404
    assert (await api.get("/api/eval-sets/%00")).status_code == 422


BAD_EVAL_SETS = {
    b"": "Nothing is in the file",
    b"\n \n": "Nothing is in the file",
    b'{"id": "a", "prompt": "?"}': "expected_answer",
    b'{"id": "a", "prompt": "?", "expected_answer": "1", "expectd": 1}': "Did you mean 'expected_answer'",
    b'{"id": "a", "prompt": "?", "expected_answer": "1"': "cut off",
    b'{"id": "\xff", "prompt": "?", "expected_answer": "1"}': "not UTF-8",
    b'{"id": "a", "prompt": "?", "expected_answer": NaN}': "NaN",
    b'{"id": "a\\u0000", "prompt": "?", "expected_answer": "1"}': "NUL",
    b'{"id": "", "prompt": "?", "expected_answer": "1"}': "id",
    b'{"id": true, "prompt": "?", "expected_answer": "1"}': "id",
    b'[{"id": "a"}]': "one object a line",
    b'{"id": "a", "prompt": "?", "expected_answer": "1", "meta": {"n": 9007199254740993}}': "meta",
    b'{"id": "a", "prompt": "?", "expected_answer": "1", "meta": ' + b'{"a":' * 300 + b"1" + b"}" * 301: "nested",
}


async def test_a_bad_eval_set_is_refused_with_its_line(api: httpx.AsyncClient) -> None:
    for content, said in BAD_EVAL_SETS.items():
        good = jsonl([question("ok")]) if content.strip() else b""
        answer = await api.post("/api/eval-sets", content=good + content)
        assert answer.status_code == 422, content
        assert said in json.dumps(answer.json(), ensure_ascii=False), content
        assert answer.json()["errors"][0]["pointer"] == ("line 2" if good else "line 1")
    assert (await api.get("/api/eval-sets")).json()["data"] == []


async def test_every_bad_line_is_named(api: httpx.AsyncClient) -> None:
    lines = [b"x" if i % 2 else json.dumps(question(f"q{i}")).encode() for i in range(10)]
    body = (await api.post("/api/eval-sets", content=b"\n".join(lines))).json()
    assert [error["pointer"] for error in body["errors"]] == [f"line {i + 1}" for i in range(1, 10, 2)]


async def test_an_id_may_stand_once_only(api: httpx.AsyncClient) -> None:
    body = (await api.post("/api/eval-sets", content=jsonl([question("a"), question("b"), question("a")]))).json()
    assert body["errors"] == [{"pointer": "line 3", "detail": "the id 'a' stands in line 1 already"}]


async def test_two_uploads_at_once_store_one_eval_set(api: httpx.AsyncClient) -> None:
    made = await asyncio.gather(*(store(api) for _ in range(5)))
    assert len({row["id"] for row in made}) == 1


# --- evaluations ------------------------------------------------------------------------------------------------


async def test_an_evaluation_keeps_every_item_with_its_rule_and_reason(api: httpx.AsyncClient) -> None:
    made = await store(api)
    found = await evaluate(api, "model", answers(right=lambda i: i != 3), made["digest"])
    assert (found["n_items"], found["n_scored"], found["n_correct"]) == (40, 40, 39)
    assert found["score"] == 39 / 40
    assert found["ci"] == list(statistics.wilson(39, 40) or ())
    assert found["rules"] == {"answer": 40}
    wrong = await item_rows(api, found, outcome="wrong")
    assert len(wrong) == 1
    assert wrong[0]["output"] == "Some thoughts.\nAnswer: 1003"
    assert (wrong[0]["id"], wrong[0]["extracted"], wrong[0]["rule"], wrong[0]["score"]) == ("q3", "1003", "answer", 0)
    assert wrong[0]["reason"] == "another number than expected"


async def test_missing_counts_as_wrong_and_empty_as_unscored(api: httpx.AsyncClient) -> None:
    made = await store(api, [question(name) for name in "acd"] + [question("e", ""), question("f", "")])
    right = "Answer: 1"
    lines = [("a", right), ("e", right), ("x", right), ("c", "Answer: 2")]
    found = await evaluate(api, "model", [{"id": name, "output": text} for name, text in lines], made["name"])
    assert (found["n_items"], found["n_scored"], found["n_missing"], found["n_unscored"]) == (5, 3, 1, 2)
    assert (found["n_correct"], found["score"]) == (1, 1 / 3)
    assert (found["n_unknown"], found["unknown_ids"]) == (1, ["x"])
    rows = {row["id"]: (row["outcome"], row["score"], row["reason"]) for row in await item_rows(api, found)}
    assert rows == {
        "a": ("correct", 1, None),
        "c": ("wrong", 0, "another number than expected"),
        "d": ("missing", 0, "no prediction"),
        "e": ("unscored", None, "the expected answer is empty: there is nothing to compare with"),
        "f": (
            "unscored",
            None,
            "the expected answer is empty: there is nothing to compare with; and there is no prediction",
        ),
    }


async def test_one_percent_is_not_one(api: httpx.AsyncClient) -> None:
    made = await store(api, questions(100))
    found = await evaluate(api, "model", answers(100, lambda i: i == 7), made["name"])
    assert found["score"] == 0.01


async def test_a_cut_off_output_is_scored_as_it_is_and_noted(api: httpx.AsyncClient) -> None:
    made = await store(api, [question("a"), question("b")])
    lines = [{"id": name, "output": f"Answer: {name == 'a':d}", "finish_reason": "length"} for name in "ab"]
    found = await evaluate(api, "model", lines, made["name"])
    assert [(row["score"], row["reason"]) for row in await item_rows(api, found)] == [
        (1, "the output was cut off at its length limit"),
        (0, "another number than expected; the output was cut off at its length limit"),
    ]


async def test_nothing_scored_is_no_score_and_no_interval(api: httpx.AsyncClient) -> None:
    made = await store(api, [question("a", "")])
    found = await evaluate(api, "model", [{"id": "a", "output": "1"}], made["name"])
    assert (found["score"], found["ci"], found["n_scored"]) == (None, None, 0)
    board = (await api.get("/api/tunix/evaluations")).json()["data"][0]
    assert (board["rows"][0]["score"], board["rows"][0]["rank"]) == (None, 1)


async def test_ids_may_be_written_as_numbers(api: httpx.AsyncClient) -> None:
    made = await store(api, [{"id": 7, "prompt": "?", "expected_answer": 0.5}])
    assert (await evaluate(api, "model", [{"id": 7, "output": "1/2"}], made["name"]))["score"] == 1


async def test_bad_predictions_are_refused_and_nothing_is_stored(api: httpx.AsyncClient) -> None:
    made = await store(api)
    for line, said in (
        ({"id": "q1", "output": "x", "sample": 1000}, "less than 1000"),
        ({"id": "q1", "outptu": "x"}, "Did you mean 'output'"),
        ({"id": "q1", "output": None}, "output"),
        ({"id": "q1", "output": "x", "latency_s": -1}, "latency_s"),
        ({"id": "nobody", "output": "x"}, "another eval set"),
    ):
        answer = await api.post(f"/api/evaluations?name=m&eval_set={made['name']}", content=jsonl([line]))
        assert answer.status_code == 422
        assert said in answer.text
        assert answer.json()["errors"][0]["pointer"] == "line 1"
    assert (await api.get("/api/evaluations")).json()["data"] == []


async def test_a_misspelt_judge_is_an_error_with_the_near_name(api: httpx.AsyncClient) -> None:
    made = await store(api)
    for path in ("evaluations?name=m&", "evaluations/compare?"):
        answer = await api.post(f"/api/{path}eval_set={made['name']}&judge=answer_corectness", content=b"")
        assert answer.status_code == 422
        assert "Did you mean 'answer_correctness'?" in answer.json()["detail"]


async def test_bad_parameters_are_refused(api: httpx.AsyncClient) -> None:
    made = await store(api)
    for query in ("", "name=%00", *(f"name=m&{more}" for more in ("model_id=%00", "top_p=2", "samples=0", "jugde=x"))):
        answer = await api.post(f"/api/evaluations?eval_set={made['name']}&{query}", content=jsonl(answers()))
        assert answer.status_code == 422, query


async def test_an_unknown_eval_set_is_not_found(api: httpx.AsyncClient) -> None:
    assert (await api.post("/api/evaluations?name=m&eval_set=nothing", content=b"{}")).status_code == 404


async def test_the_scorecard_of_a_stored_evaluation_is_that_of_its_items(api: httpx.AsyncClient) -> None:
    made = await store(api)
    found = await evaluate(api, "model", answers(right=lambda i: i % 4 == 0), made["name"])
    shown = (await api.get(f"/api/evaluations/{found['id']}")).json()
    assert shown == {key: value for key, value in found.items() if key not in ("unknown_ids", "repeated_ids")}
    sections = {group["value"]: (group["n_correct"], group["n_items"]) for group in shown["scorecard"]["section"]}
    assert sections == {"even": (10, 20), "odd": (0, 20)}
    assert [group["value"] for group in shown["scorecard"]["difficulty"]] == ["0", "1", "2"]
    assert shown["scorecard"]["category"] == []


async def test_items_are_filtered_and_paged_in_the_order_of_the_eval_set(api: httpx.AsyncClient) -> None:
    made = await store(api)
    found = await evaluate(api, "model", answers(30, right=lambda i: i % 4 == 0), made["name"])
    rows = await item_rows(api, found, limit=7)
    assert [row["id"] for row in rows] == [f"q{i}" for i in range(40)]
    assert [row["id"] for row in await item_rows(api, found, outcome="missing")] == [f"q{i}" for i in range(30, 40)]
    even = await item_rows(api, found, outcome="wrong", section="even", limit=2)
    assert [row["id"] for row in even] == [f"q{i}" for i in range(2, 30, 4)]
    assert await item_rows(api, found, difficulty="2", section="none") == []
    for query in ("outcome=maybe", "cursor=zzz", "limit=0", "limit=201", "cursor=aXRlbXwtMQ=="):
        assert (await api.get(f"/api/evaluations/{found['id']}/items?{query}")).status_code == 422


async def test_one_item_is_asked_for_by_its_id(api: httpx.AsyncClient) -> None:
    made = await store(api)
    found = await evaluate(api, "model", answers(), made["name"])
    assert [row["id"] for row in await item_rows(api, found, item="q7")] == ["q7"]
    assert await item_rows(api, found, item="q7000") == []


async def test_an_evaluation_is_found_by_a_unique_beginning_of_its_id(api: httpx.AsyncClient) -> None:
    made = await store(api)
    found = await evaluate(api, "model", answers(), made["name"])
    for text in (found["id"], found["id"][:14], found["id"].upper(), found["id"].replace("-", "")[:9]):
        assert (await api.get(f"/api/evaluations/{text}")).json()["id"] == found["id"]
    await evaluate(api, "other", answers(), made["name"])
    assert (await api.get(f"/api/evaluations/{found['id'][:6]}")).status_code == 409
    assert (await api.get("/api/evaluations/ffffffff")).status_code == 404
    for text in ("abc", "zzzzzzzz", "%00%00%00%00%00%00"):
        assert (await api.get(f"/api/evaluations/{text}")).status_code == 422


ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0, None]), st.booleans(), st.sampled_from(["a", "b", None])), max_size=30
)


@given(ROWS)
def test_the_groups_of_a_scorecard_add_up_to_the_whole(rows: list[tuple[float | None, bool, str | None]]) -> None:
    made = [
        judging.Row(n, 0, "i", "1", label, None, label, None, Judgement(score), missing=absent and score == 0)
        for n, (score, absent, label) in enumerate(rows)
    ]
    whole, card = scorecard.figures(made), scorecard.scorecard(made)
    assert whole.n_items == whole.n_scored + whole.n_unscored
    assert card.category == []
    for groups in (card.section, card.difficulty):
        if groups:
            for field in ("n_items", "n_scored", "n_missing", "n_unscored", "n_correct"):
                assert sum(getattr(group, field) for group in groups) == getattr(whole, field)
        else:
            assert all(label is None for _, _, label in rows)


async def test_evaluations_are_searched_and_sorted_over_all_rows(api: httpx.AsyncClient) -> None:
    made = await store(api)
    right: list[Any] = [lambda item: item % 2 == 0, lambda item: item % 3 == 0, lambda item: item % 3 == 0]
    names = ("Half", "third 100%", "a third")
    rows = [
        await evaluate(api, name, answers(right=each), made["name"]) for name, each in zip(names, right, strict=True)
    ]

    async def found(**query: str) -> list[str]:
        seen: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            answer = await api.get("/api/evaluations", params={"limit": "2", **query, **cursor})
            assert answer.status_code == 200, answer.text
            seen += [row["name"] for row in answer.json()["data"]]
            if (after := answer.json()["pagination"]["next_cursor"]) is None:
                return seen
            cursor = {"cursor": after}

    assert await found(sort="-score") == ["Half", "a third", "third 100%"]  # of one value, the newest is first
    assert await found(sort="score") == ["a third", "third 100%", "Half"]
    assert await found(q="THIRD") == ["a third", "third 100%"]
    assert await found(q="0%", sort="name") == ["third 100%"]
    assert await found(q=rows[0]["id"]) == ["Half"]
    assert await found(q=made["name"], sort="created_at") == list(names)
    assert (await api.get("/api/evaluations?sort=nothing")).status_code == 422


async def test_judges_are_listed_with_what_they_say_and_why_one_cannot_be_had(api: httpx.AsyncClient) -> None:
    found = {one["name"]: one for one in (await api.get("/api/judges")).json()["data"]}
    assert found["numeric"]["parameters"]["tolerance"]["default"] == 0
    assert found["numeric"]["digest"].startswith("sha256:")
    assert found["numeric"]["problem"] is None
    assert "TUNIX_RT_JUDGE_URL" in found["llm"]["problem"]  # which nobody has set
    assert "TUNIX_RT_JUDGE_URL=" in found["llm"]["hint"]
    assert found["llm"]["version"] is None


# --- repeated lines ---------------------------------------------------------------------------------------------


async def test_a_score_cannot_be_raised_by_a_second_line_for_the_wrong_items(api: httpx.AsyncClient) -> None:
    made = await store(api, questions(100))
    lines = answers(100, right=lambda i: i < 40)
    doubled = lines + answers(100)[40:]
    for query in (
        f"evaluations?name=m&eval_set={made['name']}",
        f"evaluations?name=m&eval_set={made['name']}&mode=async",
    ):
        answer = await api.post(f"/api/{query}", content=jsonl(doubled))
        assert answer.status_code == 422
        assert "60 lines repeat" in answer.json()["detail"]
        assert '"sample": 0, 1, 2' in answer.json()["hint"]
        assert answer.json()["errors"] == [
            {"pointer": f"line {i + 61}", "detail": f"repeats id 'q{i}' (sample 0), first on line {i + 1}"}
            for i in range(40, 50)
        ]
    files = {"a": ("a.jsonl", jsonl(lines)), "b": ("b.jsonl", jsonl(doubled))}
    compared = await api.post(f"/api/evaluations/compare?eval_set={made['name']}", files=files)
    assert (compared.status_code, compared.json()["errors"][0]["pointer"]) == (422, "b: line 101")
    assert (await api.get("/api/evaluations")).json()["data"] == []


async def test_an_id_and_sample_is_the_same_however_it_is_written(api: httpx.AsyncClient) -> None:
    made = await store(api, [question("1"), question("2")])
    right = {"output": "Answer: 1"}
    for first, second in (
        ({"id": "1"}, {"id": 1}),
        ({"id": 1}, {"id": "1", "sample": 0}),
        ({"id": "1", "sample": 3}, {"id": 1, "sample": 3, "latency_s": 1}),
        ({"id": "other"}, {"id": "other"}),  # also of no item
    ):
        content = b"\n" + jsonl([first | right, {"id": "2"} | right]) + b"\n\n" + jsonl([second | right])
        answer = await api.post(f"/api/evaluations?name=m&eval_set={made['name']}", content=content)
        assert answer.status_code == 422
        [error] = answer.json()["errors"]
        assert (error["pointer"], error["detail"].endswith("first on line 2")) == ("line 6", True)


async def test_an_id_that_only_looks_like_an_items_scores_nothing(api: httpx.AsyncClient) -> None:
    made = await store(api, [question("1"), question("caf\u00e9"), question("x")])
    names = ["1", 1.0, "1 ", "\u00a01", "caf\u00e9", "cafe\u0301", "X"]
    lines = [{"id": name, "output": f"Answer: {place in (0, 4):d}"} for place, name in enumerate(names)]
    lines += [{"id": name, "output": "Answer: 1"} for name in ("x ", "\uff58")]
    found = await evaluate(api, "model", lines, made["name"])
    assert (found["n_scored"], found["n_correct"], found["n_missing"], found["n_unknown"]) == (3, 2, 1, 7)

"""Contamination: what is copied is found, what only shares a template is not."""

from random import Random
from typing import Any

import httpx
import numpy as np
import pytest

from tests.datasets.plants import changed, generated, look, questions, trace
from tests.evaluation.make import store
from tests.make import dataset, stored
from tests.test_cli import Shell
from tunix_rt.datasets.contamination import Check
from tunix_rt.datasets.words import words

BED = (
    "A carpenter builds 12 beds for the inn, and each of them needs 38 long screws and 4 short ones. "
    "How many screws must she buy?"
)


def kinds(items: list[str], *traces: dict[str, Any]) -> dict[int, str]:
    return {position: overlap.kind for position, overlap in look(items, traces).overlaps.items()}


@pytest.mark.parametrize(
    ("kind", "prompt"),
    [
        ("in_sample", BED),
        ("exact", f"Solve this.\nQ: {BED}\nA:"),
        ("normalised", BED.upper()),
        ("normalised", BED.replace(" ", "  ").replace(". ", ".\n\n")),
        ("normalised", BED.replace(",", "").replace("?", " !")),
        ("ngram_13", "A carpenter builds 12 beds for the inn, and each of them needs 38 long screws and 4 short ones."),
        ("ngram_8", BED.replace("long", "big")),
        ("near_duplicate", BED.replace("carpenter", "joiner").replace("inn", "tavern").replace("long", "big")),
    ],
)
def test_each_kind_of_overlap_is_named(kind: str, prompt: str) -> None:
    assert kinds([BED], trace(0, prompt)) == {0: kind}


def test_the_strongest_overlap_is_told_with_its_share_and_trace() -> None:
    traces = [trace(0, changed(BED, Random(1), "replace")), trace(1, BED.lower()), trace(2, BED.upper())]
    found = look([BED], traces).overlaps[0]
    assert (found.kind, found.share, found.trace) == ("normalised", 1.0, "trace-1")


@pytest.mark.parametrize("where", ["step", "answer"])
def test_a_question_is_found_in_steps_and_answers_too(where: str) -> None:
    held = trace(0, "Go on.", BED) if where == "step" else trace(0, "Go on.", "Well.", answer=BED)
    assert kinds([BED], held) == {0: "exact"}


@pytest.mark.parametrize("dressed", [str, str.upper, str.title, lambda text: text.replace(" ", " \n ")])
def test_copies_in_other_case_or_white_space_are_all_found(dressed: Any) -> None:
    items = questions(200, seed=1)
    traces = [trace(n, dressed(item)) for n, item in enumerate(items)]
    assert len(look(items, traces).overlaps) >= 0.99 * len(items)


@pytest.mark.parametrize("how", ["replace", "delete", "insert", "mix"])
def test_nine_in_ten_copies_with_15_percent_of_the_words_changed_are_found_and_nothing_else(how: str) -> None:
    items, others = questions(300, seed=1), questions(600, seed=2)
    planted = [changed(item, Random(n), how) for n, item in enumerate(items[:150])]
    overlaps = look(items, [trace(n, prompt) for n, prompt in enumerate(others + planted)]).overlaps
    assert sum(position < 150 for position in overlaps) >= 0.9 * 150
    assert not [position for position in overlaps if position >= 150]


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("addition", {"digits": 3}),
        ("addition", {"digits": 9}),
        ("word-problems", {}),
        ("word-problems", {"digits": 2}),
        ("insertion-sort", {"length": 12}),
        ("parity", {"bits": 14}),
    ],
)
def test_other_problems_of_the_same_template_are_not_contamination(source: str, options: dict[str, int]) -> None:
    traces = generated(source, 1600, seed=5, **options)
    Random(0).shuffle(traces)
    items = [made["prompt"] for made in traces[:400]]
    assert len(look(items, traces[400:]).overlaps) <= 0.005 * len(items)


def test_a_story_told_again_with_other_names_and_numbers_is_not_the_same_question() -> None:
    story = "{0} buys {1} pens at {2} cents each, and {0} pays with {3} coins of {4} cents. How much is {0} given back?"
    item = story.format("Maria", 14, 35, 12, 50)
    assert kinds([item], trace(0, story.format("Peter", 9, 61, 30, 20))) == {}
    assert kinds([item], trace(0, story.format("Peter", 14, 35, 12, 50))) == {0: "near_duplicate"}


@pytest.mark.parametrize(
    ("item", "prompt"),
    [
        ("What is 2 + 3?", "What is 2 - 3?"),
        ("What is 2 + 3?", "What is 2 + 3 + 4?"),
        ("What is 2 + 3?", "What is 12 + 3?"),
        ("Tell me what the answer to this problem is: 4 + 3", "Tell me what the answer to this problem is: 4 + 3 + 5"),
        ("Calculate -( 2 + 4 ).", "Calculate -2 + 4."),
        ("Yes?", "Is it so? Yes? No?"),
        ("Name three large rivers.", "Name two small rivers."),
    ],
)
def test_what_only_looks_like_a_short_question_is_not_it(item: str, prompt: str) -> None:
    assert kinds([item], trace(0, prompt)) == {}


@pytest.mark.parametrize("item", ["7", "2+2", "", "?!", "What is 2 + 3?"])
def test_an_item_in_the_sample_is_found_however_short(item: str) -> None:
    assert kinds([item], trace(0, item), trace(1, "Something else.")) == {0: "in_sample"}


def test_a_short_question_is_found_as_a_sentence_of_its_own() -> None:
    assert kinds(["What is 2 + 3?"], trace(0, "Q: what is 2 + 3? A: 5")) == {0: "normalised"}


def test_an_item_that_stands_twice_in_the_eval_set_is_marked_twice() -> None:
    assert kinds([BED, "Why?", BED], trace(0, BED.lower())) == {0: "normalised", 2: "normalised"}


def test_texts_without_spaces_between_words_are_compared_by_character() -> None:
    item = "小明有十二个苹果，他又买了三十八个苹果，然后给了朋友四个，请问他现在一共有多少个苹果？"
    assert kinds([item], trace(0, f"问题：{item.replace('，', ' ')}")) == {0: "normalised"}
    assert kinds([item], trace(0, item.replace("小明", "大华").replace("请问", "那么"))) != {}
    assert kinds([item], trace(0, "昨天下雨，所以我们没有去公园，而是在家里看了一部很长的电影。")) == {}


def test_composed_and_full_width_characters_are_the_same_words() -> None:
    decomposed = "OÙ SE TROUVE LE CAFE\u0301 BLEU S’IL VOUS PLAI\u0302T AU JUSTE"
    item = "Où se trouve le café bleu, s'il vous plaît, au juste ?"
    assert kinds([item], trace(0, decomposed)) == {0: "normalised"}
    hashes = words(["１２ apples", "12 apples"]).hashes
    assert np.array_equal(hashes[:2], hashes[2:])


def test_surrogates_controls_and_lone_marks_do_no_harm() -> None:
    odd = "\ud800 \x00 \u0301 \u202e 🎲" * 5
    assert kinds([odd, BED], trace(0, odd), trace(1, f"{odd}{BED}")) == {0: "in_sample", 1: "exact"}


def test_a_trace_of_ten_megabytes_is_looked_at_whole() -> None:
    filler = "lorem ipsum dolor sit amet " * 370_000
    held = trace(0, "Read.", filler + BED.upper() + " " + filler[:1000])
    assert kinds([BED], held) == {0: "normalised"}


def test_the_same_trace_a_hundred_thousand_times_is_compared_once() -> None:
    held = trace(0, changed(BED, Random(3), "mix"))
    check = Check([BED])
    for _ in range(100):
        check.add([held] * 1000)
    findings = check.findings()
    assert (findings.n_traces, findings.overlaps[0].kind) == (100_000, "near_duplicate")


def test_no_items_and_no_traces_are_no_contamination() -> None:
    assert look([], [trace(0, BED)]).summary()["share"] is None
    assert look([BED], []).summary()["n_contaminated"] == 0


def test_the_summary_counts_by_kind_and_states_the_rule() -> None:
    summary = look([BED, "Why?"], [trace(0, BED)]).summary()
    assert summary["method"] == "overlap-1"
    assert summary["thresholds"] == {"ngram_share": 0.5, "similarity": 0.65, "least_words": 8}
    assert (summary["n_items"], summary["n_contaminated"], summary["share"]) == (2, 1, 0.5)
    assert summary["kinds"]["in_sample"] == 1
    assert sum(summary["kinds"].values()) == 1


async def test_a_data_set_is_checked_over_http_in_its_training_split_alone(api: httpx.AsyncClient) -> None:
    await stored(api, *({"trace_version": "1.0", **without_id(trace(n, f"{BED} ({n})", "Well."))} for n in range(40)))
    await dataset(api, splits={"eval": 0.3})
    held_out = [line["prompt"] for line in await exported(api, "eval")]
    trained = [line["prompt"] for line in await exported(api, "train")]
    items = [trained[0], trained[1].upper(), *held_out[:2]]
    await store(api, [{"id": f"q{n}", "prompt": p, "expected_answer": "1"} for n, p in enumerate(items)], name="beds")
    answer = await api.post("/api/datasets/data-v1/contamination", json={"eval_set": "beds"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [(item["id"], item["kind"]) for item in found["items"]][:2] == [("q0", "in_sample"), ("q1", "normalised")]
    assert {item["kind"] for item in found["items"][2:]} <= {"ngram_13"}
    assert (found["n_traces"], found["n_items"]) == (len(trained), 4)
    again = await api.get("/api/datasets/data-v1/contamination", params={"eval_set": "beds"})
    assert again.json() == found


async def exported(api: httpx.AsyncClient, split: str) -> list[dict[str, Any]]:
    answer = await api.get("/api/datasets/data-v1/export.jsonl", params={"split": split, "format": "eval-set"})
    return [httpx.Response(200, content=line).json() for line in answer.content.splitlines()]


def without_id(made: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in made.items() if key != "id"}


async def test_an_unknown_data_set_or_eval_set_is_not_found(api: httpx.AsyncClient) -> None:
    await stored(api, {"trace_version": "1.0", **without_id(trace(0, BED, "Well."))})
    await dataset(api)
    await store(api, name="sums")
    for key, eval_set in (("nothing-v1", "sums"), ("data-v1", "nothing")):
        answer = await api.post(f"/api/datasets/{key}/contamination", json={"eval_set": eval_set})
        assert answer.status_code == 404, answer.text


async def test_the_predictions_of_a_model_are_marked_by_its_training_traces(api: httpx.AsyncClient) -> None:
    await stored(api, {"trace_version": "1.0", **without_id(trace(0, BED, "Well."))})
    await dataset(api)
    items = [
        {"id": "a", "prompt": BED, "expected_answer": "504"},
        {"id": "b", "prompt": "Why?", "expected_answer": "1"},
    ]
    await store(api, items, name="beds")
    answer = await api.post(
        "/api/evaluations",
        params={"name": "m", "eval_set": "beds", "dataset_key": "data-v1"},
        content=b'{"id": "a", "output": "Answer: 504"}\n{"id": "b", "output": "Answer: 2"}\n',
    )
    assert answer.status_code == 201, answer.text
    contamination = answer.json()["contamination"]
    assert (contamination["method"], contamination["n"], contamination["clean"]["score"]) == ("overlap-1", 1, 0.0)


def test_the_command_finds_copies_in_a_data_set(tmp_path: Any) -> None:
    shell = Shell(tmp_path)
    shell.json("traces", "generate", "word-problems", "--count", 300, "--seed", 1)
    shell.json("datasets", "build", "words", "--split", "eval=0.2")
    for split in ("train", "eval"):
        shell("datasets", "export", "words-v1", "--format", "eval-set", "--split", split, "-o", f"{split}.jsonl")
    trained = shell.json("datasets", "contamination", "words-v1", "--eval-set", "train.jsonl")
    assert trained["kinds"]["in_sample"] == trained["n_items"] == trained["n_traces"]
    assert shell.json("datasets", "contamination", "words-v1", "--eval-set", "eval.jsonl")["n_contaminated"] == 0
    table = shell("datasets", "contamination", "words-v1", "--eval-set", "train.jsonl", "--limit", 1)
    assert "in_sample\t" in table.stdout
    assert "stand in" in table.stderr
    assert shell("datasets", "contamination", "words-v1", "--eval-set", "none.jsonl").returncode == 3

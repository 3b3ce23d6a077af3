"""Each format becomes a trace by one pure function."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.make import trace
from tunix_rt.base.errors import BadInput
from tunix_rt.datasets import export
from tunix_rt.traces import importers
from tunix_rt.traces.digest import digest, normal
from tunix_rt.traces.intake import checked


def read(name: str, record: Any) -> dict[str, Any]:
    return importers.named(name)(record)


def contents(found: dict[str, Any]) -> list[str]:
    return [step["content"] for step in found["steps"]]


# --- gsm8k ------------------------------------------------------------------------------------------------------


def test_gsm8k_keeps_each_line_as_a_step_and_its_calculations_apart() -> None:
    answer = "She sold 48/2 = <<48/2=24>>24 clips.\n\nThat is <<1+1=2>>2 and <<2=1+1=2>>2.\nDone.\n#### 72"
    found = read("gsm8k", {"question": "How many?", "answer": answer})
    assert found["prompt"] == "How many?"
    assert found["final_answer"] == "72"
    assert [step["i"] for step in found["steps"]] == [0, 1, 2]
    assert contents(found) == ["She sold 48/2 = 24 clips.", "That is 2 and 2.", "Done."]
    metas = [step.get("meta") for step in found["steps"]]
    assert metas == [
        {"calculations": [["48/2", "24"]]},
        {"calculations": [["1+1", "2"], ["2=1+1", "2"]]},
        None,
    ]


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"question": "q", "answer": "a step\nno end"}, "not `#### N`"),
        ({"question": "q", "answer": "a step\n####  "}, "not `#### N`"),
        ({"question": "q", "answer": "#### 3"}, "no reasoning"),
        ({"question": "q", "answer": "a <<step>>\n#### 3"}, "has no `=`"),
        ({"question": "q"}, "answer: Field required"),
        ({"question": 1, "answer": "a\n#### 3"}, "question: expected a text, found a number"),
        ({"question": "q", "answr": "a"}, "Did you mean 'answer'?"),
    ],
)
def test_gsm8k_says_what_is_wrong(record: Any, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        read("gsm8k", record)
    assert says in caught.value.detail


def test_every_line_of_gsm8k_becomes_a_trace(gsm8k: Path) -> None:
    lines = gsm8k.read_text().splitlines()
    rows = [checked(read("gsm8k", json.loads(line)), None) for line in lines]
    assert len({row.digest for row in rows}) == len(lines) == 7_473
    assert {row.step_count for row in rows} == set(range(2, 10))
    assert not any("<<" in step["content"] for row in rows for step in row.steps)
    kept = sum(len(step.get("meta", {}).get("calculations", [])) for row in rows for step in row.steps)
    assert kept == sum(line.count("<<") for line in lines)


# --- messages, prompt-completion --------------------------------------------------------------------------------


def turns(*said: tuple[str, str], **last: str) -> dict[str, Any]:
    found: list[dict[str, str]] = [{"role": role, "content": content} for role, content in said]
    found[-1] |= last
    return {"messages": found}


@pytest.mark.parametrize(
    "content",
    [
        "<think>one\n\ntwo\n \n\nthree</think>\n\nfour",
        "<reasoning>\none\n\ntwo\r\n\r\nthree\n</reasoning>four",
        "one\n\ntwo\n\nthree\n</think>\nfour",
        "Reasoning:\n1. one\n2. two\n3. three\nAnswer: four",
    ],
)
def test_reasoning_is_told_from_the_answer(content: str) -> None:
    conversation = read("messages", turns(("user", "q"), ("assistant", content)))
    completion = read("prompt-completion", {"prompt": "q", "completion": content})
    for found in (conversation, completion):
        assert (found["prompt"], contents(found), found["final_answer"]) == ("q", ["one", "two", "three"], "four")


def test_messages_take_the_users_turns_and_lose_no_other() -> None:
    said = (("system", "be brief"), ("user", "a"), ("assistant", "old"), ("user", "b"), ("assistant", "new"))
    found = read("messages", turns(*said, reasoning_content="one\n\ntwo") | {"meta": {"k": 1}})
    assert (found["prompt"], contents(found), found["final_answer"]) == ("a\n\nb", ["one", "two"], "new")
    others = [{"role": "system", "content": "be brief"}, {"role": "assistant", "content": "old"}]
    assert found["meta"] == {"k": 1, "other_turns": others}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("just an answer", "no reasoning found"),
        ("<think>cut off", "never closed"),
        ("<think></think>answer", "no reasoning inside <think>"),
        ("<think>one</think> \n", "no final answer stands after </think>"),
        ("hm <think>one</think>two", "text stands before <think>"),
        ("<think>one</think>two<think>three</think>four", "expected one <think>…</think>"),
        ("<think>one</reasoning>two", "expected one"),
        ("Reasoning:\nfirst\nAnswer: x", "must be numbered"),
        ("Reasoning:\n1. first", "no reasoning found"),
        ("Reasoning:\n1. first\nAnswer:  ", "no final answer"),
    ],
)
def test_a_completion_without_reasoning_says_so(content: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        read("prompt-completion", {"prompt": "q", "completion": content})
    assert caught.value.detail.startswith("completion: ")
    assert says in caught.value.detail


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"messages": []}, "messages: expected a list of turns"),
        ({"messages": ["hi"]}, "messages/0: expected an object, found a text"),
        (turns(("user", "q")), "the last turn is the user's"),
        (turns(("assistant", "<think>a</think>b")), "no user's turn"),
        (turns(("user", "q"), ("tool", "x")), "messages/1/role: 'tool' is none of system, user, assistant"),
        (turns(("user", "q"), ("assistant", "a"), reasoning_content="\n"), "no reasoning in it"),
        (turns(("user", "q"), ("assistant", " "), reasoning_content="one"), "no final answer"),
        (turns(("user", "q"), ("assistant", "a"), name="x"), "messages/1/name: unknown field"),
        ({"messages": [{"role": "user"}]}, "messages/0/content: Field required"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "content: expected a text, found a list"),
    ],
)
def test_a_wrong_conversation_says_where(record: Any, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        read("messages", record)
    assert says in caught.value.detail


# --- stepwise ---------------------------------------------------------------------------------------------------


def test_stepwise_keeps_the_labels() -> None:
    found = read("stepwise", {"prompt": "q", "completions": ["one", "two", "three"], "labels": [True, 0.5, None]})
    assert contents(found) == ["one", "two", "three"]
    assert [step.get("meta") for step in found["steps"]] == [{"label": True}, {"label": 0.5}, None]
    assert found["final_answer"] == "three"
    assert contents(read("stepwise", {"prompt": "q", "completions": ["one"]})) == ["one"]


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"prompt": "q", "completions": []}, "completions: expected a list of texts"),
        ({"prompt": "q", "completions": ["a", 1]}, "completions/1: expected a text, found a number"),
        ({"prompt": "q", "completions": ["a"], "labels": [True, False]}, "1 completions need as many labels; 2"),
        ({"prompt": "q", "completions": ["a"], "labels": [[1]]}, "labels/0: expected"),
        ({"prompt": "q", "completions": ["a"], "labels": True}, "found a truth value"),
    ],
)
def test_wrong_stepwise_records_say_where(record: Any, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        read("stepwise", record)
    assert says in caught.value.detail


# --- telling the format -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("trace", trace(1)),
        ("trace", {"id": "x", "steps": []}),
        ("gsm8k", {"question": "q", "answer": "a"}),
        ("messages", {"id": 1, "messages": [], "meta": {}}),
        ("prompt-completion", {"prompt": "q", "completion": "c"}),
        ("stepwise", {"prompt": "q", "completions": [], "labels": []}),
    ],
)
def test_a_format_is_told_from_a_record(name: str, record: Any) -> None:
    assert importers.detect(record) == name


@pytest.mark.parametrize("record", [{}, {"prompt": "q"}, {"messages": [], "completion": "c"}, {"x" * 500: 1}])
def test_what_cannot_be_told_lists_formats_and_keys(record: Any) -> None:
    with pytest.raises(BadInput) as caught:
        importers.detect(record)
    assert len(caught.value.detail) < 300
    assert all(key[:30] in caught.value.detail for key in record)


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(BadInput, match="Did you mean 'gsm8k'"):
        importers.named("gsm8")


# --- what we export can be read back ----------------------------------------------------------------------------

characters = st.characters(exclude_categories=["Cs", "Cc"])
words = st.text(characters, min_size=1, max_size=30)
stripped = words.map(str.strip).filter(bool)


def numbered(parts: list[str]) -> list[dict[str, Any]]:
    return [{"i": i, "type": "reasoning", "content": part} for i, part in enumerate(parts)]


def back(name: str, found: dict[str, Any]) -> dict[str, Any]:
    return read(name, json.loads(export.line({"id": "an id", **found}, name)))


def identity(found: dict[str, Any]) -> str:
    return digest(normal(found))


@given(st.lists(words, min_size=1, max_size=5), words, st.lists(st.none() | st.booleans() | words))
def test_an_exported_trace_is_the_same_trace(parts: list[str], answer: str, labels: list[Any]) -> None:
    steps = [
        step | ({} if label is None else {"meta": {"label": label}})
        for step, label in zip(numbered(parts), labels + [None] * len(parts), strict=False)
    ]
    found = trace(1, steps=steps, final_answer=answer)
    assert identity(back("trace", found)) == identity(found)
    as_answer = found | {"final_answer": parts[-1]}  # stepwise has no other place for it
    assert identity(back("stepwise", as_answer)) == identity(as_answer)


@given(st.lists(words, min_size=1, max_size=12), words.filter(str.strip))
def test_an_exported_completion_is_the_same_trace(parts: list[str], answer: str) -> None:
    found = trace(1, steps=numbered(parts), final_answer=answer)
    assert identity(back("prompt-completion", found)) == identity(found)


def test_an_exported_completion_keeps_steps_of_many_lines() -> None:
    found = trace(1, steps=numbered(["a\nb\n\n3. c", "d\nAnswer: e", "f"]), final_answer="g")
    assert identity(back("prompt-completion", found)) == identity(found)


@given(st.lists(stripped, min_size=1, max_size=5), words.filter(str.strip))
def test_exported_messages_are_the_same_trace(parts: list[str], answer: str) -> None:
    found = trace(1, steps=numbered(parts), final_answer=answer)
    assert identity(back("messages", found)) == identity(found)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | words, lambda x: st.lists(x) | st.dictionaries(words, x))
)
def test_no_record_breaks_an_importer(value: Any) -> None:
    for name, (convert, keys) in importers.FORMATS.items():
        for record in (dict.fromkeys(sorted(keys), value), {"prompt": "q", **dict.fromkeys(keys, value)}):
            with suppress(BadInput):
                assert checked(convert(record), None).digest, name

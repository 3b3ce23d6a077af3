"""The identity of a trace."""

import hashlib
import random
from typing import Any

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from tests.make import trace
from tunix_rt.traces.digest import digest, normal

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-9e15, 9e15, allow_nan=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
metas = st.dictionaries(texts, values, max_size=3)


@st.composite
def traces(draw: st.DrawFn) -> dict[str, Any]:
    places = draw(st.lists(st.integers(0, 2**53 - 1), min_size=1, max_size=4, unique=True))
    steps = [{"i": i, "type": draw(texts), "content": draw(texts)} for i in places]
    for step in steps:
        if draw(st.booleans()):
            step["meta"] = draw(metas)
    return {
        "trace_version": "1.0",
        "prompt": draw(texts),
        "steps": steps,
        "final_answer": draw(texts),
        "meta": draw(metas),
    }


def shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        return {key: shuffled(value[key], chance) for key in chance.sample(list(value), len(value))}
    return [shuffled(item, chance) for item in value] if isinstance(value, list) else value


def test_a_known_trace_has_the_digest_of_its_canonical_json() -> None:
    found = digest(normal(trace(0, prompt="p\n€", final_answer="2", steps=[{"i": 0, "type": "t", "content": 'a"'}])))
    by_hand = (
        '{"final_answer":"2","prompt":"p\\n€","steps":[{"content":"a\\"","i":0,"type":"t"}],"trace_version":"1.0"}'
    )
    assert found == "sha256:" + hashlib.sha256(by_hand.encode()).hexdigest()


@given(traces())
def test_the_digest_is_that_of_rfc_8785(found: dict[str, Any]) -> None:
    identity = {key: value for key, value in found.items() if key != "meta"}
    identity["steps"] = sorted(
        ({key: value for key, value in step.items() if key != "meta" or value} for step in found["steps"]),
        key=lambda step: step["i"],
    )
    assert digest(normal(found)) == "sha256:" + hashlib.sha256(rfc8785.dumps(identity)).hexdigest()


@given(traces(), st.randoms(use_true_random=False), metas)
def test_the_order_of_keys_and_steps_and_the_meta_do_not_matter(
    found: dict[str, Any], chance: random.Random, meta: dict[str, Any]
) -> None:
    other = shuffled(found, chance) | {"meta": meta}
    other["steps"] = chance.sample(other["steps"], len(other["steps"]))
    assert digest(normal(other)) == digest(normal(found))


def test_what_a_step_carries_is_content() -> None:
    step = {"i": 0, "type": "t", "content": "c"}
    plain, empty, labelled = (
        digest(normal(trace(0, steps=[one]))) for one in (step, step | {"meta": {}}, step | {"meta": {"label": True}})
    )
    assert plain == empty
    assert plain != labelled

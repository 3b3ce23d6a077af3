"""The sources of traces: what they promise, what their verifiers find, how a third party adds one."""

import hashlib
import json
import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_rt.base.errors import BadInput, NotFound
from tunix_rt.traces.sources import Source, columns, draws, load, names

BUILT_IN = ["addition", "insertion-sort", "parity", "word-problems"]
DOCUMENT = Path(__file__).parents[2] / "docs" / "sources.md"

# SHA-256 over the first 20 traces with seed 7 and the default options: no machine and no Python may change them.
GOLDEN = {
    "addition": "87675a3e6e06bc21",
    "insertion-sort": "f3e01cc7bd5bdbdc",
    "parity": "d376fa26f1762ea6",
    "word-problems": "866f5ecdf3137cd3",
}


def make(name: str, count: int, seed: int = 0, **options: int) -> list[dict[str, Any]]:
    """Traces of a source."""
    source = load(name)
    return list(source.generate(count, seed, source.options(**options)))


@st.composite
def generated(draw: st.DrawFn) -> tuple[Source[Any], dict[str, Any]]:
    """A source and a trace of it, at any seed and difficulty."""
    name = draw(st.sampled_from(BUILT_IN))
    options = {
        "addition": {"digits": st.integers(1, 9)},
        "insertion-sort": {"length": st.integers(2, 20), "largest": st.integers(1, 999_999)},
        "parity": {"bits": st.integers(2, 64)},
        "word-problems": {"digits": st.integers(3, 9), "least_digits": st.integers(1, 3)},
    }[name]
    drawn = {key: draw(value) for key, value in options.items()}
    return load(name), make(name, draw(st.integers(1, 4)), draw(st.integers(-(2**70), 2**70)), **drawn)[-1]


def copy(trace: dict[str, Any]) -> dict[str, Any]:
    """A copy to damage."""
    copied: dict[str, Any] = json.loads(json.dumps(trace))
    return copied


# What a generated trace is


@settings(max_examples=60, deadline=None)
@given(generated())
def test_every_generated_trace_verifies(case: tuple[Source[Any], dict[str, Any]]) -> None:
    source, trace = case
    assert source.verify(trace) == []


@settings(max_examples=60, deadline=None)
@given(generated())
def test_a_generated_trace_has_the_shape_of_the_spec(case: tuple[Source[Any], dict[str, Any]]) -> None:
    source, trace = case
    assert list(trace) == ["trace_version", "prompt", "steps", "final_answer", "meta"]
    assert trace["trace_version"] == "1.0"
    assert trace["prompt"].isascii()
    assert 1 <= len(trace["prompt"]) <= 50_000
    assert [step["i"] for step in trace["steps"]] == list(range(len(trace["steps"])))
    assert 1 <= len(trace["steps"]) <= 1_000
    for step in trace["steps"]:
        assert list(step) == ["i", "type", "content"]
        assert re.fullmatch("[a-z]{1,64}", step["type"])
        assert 1 <= len(step["content"]) <= 20_000
    assert 1 <= len(trace["final_answer"]) <= 50_000
    assert trace["meta"]["source"] == source.name


@pytest.mark.parametrize("name", ["addition", "word-problems"])
def test_the_answer_is_what_python_says(name: str) -> None:
    for trace in make(name, 2_000, digits=6):
        left, sign, right = re.split("([-+])", trace["steps"][0]["content"])
        assert int(trace["final_answer"]) == (int(left) + int(right) if sign == "+" else int(left) - int(right))


def test_a_story_states_the_numbers_that_its_first_step_restates() -> None:
    for trace in make("word-problems", 500):
        stated = re.findall("[0-9]+", trace["prompt"])
        assert re.split("[-+]", trace["steps"][0]["content"]) == stated


def test_a_short_row_stays_short() -> None:
    # The cost of a training step grows with the characters of a row.
    for trace in make("word-problems", 500):
        lines = [f"{i}. {step['content']}" for i, step in enumerate(trace["steps"], 1)]
        completion = "\n".join(["Reasoning:", *lines, f"Answer: {trace['final_answer']}"])
        assert len(trace["prompt"]) + len(completion) < 170


def test_carries_borrows_lengths_and_both_operations_are_common() -> None:
    traces = make("word-problems", 2_000)
    adding = [trace for trace in traces if trace["meta"]["operation"] == "addition"]
    assert 0.45 < len(adding) / len(traces) < 0.55
    for group in (adding, [trace for trace in traces if trace not in adding]):
        carrying = [t for t in group if any("1=" in step["content"] for step in t["steps"][1:])]
        assert len(carrying) / len(group) > 0.3
    lengths = {tuple(map(len, re.findall("[0-9]+", trace["prompt"]))) for trace in traces}
    assert lengths == set(product((1, 2, 3), repeat=2))
    assert all(int(trace["final_answer"]) >= 0 for trace in traces)
    assert not any(re.match("0[0-9]", trace["final_answer"]) for trace in traces)


# Drawing


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_first_traces_are_the_same_everywhere(name: str) -> None:
    text = json.dumps(make(name, 20, seed=7), ensure_ascii=True)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == GOLDEN[name]


@pytest.mark.parametrize("name", BUILT_IN)
def test_fewer_traces_are_the_beginning_of_more(name: str) -> None:
    assert make(name, 100, seed=3) == make(name, 1_000, seed=3)[:100]


@pytest.mark.parametrize("name", BUILT_IN)
def test_another_seed_gives_other_traces(name: str) -> None:
    prompts = [frozenset(trace["prompt"] for trace in make(name, 50, seed)) for seed in (-1, 0, 1, 2**64)]
    assert len(set(prompts)) == 4


@pytest.mark.parametrize(("name", "count"), [("addition", 20_000), ("word-problems", 100_000), ("parity", 4_096)])
def test_no_prompt_comes_twice(name: str, count: int) -> None:
    source = load(name)
    assert len({trace["prompt"] for trace in source.generate(count, 0, source.options())}) == count


def test_no_calculation_is_told_twice() -> None:
    assert len({trace["steps"][0]["content"] for trace in make("word-problems", 20_000)}) == 20_000


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("addition", {"digits": 1}, 9 * 9),
        ("addition", {"digits": 2}, 99 * 99),
        ("insertion-sort", {"length": 3, "largest": 4}, 5**3),
        ("parity", {"bits": 5}, 2**5),
        ("word-problems", {"digits": 1}, 9 * 9 + 9 * 10 // 2),
        ("word-problems", {"digits": 2}, 99 * 99 + 99 * 100 // 2),
        ("word-problems", {"digits": 2, "least_digits": 2}, 90 * 90 + 90 * 91 // 2),
    ],
)
def test_all_prompts_that_there_are_can_be_drawn_and_one_more_is_refused_at_once(
    name: str, options: dict[str, int], size: int
) -> None:
    traces = make(name, size, seed=1, **options)
    assert len({trace["prompt"] for trace in traces}) == size
    source = load(name)
    with pytest.raises(BadInput, match=f"only {size:,} distinct") as refused:
        source.generate(size + 1, 1, source.options(**options))
    assert str(refused.value.hint).startswith(f"Raise {next(iter(options))} ")


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(BadInput, match="-1"):
        make("parity", -1)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 10**40), st.integers())
def test_a_draw_stays_below_its_limit(limit: int, seed: int) -> None:
    random = draws.seeded("test", seed)
    assert all(0 <= draws.below(random, limit) < limit for _ in range(20))


def test_draws_are_even() -> None:
    counts = [0] * 6
    for seed in range(6_000):
        _, member = next(draws.distinct(draws.seeded("test", seed), [draws.Space(6)]))
        counts[member] += 1
    assert min(counts) > 850
    assert max(counts) < 1_150


# Verifying


def damaged(trace: dict[str, Any]) -> list[dict[str, Any]]:
    """The trace with any one digit of any step or of the answer changed, put in or left out."""
    found = []
    for place in [*range(len(trace["steps"])), "answer"]:
        text = trace["final_answer"] if place == "answer" else trace["steps"][place]["content"]
        for at, character in enumerate(text):
            if not character.isdigit():
                continue
            for other in [*set("0123456789") - {character}, "", character * 2, "٣", " "]:
                bad = copy(trace)
                changed = text[:at] + other + text[at + 1 :]
                if place == "answer":
                    bad["final_answer"] = changed
                else:
                    bad["steps"][place]["content"] = changed
                found.append(bad)
    return found


@pytest.mark.parametrize("name", BUILT_IN)
def test_any_changed_digit_is_found(name: str) -> None:
    source = load(name)
    for trace in make(name, 12, seed=5):
        assert all(source.verify(bad) for bad in damaged(trace))


@settings(max_examples=60, deadline=None)
@given(generated(), st.data())
def test_any_changed_character_is_found(case: tuple[Source[Any], dict[str, Any]], data: st.DataObject) -> None:
    source, trace = case
    bad = copy(trace)
    step = data.draw(st.sampled_from(bad["steps"]))
    at = data.draw(st.integers(0, len(step["content"]) - 1))
    other = data.draw(st.characters().filter(lambda character: character != step["content"][at]))
    step["content"] = step["content"][:at] + other + step["content"][at + 1 :]
    assert any(problem.startswith(f"step {step['i']}:") for problem in source.verify(bad))


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_missing_an_extra_a_repeated_and_a_reordered_step_are_found(name: str) -> None:
    source = load(name)
    for trace in make(name, 30):
        for at in range(len(trace["steps"])):
            bad = copy(trace)
            del bad["steps"][at]
            assert any("missing" in problem for problem in source.verify(bad))
            bad = copy(trace)
            bad["steps"].append({**bad["steps"][at], "i": len(bad["steps"])})
            assert source.verify(bad) == [f"step {len(trace['steps'])}: one too many"]
            bad = copy(trace)
            bad["steps"].append(bad["steps"][at])
            assert f"step {at}: there are two of them" in source.verify(bad)
            other = bad["steps"][at - 1]
            if other["content"] != bad["steps"][at]["content"]:
                bad = copy(trace)
                bad["steps"][at]["i"], bad["steps"][at - 1]["i"] = bad["steps"][at - 1]["i"], bad["steps"][at]["i"]
                assert source.verify(bad)


def test_the_order_of_a_list_does_not_count_beside_the_numbers_of_its_steps() -> None:
    trace = copy(make("addition", 1)[0])
    trace["steps"].reverse()
    assert load("addition").verify(trace) == []


def test_a_problem_names_the_step_and_what_it_should_be() -> None:
    bad = story("Kim has 934 books and gets 292 more. How many books now?", "934+292")
    assert load("word-problems").verify(bad) == []
    bad["steps"][2]["content"] = "3+9+0=13 36"
    assert load("word-problems").verify(bad) == ["step 2: should be '3+9+0=12 26' and is '3+9+0=13 36'"]


def story(prompt: str, restated: str) -> dict[str, Any]:
    """A story with the right steps for `restated`."""
    left, sign, right = re.split("([-+])", restated)
    steps, answer = columns.solve(int(left), sign, int(right))
    return {"trace_version": "1.0", "prompt": prompt, "steps": steps, "final_answer": answer, "meta": {}}


@pytest.mark.parametrize("restated", ["934-292", "292+934", "934+293", "93+292", "9340+292"])
def test_the_right_steps_for_another_calculation_are_found(restated: str) -> None:
    bad = story("Kim has 934 books and gets 292 more. How many books now?", restated)
    assert load("word-problems").verify(bad)[0].startswith("step 0:")


@pytest.mark.parametrize(
    ("left", "sign", "right", "steps", "answer"),
    [
        (934, "+", 92, ["934+92", "4+2+0=06 6", "3+9+0=12 26", "9+0+1=10 026"], "1026"),
        (934, "-", 92, ["934-92", "4-2-0=02 2", "3-9-0=-6 42", "9-0-1=08 842"], "842"),
        (100, "-", 99, ["100-99", "0-9-0=-9 1", "0-9-1=-10 01", "1-0-1=00 001"], "1"),
        (7, "+", 3, ["7+3", "7+3+0=10 0"], "10"),
    ],
)
def test_the_columns_are_as_on_paper(left: int, sign: str, right: int, steps: list[str], answer: str) -> None:
    solved, found = columns.solve(left, sign, right)
    assert ([step["content"] for step in solved], found) == (steps, answer)


def test_zeros_and_the_longest_carry_are_right() -> None:
    verify = load("word-problems").verify
    for numbers, restated, answer in (
        ("has 999 pens and gets 1 more", "999+1", "1000"),
        ("has 1000 pens and loses 1", "1000-1", "999"),
        ("has 505 pens and loses 505", "505-505", "0"),
        ("has 100 pens and loses 95", "100-95", "5"),
        ("has 1 pen and loses 1", "1-1", "0"),
    ):
        trace = story(f"Kim {numbers}. How many pens now?", restated)
        assert trace["final_answer"] == answer
        assert verify(trace) == []


def test_a_story_that_takes_away_more_than_there_is_is_refused() -> None:
    trace = story("Kim has 5 pens and loses 2. How many pens now?", "5-2")
    trace["prompt"] = "Kim has 2 pens and loses 5. How many pens now?"
    assert load("word-problems").verify(trace) == ["prompt: more is taken away than is there"]


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
STEP = JSON | st.fixed_dictionaries({}, optional={"i": JSON | st.integers(0, 3), "type": JSON, "content": JSON})


@settings(max_examples=60, deadline=None)
@given(generated(), st.data())
def test_verify_never_raises_and_never_passes_what_is_no_trace(
    case: tuple[Source[Any], dict[str, Any]], data: st.DataObject
) -> None:
    source, trace = case
    assert source.verify(data.draw(JSON))
    assert source.verify({"prompt": trace["prompt"], "steps": data.draw(JSON | st.lists(STEP, max_size=4))})
    for key in ("prompt", "steps", "final_answer"):
        bad = {**trace, key: data.draw(JSON)}
        assert source.verify(bad) or bad == trace


def test_numbers_too_long_to_read_are_refused() -> None:
    for name in BUILT_IN:
        trace = copy(make(name, 1)[0])
        trace["prompt"] = re.sub("[0-9]+", "1" * 5_000, trace["prompt"])
        assert load(name).verify(trace)


# Loading


def test_the_sources_that_come_with_us_are_there() -> None:
    assert set(BUILT_IN) <= set(names())
    for name in BUILT_IN:
        source = load(name)
        assert source.name == name
        assert all(field.description for field in source.options.model_fields.values())
        with pytest.raises(ValueError, match="colour"):
            source.options(colour=1)


def test_a_misspelt_source_is_an_error_with_the_near_name() -> None:
    with pytest.raises(NotFound, match=r"No source named 'word-problem'\. Did you mean 'word-problems'\? We have: add"):
        load("word-problem")


def package(folder: Path, name: str, points: dict[str, str], modules: dict[str, str]) -> None:
    """Lay down an installed package: its modules, and the metadata that an installer writes."""
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)
    metadata = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{point} = {value}" for point, value in points.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[tunix_rt.sources]", *lines, ""]))


def python(folder: Path, code: str) -> Any:
    """Run code in a new process that sees the packages in `folder`; what it prints is JSON."""
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


ERROR = """
import json
from tunix_rt.base.errors import Problem
from tunix_rt.traces.sources import load, names
try:
    load({name!r})
except Problem as error:
    print(json.dumps([type(error).__name__, error.detail, error.hint, load("addition").name, names()]))
"""


def test_the_package_of_the_document_adds_a_source(tmp_path: Path) -> None:
    project, module = re.findall(r"```(?:toml|python)\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    points = dict(re.findall(r'^([a-z-]+) = "([a-z_]+:[A-Z]+)"$', project, re.MULTILINE))
    assert points == {"countdown": "tunix_rt_countdown:SOURCE"}
    package(tmp_path, "tunix-rt-countdown", points, {"tunix_rt_countdown": module})
    found = python(
        tmp_path,
        """
import json
from tunix_rt.traces.sources import load, names
source = load("countdown")
traces = list(source.generate(99, 0, source.options()))
problems = [problem for trace in traces for problem in source.verify(trace)]
wrong = source.verify({**traces[0], "steps": traces[0]["steps"][1:]})
print(json.dumps([names(), len({trace["prompt"] for trace in traces}), problems, wrong]))
""",
    )
    assert found[:3] == [sorted([*BUILT_IN, "countdown"]), 99, []]
    assert found[3]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import a_module_that_is_not_there", "cannot be imported: ModuleNotFoundError"),
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
        ("", "cannot be imported: AttributeError"),
        ("SOURCE = 3", "is a int, not a"),
        ("from tunix_rt.traces.sources.parity import SOURCE", "calls itself 'parity'"),
    ],
)
def test_a_broken_package_is_named_and_breaks_no_other_source(tmp_path: Path, text: str, says: str) -> None:
    package(tmp_path, "acme-traces", {"acme": "acme_traces:SOURCE"}, {"acme_traces": text})
    kind, detail, hint, other, known = python(tmp_path, ERROR.format(name="acme"))
    assert kind == "Failed"
    assert "the package acme-traces 1.0" in detail
    assert says in detail
    assert "uninstall" in hint
    assert other == "addition"
    assert "acme" in known


def test_two_packages_with_the_same_source_are_an_error_that_names_both(tmp_path: Path) -> None:
    package(tmp_path, "acme-traces", {"parity": "tunix_rt.traces.sources.parity:SOURCE"}, {})
    kind, detail, _, other, known = python(tmp_path, ERROR.format(name="parity"))
    assert kind == "Conflict"
    assert "acme-traces 1.0, the package tunix-rt " in detail
    assert other == "addition"
    assert known == BUILT_IN


def test_asking_for_the_names_imports_no_source(tmp_path: Path) -> None:
    code = (
        "import json, sys; from tunix_rt.traces.sources import names; names(); print(json.dumps(sorted(sys.modules)))"
    )
    assert not [name for name in python(tmp_path, code) if name.startswith("tunix_rt.traces.sources.")]

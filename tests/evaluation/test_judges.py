"""Judges by name: which there are, what parameters they take, and what each says. Expected verdicts are by hand."""

import json
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_cli import Shell
from tunix_rt.base.errors import BadInput, Conflict, Failed, MissingExtra
from tunix_rt.evaluation import judges
from tunix_rt.evaluation.judges import Judge, Judgement, Question, named
from tunix_rt.evaluation.judges.bounded import Bounded, TookTooLongError, WorkFailedError

DOCUMENT = Path(__file__).parents[2] / "docs" / "judges.md"


def score(judge: str, expected: str, output: str, **meta: Any) -> float | None:
    """What a judge gives."""
    return named(judge).judge(Question("?", expected, meta), output).score


# --- by name ----------------------------------------------------------------------------------------------------


def test_every_judge_says_what_it_is_and_has_a_default_for_each_parameter() -> None:
    for name in judges.names():
        kind = judges.kind(name)
        assert kind.name == name
        assert kind.description.endswith(".")
        assert kind.parameters() == kind.parameters.model_validate({})
        assert all(field.description for field in kind.parameters.model_fields.values())
        assert f"`{name}`" in DOCUMENT.read_text()


def test_name_version_and_parameters_make_the_digest() -> None:
    assert named("numeric").name == "numeric"
    assert named("numeric:tolerance=0.0").digest == named("numeric").digest
    wide = named("numeric:tolerance=0.50,relative=yes")
    assert wide.name == "numeric:relative=true,tolerance=0.5"
    assert named(wide.name).digest == wide.digest != named("numeric").digest
    assert named("exact").digest != named("exact:normalised=true").digest


def test_the_digest_of_answer_correctness_stays_what_it_was() -> None:
    assert named("answer_correctness").digest.startswith("sha256:92061d5126f3296d")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("exakt", "No judge named 'exakt'. Did you mean 'exact'?"),
        ("numeric:tolerence=1", "no parameter 'tolerence'. Did you mean 'tolerance'?"),
        ("numeric:tolerance", "no `key=value`"),
        ("numeric:tolerance=1,tolerance=2", "twice"),
        ("numeric:tolerance=-1", "does not take"),
        ("numeric:tolerance=nan", "does not take"),
        ("numeric:tolerance=one", "does not take"),
        ("answer_correctness:x=1", "We have: none"),
        ("x" * 100_000, "No judge named"),
        ("llm:model=" + "x" * 100, "TUNIX_RT_JUDGE_URL"),
    ],
)
def test_a_wrong_name_or_parameter_is_an_error_that_says_what_there_is(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=re.escape(says)) as caught:
        named(text)
    assert len(caught.value.detail) < 300


def package(folder: Path, name: str, module: str, code: str, entry: str) -> None:
    """Install a package: its module and its metadata."""
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry)


def test_the_judge_of_the_documentation_works_as_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml, code = re.findall(r"```(?:toml|python)\n# \S+\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    entry = toml[toml.index("[project.entry-points") :].replace('[project.entry-points."', "[").replace('"]', "]")
    package(tmp_path, "tunix-rt-brief", "tunix_rt_brief", code, entry.replace('"', ""))
    monkeypatch.syspath_prepend(tmp_path)
    assert "brief" in judges.names()
    judge = named("brief:words=3")
    assert judge.judge(Question("?", ""), "one two three").score == 1
    assert judge.judge(Question("?", ""), "one two three four").reason == "4 words, more than 3"
    assert (judge.name, named("brief").name) == ("brief:words=3", "brief")
    sys.modules.pop("tunix_rt_brief")


def test_a_broken_package_breaks_only_its_own_judge(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {"broken": "nothing_there:KIND", "wrong": "builtins:int", "exact": "nothing_there:KIND"}
    entry = "[tunix_rt.judges]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
    package(tmp_path, "vandal", "vandal", "", entry)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("broken", "wrong"):
        with pytest.raises(Failed, match=r"vandal 1\.0"):
            named(name)
    with pytest.raises(Conflict, match=r"vandal 1\.0"):
        named("exact")
    assert named("numeric").name == "numeric"
    shell = Shell(tmp_path_factory.mktemp("list"))
    found = {one["name"]: one for one in shell.json("judge", "list")["judges"]}
    assert "vandal" in found["broken"]["problem"]
    assert found["numeric"]["parameters"]["tolerance"]["default"] == 0
    assert "numeric\ttolerance (0.0), relative (False)" in shell("judge", "list").stdout


def test_a_judge_that_raises_or_gives_no_share_leaves_its_item_unscored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
from tunix_rt.evaluation.judges import Judge, Judgement, Kind, Parameters
def judge(question, output):
    return Judgement({"nan": float("nan"), "two": 2.0}[output])
def unscorable(question):
    raise KeyError(question.expected)
KIND = Kind("odd", "Odd.", Parameters, lambda _parameters, _settings: Judge("odd", "1", judge, unscorable=unscorable))
"""
    package(tmp_path, "odd", "odd_judge", code, "[tunix_rt.judges]\nodd = odd_judge:KIND\n")
    monkeypatch.syspath_prepend(tmp_path)
    judge = named("odd")
    found = [judge.judge(Question("?", ""), output) for output in ("nan", "two", "boom")]
    assert [one.score for one in found] == [None] * 3
    assert found[2].reason == "the judge failed: KeyError: 'boom'"
    assert judge.unscorable(Question("?", "why")) == "the judge failed: KeyError: 'why'"
    sys.modules.pop("odd_judge")


HOSTILE = [
    "",
    " \n",
    "\x00",
    "\ud800",
    "a" * 100_000,
    "(" * 50_000,
    "1=" * 50_000,
    "$" * 50_000,
    "A:" * 50_000,
    "\u202e",
]
LOCAL = ["answer_correctness", "choice", "exact", "exact:normalised=true", "numeric", "steps"]


@pytest.mark.parametrize("judge", LOCAL)
@pytest.mark.parametrize("expected", ["", "5", "B", "\ud800", "x" * 50_000])
@pytest.mark.timeout(240)
def test_hostile_outputs_are_judged_within_bounds(judge: str, expected: str) -> None:
    for output in HOSTILE:
        began = time.process_time()
        found = named(judge).judge(Question("?", expected, {"choices": ["a", "b"]}), output)
        assert found.score is None or 0 <= found.score <= 1
        assert not (found.reason or "").startswith("the judge failed"), found
        assert time.process_time() - began < 3


@given(st.sampled_from(LOCAL), st.text(max_size=60), st.text("0123456789.+-*/=^()% $x<>,of\n\\", max_size=60))
def test_judging_never_fails(judge: str, expected: str, output: str) -> None:
    found = named(judge).judge(Question("?", expected), output)
    assert not (found.reason or "").startswith("the judge failed"), found


@pytest.mark.parametrize("judge", ["answer_correctness", "exact", "numeric", "choice", "steps"])
def test_an_output_of_10_megabytes_is_bounded(judge: str) -> None:
    output = "1 + 1 = 2, so " * 700_000 + "\nAnswer: 5"
    began = time.process_time()
    found = named(judge).judge(Question("?", "5", {"choices": {"5": "five", "6": "six"}}), output)
    assert time.process_time() - began < 10
    assert found.score == (0 if judge == "exact" else 1)
    assert len(found.extracted or "") <= 1000


# --- exact, numeric, choice -------------------------------------------------------------------------------------


def test_exact_compares_the_whole_output() -> None:
    assert score("exact", "72", " 72\n") == 1
    assert score("exact", "72", "Answer: 72") == 0
    assert score("exact", "Paris", "PARIS.") == 0
    assert score("exact:normalised=true", "Paris", "**PARIS.**") == 1
    assert score("exact", " ", "x") is None


@pytest.mark.parametrize(
    ("judge", "expected", "output", "meta", "right"),
    [
        ("numeric", "0.1", "Answer: 1/10", {}, 1),
        ("numeric", "0.1", "Answer: 0.1000000001", {}, 0),
        ("numeric:tolerance=0.01", "3.14", "Answer: 3.15", {}, 1),
        ("numeric:tolerance=0.01", "3.14", "Answer: 3.1500001", {}, 0),
        ("numeric:tolerance=0.1", "0.3", "Answer: 0.2", {}, 1),
        ("numeric:tolerance=0.01,relative=true", "-200", "It is -202", {}, 1),
        ("numeric:tolerance=0.01,relative=true", "-200", "It is -202.1", {}, 0),
        ("numeric:tolerance=0.01,relative=true", "0", "Answer: 0.001", {}, 0),
        ("numeric", "10", "Answer: 11", {"tolerance": 1}, 1),
        ("numeric:tolerance=5", "10", "Answer: 11", {"tolerance": "0.5"}, 0),
        ("numeric", "10", "Answer: 11", {"tolerance": 0.1, "relative": True}, 1),
        ("numeric", "10", "Answer: ten", {}, 0),
        ("numeric", "1e300", "Answer: -1e300", {}, 0),
        ("numeric", "1e-390", "Answer: 1e390", {}, 0),
        ("numeric", "ten", "Answer: 10", {}, None),
        ("numeric", "10", "Answer: 10", {"tolerance": -1}, None),
        ("numeric", "10", "Answer: 10", {"tolerance": [1]}, None),
        ("numeric", "10", "Answer: 10", {"relative": "yes"}, None),
    ],
)
def test_numeric(judge: str, expected: str, output: str, meta: dict[str, Any], right: float | None) -> None:
    assert score(judge, expected, output, **meta) == right


CITIES = ["Paris", "London", "New York", "a dog"]


@pytest.mark.parametrize(
    ("expected", "output", "right"),
    [
        ("B", "(B)", 1), ("B", "B.", 1), ("B", "b", 1), ("B", "**B**", 1), ("B", "B) London", 1), ("b", "Answer: B", 1),
        ("B", "Answer: (B) London", 1), ("B", "Answer: London", 1), ("London", "The answer is B", 1),
        ("(B) London", "The correct answer is B: London", 1), ("B", "I think the answer is London.", 1),
        ("B", "A is wrong because it is in France.\nSo the correct option is (B).", 1), ("B", "\\boxed{B}", 1),
        ("B", "\\boxed{\\text{B}}", 1), ("B", "B\n\nBecause London is where the Queen lived.", 1),
        ("B", "Answer: C\nNo, wait.\nAnswer: B", 1), ("D", "Answer: a dog", 1), ("D", "The answer is a dog", 1),
        ("B", "I choose option B because the answer A is wrong", 1),
        ("B", "Answer: A", 0), ("A", "A city in France is big.", 0), ("A", "Answer: a dog", 0), ("B", "A or B", 0),
        ("B", "", 0), ("B", "E", 0), ("E", "E", None), ("Rome", "Rome", None),
    ],
)  # fmt: skip
def test_choice(expected: str, output: str, right: float | None) -> None:
    assert score("choice", expected, output, choices=CITIES) == right
    labelled = {"label": ["A", "B", "C", "D"], "text": CITIES}
    assert score("choice", expected, output, choices=labelled) == right
    assert score("choice", expected, output, choices=dict(zip("ABCD", CITIES, strict=True))) == right


def test_choice_without_options_takes_any_letter_and_with_bad_ones_says_so() -> None:
    assert score("choice", "C", "The answer is (C)") == 1
    assert score("choice", "C", "A dog") == 0
    assert score("choice", "maybe", "C") is None
    for bad in ([], "AB", [1, 2], {"A": 1}, {"AB": "x"}, {"label": ["A"], "text": []}, ["x"] * 30, 7):
        assert score("choice", "A", "A", choices=bad) is None


# --- in processes of their own ----------------------------------------------------------------------------------


def test_a_regular_expression_bomb_leaves_its_item_unscored_and_the_next_is_judged() -> None:
    judge = named("regex:seconds=0.3")
    bomb = judge.judge(Question("?", r"(a+)+$"), "a" * 50 + "b")
    assert (bomb.score, bomb.reason) == (None, "the pattern was not done within 0.3 s")
    found = judge.judge(Question("?", r"\b7\d"), "It is 72.")
    assert (found.score, found.extracted) == (1, "72")
    assert judge.judge(Question("?", "["), "[").reason == (
        "the pattern '[' cannot be used: error: unterminated character set at position 0"
    )
    assert judge.judge(Question("?", "", {"pattern": "^x"}), "yx").score == 0
    assert judge.judge(Question("?", ""), "x").score is None


def test_regex_looks_where_and_how_it_is_told() -> None:
    assert score("regex:where=answer,whole=true", r"\d+", "7 is not it.\nAnswer: 72") == 1
    assert score("regex:whole=true", r"\d+", "Answer: 72") == 0
    assert score("regex:ignore_case=true", "paris", "PARIS") == 1


def test_work_in_a_process_is_ended_in_time_and_keeps_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNIX_RT_JUDGE_KEY", "sk-secret")
    bounded = Bounded(f"{__name__}:secrets", 5)
    assert bounded() == []
    running = Bounded("builtins:eval", 5)
    for what in ("open('/tmp/x', 'w')", "__import__('os').system('true')", "__import__('socket').socket()"):
        with pytest.raises(WorkFailedError, match="PermissionError"):
            running(what)
    with pytest.raises(TookTooLongError):
        Bounded("time:sleep", 0.1)(60)
    dying = Bounded("os:_exit", 5)
    for _ in range(2):
        with pytest.raises(WorkFailedError, match="ended"):
            dying(1)


def secrets() -> list[str]:
    """What a child sees of our settings."""
    import os

    return [name for name in os.environ if name.startswith("TUNIX_RT")]


@pytest.fixture(scope="module")
def math() -> Judge:
    pytest.importorskip("math_verify")
    return named("math:seconds=20")


@pytest.mark.parametrize(
    ("expected", "output", "right"),
    [
        ("1/2", "Answer: $\\frac{1}{2}$", 1),
        ("\\frac{3}{4}", "\\boxed{0.75}", 1),
        ("x^2+2x+1", "\\boxed{(x+1)^2}", 1),
        ("x^2+2x+1", "\\boxed{(x-1)^2}", 0),
        ("\\{1,2\\}", "\\boxed{\\{2,1\\}}", 1),
        ("\\sqrt{2}", "\\boxed{2^{1/2}}", 1),
        ("(1,2)", "\\boxed{(2,1)}", 0),
        ("7", "It is 8", 0),
        ("", "7", None),
    ],
)
def test_math(math: Judge, expected: str, output: str, right: float | None) -> None:
    assert math.judge(Question("?", expected), output).score == right


def test_math_works_in_threads_and_gives_up_in_time(math: Judge) -> None:
    found: list[Judgement] = []
    threads = [threading.Thread(target=lambda: found.append(math.judge(Question("?", "1/2"), "0.5"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.score for one in found] == [1] * 4
    quick = named("math:seconds=0.3")
    assert quick.judge(Question("?", "9"), "\\boxed{9^{9^{9^{9}}}}").reason == "not compared within 0.3 s"


def test_a_missing_library_is_an_error_that_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    for name in ("math", "reasoning-gym"):
        with pytest.raises(MissingExtra) as caught:
            named(name)
        assert caught.value.hint == f"Install it: pip install 'tunix-rt[{name}]'"


def test_reasoning_gym_verifies_by_the_data_set_of_the_item() -> None:
    pytest.importorskip("reasoning_gym")
    judge = named("reasoning-gym")
    meta = {"source_dataset": "countdown", "numbers": [6, 61, 94, 4], "target": 309}
    item = Question("Calculate 309.", "94*4 - 61 - 6", meta)
    assert judge.judge(item, "<answer>4*94 - 6 - 61</answer>").score == 1
    assert judge.judge(item, "<answer>94*4</answer>").score == 0.05
    assert judge.judge(Question(item.prompt, item.expected, {"metadata": meta}), "Answer: 94*4 - 61 - 6").score == 1
    for program in ("__import__('os').system('true')", "exec('x')", "(lambda: 1)()", "open('/etc/passwd')"):
        assert judge.judge(item, f"<answer>{program}</answer>").score == 0
    assert judge.judge(Question("?", "1"), "1").score is None
    assert judge.judge(Question("?", "1", {"source_dataset": "no_such"}), "1").score is None


# --- GSM8K ------------------------------------------------------------------------------------------------------

WRITTEN = {
    "18": ["18", "$18", "18.0", "18.00", "18.", "18 ", " 18", "$18.00", "+18", "18%", "18 eggs", "<<9*2=18>>18", "36/2",
           "**18**", "= 18", "9*2 = 18", "18 dollars", "$ 18", "18\r", "18 ."],
    "1000": ["1,000", "1000", "$1,000", "1,000.00", "1000.", "$1,000.00", "1 000".replace(" ", "\u00a0")],
    "-2": ["-2", "-2.0", "−2", "- 2", "-$2"],
    "0.75": ["0.75", ".75", "3/4", "$0.75"],
    "5": ["5", "5%", "5.0", "05", "5 %"],
    "70000": ["70000", "70,000", "70000.", "70000.0"],
}  # fmt: skip
OTHER = {
    "18": ["19", "-18", "1.8", "180", "18.5", "$17", "", "1,8", "18,5", "18 or 19", "?", "18/5"],
    "1000": ["1,00", "100", "1,0000", "1", "10,000", "1000000"],
    "-2": ["2", "-2.1", "-20"],
    "5": ["50%", "0.05", "500", "5/100", "five"],
}  # fmt: skip
FRAMES = [
    "They eat 3 + 4 = <<3+4=7>>7.\n16 - 7 = <<16-7=9>>9.\nA: {}",
    "A: {}",
    "Q: How many?\nA: 16 - 3 = <<16-3=13>>13\n13 + 4 = 17.\nA: {}\n",
    "A: 7\nA: 12\nA: {}",
    "He has 12.\n\nA: {}\n\n",
]


@pytest.mark.parametrize("frame", FRAMES)
def test_the_last_line_a_is_the_answer_however_it_is_written(frame: str) -> None:
    for expected, forms in WRITTEN.items():
        for form in forms:
            assert score("answer_correctness", expected, frame.format(form)) == 1, (expected, form)
    for expected, forms in OTHER.items():
        for form in forms:
            if form or "A: 1" not in frame:
                assert score("answer_correctness", expected, frame.format(form)) == 0, (expected, form)


def test_1319_solutions_that_end_in_a_line_a_are_judged_as_they_were_made(gsm8k: Path) -> None:
    solutions = [json.loads(line)["answer"] for line in gsm8k.read_text(encoding="utf-8").splitlines()[:1319]]
    judge = named("answer_correctness")
    wrong = 0
    for place, solution in enumerate(solutions):
        steps, _, expected = solution.rpartition("\n#### ")
        value = int(expected.replace(",", ""))
        right = place % 3 != 0
        said = value if right else value + (-1) ** place * (1 + place % 7)
        form = (f"{said}", f"{said:,}", f"{said}.0", f"${said:,}" if said >= 0 else f"{said}", f"{said}.")[place % 5]
        found = judge.judge(Question("?", expected), f"{steps}\nA: {form}")
        wrong += found.score != right
        assert found.rule == "a"
    assert (len(solutions), wrong) == (1319, 0)

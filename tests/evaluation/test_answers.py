"""Where the answer stands in an output, and when it is the expected one. The expected values are worked by hand."""

import json
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tunix_rt.evaluation.answers import extract, target
from tunix_rt.evaluation.judges.answer_correctness import judge
from tunix_rt.evaluation.normal import normal, number, numbers

HOSTILE = st.text(
    st.sampled_from("019.,:-+/%$€ \n\t\\{}#<>A:answer()'\"*`_=^eE½²³١०−–\u00a0\u200b\u202e\u0301\u0345ßİ√x")
    | st.characters(exclude_categories=["Cs"]),
    max_size=60,
)


@pytest.mark.parametrize(
    ("output", "expected", "rule", "extracted"),
    [
        ("Some steps.\nAnswer: 72", "72", "answer", "72"),
        ("Some steps.\nANSWER : 72", "72", "answer", "72"),
        ("**Answer:** $72.00", "72", "answer", "$72.00"),
        ("**Final Answer**: 72", "72", "answer", "72"),
        ("回答 Answer： 72", "72", "answer", "72"),
        ("Natalia sold 48+24 = <<48+24=72>>72 clips.\nA: 72", "72", "a", "72"),
        ("Natalia sold 72 clips.\n#### 72", "72", "hashes", "72"),
        ("so $\\boxed{72}$ it is", "72", "boxed", "72"),
        ("\\boxed{\\frac{1}{2}}", "0.5", "boxed", "\\frac{1}{2}"),
        ("<answer>\n 72 \n</answer> I am sure of 100.", "72", "answer_tag", "72"),
        ("Answer:\n\n  72  \nDone with 5.", "72", "answer", "72"),
        ("It was 71, no: 72.", "72", "last_number", "72"),
        ("  Paris. ", "paris", "whole_text", "Paris."),
        ("", "72", "whole_text", ""),
    ],
)
def test_the_rule_that_finds_an_answer_is_named(output: str, expected: str, rule: str, extracted: str) -> None:
    found = extract(output, target(expected))
    assert (found.rule, found.text) == (rule, extracted)


@pytest.mark.parametrize(
    ("output", "expected", "extracted"),
    [
        ("Answer: 1\n#### 2", "2", "2"),
        ("#### 2\nAnswer: 1", "1", "1"),
        ("\\boxed{1} it was.\nA: 2", "2", "2"),
        ("A: 2 or rather \\boxed{1}", "1", "1"),
        ("<answer>1</answer> Answer: 3", "3", "3"),
        ("Answer: 4\nAnswer: 5", "5", "5"),
        ("Answer: 4 Answer: 5", "5", "5"),
        ("\\boxed{1} and \\boxed{2}", "2", "2"),
        ("\\boxed{1} and \\boxed{2", "1", "1"),
        ("<answer>Answer: 5</answer>", "5", "5"),
        ("\\boxed{A: 5}", "5", "5"),
    ],
)
def test_the_last_marker_wins_whichever_it_is(output: str, expected: str, extracted: str) -> None:
    assert extract(output, target(expected)).text == extracted


@pytest.mark.parametrize(
    "output", ["The result is 42.\nAnswer:", "Answer: 42\nAnswer: \n", "A: 42\n####", "42 <answer></answer>"]
)
def test_a_marker_with_nothing_behind_it_is_passed_over(output: str) -> None:
    assert judge("42", output).score == 1


@pytest.mark.parametrize(
    "output",
    [
        "DNA: 7, so 42",
        "Section A: 7, all: 42",
        "Q&A: 7. So 42",
        "U.S.A: 7. 42",
        "##### 7\n42",
        "# 7\n42",
        "answers: 7, 42",
        "a: 7, 42",
    ],
)
def test_what_only_looks_like_a_marker_is_none(output: str) -> None:
    assert judge("42", output).rule == "last_number"
    assert judge("42", output).score == 1


def test_braces_are_balanced_and_escaped_ones_do_not_count() -> None:
    assert extract(r"\boxed{\{1,2\}}", target("x")).text == r"\{1,2\}"
    assert extract(r"\boxed{\text{a {b} c}} }", target("x")).text == r"\text{a {b} c}"


def test_an_answer_of_several_lines_reaches_to_the_end() -> None:
    assert judge("a b\nc", "Answer: a b\nc\n").score == 1
    assert judge("a b", "Answer: a b\nc\n").score == 1


@pytest.mark.parametrize(
    ("expected", "written"),
    [
        ("0.5", "1/2"), ("0.5", ".50"), ("1/2", "2/4"), ("3", "3.0"), ("3", "3."), ("3", "+3"), ("-3", "−3"),
        ("-3", "–3"), ("1000", "1,000"), ("1000", "1e3"), ("1000", "1 000".replace(" ", "\u00a0")),
        ("1000000", "1,000,000.0"),
        ("5", "$5"), ("$5", "5"), ("-5", "-$5"), ("-5", "$-5"), ("50", "50%"), ("50%", "50 %"), ("5", "€ 5"),
        ("7/2", "3 1/2"), ("3.5", "3½"), ("-3.5", "-3 1/2"), ("42", "４２"), ("42", "٤٢"), ("42", "**42**"),
        ("42", "\u202e42\u202c"), ("1000", "1{,}000"), ("0.5", r"\frac{1}{2}"), ("3.5", r"3\frac{1}{2}"),
        ("7", "7 apples"),
        ("7", "about 7"), ("18", "16 - 3 + 5 = $18"), ("18", "x = 18 eggs"), ("10", "10 km/h"), ("7", "(7)"),
        ("B", "(B)"), ("B", "b."), ("Paris", "PARIS."), ("Paris", "“Paris”"), ("Straße", "STRASSE"),
        ("a b", " a\t b "),
        ("ﬁne", "fine"), ("$", "$"), ("2024-01-05", "2024-01-05"), ("1.2.3", "1.2.3."), ("it's", "It's"),
        ("__init__", "__init__"),
        ("42", "_42_"), ("42", "__ 42"), ("f'", "f'"),
    ],
)  # fmt: skip
def test_writings_of_one_answer_are_equal(expected: str, written: str) -> None:
    found = judge(expected, f"Thinking.\nAnswer: {written}")
    assert found.score == 1, found


@pytest.mark.parametrize(
    ("expected", "written"),
    [
        ("0.5", "50%"), ("1.5", "1,5"), ("15", "1,5"), ("1000", "1 000"), ("100", "10²"), ("15.5", "3½"),
        ("8", "between 5 and 8"),
        ("5", "5-10"), ("5", "10:5"), ("5", "2024-01-05"), ("3", "1.2.3"), ("3", "3x4"), ("1", "1/0"), ("0", "1/0"),
        ("16", r"\sqrt{16}"), ("16", "√16"), ("2", "2^10"), ("10", "2^10"), ("1", "1e999999999"), ("5", "five"),
        ("5", "-5"), ("31/2", "3 1/2"),
        ("Paris", "Paris is it"), ("(1, 2)", "[1, 2]"), ("1", "1 or 2"), ("1,2", "12"), ("5 apples", "5 pears"),
    ],
)  # fmt: skip
def test_different_answers_are_not_equal(expected: str, written: str) -> None:
    found = judge(expected, f"Thinking.\nAnswer: {written}")
    assert found.score == 0, found
    assert found.reason


def test_the_reason_says_why_no_number_was_taken() -> None:
    assert judge("8", "Answer: between 5 and 8").reason == "the answer holds 2 numbers, and none is chosen"
    assert judge("8", "I do not know").reason == "the answer holds no number"
    assert judge("8", "").reason == "the output is empty"


@pytest.mark.parametrize("expected", ["", "  ", "\u200b", "\n"])
def test_an_empty_expected_answer_is_unscored_and_not_wrong(expected: str) -> None:
    found = judge(expected, "anything")
    assert found.score is None
    assert found.reason == "the expected answer is empty: there is nothing to compare with"


def test_a_whole_generation_is_not_compared_with_the_bare_answer() -> None:
    output = "Reasoning:\n1. 48 / 2 = 24\n2. 48 + 24 = 72\nAnswer: 72"
    assert judge("72", output).score == 1


def test_numbers_are_exact_fractions() -> None:
    assert number("0.1") == Fraction(1, 10)
    assert number("1e-3") == Fraction(1, 1000)
    assert number("3 1/2") == Fraction(7, 2)
    assert number("-3 1/2") == Fraction(-7, 2)
    assert number("1.5/0.5") == 3
    for text in ("", "-", ".", "1/0", "3 4/2", "1e401", "1e999999999", "9" * 401, "1,5", "0x1f", "1 2"):
        assert number(text) is None, text


def test_dates_times_versions_and_ranges_are_no_numbers() -> None:
    assert numbers("on 2024-01-05 at 10:30 with 1.2.3 and 5-10, 1,5 or 3x4: 7") == [
        ("2024-01-05", None), ("10:30", None), ("1.2.3", None), ("5-10", None), ("1,5", None), ("3", None),
        ("7", Fraction(7)),
    ]  # fmt: skip


@given(HOSTILE)
@example("$" * 9 + "5")
@example("\\\\,,")
@example("''' a '''")
@example("1,000,000,00")
@example("\u0345\u0301")
def test_the_normal_form_of_a_normal_form_is_itself(text: str) -> None:
    once = normal(text)
    assert normal(once) == once


@given(HOSTILE, HOSTILE | st.sampled_from(["5", "1/2", "paris", "a\nb"]))
def test_judging_never_raises_and_says_a_rule_or_a_reason(output: str, expected: str) -> None:
    found = judge(expected, output)
    assert found.score in (None, 0.0, 1.0)
    assert found.rule or found.reason


@given(st.fractions(max_denominator=10_000))
def test_a_fraction_equals_itself_however_it_is_written(value: Fraction) -> None:
    assert judge(str(value), f"Answer: {value.numerator * 3}/{value.denominator * 3}").score == 1
    assert judge(str(value), f"Answer: {value + 1}").score == 0


@pytest.mark.parametrize(
    "piece",
    ["\\boxed{", "{", "}", "Answer:\n", "\nA:", ". A: ", "#", "1", "1,", ",000", "1.2.3 ", " ", "\n", "\u0301\u0323",
    "$", "<answer>", "<<",
     "\\", "\\frac{", "1 1/2 ", "-", "1e", "½", "'", "*", "answer", "<answer>1</answer", "=1", "٤", "\x00",
     "e\u0301" ],
)  # fmt: skip
@pytest.mark.parametrize("expected", ["5", "paris", "x" * 50_000])
@pytest.mark.timeout(120)
def test_a_hostile_output_takes_linear_time(piece: str, expected: str) -> None:
    output = "A" + piece * (80_000 // len(piece))
    began = time.process_time()
    judge(expected, output)
    assert time.process_time() - began < 2  # a tenth of that is usual; the square of the length would take minutes


def test_a_marker_far_back_in_a_long_output_is_found() -> None:
    assert judge("72", "Answer: 72\n" + "and so on\n" * 100_000).score == 1
    assert judge("72", "it is 72 " + "and so on\n" * 100_000).score == 1


def test_every_human_solution_of_gsm8k_is_right_and_none_answers_another_question(gsm8k: Path) -> None:
    solutions = [json.loads(line)["answer"] for line in gsm8k.read_text(encoding="utf-8").splitlines()]
    targets = [solution.rpartition("#### ")[2] for solution in solutions]
    neighbours = [*targets[1:], targets[0]]
    for solution, expected, other in zip(solutions, targets, neighbours, strict=True):
        said = solution.replace("#### ", "A: ")
        for output in (solution, said, solution.replace("#### ", "The answer is ")):
            assert judge(expected, output).score == 1, (expected, output)
        assert judge(other, said).score == (number(normal(other)) == number(normal(expected)))

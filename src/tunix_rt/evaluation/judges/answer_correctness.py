"""The judge `answer_correctness`: is the final answer in the output the expected one?

The answer is extracted (`evaluation.answers`), both are brought to a normal form (`evaluation.normal`), numbers are
compared as exact fractions and everything else as text. Right is 1, anything else 0; an item whose expected answer
is empty cannot be judged.
"""

from tunix_rt.base.errors import cut
from tunix_rt.evaluation.answers import extract, target
from tunix_rt.evaluation.judges.contract import NOTHING_EXPECTED, SHOWN, Judge, Judgement, Kind, Parameters
from tunix_rt.evaluation.normal import normal


def judge(expected: str, output: str) -> Judgement:
    """Judge one output; never raises."""
    wanted = target(expected)
    if not wanted.normal:
        return Judgement(None, reason=NOTHING_EXPECTED)
    found = extract(output, wanted)
    shown = cut(found.text, SHOWN)
    if not found.text:
        return Judgement(0.0, shown, found.rule, "the output is empty")
    if wanted.value is not None:
        if found.value is None:
            return Judgement(0.0, shown, found.rule, f"the answer {found.note}")
        right = found.value == wanted.value
        return Judgement(float(right), shown, found.rule, None if right else "another number than expected")
    text = " ".join(found.text.split())
    if len(text) > 4 * len(expected) + 2_000:  # no writing of the expected answer is so long
        return Judgement(0.0, shown, found.rule, "far longer than the expected answer")
    right = normal(text) == wanted.normal
    return Judgement(float(right), shown, found.rule, None if right else "another text than expected")


ANSWER_CORRECTNESS = Judge(
    "answer_correctness",
    "1",
    lambda question, output: judge(question.expected, output),
    unscorable=lambda question: None if target(question.expected).normal else NOTHING_EXPECTED,
)

KIND = Kind(
    ANSWER_CORRECTNESS.name,
    "The final answer is the expected one: numbers as exact fractions, everything else in normal form.",
    Parameters,
    lambda _parameters, _settings: ANSWER_CORRECTNESS,
)

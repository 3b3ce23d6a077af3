"""The judge `math`: the answer is mathematically equal to the expected one, by Math-Verify.

LaTeX and plain expressions, fractions, sets, intervals, matrices and equations are parsed and compared with SymPy.
Math-Verify's own time limits are signals, which no thread but the first may use: it runs in a process with ours.
"""

import os
import re

from pydantic import Field

from tunix_rt.base import extras
from tunix_rt.base.errors import cut
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation.answers import extract, target
from tunix_rt.evaluation.judges.bounded import Bounded, TookTooLongError, WorkFailedError
from tunix_rt.evaluation.judges.contract import (
    NOTHING_EXPECTED,
    SHOWN,
    Judge,
    Judgement,
    Kind,
    Parameters,
    Question,
    nothing_expected,
)

LONGEST = 10_000  # characters of an answer that are parsed
_ENVIRONMENT = re.compile(r"\$|\\[(\[]|\\boxed|\\begin")
_WORD = re.compile(r"(?<![\\A-Za-z])(?!(?:sin|cos|tan|cot|sec|csc|log|exp|sqrt|pi|infty)\b)[A-Za-z]{3,}")


class Options(Parameters):
    """How expressions are compared."""

    digits: int = Field(6, ge=1, le=15, description="Decimal places at which numbers that are not exact must agree.")
    strict: bool = Field(True, description="Variables must have the same names, and sets are no tuples.")
    seconds: float = Field(10.0, gt=0, le=600, description="Time for one output.")


def prepare() -> None:
    """Import Math-Verify and what it imports on its first use."""
    import math_verify

    math_verify.parser.logger.disabled = math_verify.grader.logger.disabled = True  # "provide your own time limit"
    verify("\\frac{1}{2}", "$x = 0.5$", 6, True)


def verify(expected: str, answer: str, digits: int, strict: bool) -> tuple[str, bool]:
    """Whether an answer equals the expected one; runs in a child process.

    Returns:
        `unreadable`, where the expected answer is no mathematics, or `read`; and whether they are equal.
    """
    import math_verify

    wanted, found = (_parsed(text) for text in (expected, answer))
    if not wanted:
        return "unreadable", False
    equal = math_verify.verify(wanted, found, float_rounding=digits, strict=strict, timeout_seconds=None)
    return "read", bool(equal)


def _parsed(text: str) -> list[object]:
    """Formulas without an environment are put into one, or Math-Verify takes the 2 of `2^{x}` for all of it."""
    import math_verify

    forms = [f"${text}$", text]
    if _ENVIRONMENT.search(text) or _WORD.search(text):
        forms.reverse()
    return next(
        (
            parsed
            for form in forms
            if (parsed := math_verify.parse(form, parsing_timeout=None, fallback_mode="no_fallback"))
        ),
        [],
    )


def make(options: Options, _settings: Settings) -> Judge:
    """The judge by its options.

    Raises:
        MissingExtra: Math-Verify is not installed.
    """
    extras.require("math", "The judge 'math'")
    children = min(4, os.cpu_count() or 1)
    bounded = Bounded(f"{__name__}:verify", options.seconds, children)

    def judge(question: Question, output: str) -> Judgement:
        expected = question.expected.strip()
        if not expected:
            return Judgement(None, reason=NOTHING_EXPECTED)
        found = extract(output, target(expected))
        shown = cut(found.text, SHOWN)
        if not found.text or len(found.text) > LONGEST:
            return Judgement(0.0, shown, found.rule, "the output is empty" if not found.text else "far too long")
        try:
            state, equal = bounded(expected, found.text, options.digits, options.strict)
        except TookTooLongError:
            return Judgement(None, shown, found.rule, f"not compared within {options.seconds:g} s")
        except WorkFailedError as error:
            return Judgement(None, shown, found.rule, f"Math-Verify failed: {error}")
        if state == "unreadable":
            return Judgement(None, shown, found.rule, "the expected answer is nothing that Math-Verify can read")
        return Judgement(float(equal), shown, found.rule, None if equal else "not equal to the expected answer")

    return Judge("math", "1", judge, options.model_dump(), concurrency=children, unscorable=nothing_expected)


KIND = Kind("math", "The answer equals the expected one mathematically, by Math-Verify (extra: math).", Options, make)

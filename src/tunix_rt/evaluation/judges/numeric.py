"""The judge `numeric`: the final number in the output is near enough to the expected one.

The number is extracted as `answer_correctness` does it. It is right where |found - expected| <= tolerance, or
<= tolerance * |expected| where the tolerance is relative; exactly, in fractions. An item's meta may hold a `tolerance`
and a `relative` of its own, which count before the parameters.
"""

from fractions import Fraction
from typing import Any

from pydantic import Field

from tunix_rt.base.errors import cut
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation.answers import extract, target
from tunix_rt.evaluation.judges.contract import SHOWN, Judge, Judgement, Kind, Parameters, Question
from tunix_rt.evaluation.normal import normal, number


class Options(Parameters):
    """How near is near enough."""

    tolerance: float = Field(0.0, ge=0, allow_inf_nan=False, description="Largest difference that is still right.")
    relative: bool = Field(False, description="The tolerance is a share of the expected number.")


def _fraction(value: Any) -> Fraction | None:
    """0.1 as it is written: a tenth, not the nearest binary fraction."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    return number(normal(str(value)))


def _tolerance(question: Question, options: Options) -> tuple[Fraction, bool] | str:
    tolerance = _fraction(question.meta.get("tolerance", options.tolerance))
    relative = question.meta.get("relative", options.relative)
    if tolerance is None or tolerance < 0:
        return f"meta.tolerance is {cut(repr(question.meta.get('tolerance')), 60)}, which is no number from 0"
    if not isinstance(relative, bool):
        return f"meta.relative is {cut(repr(relative), 60)}, which is neither true nor false"
    return tolerance, relative


def _unscorable(question: Question, options: Options) -> str | None:
    if target(question.expected).value is None:
        return f"the expected answer {cut(question.expected, 60)!r} is not a number"
    tolerance = _tolerance(question, options)
    return tolerance if isinstance(tolerance, str) else None


def make(options: Options, _settings: Settings) -> Judge:
    """The judge by its options."""

    def judge(question: Question, output: str) -> Judgement:
        reason = _unscorable(question, options)
        wanted, near = target(question.expected), _tolerance(question, options)
        if reason is not None or wanted.value is None or isinstance(near, str):
            return Judgement(None, reason=reason)
        found = extract(output, wanted)
        shown = cut(found.text, SHOWN)
        if found.value is None:
            return Judgement(0.0, shown, found.rule, f"the answer {found.note}" if found.text else "it is empty")
        tolerance, relative = near
        limit = tolerance * abs(wanted.value) if relative else tolerance
        away = abs(found.value - wanted.value)
        if away <= limit:
            return Judgement(1.0, shown, found.rule)
        return Judgement(0.0, shown, found.rule, f"{_shown(away)} away, over {_shown(limit)}")

    return Judge("numeric", "1", judge, options.model_dump(), unscorable=lambda one: _unscorable(one, options))


def _shown(value: Fraction) -> str:
    try:
        return f"{float(value):g}"
    except OverflowError:
        return "more than 1e308"


KIND = Kind("numeric", "The final number is within a tolerance of the expected one.", Options, make)

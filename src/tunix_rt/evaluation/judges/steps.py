"""The judge `steps`: every calculation that the output states is right.

It looks at the steps alone, not at the final answer: 1 where all are right, 0 where one is wrong, unscored where none
is stated. What counts as one stands in `arithmetic`. The first wrong one is named, with its line.
"""

from fractions import Fraction

from pydantic import Field

from tunix_rt.base.errors import cut
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation.judges import arithmetic
from tunix_rt.evaluation.judges.contract import Judge, Judgement, Kind, Parameters, Question


class Options(Parameters):
    """What is right."""

    rounding: bool = Field(True, description="A result with two decimals or more may be rounded.")


def make(options: Options, _settings: Settings) -> Judge:
    """The judge by its options."""

    def judge(_question: Question, output: str) -> Judgement:
        text = arithmetic.plain(output)
        count = 0
        for count, found in enumerate(arithmetic.calculations(text, options.rounding), 1):
            if not found.right:
                line = text.count("\n", 0, found.start) + 1
                is_ = f"its left side is {_shown(found.value)}"
                return Judgement(
                    0.0, cut(found.text), "calculations", f"line {line}, calculation {count}: {cut(found.text)}: {is_}"
                )
        if not count:
            return Judgement(None, reason="the output states no calculation")
        return Judgement(1.0, None, "calculations", f"{count} right" if count > 1 else "1, which is right")

    return Judge("steps", "1", judge, options.model_dump())


def _shown(value: Fraction) -> str:
    if value.denominator == 1:
        return cut(str(value.numerator), 60)
    decimal = f"{float(value):.6g}" if abs(value) < 10**15 else ""
    return decimal if decimal and Fraction(decimal) == value else cut(str(value), 60)


KIND = Kind("steps", "Every calculation that the output states is right; the first wrong one is named.", Options, make)

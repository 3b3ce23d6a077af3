"""The judge `exact`: the whole output is the expected answer, but for white space around it."""

from pydantic import Field

from tunix_rt.base.errors import cut
from tunix_rt.base.settings import Settings
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
from tunix_rt.evaluation.normal import normal


class Options(Parameters):
    """How alike the texts must be."""

    normalised: bool = Field(False, description="Compare normal forms: no case, spaces, separators, quotes, emphasis.")


def make(options: Options, _settings: Settings) -> Judge:
    """The judge by its options."""

    def judge(question: Question, output: str) -> Judgement:
        wanted, found = question.expected.strip(), output.strip()
        if not wanted:
            return Judgement(None, reason=NOTHING_EXPECTED)
        right = found == wanted
        if not right and options.normalised and len(found) <= 4 * len(wanted) + 2_000:
            right = normal(found) == normal(wanted)
        return Judgement(float(right), cut(found, SHOWN), "whole_text", None if right else "another text than expected")

    return Judge("exact", "1", judge, options.model_dump(), unscorable=nothing_expected)


KIND = Kind("exact", "The whole output is the expected answer, but for white space around it.", Options, make)

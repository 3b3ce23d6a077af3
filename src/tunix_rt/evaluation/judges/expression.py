"""The judge `regex`: a regular expression is found in the output.

The pattern, in the syntax of Python's `re`, is the item's meta.pattern, or else its expected answer. Patterns and texts
may need exponential time, so the search runs in a process with a time limit; past it the item is unscored.
"""

import re
from typing import Literal

from pydantic import Field

from tunix_rt.base.errors import cut
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation.answers import extract, target
from tunix_rt.evaluation.judges.bounded import Bounded, TookTooLongError, WorkFailedError
from tunix_rt.evaluation.judges.contract import SHOWN, Judge, Judgement, Kind, Parameters, Question


class Options(Parameters):
    """Where the pattern is looked for, and how."""

    where: Literal["output", "answer"] = Field("output", description="The whole output, or the answer found in it.")
    whole: bool = Field(False, description="The pattern must match from beginning to end.")
    ignore_case: bool = Field(False, description="Letters match in either case.")
    seconds: float = Field(1.0, gt=0, le=60, description="Time for one output.")


def search(pattern: str, text: str, whole: bool, ignore_case: bool) -> str | None:
    """What a pattern matches in a text; runs in a child process.

    Raises:
        re.error: it is no pattern.
    """
    compiled = re.compile(pattern, re.IGNORECASE if ignore_case else 0)
    found = compiled.fullmatch(text) if whole else compiled.search(text)
    return None if found is None else found.group()[:SHOWN]


def _pattern(question: Question) -> str:
    pattern = question.meta.get("pattern", question.expected)
    return pattern if isinstance(pattern, str) else ""


def _unscorable(question: Question) -> str | None:
    return None if _pattern(question) else "neither the expected answer nor meta.pattern holds a pattern"


def make(options: Options, _settings: Settings) -> Judge:
    """The judge by its options."""
    bounded = Bounded(f"{__name__}:search", options.seconds)

    def judge(question: Question, output: str) -> Judgement:
        pattern = _pattern(question)
        if not pattern:
            return Judgement(None, reason=_unscorable(question))
        text, rule = output, "whole_text"
        if options.where == "answer":
            answer = extract(output, target(question.expected))
            text, rule = answer.text, answer.rule
        try:
            found = bounded(pattern, text, options.whole, options.ignore_case)
        except TookTooLongError:
            return Judgement(None, reason=f"the pattern was not done within {options.seconds:g} s")
        except WorkFailedError as error:
            return Judgement(None, reason=f"the pattern {cut(pattern, 60)!r} cannot be used: {error}")
        if found is None:
            return Judgement(0.0, cut(text.strip(), SHOWN), rule, "the pattern does not match")
        return Judgement(1.0, found, rule)

    return Judge("regex", "1", judge, options.model_dump(), unscorable=_unscorable)


KIND = Kind(
    "regex", "A regular expression (meta.pattern, or the expected answer) is found in the output.", Options, make
)

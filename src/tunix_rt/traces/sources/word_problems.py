"""Short stories about adding and taking away, solved column by column with carries and borrows.

No calculation is told twice, not even as another story: who solves a held-out story has not seen its numbers together.
"""

import re
from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tunix_rt.traces.sources import Source, checks, columns, draws
from tunix_rt.traces.sources.operands import Pairs, pairs

NAME = "word-problems"

PEOPLE = ("Ann", "Ben", "Eva", "Ida", "Jim", "Kim", "Leo", "Mia", "Sam", "Tom")
THINGS = ("bead", "book", "card", "coin", "pen", "shell", "stamp", "stone")
OPERATIONS = {"+": "addition", "-": "subtraction"}
STORIES = {
    "+": (
        "{person} has {counted} and gets {right} more. How many {things} now?",
        "{person} has {counted} and finds {right}. How many {things} now?",
        "{person} had {counted} and bought {right}. How many {things} now?",
        "{person} has {counted}. A friend brings {right}. How many in all?",
    ),
    "-": (
        "{person} has {counted} and gives away {right}. How many {things} now?",
        "{person} has {counted} and loses {right}. How many {things} now?",
        "{person} had {counted} and sold {right}. How many {things} now?",
        "{person} has {counted}. A friend takes {right}. How many are left?",
    ),
}


class Options(BaseModel):
    """How hard the stories are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    digits: int = Field(3, ge=1, le=columns.MAX_DIGITS, description="Most digits of a number in a story.")
    least_digits: int = Field(1, ge=1, le=columns.MAX_DIGITS, description="Fewest digits; equal lengths are easier.")

    @model_validator(mode="after")
    def _ordered(self) -> "Options":
        if self.least_digits > self.digits:
            raise ValueError(f"least_digits {self.least_digits} is above digits {self.digits}")
        return self


def generate(count: int, seed: int, options: Options) -> Iterator[dict[str, Any]]:
    """Tell stories, half of adding and half of taking away, each calculation once."""
    adding = pairs(options.digits, falling=False, least=options.least_digits)
    taking = pairs(options.digits, falling=True, least=options.least_digits)
    spaces = draws.balanced([kind.space() for kind in adding], [kind.space() for kind in taking])
    draws.require(count, spaces, f"Raise digits (now {options.digits}, at most {columns.MAX_DIGITS}), or ask for less.")
    kinds = [("+", kind) for kind in adding] + [("-", kind) for kind in taking]
    return _tell(count, seed, options, kinds, spaces)


def _tell(
    count: int, seed: int, options: Options, kinds: list[tuple[str, Pairs]], spaces: list[draws.Space]
) -> Iterator[dict[str, Any]]:
    random = draws.seeded(NAME, seed)
    for kind, number in islice(draws.distinct(random, spaces), count):
        sign, pairs_of_kind = kinds[kind]
        left, right = pairs_of_kind.pair(number)
        steps, answer = columns.solve(left, sign, right)
        yield {
            "trace_version": "1.0",
            "prompt": _story(random, sign, left, right),
            "steps": steps,
            "final_answer": answer,
            "meta": {"source": NAME, "seed": seed, **options.model_dump(), "operation": OPERATIONS[sign]},
        }


def _story(random: Random, sign: str, left: int, right: int) -> str:
    thing = draws.pick(random, THINGS)
    things = f"{thing}s"
    counted = f"{left} {thing if left == 1 else things}"
    return draws.pick(random, STORIES[sign]).format(
        person=draws.pick(random, PEOPLE), counted=counted, right=right, things=things
    )


def verify(trace: dict[str, Any]) -> list[str]:
    """Check every step against the numbers and the operation of the story."""
    prompt = checks.prompt_of(trace)
    for sign, pattern in PATTERNS:
        if match := pattern.fullmatch(prompt):
            left, right = int(match["left"]), int(match["right"])
            if sign == "-" and left < right:
                return ["prompt: more is taken away than is there"]
            return checks.differences(trace, *columns.expect(left, sign, right))
    return checks.unknown_prompt(trace)


def _pattern(story: str) -> re.Pattern[str]:
    number = "[1-9][0-9]{0,8}"
    thing = f"({'|'.join(THINGS)})"
    return re.compile(
        re.escape(story)
        .replace(r"\{person\}", f"({'|'.join(PEOPLE)})")
        .replace(r"\{counted\}", f"(?P<left>{number}) (?P<thing>{thing})s?")
        .replace(r"\{right\}", f"(?P<right>{number})")
        .replace(r"\{things\}", "(?P=thing)s")
    )


PATTERNS = [(sign, _pattern(story)) for sign, stories in STORIES.items() for story in stories]

SOURCE = Source(
    NAME, "Short stories about adding and taking away, column by column with carries.", Options, generate, verify
)

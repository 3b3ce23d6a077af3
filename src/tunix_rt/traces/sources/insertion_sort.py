"""Sorting numbers by insertion: each step takes the next number and puts it into its place."""

import re
from bisect import insort
from collections.abc import Iterator
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tunix_rt.traces.sources import Source, checks, draws

NAME = "insertion-sort"
PROMPT = re.compile(r"Sort ((?:0|[1-9][0-9]{0,5})(?: (?:0|[1-9][0-9]{0,5})){1,19})\.")


class Options(BaseModel):
    """How hard the lists are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    length: int = Field(5, ge=2, le=20, description="Numbers in a list.")
    largest: int = Field(99, ge=1, le=999_999, description="Largest number in a list; the smallest is 0.")


def generate(count: int, seed: int, options: Options) -> Iterator[dict[str, Any]]:
    """Make lists and sort them, each list once; a number may stand in a list more than once."""
    values = options.largest + 1
    spaces = [draws.Space(values**options.length)]
    draws.require(
        count,
        spaces,
        f"Raise length (now {options.length}, at most 20) or largest (now {options.largest}), or ask for less.",
    )
    drawn = islice(draws.distinct(draws.seeded(NAME, seed), spaces), count)
    return (_trace(_digits(number, values, options.length), seed, options) for _, number in drawn)


def verify(trace: dict[str, Any]) -> list[str]:
    """Check every step: the number that it takes, and the whole list that it leaves."""
    match = PROMPT.fullmatch(checks.prompt_of(trace))
    if match is None:
        return checks.unknown_prompt(trace)
    numbers = [int(number) for number in match[1].split(" ")]
    steps = [("insert", f"{number}: {_line(sorted(numbers[: k + 1]))}") for k, number in enumerate(numbers)]
    return checks.differences(trace, steps, _line(sorted(numbers)))


def _trace(numbers: list[int], seed: int, options: Options) -> dict[str, Any]:
    steps, done = [], list[int]()
    for i, number in enumerate(numbers):
        insort(done, number)
        steps.append({"i": i, "type": "insert", "content": f"{number}: {_line(done)}"})
    return {
        "trace_version": "1.0",
        "prompt": f"Sort {_line(numbers)}.",
        "steps": steps,
        "final_answer": _line(done),
        "meta": {"source": NAME, "seed": seed, "length": options.length, "largest": options.largest},
    }


def _digits(number: int, base: int, length: int) -> list[int]:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, base)
        digits.append(digit)
    return digits


def _line(numbers: list[int]) -> str:
    return " ".join(map(str, numbers))


SOURCE = Source(NAME, "Lists of numbers, sorted by insertion.", Options, generate, verify)

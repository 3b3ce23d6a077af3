"""Addition of two numbers, column by column with carries."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tunix_rt.traces.sources import Source, checks, columns, draws
from tunix_rt.traces.sources.operands import pairs

NAME = "addition"
PROMPT = re.compile(r"What is ([1-9][0-9]{0,8}) \+ ([1-9][0-9]{0,8})\?")


class Options(BaseModel):
    """How hard the additions are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    digits: int = Field(3, ge=1, le=columns.MAX_DIGITS, description="Most digits of a number.")


def generate(count: int, seed: int, options: Options) -> Iterator[dict[str, Any]]:
    """Make additions, each pair of numbers once."""
    kinds = pairs(options.digits, falling=False)
    spaces = [kind.space() for kind in kinds]
    draws.require(count, spaces, f"Raise digits (now {options.digits}, at most {columns.MAX_DIGITS}), or ask for less.")
    drawn = islice(draws.distinct(draws.seeded(NAME, seed), spaces), count)
    return (_trace(*kinds[kind].pair(number), seed, options) for kind, number in drawn)


def verify(trace: dict[str, Any]) -> list[str]:
    """Check every step against the prompt."""
    match = PROMPT.fullmatch(checks.prompt_of(trace))
    if match is None:
        return checks.unknown_prompt(trace)
    return checks.differences(trace, *columns.expect(int(match[1]), "+", int(match[2])))


def _trace(left: int, right: int, seed: int, options: Options) -> dict[str, Any]:
    steps, answer = columns.solve(left, "+", right)
    return {
        "trace_version": "1.0",
        "prompt": f"What is {left} + {right}?",
        "steps": steps,
        "final_answer": answer,
        "meta": {"source": NAME, "seed": seed, "digits": options.digits},
    }


SOURCE = Source(NAME, "Additions, column by column with carries.", Options, generate, verify)

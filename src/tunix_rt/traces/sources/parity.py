"""Whether the number of ones in a row of bits is even or odd, found bit by bit."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tunix_rt.traces.sources import Source, checks, draws

NAME = "parity"
PROMPT = re.compile(r"Is the number of ones in ([01]{1,64}) even or odd\?")
WORDS = ("even", "odd")


class Options(BaseModel):
    """How hard the rows are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bits: int = Field(12, ge=1, le=64, description="Bits in a row.")


def generate(count: int, seed: int, options: Options) -> Iterator[dict[str, Any]]:
    """Make rows of bits and follow their parity, each row once."""
    spaces = [draws.Space(2**options.bits)]
    draws.require(count, spaces, f"Raise bits (now {options.bits}, at most 64), or ask for less.")
    drawn = islice(draws.distinct(draws.seeded(NAME, seed), spaces), count)
    return (_trace(f"{number:0{options.bits}b}", seed, options) for _, number in drawn)


def verify(trace: dict[str, Any]) -> list[str]:
    """Check every step: the bit that it reads, and the parity of all bits so far."""
    match = PROMPT.fullmatch(checks.prompt_of(trace))
    if match is None:
        return checks.unknown_prompt(trace)
    bits = match[1]
    steps = [("bit", f"{bit} {WORDS[bits.count('1', 0, k + 1) % 2]}") for k, bit in enumerate(bits)]
    return checks.differences(trace, steps, WORDS[bits.count("1") % 2])


def _trace(bits: str, seed: int, options: Options) -> dict[str, Any]:
    steps, odd = [], False
    for i, bit in enumerate(bits):
        odd ^= bit == "1"
        steps.append({"i": i, "type": "bit", "content": f"{bit} {WORDS[odd]}"})
    return {
        "trace_version": "1.0",
        "prompt": f"Is the number of ones in {bits} even or odd?",
        "steps": steps,
        "final_answer": WORDS[odd],
        "meta": {"source": NAME, "seed": seed, "bits": options.bits},
    }


SOURCE = Source(NAME, "Rows of bits, even or odd by their ones, bit by bit.", Options, generate, verify)

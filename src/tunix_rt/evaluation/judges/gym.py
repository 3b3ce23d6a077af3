"""The judge `reasoning-gym`: the verifier of the Reasoning Gym data set that an item comes from.

An item's meta holds what an entry of Reasoning Gym has as its metadata, `source_dataset` above all, either as it is or
under `metadata`. Scores between 0 and 1 are kept as the verifier gives them.

Some of those verifiers hand the answer to `eval`. They run in a process that may do nothing (see `bounded_child`), and
an answer that looks like a program does not come there: it is wrong.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from tunix_rt.base import extras
from tunix_rt.base.errors import cut
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation.answers import Target, extract
from tunix_rt.evaluation.judges.bounded import Bounded, TookTooLongError, WorkFailedError
from tunix_rt.evaluation.judges.contract import SHOWN, Judge, Judgement, Kind, Parameters, Question
from tunix_rt.evaluation.normal import normal

LONGEST = 100_000  # characters of an answer that are verified
_PROGRAM = re.compile(
    r"__|\b(?:exec|eval|compile|open|getattr|setattr|globals|locals|vars|breakpoint|input|help|exit|quit)\s*\("
    r"|\b(?:import|lambda)\b\s*[\w*:]"
)


class Options(Parameters):
    """How long a verifier may take."""

    seconds: float = Field(10.0, gt=0, le=600, description="Time for one output.")


def prepare() -> None:
    """Import Reasoning Gym, and what SymPy imports on its first use."""
    import reasoning_gym
    import sympy

    sympy.parse_expr("x + 1").equals(reasoning_gym.__name__)


def score(answer: str, prompt: str, expected: str, metadata: dict[str, Any]) -> float:
    """The verifier's score; runs in a child process."""
    import reasoning_gym

    verifier = reasoning_gym.get_score_answer_fn(metadata["source_dataset"])
    entry = {"question": prompt, "answer": expected}
    found = float(verifier(answer, {**entry, "metadata": metadata}))
    if found < 1:  # JSON has no tuples, and some verifiers compare with those of their own entries
        found = max(found, float(verifier(answer, {**entry, "metadata": _tupled(metadata)})))
    return found


def _tupled(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_tupled, value))
    return {key: _tupled(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _metadata(question: Question) -> Mapping[str, Any]:
    inner = question.meta.get("metadata")
    return inner if isinstance(inner, Mapping) else question.meta


def _unscorable(question: Question) -> str | None:
    if not isinstance(_metadata(question).get("source_dataset"), str):
        return "meta.source_dataset does not name a data set of Reasoning Gym"
    if _PROGRAM.search(question.expected):
        return "the expected answer looks like a program, which a verifier might run"
    return None


def make(options: Options, _settings: Settings) -> Judge:
    """The judge by its options.

    Raises:
        MissingExtra: Reasoning Gym is not installed.
    """
    extras.require("reasoning-gym", "The judge 'reasoning-gym'")
    children = min(4, os.cpu_count() or 1)
    bounded = Bounded(f"{__name__}:score", options.seconds, children)

    def judge(question: Question, output: str) -> Judgement:
        reason = _unscorable(question)
        if reason is not None:
            return Judgement(None, reason=reason)
        wanted = Target(question.expected, normal(question.expected), None, "\n" in question.expected.strip())
        found = extract(output, wanted)
        shown = cut(found.text, SHOWN)
        if not found.text:
            return Judgement(0.0, shown, found.rule, "the output is empty")
        if len(found.text) > LONGEST or _PROGRAM.search(found.text):
            return Judgement(0.0, shown, found.rule, "far too long, or a program: not given to the verifier")
        try:
            value = bounded(found.text, question.prompt, question.expected, dict(_metadata(question)))
        except TookTooLongError:
            return Judgement(None, shown, found.rule, f"not verified within {options.seconds:g} s")
        except WorkFailedError as error:
            return Judgement(None, shown, found.rule, f"the verifier failed: {error}")
        return Judgement(value, shown, found.rule, None if value == 1 else "the verifier does not find it right")

    return Judge("reasoning-gym", "1", judge, options.model_dump(), concurrency=children, unscorable=_unscorable)


KIND = Kind(
    "reasoning-gym",
    "The verifier of the Reasoning Gym data set that meta.source_dataset names (extra: reasoning-gym).",
    Options,
    make,
)

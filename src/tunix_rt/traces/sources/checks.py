"""Comparing a trace with what its prompt demands, step by step."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tunix_rt.base.errors import cut


def prompt_of(trace: Any) -> str:
    """The prompt of anything that calls itself a trace; empty where it has none."""
    prompt = trace.get("prompt") if isinstance(trace, dict) else None
    return prompt if isinstance(prompt, str) else ""


def unknown_prompt(trace: Any) -> list[str]:
    """The one problem of a trace whose prompt the source could not have made."""
    return [f"prompt: not one of this source: {cut(repr(prompt_of(trace)), 120)}"]


def differences(trace: Any, steps: Sequence[tuple[str, str]], answer: str) -> list[str]:
    """Say where a trace differs from the one right way to solve its prompt.

    Args:
        trace: anything.
        steps: type and content of each step, in order.
        answer: the right final answer.

    Returns:
        The problems, in the order of the steps; a step is named by its `i`.
    """
    if not isinstance(trace, dict):
        return [f"not a trace but a {type(trace).__name__}"]
    found = trace.get("steps")
    if not isinstance(found, list) or not all(isinstance(step, dict) and type(step.get("i")) is int for step in found):
        return ["steps: not a list of objects with a whole number i"]
    found = sorted(found, key=lambda step: int(step["i"]))
    problems = [
        f"step {after['i']}: there are two of them" for before, after in pairwise(found) if before["i"] == after["i"]
    ]
    for step, (kind, content) in zip(found, steps, strict=False):
        if step.get("type") != kind:
            problems.append(f"step {step['i']}: the type should be {kind!r} and is {_show(step.get('type'))}")
        if step.get("content") != content:
            problems.append(f"step {step['i']}: should be {content!r} and is {_show(step.get('content'))}")
    problems += [f"step {step['i']}: one too many" for step in found[len(steps) :]]
    problems += [f"a step is missing: {content!r} ({kind})" for kind, content in steps[len(found) :]]
    if trace.get("final_answer") != answer:
        problems.append(f"final_answer: should be {answer!r} and is {_show(trace.get('final_answer'))}")
    return problems


def _show(value: object) -> str:
    return cut(repr(value), 120) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"

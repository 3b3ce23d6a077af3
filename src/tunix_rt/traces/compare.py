"""Two traces side by side: their steps aligned, and the words of a changed step."""

import re
from difflib import SequenceMatcher
from typing import Literal

from tunix_rt.traces.schemas import Comparison, Side, Span, StepDiff, TraceOut
from tunix_rt.traces.service import baseline

_WORDS = re.compile(r"\w+\s*|[^\w\s]\s*|\s+")  # with the space after it, or every two texts share their spaces
MAX_WORDS = 2_000


def compare(base: TraceOut, other: TraceOut) -> Comparison:
    """Align the steps of two traces by their contents."""
    return Comparison(
        base=_side(base),
        other=_side(other),
        same_prompt=base.prompt == other.prompt,
        same_answer=base.final_answer == other.final_answer,
        steps=_align([step.content for step in base.steps], [step.content for step in other.steps]),
    )


def _side(trace: TraceOut) -> Side:
    value, _ = baseline(len(trace.steps), sum(len(step.content) for step in trace.steps))
    return Side(trace=trace, baseline=value)


def _align(base: list[str], other: list[str]) -> list[StepDiff]:
    found: list[StepDiff] = []
    for op, b0, b1, o0, o1 in SequenceMatcher(None, base, other, autojunk=False).get_opcodes():
        paired = min(b1 - b0, o1 - o0)
        for place in range(paired):
            b, o = b0 + place, o0 + place
            if op == "equal":
                found.append(StepDiff(op="equal", base=b, other=o, words=None))
            else:
                found.append(StepDiff(op="replace", base=b, other=o, words=words(base[b], other[o])))
        found += [StepDiff(op="delete", base=b, other=None, words=None) for b in range(b0 + paired, b1)]
        found += [StepDiff(op="insert", base=None, other=o, words=None) for o in range(o0 + paired, o1)]
    return found


def words(base: str, other: str) -> list[Span]:
    """Tell which words of two texts differ; the `equal` and `delete` spans joined are the base."""
    one, two = _WORDS.findall(base), _WORDS.findall(other)
    if max(len(one), len(two)) > MAX_WORDS:  # the alignment costs the product of both lengths
        return [Span(op="delete", text=base), Span(op="insert", text=other)]
    spans: list[Span] = []

    def add(op: Literal["equal", "delete", "insert"], part: list[str]) -> None:
        if part:
            spans.append(Span(op=op, text="".join(part)))

    for op, b0, b1, o0, o1 in SequenceMatcher(None, one, two, autojunk=False).get_opcodes():
        if op == "equal":
            add("equal", one[b0:b1])
        else:
            add("delete", one[b0:b1])
            add("insert", two[o0:o1])
    return spans

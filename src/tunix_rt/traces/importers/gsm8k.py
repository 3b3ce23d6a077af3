"""`gsm8k`: `{question, answer}`, a step a line, with calculations marked as `<<48/2=24>>` and `#### N` at the end."""

import re
from typing import Any

from tunix_rt.base.errors import BadInput, cut
from tunix_rt.traces.importers import fields

_CALCULATION = re.compile(r"<<([^<>]*)>>")


def convert(record: dict[str, Any]) -> dict[str, Any]:
    """Make each line a step; its calculations leave the text and are kept as `[expression, value]`."""
    fields.only(record, "question", "answer", *fields.ANYWHERE)
    prompt, answer = fields.text(record, "question"), fields.text(record, "answer")
    *lines, last = answer.replace("\r\n", "\n").rstrip().split("\n")
    if not last.startswith("####") or not last[4:].strip():
        raise BadInput(f"answer: its last line is {cut(last, 60)!r}, not `#### N` with the final answer")
    found = [_step(line) for line in lines if line.strip()]
    if not found:
        raise BadInput("answer: no reasoning stands before the line `#### N`")
    steps = [{"i": i, "type": "reasoning", **step} for i, step in enumerate(found)]
    return fields.trace(prompt, steps, last[4:].strip(), fields.meta(record))


def _step(line: str) -> dict[str, Any]:
    texts = _CALCULATION.split(line)  # text, what a calculation holds, text, …
    if len(texts) == 1:
        return {"content": line}
    calculations: list[list[str]] = []
    for inside in texts[1::2]:
        expression, equals, value = inside.rpartition("=")
        if not equals:
            raise BadInput(f"answer: the calculation <<{cut(inside, 60)}>> has no `=`")
        calculations.append([expression, value])
    return {"content": "".join(texts[::2]), "meta": {"calculations": calculations}}

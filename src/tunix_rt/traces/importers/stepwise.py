"""`stepwise`: `{prompt, completions, labels}`, the stepwise supervision of TRL."""

from typing import Any

from tunix_rt.base.errors import BadInput
from tunix_rt.traces.importers import fields


def convert(record: dict[str, Any]) -> dict[str, Any]:
    """Make each completion a step with its label; the format has no answer of its own, so the last one is it."""
    fields.only(record, "prompt", "completions", "labels", *fields.ANYWHERE)
    prompt = fields.text(record, "prompt")
    completions, labels = record.get("completions"), record.get("labels")
    if not isinstance(completions, list) or not completions:
        raise BadInput(f"completions: {fields.expected('a list of texts', completions)}")
    for place, content in enumerate(completions):
        if not isinstance(content, str):
            raise BadInput(f"completions/{place}: {fields.expected('a text', content)}")
    if labels is None:
        labels = [None] * len(completions)
    if not isinstance(labels, list) or len(labels) != len(completions):
        count = f"{len(labels)} of them" if isinstance(labels, list) else fields.expected("a list", labels)
        raise BadInput(f"labels: {len(completions)} completions need as many labels; {count}")
    steps = fields.steps(completions)
    for place, (step, label) in enumerate(zip(steps, labels, strict=True)):
        if isinstance(label, list | dict):
            raise BadInput(f"labels/{place}: {fields.expected('a truth value, a number or a text', label)}")
        if label is not None:
            step["meta"] = {"label": label}
    return fields.trace(prompt, steps, completions[-1], fields.meta(record))

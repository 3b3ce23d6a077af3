"""`prompt-completion`: `{prompt, completion}`, the reasoning inside the completion."""

from typing import Any

from tunix_rt.traces.importers import fields, reasoning


def convert(record: dict[str, Any]) -> dict[str, Any]:
    """Read the completion as an assistant's turn of `messages`, or as our own reasoning template."""
    fields.only(record, "prompt", "completion", *fields.ANYWHERE)
    prompt = fields.text(record, "prompt")
    steps, answer = reasoning.split(fields.text(record, "completion"), "completion")
    return fields.trace(prompt, fields.steps(steps), answer, fields.meta(record))

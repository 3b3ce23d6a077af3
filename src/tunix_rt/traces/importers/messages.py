"""`messages`: a conversation whose last turn is an assistant's, with its reasoning."""

from typing import Any

from tunix_rt.base.errors import BadInput, cut
from tunix_rt.traces.importers import fields, reasoning

_ROLES = ("system", "user", "assistant")


def convert(record: dict[str, Any]) -> dict[str, Any]:
    """Make the user's turns the prompt and the last turn's reasoning the steps.

    Turns that are neither (a system's, an assistant's earlier ones) are kept in `meta.other_turns`.
    """
    fields.only(record, "messages", *fields.ANYWHERE)
    turns = record.get("messages")
    if not isinstance(turns, list) or not turns:
        raise BadInput(f"messages: {fields.expected('a list of turns', turns)}")
    for place, turn in enumerate(turns):
        _check(turn, f"messages/{place}")
    *before, last = turns
    if last["role"] != "assistant":
        raise BadInput(f"messages/{len(before)}: the last turn is the {last['role']}'s, so nothing is answered")
    asked = [turn["content"] for turn in before if turn["role"] == "user"]
    if not asked:
        raise BadInput("messages: there is no user's turn before the answer")
    others = [turn for turn in before if turn["role"] != "user"]
    steps, answer = _read(last, f"messages/{len(before)}")
    notes = fields.meta(record) | ({"other_turns": others} if others else {})
    return fields.trace("\n\n".join(asked), fields.steps(steps), answer, notes)


def _check(turn: Any, at: str) -> None:
    if not isinstance(turn, dict):
        raise BadInput(f"{at}: {fields.expected('an object', turn)}")
    fields.only(turn, "role", "content", "reasoning_content", at=f"{at}/")
    role = fields.text(turn, "role", f"{at}/")
    fields.text(turn, "content", f"{at}/")
    if role not in _ROLES:
        raise BadInput(f"{at}/role: {cut(role, 40)!r} is none of {', '.join(_ROLES)}")


def _read(turn: dict[str, Any], at: str) -> tuple[list[str], str]:
    thought = turn.get("reasoning_content")
    if thought is None:
        return reasoning.split(turn["content"], f"{at}/content")
    steps = reasoning.paragraphs(fields.text(turn, "reasoning_content", f"{at}/"))
    if not steps:
        raise BadInput(f"{at}/reasoning_content: there is no reasoning in it")
    reasoning.answer(turn["content"], f"{at}/content", "in it")
    return steps, turn["content"]

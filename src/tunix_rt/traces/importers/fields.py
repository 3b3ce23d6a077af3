"""Checks that importers share: which fields a record has, and of what type."""

from typing import Any

from tunix_rt.base.errors import BadInput, cut, nearest

ANYWHERE = ("id", "meta")
"""Fields that our own exports add to every format: the id is made anew from the content, meta is kept."""


def only(record: dict[str, Any], *known: str, at: str = "") -> None:
    """Refuse a record with other fields than these, naming the nearest.

    Args:
        record: what was found.
        known: the fields that it may have.
        at: where the record stands within its line, ending in `/`.
    """
    if unknown := [key for key in record if key not in known]:
        raise BadInput(f"{at}{cut(unknown[0], 60)}: unknown field.{nearest(unknown[0], known)}")


def text(record: dict[str, Any], key: str, at: str = "") -> str:
    """A field that must be there and hold text."""
    if key not in record:
        raise BadInput(f"{at}{key}: Field required")
    value = record[key]
    if not isinstance(value, str):
        raise BadInput(f"{at}{key}: {expected('a text', value)}")
    return value


def meta(record: dict[str, Any]) -> dict[str, Any]:
    """The optional field `meta`."""
    value = record.get("meta")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadInput(f"meta: {expected('an object', value)}")
    return value


def kind(value: Any) -> str:
    """What a JSON value is, in words."""
    names = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "a truth value",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "null")


def expected(what: str, found: Any) -> str:
    """Say what was expected and what stands there."""
    return f"expected {what}, found {kind(found)}"


def trace(prompt: str, steps: list[dict[str, Any]], answer: str, notes: dict[str, Any]) -> dict[str, Any]:
    """A trace of a record's parts; its limits are checked by whoever stores it."""
    return {"trace_version": "1.0", "prompt": prompt, "steps": steps, "final_answer": answer, "meta": notes}


def steps(contents: list[str]) -> list[dict[str, Any]]:
    """Steps with these contents, numbered from 0."""
    return [{"i": i, "type": "reasoning", "content": content} for i, content in enumerate(contents)]

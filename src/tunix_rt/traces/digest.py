"""The identity of a trace: SHA-256 of its canonical JSON (RFC 8785) without the top-level `meta`.

What a step carries in its own `meta` (a label, a calculation) is content and belongs to the identity.
"""

import hashlib
from typing import Any

import orjson
import rfc8785

from tunix_rt.traces.format import ODD_NUMBER


def normal(trace: dict[str, Any]) -> dict[str, Any]:
    """The part of a valid trace that makes its identity, in one form.

    Returns:
        version, prompt, steps and answer; the steps in the order of `i`, each without an empty `meta`.
    """
    steps = [
        {"i": step["i"], "type": step["type"], "content": step["content"], "meta": step["meta"]}
        if step.get("meta")
        else {"i": step["i"], "type": step["type"], "content": step["content"]}
        for step in trace["steps"]
    ]
    steps.sort(key=lambda step: step["i"])
    return {
        "trace_version": trace["trace_version"],
        "prompt": trace["prompt"],
        "steps": steps,
        "final_answer": trace["final_answer"],
    }


def digest(identity: dict[str, Any]) -> str:
    """`sha256:` and the hexadecimal SHA-256 of what `normal` gave."""
    return "sha256:" + hashlib.sha256(canonical(identity)).hexdigest()


def canonical(identity: dict[str, Any]) -> bytes:
    """Canonical JSON of what `normal` gave."""
    # orjson is 20 times as fast and differs from RFC 8785 only in floats and in the order of keys beyond ASCII, which
    # nothing but a step's meta can hold.
    if all(_is_simple(step["meta"]) for step in identity["steps"] if "meta" in step):
        return orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)
    return rfc8785.dumps(identity)


def _is_simple(meta: dict[str, Any]) -> bool:
    dumped = orjson.dumps(meta)
    if dumped.isascii() and not ODD_NUMBER.search(dumped):
        return True
    stack: list[Any] = [meta]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if not all(map(str.isascii, value)):
                return False
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, float):
            return False
    return True

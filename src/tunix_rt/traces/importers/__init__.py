"""Formats that traces come in, each a module with one pure function: a parsed object to a trace."""

from collections.abc import Callable
from typing import Any

from tunix_rt.base.errors import BadInput, cut, nearest
from tunix_rt.traces.importers import gsm8k, messages, prompt_completion, stepwise, trace

Record = dict[str, Any]
Importer = Callable[[Record], Record]

# name -> (what makes a trace of it, the keys by which a record is known to be of this format)
FORMATS: dict[str, tuple[Importer, frozenset[str]]] = {
    "trace": (trace.convert, frozenset({"trace_version", "steps", "final_answer"})),
    "gsm8k": (gsm8k.convert, frozenset({"question", "answer"})),
    "messages": (messages.convert, frozenset({"messages"})),
    "prompt-completion": (prompt_completion.convert, frozenset({"completion"})),
    "stepwise": (stepwise.convert, frozenset({"completions"})),
}


def named(name: str) -> Importer:
    """The importer of a format.

    Raises:
        BadInput: there is no such format.
    """
    if name not in FORMATS:
        raise BadInput(f"No format named {cut(name, 60)!r}.{nearest(name, FORMATS)}")
    return FORMATS[name][0]


def detect(record: Record) -> str:
    """Tell a file's format from one of its records.

    Raises:
        BadInput: no format has such keys, or several have.
    """
    found = [name for name, (_, keys) in FORMATS.items() if keys & record.keys()]
    if len(found) != 1:
        what = f"could be {' or '.join(found)}" if found else f"is none of {', '.join(FORMATS)}"
        keys = ", ".join(repr(cut(key, 40)) for key in list(record)[:12]) or "none"
        raise BadInput(f"the format cannot be told: with the keys {keys} it {what}", hint="Name it: --format NAME.")
    return found[0]

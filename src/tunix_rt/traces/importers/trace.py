"""`trace`: our own format, as it is exported; the id is left out, since content makes it."""

from typing import Any


def convert(record: dict[str, Any]) -> dict[str, Any]:
    """Take a trace as it is."""
    return {key: value for key, value in record.items() if key != "id"} if "id" in record else record

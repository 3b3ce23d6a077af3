"""Builders of stored things, through the product's own doors."""

from typing import Any

import httpx


def trace(number: int, **changes: Any) -> dict[str, Any]:
    """A small valid trace; each number another one."""
    return {
        "trace_version": "1.0",
        "prompt": f"What is {number} + 1?",
        "steps": [{"i": 0, "type": "sum", "content": f"{number} + 1 = {number + 1}"}],
        "final_answer": str(number + 1),
        "meta": {"number": number},
    } | changes


async def stored(api: httpx.AsyncClient, *traces: dict[str, Any]) -> list[str]:
    """Store traces; returns their ids in order."""
    ids: list[str] = []
    for first in range(0, len(traces), 1000):
        answer = await api.post("/api/traces/batch", json=list(traces[first : first + 1000]))
        assert answer.status_code == 201, answer.text
        ids += [item["id"] for item in answer.json()["traces"]]
    return ids


async def dataset(api: httpx.AsyncClient, name: str = "data", **request: Any) -> dict[str, Any]:
    """Build a data set of what is stored; returns its manifest."""
    answer = await api.post("/api/datasets/build", json={"name": name, **request})
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found

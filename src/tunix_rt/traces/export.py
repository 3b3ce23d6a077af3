"""Traces on their way out: streamed as JSONL, oldest first, byte-identical each time and on both databases."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
from sqlalchemy import and_, func, or_, select

from tunix_rt.base.db import Database
from tunix_rt.base.tasks import undisturbed
from tunix_rt.traces.models import Trace
from tunix_rt.traces.schemas import TraceFilters
from tunix_rt.traces.service import conditions

BATCH_TRACES = 1_000
FIRST_TRACES = 100  # few, so that the first byte leaves at once
BATCH_CHARACTERS = 2**20


def record(row: Any) -> dict[str, Any]:
    """A trace with its id in the format `trace`, its keys in the same order on both databases."""
    return {
        "id": str(row.id),
        "trace_version": row.trace_version,
        "prompt": row.prompt,
        "steps": [_step(step) for step in row.steps],
        "final_answer": row.final_answer,
        "meta": _sorted(row.meta),
    }


def line(row: Any) -> bytes:
    """`record` as a line."""
    return orjson.dumps(record(row), option=orjson.OPT_APPEND_NEWLINE)


def _step(step: dict[str, Any]) -> dict[str, Any]:
    found = {"i": step["i"], "type": step["type"], "content": step["content"]}
    if "meta" in step:
        found["meta"] = _sorted(step["meta"])
    return found


def _sorted(meta: dict[str, Any]) -> Any:
    """Meta with its keys in order: PostgreSQL does not keep the order in which they came."""
    return orjson.loads(orjson.dumps(meta, option=orjson.OPT_SORT_KEYS)) if meta else {}


async def lines(database: Database, filters: TraceFilters) -> AsyncIterator[bytes]:
    """Stream the traces that match. No session is held while the caller takes the bytes.

    Yields:
        Some lines at a time, of bounded size.
    """
    after: Any = None
    limit = FIRST_TRACES
    while True:
        # The sizes come first, since a thousand of the largest traces would be 20 GB.
        places = await undisturbed(_places(database, filters, after, limit))
        for numbers in _bounded(places):
            yield await undisturbed(_texts(database, numbers))
        if len(places) < limit:
            return
        after, limit = places[-1], BATCH_TRACES


async def _places(database: Database, filters: TraceFilters, after: Any, limit: int) -> Sequence[Any]:
    size = Trace.step_characters + func.length(Trace.prompt) + func.length(Trace.final_answer)
    query = select(Trace.number, Trace.created_at, Trace.id, size.label("size"))
    if after is not None:
        same = and_(Trace.created_at == after.created_at, Trace.id > after.id)
        query = query.where(or_(Trace.created_at > after.created_at, same))
    async with database.read() as session:
        query = query.where(*conditions(filters, session)).order_by(Trace.created_at, Trace.id).limit(limit)
        return (await session.execute(query)).all()


async def _texts(database: Database, numbers: list[int]) -> bytes:
    columns = (Trace.id, Trace.trace_version, Trace.prompt, Trace.steps, Trace.final_answer, Trace.meta)
    query = select(*columns).where(Trace.number.in_(numbers)).order_by(Trace.created_at, Trace.id)
    async with database.read() as session:
        return b"".join(line(row) for row in await session.execute(query))


def _bounded(places: Sequence[Any]) -> list[list[int]]:
    groups: list[list[int]] = [[]]
    size = 0
    for place in places:
        if groups[-1] and size + place.size > BATCH_CHARACTERS:
            groups.append([])
            size = 0
        groups[-1].append(place.number)
        size += place.size
    return [group for group in groups if group]

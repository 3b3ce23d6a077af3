"""Traces on their way in: checked, given their identity, stored without repeating what is there."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.db import Base, is_sqlite, new_id, now
from tunix_rt.base.errors import BadInput
from tunix_rt.traces.digest import digest, normal
from tunix_rt.traces.format import TraceIn
from tunix_rt.traces.models import Trace
from tunix_rt.traces.schemas import BatchCreated, Created

TABLE = Base.metadata.tables[Trace.__tablename__]


class Row(NamedTuple):
    """A checked trace, ready to be stored."""

    digest: str
    trace_version: str
    prompt: str
    steps: list[dict[str, Any]]
    final_answer: str
    meta: dict[str, Any]
    source: str | None
    step_count: int
    step_characters: int

    @property
    def size(self) -> int:
        """Characters of its texts."""
        return len(self.prompt) + self.step_characters + len(self.final_answer)


def checked(trace: dict[str, Any], source: str | None) -> Row:
    """Check a trace against the format and make a row of it.

    Args:
        trace: as it came in.
        source: where it is from; None: what its `meta.source` says, where that is a text.

    Raises:
        BadInput: where it breaks the format, in one sentence.
    """
    try:
        TraceIn.model_validate(trace)
    except ValidationError as error:
        raise BadInput(_sentence(error)) from None
    return _row(trace, source)


def _row(trace: dict[str, Any], source: str | None) -> Row:
    identity = normal(trace)
    steps = identity["steps"]
    meta = trace.get("meta") or {}
    named = source or meta.get("source")
    return Row(
        digest(identity),
        identity["trace_version"],
        identity["prompt"],
        steps,
        identity["final_answer"],
        meta,
        named if isinstance(named, str) and named else None,
        len(steps),
        sum(len(step["content"]) for step in steps),
    )


def _sentence(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    said = [f"{'/'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in found[:3]]
    return "; ".join(said) + (f" ({len(found) - 3} more)" if len(found) > 3 else "")


async def insert(session: AsyncSession, rows: Iterable[Row]) -> int:
    """Store the rows whose content is not there yet, and count them."""
    stamp = now()
    fresh: dict[str, dict[str, Any]] = {}
    for one in rows:
        if one.digest not in fresh:
            fresh[one.digest] = {**one._asdict(), "id": new_id(), "created_at": stamp}
    if not fresh:
        return 0
    # Ids are in the order of the rows, but rows are stored in the order of their digests: two imports of the same
    # content then wait for each other in one order, where PostgreSQL would otherwise find a deadlock.
    values = [fresh[key] for key in sorted(fresh)]
    make = insert_sqlite if is_sqlite(session) else insert_postgresql
    statement = make(TABLE).on_conflict_do_nothing(index_elements=["digest"]).returning(Trace.number)
    return len((await session.execute(statement, values)).all())


async def store(session: AsyncSession, traces: Sequence[TraceIn]) -> BatchCreated:
    """Store the traces of one request, all or none, and say under which ids they are stored."""
    rows = [_row(trace.model_dump(), None) for trace in traces]
    created = await insert(session, rows)
    found = await _stored(session, rows)
    while lost := [one for one in rows if one.digest not in found]:  # deleted by another request in this very moment
        created += await insert(session, lost)
        found = await _stored(session, rows)
    return BatchCreated(
        created_count=created, already_present=len(rows) - created, traces=[found[one.digest] for one in rows]
    )


async def _stored(session: AsyncSession, rows: Sequence[Row]) -> dict[str, Created]:
    columns = (Trace.id, Trace.created_at, Trace.trace_version, Trace.digest)
    query = select(*columns).where(Trace.digest.in_({one.digest for one in rows}))
    return {one["digest"]: Created(**one) for one in (await session.execute(query)).mappings()}

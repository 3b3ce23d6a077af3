"""Traces on their way in: checked, given their identity, stored without repeating what is there."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.db import Base, is_sqlite, new_id, now
from tunix_rt.base.errors import BadInput
from tunix_rt.traces.digest import digest, normal
from tunix_rt.traces.format import NO_SOURCE, TraceIn
from tunix_rt.traces.models import Trace, without_source
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


class Inserted(NamedTuple):
    """The number of new traces, and of stored traces without a source that got one."""

    created: int
    source_set: int


def checked(trace: dict[str, Any], source: str | None, default_source: str | None = None) -> Row:
    """Check a trace against the format and make a row of it.

    Args:
        trace: as it came in.
        source: `none`: no source; None: its `meta.source` if that is a string, else `default_source`.
        default_source: see `source`.

    Raises:
        BadInput: where it breaks the format, in one sentence.
    """
    try:
        TraceIn.model_validate(trace)
    except ValidationError as error:
        raise BadInput(_sentence(error)) from None
    return _row(trace, source, default_source)


def _row(trace: dict[str, Any], source: str | None, default_source: str | None = None) -> Row:
    identity = normal(trace)
    steps = identity["steps"]
    meta = trace.get("meta") or {}
    names = (source, meta.get("source"), default_source)
    named = next((name for name in names if name and isinstance(name, str)), NO_SOURCE)
    return Row(
        digest(identity),
        identity["trace_version"],
        identity["prompt"],
        steps,
        identity["final_answer"],
        meta,
        None if named == NO_SOURCE else named,
        len(steps),
        sum(len(step["content"]) for step in steps),
    )


def _sentence(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    said = [f"{'/'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in found[:3]]
    return "; ".join(said) + (f" ({len(found) - 3} more)" if len(found) > 3 else "")


async def insert(session: AsyncSession, rows: Iterable[Row]) -> Inserted:
    """Store the rows whose content is not there yet; stored traces without a source get the row's."""
    stamp = now()
    fresh: dict[str, dict[str, Any]] = {}
    for one in rows:
        if one.digest not in fresh:
            fresh[one.digest] = {**one._asdict(), "id": new_id(), "created_at": stamp}
    if not fresh:
        return Inserted(0, 0)
    # Ids are in the order of the rows, but rows are stored in the order of their digests: two imports of the same
    # content then wait for each other in one order, where PostgreSQL would otherwise find a deadlock.
    values = [fresh[key] for key in sorted(fresh)]
    make = insert_sqlite if is_sqlite(session) else insert_postgresql
    statement = make(TABLE).on_conflict_do_nothing(index_elements=["digest"]).returning(Trace.digest)
    created = set((await session.scalars(statement, values)).all())
    sources = {key: row["source"] for key, row in fresh.items() if key not in created and row["source"] is not None}
    return Inserted(len(created), await _fill_sources(session, sources))


async def _fill_sources(session: AsyncSession, sources: dict[str, str]) -> int:
    """Set the source, given by digest, of stored traces that have none, and count them."""
    digests: dict[str, list[str]] = {}
    for digest_, source in sources.items():
        digests.setdefault(source, []).append(digest_)
    count = 0
    for source in sorted(digests):
        # Locked in the order of their digests, so that two imports find no deadlock.
        numbers = select(Trace.number).where(Trace.digest.in_(digests[source]), without_source())
        locked = numbers.order_by(Trace.digest).with_for_update()
        changed = update(Trace).where(Trace.number.in_(locked)).values(source=source)
        count += (await session.execute(changed)).rowcount  # type: ignore[attr-defined]  # an UPDATE has one
    return count


async def store(session: AsyncSession, traces: Sequence[TraceIn]) -> BatchCreated:
    """Store the traces of one request, all or none, and say under which ids they are stored."""
    rows = [_row(trace.model_dump(), None) for trace in traces]
    created = (await insert(session, rows)).created
    found = await _stored(session, rows)
    while lost := [one for one in rows if one.digest not in found]:  # deleted by another request in this very moment
        created += (await insert(session, lost)).created
        found = await _stored(session, rows)
    return BatchCreated(
        created_count=created, already_present=len(rows) - created, traces=[found[one.digest] for one in rows]
    )


async def _stored(session: AsyncSession, rows: Sequence[Row]) -> dict[str, Created]:
    columns = (Trace.id, Trace.created_at, Trace.trace_version, Trace.digest)
    query = select(*columns).where(Trace.digest.in_({one.digest for one in rows}))
    return {one["digest"]: Created(**one) for one in (await session.execute(query)).mappings()}

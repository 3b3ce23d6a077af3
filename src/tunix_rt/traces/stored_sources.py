"""Count and change the sources of stored traces. A source is not part of a trace's digest."""

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base import ids
from tunix_rt.traces.format import NO_SOURCE
from tunix_rt.traces.models import Trace
from tunix_rt.traces.schemas import SetSourceBody, SourceChange, SourceCount, SourceCounts, TraceFilters
from tunix_rt.traces.service import conditions

LISTED = 1_000
"""Sources that are listed at most, not counting "no source"."""


async def counts(session: AsyncSession, filters: TraceFilters) -> SourceCounts:
    """Count the matching traces of each source, the most frequent first."""
    query = select(Trace.source, func.count()).where(*conditions(filters, session)).group_by(Trace.source)
    totals: Counter[str | None] = Counter()
    for source, count in await session.execute(query):
        totals[None if source == NO_SOURCE else source] += count
    ordered = sorted(totals.items(), key=lambda item: (-item[1], item[0] is None, item[0] or ""))
    data = [SourceCount(source=source, count=count) for source, count in ordered]
    listed = [row for rank, row in enumerate(data) if rank < LISTED or row.source is None]
    return SourceCounts(data=listed, total=totals.total())


async def change(session: AsyncSession, body: SetSourceBody) -> SourceChange:
    """Set the source of traces in one statement.

    Raises:
        BadInput, NotFound, Conflict: see `ids.resolve`; no trace is changed.
    """
    source = None if body.source == NO_SOURCE else body.source
    selected = await _selected(session, body)
    total = await session.scalar(select(func.count()).select_from(Trace).where(*selected)) or 0
    statement = update(Trace).where(*selected, Trace.source.is_distinct_from(source)).values(source=source)
    result = await session.execute(statement, execution_options={"synchronize_session": False})
    changed: int = result.rowcount  # type: ignore[attr-defined]  # an UPDATE has one
    return SourceChange(changed=changed, unchanged=max(0, total - changed))


async def _selected(session: AsyncSession, body: SetSourceBody) -> Sequence[ColumnElement[bool]]:
    if body.filters is not None:
        return conditions(body.filters, session)
    return [Trace.id.in_({await ids.resolve(session, Trace.id, text, "trace") for text in body.ids or ()})]

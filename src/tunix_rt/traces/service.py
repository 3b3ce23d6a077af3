"""Finding, reading, scoring and deleting traces; `intake` brings them in, `export` takes them out."""

import re
import string
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, func, literal, or_, select, text, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base import ids
from tunix_rt.base.db import is_sqlite, now
from tunix_rt.base.errors import BadInput, Conflict, cut, nearest
from tunix_rt.base.http import Page, Paging
from tunix_rt.base.sorting import Sorting
from tunix_rt.traces.format import NO_SOURCE
from tunix_rt.traces.models import Trace, TraceScore, without_source
from tunix_rt.traces.schemas import Score, Scored, StepOut, TraceFilters, TraceOut, TraceRow

PREVIEW = 200
_TO_SPACES = str.maketrans(string.punctuation, " " * len(string.punctuation))
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


# --- filters ----------------------------------------------------------------------------------------------------


def conditions(filters: TraceFilters, session: AsyncSession) -> list[ColumnElement[bool]]:
    """What a trace's row must fulfil: conditions on the table `traces`, for the database of this session."""
    sqlite = is_sqlite(session)
    found: list[ColumnElement[bool]] = []
    if filters.source is not None:
        found.append(without_source() if filters.source == NO_SOURCE else Trace.source == filters.source)
    if filters.q is not None:
        found.append(_words(filters.q, sqlite))
    found += [_meta(key, value, sqlite) for key, value in filters.meta.items()]
    if filters.min_steps is not None:
        found.append(Trace.step_count >= filters.min_steps)
    if filters.max_steps is not None:
        found.append(Trace.step_count <= filters.max_steps)
    if filters.created_after is not None:
        found.append(Trace.created_at > filters.created_after)
    if filters.created_before is not None:
        found.append(Trace.created_at < filters.created_before)
    return found


def _words(q: str, sqlite: bool) -> ColumnElement[bool]:
    """Texts that hold every word of `q`; what hangs together in it (`half-price`, `3.5`) must do so there too."""
    phrases = [part for part in (word.translate(_TO_SPACES).strip() for word in q.split()) if part]
    if sqlite:  # quoted, nothing is an operator of FTS5
        match = " ".join(f'"{phrase}"' for phrase in phrases)
        rows = text("SELECT rowid FROM traces_fts WHERE traces_fts MATCH :match").bindparams(match=match)
        return Trace.number.in_(rows.columns(Trace.number).scalar_subquery())
    # Written out as in the index of migration 0001, or PostgreSQL does not use it.
    whole = Trace.prompt.op("||")(text("' '")).op("||")(Trace.final_answer)
    spaces = [literal(part, literal_execute=True) for part in (string.punctuation, " " * len(string.punctuation))]
    document = func.to_tsvector(text("'simple'"), func.translate(whole, *spaces))
    return and_(*(document.op("@@")(func.phraseto_tsquery(text("'simple'"), phrase)) for phrase in phrases))


def _meta(key: str, value: str, sqlite: bool) -> ColumnElement[bool]:
    """A top-level key of meta that holds this text, this truth value or this number; null and nesting never match."""
    wanted: list[Any] = [value]
    if value in ("true", "false"):
        wanted.append(value == "true")
    elif (number := _as_number(value)) is not None:
        wanted.append(number)
    if not sqlite:
        stored = type_coerce(Trace.meta, JSONB)[key]
        return or_(*(stored == literal(one, JSONB) for one in wanted))
    # json_each and not a path: a path cannot name a key such as `0` or one that holds a quote.
    entry = func.json_each(Trace.meta).table_valued("key", "value", "type")
    kinds = [and_(entry.c.type == "text", entry.c.value == value)]
    for one in wanted[1:]:
        if isinstance(one, bool):
            kinds.append(entry.c.type == value)
        else:
            kinds.append(and_(entry.c.type.in_(("integer", "real")), entry.c.value == one))
    return exists(select(1).select_from(entry).where(entry.c.key == key, or_(*kinds)))


def _as_number(value: str) -> int | float | None:
    found = _NUMBER.fullmatch(value) if len(value) <= 64 else None
    if found is None:
        return None
    if not found[2] and not found[3]:
        whole = int(value)
        return whole if -(2**63) <= whole < 2**63 else None
    number = float(value)
    return number if abs(number) != float("inf") else None


# --- finding ----------------------------------------------------------------------------------------------------


ORDERS = {"created_at": Trace.created_at, "step_count": Trace.step_count}


async def find(
    session: AsyncSession, filters: TraceFilters, paging: Paging | Sorting, *also: ColumnElement[bool]
) -> Page[TraceRow]:
    """A page of the traces that match, and that meet the conditions of a slice downstream, newest first or as asked."""
    columns = (
        Trace.id,
        Trace.created_at,
        Trace.trace_version,
        Trace.digest,
        Trace.source,
        Trace.step_count,
        func.substr(Trace.prompt, 1, PREVIEW).label("prompt_preview"),
        func.substr(Trace.final_answer, 1, PREVIEW).label("answer_preview"),
    )
    statement = select(*columns).where(*conditions(filters, session), *also)
    if isinstance(paging, Sorting):
        statement = paging.over(statement, paging.column(ORDERS), Trace.id)
        found = (await session.execute(statement)).mappings().all()
        rows = [TraceRow.model_construct(**{name: row[name] for name in TraceRow.model_fields}) for row in found]
        return paging.page(rows, [(row["sorted_by"], row["id"]) for row in found])
    statement = (
        statement.where(*paging.where(Trace.created_at, Trace.id))
        .order_by(Trace.created_at.desc(), Trace.id.desc())
        .limit(paging.limit + 1)
    )
    rows = [TraceRow.model_construct(**row) for row in (await session.execute(statement)).mappings()]
    return paging.page(rows, lambda row: (row.created_at, row.id))


async def resolve(session: AsyncSession, name: str) -> Trace:
    """Find a trace by its id or a unique prefix of it; see `base.ids.resolve`."""
    found = await session.scalar(select(Trace).where(Trace.id == await ids.resolve(session, Trace.id, name, "trace")))
    assert found is not None, "resolved in this session"
    return found


async def get(session: AsyncSession, name: str) -> TraceOut:
    """A whole trace with its scores; `name` as for `resolve`."""
    return await show(session, await resolve(session, name))


async def show(session: AsyncSession, trace: Trace) -> TraceOut:
    """A stored trace as it leaves us."""
    scores = await session.scalars(
        select(TraceScore).where(TraceScore.trace_number == trace.number).order_by(TraceScore.criteria)
    )
    return TraceOut(
        id=trace.id,
        created_at=trace.created_at,
        digest=trace.digest,
        source=trace.source,
        trace_version=trace.trace_version,
        prompt=trace.prompt,
        steps=[StepOut(**step) for step in trace.steps],
        final_answer=trace.final_answer,
        meta=trace.meta,
        scores=[
            Score(criteria=one.criteria, score=one.score, details=one.details, created_at=one.created_at)
            for one in scores
        ],
    )


async def by_digest(session: AsyncSession, digests: Sequence[str]) -> dict[str, Trace]:
    """The stored traces among these digests."""
    found = await session.scalars(select(Trace).where(Trace.digest.in_(digests)))
    return {trace.digest: trace for trace in found}


async def remove(session: AsyncSession, name: str) -> None:
    """Delete a trace and its scores.

    Raises:
        Conflict: a data set holds it.
    """
    trace = await resolve(session, name)
    try:
        await session.execute(delete(Trace).where(Trace.number == trace.number))
    except IntegrityError:
        raise Conflict(
            f"A data set holds the trace {trace.id}, and data sets never change.",
            hint="Build the next version of the data set without it; the trace stays as long as the old one does.",
        ) from None


# --- scoring ----------------------------------------------------------------------------------------------------


def baseline(step_count: int, step_characters: int) -> tuple[float, dict[str, Any]]:
    """Score a trace by its size alone: 0 to 100, half for the number of steps, half for their mean length."""
    mean = step_characters / step_count
    steps, length = min(step_count / 10, 1) * 50, min(mean / 500, 1) * 50
    return round(steps + length, 2), {
        "criteria": "baseline",
        "step_count": step_count,
        "mean_step_characters": round(mean, 2),
        "step_score": round(steps, 2),
        "length_score": round(length, 2),
    }


CRITERIA = {"baseline": baseline}


async def score(session: AsyncSession, name: str, criteria: str) -> Scored:
    """Score a trace and keep the score; scoring again replaces it."""
    if criteria not in CRITERIA:
        raise BadInput(f"No criteria named {cut(criteria, 60)!r}.{nearest(criteria, CRITERIA)}")
    trace = await resolve(session, name)
    value, details = CRITERIA[criteria](trace.step_count, trace.step_characters)
    row = {"trace_number": trace.number, "criteria": criteria}
    change = {"score": value, "details": details, "created_at": now()}
    insert = insert_sqlite if is_sqlite(session) else insert_postgresql
    await session.execute(
        insert(TraceScore)
        .values(**row, **change)
        .on_conflict_do_update(index_elements=["trace_number", "criteria"], set_=change)
    )
    return Scored(trace_id=trace.id, score=value, details=details)

"""Looking at data sets: manifests, lists, streamed exports, differences, the ledger."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sqlalchemy import Select, String, cast, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from tunix_rt.base.db import Database
from tunix_rt.base.errors import BadInput, Fault, NotFound, nearest
from tunix_rt.base.http import Page, Paging
from tunix_rt.base.sorting import Sorting
from tunix_rt.datasets import export, tokens
from tunix_rt.datasets.models import Dataset, DatasetItem
from tunix_rt.datasets.schemas import AuditRequest, Diff, Manifest, Moved
from tunix_rt.datasets.seal import get, items
from tunix_rt.traces.export import record
from tunix_rt.traces.models import Trace
from tunix_rt.traces.schemas import TraceFilters, TraceRow
from tunix_rt.traces.service import find
from tunix_rt.training.config import DataChoice

BATCH = 1000
NAMED = 100


def manifest(dataset: Dataset) -> Manifest:
    """The manifest of a version, `train` first among its splits (PostgreSQL keeps no order of keys)."""
    splits = dataset.manifest["splits"]
    ordered = {name: splits[name] for name in sorted(splits, key=lambda name: (name != "train", name))}
    return Manifest(
        dataset_key=dataset.dataset_key,
        name=dataset.name,
        version=dataset.version,
        digest=dataset.digest,
        created_at=dataset.created_at,
        trace_count=dataset.trace_count,
        **dataset.manifest | {"splits": ordered},
    )


ORDERS = {name: getattr(Dataset, name) for name in ("created_at", "dataset_key", "trace_count")}


async def manifests(
    session: AsyncSession, paging: Paging | Sorting, name: str | None, q: str | None = None
) -> Page[Manifest]:
    """A page of versions, newest first or as asked; of one name only, or with a part of a key, where it is given."""
    query = select(Dataset)
    if name is not None:
        query = query.where(Dataset.name == name)
    if q is not None and q.strip():
        query = query.where(Dataset.dataset_key.icontains(q.strip(), autoescape=True))
    if isinstance(paging, Sorting):
        rows = (await session.execute(paging.over(query, paging.column(ORDERS), Dataset.id))).all()
        return paging.page([manifest(row[0]) for row in rows], [(row[1], row[0].id) for row in rows])
    query = query.where(*paging.where(Dataset.created_at, Dataset.id))
    query = query.order_by(Dataset.created_at.desc(), Dataset.id.desc()).limit(paging.limit + 1)
    found = list(await session.scalars(query))
    page = paging.page(found, lambda dataset: (dataset.created_at, dataset.id))
    return Page(data=[manifest(dataset) for dataset in page.data], pagination=page.pagination)


async def traces(session: AsyncSession, key: str, split: str | None, paging: Paging) -> Page[TraceRow]:
    """A page of the traces that a version holds, newest first."""
    dataset = await get(session, key)
    held = select(DatasetItem.trace_number).where(DatasetItem.dataset_number == dataset.number)
    if split is not None:
        held = held.where(DatasetItem.split == split)
    return await find(session, TraceFilters(), paging, Trace.number.in_(held))


async def open_export(database: Database, key: str, name: str, split: str | None) -> AsyncIterator[bytes]:
    """Check an export, then stream it: lines in the manifest's order, constant memory, no session between batches.

    Raises:
        NotFound: no such data set or split.
        BadInput: no such format, or traces that hold the format's control tokens, named.
    """
    if name not in export.FORMATS:
        raise BadInput(f"No export format {name[:60]!r}.{nearest(name, export.FORMATS)}")
    async with database.read() as session:
        dataset = await get(session, key)
        if split is not None and split not in dataset.manifest["splits"]:
            raise NotFound(f"{key} has no split {split[:60]!r}.{nearest(split, dataset.manifest['splits'])}")
        await _refuse_control_tokens(session, dataset, name, split)
    return _stream(database, dataset.number, name, split)


async def _stream(database: Database, number: int, name: str, split: str | None) -> AsyncIterator[bytes]:
    place, size = -1, 100  # the first batch is small, so that the first byte leaves at once
    while True:
        query = items(number, split).where(DatasetItem.position > place).order_by(DatasetItem.position).limit(size)
        async with database.read() as session:
            found = (await session.execute(query)).all()
        if not found:
            return
        yield b"".join(export.line(record(row), name) for row in found)
        if len(found) < size:
            return
        place, size = found[-1].position, BATCH


async def _refuse_control_tokens(session: AsyncSession, dataset: Dataset, name: str, split: str | None) -> None:
    tokens = export.CONTROL.get(name, ())
    if not tokens:
        return
    texts = (Trace.prompt, Trace.final_answer, cast(Trace.steps, String))
    holds = or_(*(text.contains(token, autoescape=True) for text in texts for token in tokens))
    found = items(dataset.number, split).where(holds).order_by(DatasetItem.position).limit(NAMED)
    bad = (await session.execute(found)).all()
    if bad:
        raise BadInput(
            f"{len(bad)} traces of {dataset.dataset_key} hold control tokens of the format {name!r} "
            f"({', '.join(tokens)}); a trainer would obey them.",
            hint="Export as `messages`, or build the data set without these traces.",
            faults=[Fault(f"trace {row.id}", f"at position {row.position}") for row in bad],
        )


async def diff(session: AsyncSession, base: str, other: str) -> Diff:
    """How two versions differ: computed in the database."""
    first, second = await get(session, base), await get(session, other)
    here, there = aliased(DatasetItem), aliased(DatasetItem)

    def without(mine: Dataset, rest: Dataset) -> Select[Any]:
        held = select(there.trace_number).where(there.dataset_number == rest.number)
        return (
            select(Trace.id)
            .join(here, here.trace_number == Trace.number)
            .where(here.dataset_number == mine.number, here.trace_number.not_in(held))
        )

    common = (
        select(Trace.id, here.split, there.split)
        .join(here, here.trace_number == Trace.number)
        .join(there, there.trace_number == Trace.number)
        .where(here.dataset_number == first.number, there.dataset_number == second.number)
    )
    moved = common.where(here.split != there.split)

    async def count(query: Select[Any]) -> int:
        return await session.scalar(select(func.count()).select_from(query.subquery())) or 0

    async def names(query: Select[Any]) -> list[str]:
        return [str(identity) for identity in await session.scalars(query.order_by(Trace.id).limit(NAMED))]

    added, removed = without(second, first), without(first, second)
    moves = (await session.execute(moved.order_by(Trace.id).limit(NAMED))).all()
    return Diff(
        base=base,
        other=other,
        same_content=first.digest == second.digest and first.manifest["splits"] == second.manifest["splits"],
        added_count=await count(added),
        removed_count=await count(removed),
        moved_count=await count(moved.with_only_columns(Trace.id)),
        common_count=await count(common.with_only_columns(Trace.id)),
        added=await names(added),
        removed=await names(removed),
        moved=[Moved(id=str(identity), base=before, other=after) for identity, before, after in moves],
        stats={"base": first.manifest["stats"], "other": second.manifest["stats"]},
    )


async def audit(database: Database, home: Path, key: str, request: AuditRequest) -> dict[str, Any]:
    """The ledger of a data set for a tokenizer that the server has; see `training.ledger`."""
    choice = DataChoice(template=request.template, max_length=request.max_length, overlong=request.overlong)
    return await tokens.ledger(database, home / "models" / request.tokenizer, key, choice, request.split)

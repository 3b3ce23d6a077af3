"""What a build would hold and what a version holds, in figures; nothing is sealed here."""

import asyncio
from collections import Counter
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.errors import NotFound, nearest
from tunix_rt.base.http import Paging
from tunix_rt.datasets import seal
from tunix_rt.datasets.models import DatasetItem
from tunix_rt.datasets.schemas import BuildRequest, Preview, Statistics
from tunix_rt.datasets.select import Candidate, split_of
from tunix_rt.datasets.statistics import distribution, sources
from tunix_rt.traces.models import Trace
from tunix_rt.traces.schemas import TraceFilters, TraceRow
from tunix_rt.traces.service import conditions, find

SAMPLE = 20


async def preview(session: AsyncSession, request: BuildRequest) -> Preview:
    """What `seal.build` would seal; an empty selection or split is told, not refused."""
    chosen = await seal.choose(session, request)
    matching = len(chosen)
    if request.limit is not None:
        count = select(func.count()).select_from(Trace).where(*conditions(request.filters, session))
        matching = await session.scalar(count) or 0
    first = [item.number for item in chosen[:SAMPLE]]
    sample = await find(session, TraceFilters(), Paging(SAMPLE), Trace.number.in_(first))
    return await asyncio.to_thread(_counted, request, chosen, matching, sample.data)


def _counted(request: BuildRequest, chosen: list[Candidate], matching: int, sample: list[TraceRow]) -> Preview:
    splits = Counter(split_of(item.group, request.splits) for item in chosen)
    return Preview(
        matching=matching,
        trace_count=len(chosen),
        splits={name: splits[name] for name in ("train", *sorted(request.splits))},
        steps=distribution([item.steps for item in chosen]),
        characters=distribution([item.characters for item in chosen]),
        sample=sample,
    )


async def statistics(session: AsyncSession, key: str, split: str | None) -> Statistics:
    """How the traces of a version, or of one of its splits, are spread.

    Raises:
        NotFound: no such data set or split.
    """
    dataset = await seal.get(session, key)
    if split is not None and split not in dataset.manifest["splits"]:
        raise NotFound(f"{key} has no split {split[:60]!r}.{nearest(split, dataset.manifest['splits'])}")
    held = [DatasetItem.dataset_number == dataset.number, *([DatasetItem.split == split] if split else [])]
    answer = func.length(Trace.final_answer)
    size = func.length(Trace.prompt) + Trace.step_characters + answer

    def held_traces(*columns: Any) -> Select[Any]:
        query = select(*columns).select_from(DatasetItem).join(Trace, Trace.number == DatasetItem.trace_number)
        return query.where(*held)

    figures = (await session.execute(held_traces(Trace.step_count, size, answer))).all()
    found = (await session.execute(held_traces(Trace.source, func.count()).group_by(Trace.source))).all()
    return Statistics(
        trace_count=len(figures),
        steps=distribution([row[0] for row in figures]),
        characters=distribution([row[1] for row in figures]),
        answer=distribution([row[2] for row in figures]),
        sources=sources((source, count) for source, count in found),
    )

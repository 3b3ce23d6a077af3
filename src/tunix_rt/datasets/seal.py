"""Building a data set: select in the database, split, digest, and store a version that never changes again."""

from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Select, func, insert, select
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt import __version__
from tunix_rt.base.db import new_id, now
from tunix_rt.base.errors import BadInput, Conflict, NotFound
from tunix_rt.datasets.models import Dataset, DatasetItem
from tunix_rt.datasets.schemas import BuildRequest, Span, Split
from tunix_rt.datasets.select import Candidate, digest, sample, split_of
from tunix_rt.traces.models import Trace
from tunix_rt.traces.service import conditions

BATCH = 2000


async def build(session: AsyncSession, request: BuildRequest) -> tuple[Dataset, bool]:
    """Build a data set; it is sealed when the session commits.

    Returns:
        The version, and whether it is new; an existing one when its content is the same.

    Raises:
        BadInput: no trace passes the filters, or a split stays empty.
        Conflict: the key exists with other content.
        NotFound: no such parent.
    """
    if request.parent is not None:
        await get(session, request.parent)
    chosen = await choose(session, request)
    return await seal(session, request, chosen)


async def choose(session: AsyncSession, request: BuildRequest) -> list[Candidate]:
    """The traces that a request means, in the order of the data set."""
    candidates = _candidates(session, request)
    if request.selection_strategy == "random":
        assert request.seed is not None, "the request demands one"
        return sample([item async for item in candidates], request.limit, request.seed)
    return [item async for item in candidates]


async def seal(session: AsyncSession, request: BuildRequest, chosen: list[Candidate]) -> tuple[Dataset, bool]:
    """Store a selection as a version; see `build`."""
    if not chosen:
        raise BadInput(
            "Dataset is empty: no trace matches.",
            hint="See what there is: tunix-rt traces list; then loosen the filters.",
        )
    splits = _split(chosen, request)
    content = {
        "splits": {name: Split(count=len(rows), digest=digest(rows)).model_dump() for name, rows in splits.items()},
        "digest": digest(item.digest for item in chosen),
    }
    version = request.version or await _next_version(session, request.name, content)
    dataset = Dataset(
        id=new_id(),
        dataset_key=f"{request.name}-{version}",
        name=request.name,
        version=version,
        digest=content["digest"],
        created_at=now(),
        trace_count=len(chosen),
        manifest={
            "filters": request.filters.model_dump(mode="json", exclude_defaults=True),
            "selection_strategy": request.selection_strategy,
            "seed": request.seed,
            "limit": request.limit,
            "group_by": request.group_by,
            "shares": request.splits,
            "splits": content["splits"],
            "stats": _stats(chosen),
            "parent": request.parent,
            "provenance": {"tunix_rt": __version__, **request.provenance},
        },
    )
    number = await _insert(session, dataset)
    if number is None:
        return _same(await get(session, dataset.dataset_key), request, content), False
    try:
        for first in range(0, len(chosen), BATCH):
            part = enumerate(chosen[first : first + BATCH], start=first)
            await session.execute(
                insert(DatasetItem),
                [
                    {
                        "dataset_number": number,
                        "position": position,
                        "trace_number": item.number,
                        "split": split_of(item.group, request.splits),
                    }
                    for position, item in part
                ],
            )
    except IntegrityError:
        raise Conflict("A selected trace was deleted in the meantime.", hint="Build it again.") from None
    return await get(session, dataset.dataset_key), True


async def get(session: AsyncSession, key: str) -> Dataset:
    """The version with this key.

    Raises:
        NotFound: there is none.
    """
    found = await session.scalar(select(Dataset).where(Dataset.dataset_key == key))
    if found is None:
        raise NotFound(f"There is no data set {key[:200]!r}.", hint="See what there is: tunix-rt datasets list")
    return found


def items(number: int, split: str | None) -> Select[Any]:
    """The traces of a version, or of one of its splits, with their places; to be ordered by `position`."""
    query = (
        select(
            DatasetItem.position,
            DatasetItem.split,
            Trace.id,
            Trace.trace_version,
            Trace.prompt,
            Trace.steps,
            Trace.final_answer,
            Trace.meta,
        )
        .join(Trace, Trace.number == DatasetItem.trace_number)
        .where(DatasetItem.dataset_number == number)
    )
    return query if split is None else query.where(DatasetItem.split == split)


async def listed(session: AsyncSession, request: BuildRequest, digests: list[str]) -> list[Candidate]:
    """The traces with these digests, in their order; what is deleted meanwhile is left out."""
    found: dict[str, Candidate] = {}
    for first in range(0, len(digests), BATCH):
        query = _described(request).where(Trace.digest.in_(digests[first : first + BATCH]))
        found |= {row.digest: _candidate(request, *row) for row in await session.execute(query)}
    return [found[digest] for digest in digests if digest in found]


async def _candidates(session: AsyncSession, request: BuildRequest) -> AsyncIterator[Candidate]:
    query = (
        _described(request)
        .where(*conditions(request.filters, session))
        .order_by(Trace.created_at.desc(), Trace.id.desc())
    )
    if request.selection_strategy == "latest":
        query = query.limit(request.limit)
    found = await session.stream(query.execution_options(yield_per=BATCH))
    async for part in found.partitions():  # awaiting each row by itself takes five times as long
        for row in part:
            yield _candidate(request, *row)


def _described(request: BuildRequest) -> Select[Any]:
    group: Any = Trace.digest
    if request.group_by == "prompt":
        group = Trace.prompt
    elif request.group_by.startswith("meta."):
        group = Trace.meta
    size = func.length(Trace.prompt) + Trace.step_characters + func.length(Trace.final_answer)
    return select(Trace.number, Trace.digest, group, Trace.step_count, size)


def _candidate(request: BuildRequest, number: int, identity: str, value: Any, steps: int, characters: int) -> Candidate:
    if isinstance(value, dict):
        # A trace without the key is a group of its own.
        key = request.group_by.removeprefix("meta.")
        value = f"{key}={value[key]}" if key in value else identity
    return Candidate(number, identity, value, steps, characters)


def _split(chosen: list[Candidate], request: BuildRequest) -> dict[str, list[str]]:
    splits: dict[str, list[str]] = defaultdict(list)
    for item in chosen:
        splits[split_of(item.group, request.splits)].append(item.digest)
    empty = sorted({"train", *request.splits} - splits.keys())
    if empty:
        raise BadInput(
            f"The split {empty[0]!r} would be empty: {len(chosen)} traces are too few for these shares.",
            hint="Use more traces or larger shares; traces of one group are never divided.",
        )
    return {name: splits[name] for name in ("train", *sorted(request.splits))}


def _stats(chosen: list[Candidate]) -> dict[str, Any]:
    def span(values: list[int]) -> dict[str, Any]:
        return Span(min=min(values), mean=round(sum(values) / len(values), 4), max=max(values)).model_dump()

    return {
        "steps": span([item.steps for item in chosen]),
        "characters": span([item.characters for item in chosen]),
    }


async def _next_version(session: AsyncSession, name: str, content: dict[str, Any]) -> str:
    rows = await session.execute(select(Dataset.version, Dataset.digest, Dataset.manifest).where(Dataset.name == name))
    taken = set()
    for version, found, manifest in rows:
        if found == content["digest"] and manifest["splits"] == content["splits"]:
            return str(version)
        taken.add(version)
    number = 1
    while f"v{number}" in taken:
        number += 1
    return f"v{number}"


async def _insert(session: AsyncSession, dataset: Dataset) -> int | None:
    """Insert the version's row; None when its key is taken, by another build at this very moment too."""
    dialect_insert = insert_sqlite if session.get_bind().dialect.name == "sqlite" else insert_postgresql
    columns = {
        column.name: getattr(dataset, column.name) for column in Dataset.__table__.columns if column.name != "number"
    }
    statement = dialect_insert(Dataset).values(**columns)
    return await session.scalar(
        statement.on_conflict_do_nothing(index_elements=["dataset_key"]).returning(Dataset.number)
    )


def _same(found: Dataset, request: BuildRequest, content: dict[str, Any]) -> Dataset:
    if found.digest == content["digest"] and found.manifest["splits"] == content["splits"]:
        return found
    raise Conflict(
        f"{found.dataset_key} exists with other content ({found.trace_count} traces, {found.digest}); "
        "a version never changes.",
        hint=f"Give this build another version, or leave it out and the next of {request.name!r} is taken.",
    )

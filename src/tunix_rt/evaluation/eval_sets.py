"""Eval sets in the database: stored once by content, found by name or digest."""

import asyncio
import io
import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.db import Database
from tunix_rt.base.errors import Conflict, cut
from tunix_rt.base.http import missing
from tunix_rt.datasets import service as datasets
from tunix_rt.evaluation import files
from tunix_rt.evaluation.models import EvalItem, EvalSet
from tunix_rt.evaluation.schemas import EvalItemLine

ROWS = 2_000  # of one insert
NAME = r"^[a-z0-9][a-z0-9._-]*$"
UNNAMED = "eval-"  # and the digest's first 12 digits: an eval set that was given no name


async def store(
    session: AsyncSession, items: Sequence[EvalItemLine], digest: str, name: str | None
) -> tuple[EvalSet, bool]:
    """Store an eval set, once: the same content again is the same eval set, under the name that it has.

    Returns:
        The eval set, and whether it is new.

    Raises:
        Conflict: another eval set has that name.
    """
    known = await session.scalar(select(EvalSet).where(EvalSet.digest == digest))
    if known is not None:
        return known, False
    name = name or UNNAMED + digest.removeprefix("sha256:")[:12]
    eval_set = EvalSet(name=name, digest=digest, n_items=len(items))
    try:
        async with session.begin_nested():
            session.add(eval_set)
    except IntegrityError:  # the name is taken; or somebody stores the same content at this moment
        known = await session.scalar(select(EvalSet).where(EvalSet.digest == digest))
        if known is not None:
            return known, False
        raise Conflict(
            f"The name {name!r} belongs to another eval set; this one is {digest[:19]}…",
            hint="An eval set never changes: give this one another name, or none.",
        ) from None
    rows = [
        {
            "eval_set_number": eval_set.number,
            "position": position,
            "item_id": item.id,
            **item.model_dump(exclude={"id"}),
        }
        for position, item in enumerate(items)
    ]
    await insert_all(session, EvalItem, rows)
    return eval_set, True


async def insert_all(session: AsyncSession, table: Any, rows: list[dict[str, Any]]) -> None:
    """Insert rows of one table, some thousands at a time."""
    for start in range(0, len(rows), ROWS):
        await session.execute(insert(table), rows[start : start + ROWS])


async def find(session: AsyncSession, name: str) -> EvalSet:
    """An eval set by its name, or its digest (`sha256:` and at least 6 of its digits).

    Raises:
        NotFound: there is none.
        Conflict: the digest's beginning fits several.
    """
    digits = name.removeprefix("sha256:")
    if not re.fullmatch(NAME, digits):
        raise missing("eval set", name)
    condition = EvalSet.name == name
    if len(digits) >= 6 and digits != name and set(digits) <= set("0123456789abcdef"):
        condition = EvalSet.digest.startswith(name, autoescape=True)
    found = (await session.scalars(select(EvalSet).where(condition).limit(2))).all()
    if not found:
        raise missing("eval set", name)
    if len(found) > 1:
        raise Conflict(f"{cut(name)!r} is the beginning of several digests.", hint="Write more of it.")
    return found[0]


async def newest(session: AsyncSession, conditions: Sequence[Any], limit: int) -> Sequence[EvalSet]:
    """Eval sets, newest first."""
    query = select(EvalSet).where(*conditions).order_by(EvalSet.created_at.desc(), EvalSet.id.desc()).limit(limit)
    return (await session.scalars(query)).all()


async def items(session: AsyncSession, eval_set: EvalSet) -> Sequence[EvalItem]:
    """The items of an eval set, in order."""
    query = select(EvalItem).where(EvalItem.eval_set_number == eval_set.number).order_by(EvalItem.position)
    return (await session.scalars(query)).all()


async def held_out(database: Database, dataset_key: str, split: str) -> list[EvalItemLine]:
    """The traces of a split of a data set as items, each under its trace's id.

    Raises:
        NotFound: no such data set or split.
    """
    lines = await datasets.open_export(database, dataset_key, "eval-set", split)
    content = b"".join([batch async for batch in lines])
    return await asyncio.to_thread(files.eval_items, io.BytesIO(content))

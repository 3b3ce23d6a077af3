"""A data set as a tokenizer makes the model see it: the ledger over all of it, and its rows token by token."""

import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from tunix_rt.base.db import Database
from tunix_rt.base.errors import NotFound, nearest
from tunix_rt.datasets.models import Dataset, DatasetItem
from tunix_rt.datasets.schemas import TokenRow, TokenRows
from tunix_rt.datasets.seal import get, items
from tunix_rt.traces.export import record
from tunix_rt.training.config import DataChoice
from tunix_rt.training.ledger import Ledger, rows
from tunix_rt.training.render import Rejected, row
from tunix_rt.training.tokenizer import Folder

BATCH = 1000


async def ledger(
    database: Database, tokenizer: Path, key: str, choice: DataChoice, split: str | None
) -> dict[str, Any]:
    """What becomes of every row and token; see `training.ledger`."""
    folder = await asyncio.to_thread(Folder, tokenizer)
    found = Ledger(choice, folder.digest)
    dataset = await _dataset(database, key, split)
    place = -1
    while batch := await _batch(database, dataset.number, split, place, BATCH):
        place = batch[-1].position
        await asyncio.to_thread(_enter, batch, folder, choice, found)
    return found.document()


async def shown(
    database: Database, tokenizer: Path, key: str, choice: DataChoice, split: str | None, after: int, limit: int
) -> TokenRows:
    """Some rows, token by token.

    Args:
        database: where the data set is.
        tokenizer: its folder.
        key: of the data set.
        choice: template, length, and what is done with longer rows.
        split: only of this one.
        after: the position after which to begin; -1 for the first row.
        limit: how many rows.
    """
    folder = await asyncio.to_thread(Folder, tokenizer)
    dataset = await _dataset(database, key, split)
    batch = await _batch(database, dataset.number, split, after, limit + 1)
    data = await asyncio.to_thread(lambda: [_tokens(one, folder, choice) for one in batch[:limit]])
    return TokenRows(data=data, next_after=data[-1].position if len(batch) > limit else None)


async def _dataset(database: Database, key: str, split: str | None) -> Dataset:
    async with database.read() as session:
        dataset = await get(session, key)
    if split is not None and split not in dataset.manifest["splits"]:
        raise NotFound(f"{key} has no split {split[:60]!r}.{nearest(split, dataset.manifest['splits'])}")
    return dataset


async def _batch(database: Database, number: int, split: str | None, after: int, size: int) -> list[Row[Any]]:
    query = items(number, split).where(DatasetItem.position > after).order_by(DatasetItem.position).limit(size)
    async with database.read() as session:
        return list((await session.execute(query)).all())


def _enter(batch: list[Row[Any]], folder: Folder, choice: DataChoice, found: Ledger) -> None:
    for _ in rows((record(one) for one in batch), folder, choice, found):
        pass


def _tokens(one: Row[Any], folder: Folder, choice: DataChoice) -> TokenRow:
    entry = row(record(one), folder, choice)
    where = {"position": one.position, "trace": str(one.id), "split": one.split}
    if isinstance(entry, Rejected):
        none = {"ids": [], "pieces": [], "truncated": 0, "start": 0, "stop": 0}
        why = {"token_count": entry.tokens, "reason": entry.reason, "detail": entry.detail}
        return TokenRow.model_validate(where | none | why)
    ids = [*entry.truncated, *entry.tokens]
    cut = len(entry.truncated)
    return TokenRow(
        **where,
        token_count=len(ids),
        ids=ids,
        pieces=[folder.piece(token) for token in ids],
        truncated=cut,
        start=cut + entry.start,
        stop=cut + entry.stop,
        reason=None,
        detail=None,
    )

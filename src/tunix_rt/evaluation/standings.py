"""The standings of a board: its evaluations ranked, so that rows which cannot be told apart share a rank.

A ranking tests all pairs of rows and costs seconds for thousands of them, so it is found once for each state of a
board and kept; what is shown of it is kept too.
"""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.db import Database
from tunix_rt.base.kept import Kept
from tunix_rt.evaluation import packed, statistics
from tunix_rt.evaluation.leaderboard import Filters, Found, held_back, recorded_decoding, view
from tunix_rt.evaluation.models import EvalSet, Evaluation
from tunix_rt.evaluation.schemas import BoardRow, BoardView, Decoding

_ROWS = 500_000  # of all standings that are kept
_BYTES = 64 * 2**20  # of all pages that are kept


@dataclass(frozen=True, slots=True)
class Standing:
    """A row of a board.

    Attributes:
        number: of its evaluation.
        rank: None where it is held back.
        p_value: against the board's first row; None for that row itself, and where it is held back.
        older: how many older evaluations the run or name has.
    """

    number: int
    id: uuid.UUID
    model_id: str | None
    dataset_key: str | None
    rank: int | None
    p_value: float | None
    older: int

    def shown(self, filters: Filters) -> bool:
        """As `Filters.shown`."""
        return filters.model_id in (None, self.model_id) and filters.dataset_key in (None, self.dataset_key)


@dataclass(frozen=True)
class Standings:
    """All rows of a board, in the order in which they are shown: those that are held back last."""

    rows: Sequence[Standing]

    @cached_property
    def places(self) -> dict[uuid.UUID, int]:
        """Where each evaluation stands."""
        return {row.id: place for place, row in enumerate(self.rows)}


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows of a board are shown.

    Attributes:
        rows: at most so many.
        after: after this evaluation, on its board alone; None: from the first row.
    """

    rows: int
    after: uuid.UUID | None


def _standings() -> Kept[Standings]:
    return Kept(_ROWS, lambda one: len(one.rows))


def _pages() -> Kept[bytes]:
    return Kept(_BYTES, len)


@dataclass(frozen=True)
class Keeper:
    """The standings of all boards of a database.

    Attributes:
        standings: by board, filters of evaluations, and state.
        pages: the JSON of a `BoardView`, by these, the filters of rows and the window; empty: there is no such row.
        ranking: one ranking at a time, each of which takes two matrices of scores.
    """

    standings: Kept[Standings] = field(default_factory=_standings)
    pages: Kept[bytes] = field(default_factory=_pages)
    ranking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def page(self, database: Database, found: Found, filters: Filters, window: Window) -> bytes:
        """A board as JSON; empty where no row is to be shown."""

        async def make() -> bytes:
            standings = await self.standings.ask(
                (found.board, found.state, filters.counted()), lambda: self._rank(database, found, filters)
            )
            async with database.read() as session:
                board = await _view(session, standings, filters, window)
            return b"" if board is None else board.model_dump_json().encode()

        return await self.pages.ask((found.board, found.state, filters, window), make)

    async def _rank(self, database: Database, found: Found, filters: Filters) -> Standings:
        async with self.ranking:
            async with database.read() as session:
                evaluations = await _evaluations(session, found, filters)
            return await asyncio.to_thread(_ranked, evaluations)


async def _evaluations(session: AsyncSession, found: Found, filters: Filters) -> Sequence[Any]:
    """The evaluations of a board with their scores, newest first."""
    query = (
        select(
            Evaluation.number,
            Evaluation.id,
            Evaluation.name,
            Evaluation.run_id,
            Evaluation.model_id,
            Evaluation.dataset_key,
            Evaluation.n_items,
            Evaluation.score,
            Evaluation.scores,
            Evaluation.contamination,
            Evaluation.n_repeated,
            Evaluation.waiver,
        )
        .join(EvalSet, EvalSet.number == Evaluation.eval_set_number)
        .where(
            EvalSet.digest == found.board.eval_set,
            Evaluation.judge_digest == found.board.judge,
            Evaluation.decoding_digest == found.board.decoding,
            *filters.conditions(),
        )
        .order_by(Evaluation.created_at.desc(), Evaluation.number.desc())
    )
    return (await session.execute(query)).all()


def _ranked(evaluations: Sequence[Any]) -> Standings:
    """Rank the newest evaluation of each run or name; those that are held back stand last, without a rank."""
    newest: dict[object, Any] = {}
    older: dict[object, int] = {}
    for row in evaluations:
        identity = row.run_id or row.name
        older[identity] = older.get(identity, -1) + 1
        newest.setdefault(identity, row)

    def standing(identity: object, rank: int | None, p_value: float | None) -> Standing:
        row = newest[identity]
        return Standing(row.number, row.id, row.model_id, row.dataset_key, rank, p_value, older[identity])

    back = [identity for identity, row in newest.items() if held_back(row.contamination, row.n_repeated, row.waiver)]
    listed = [identity for identity in newest if identity not in set(back)]
    if not listed:
        return Standings([standing(identity, None, None) for identity in back])
    rows = [newest[identity] for identity in listed]
    ranking = statistics.rank(packed.unpack([row.scores for row in rows], rows[0].n_items))
    order = sorted(
        range(len(rows)), key=lambda place: (ranking.ranks[place], -(rows[place].score or 0.0), rows[place].name)
    )
    p_values: np.ndarray[Any, np.dtype[np.float64]] = ranking.against(order[0])
    found = [
        standing(listed[place], ranking.ranks[place], None if place == order[0] else float(p_values[place]))
        for place in order
    ]
    return Standings(found + [standing(identity, None, None) for identity in back])


async def _view(session: AsyncSession, standings: Standings, filters: Filters, window: Window) -> BoardView | None:
    """The rows of a board that were asked for; None where there are none."""
    start = 0
    if window.after is not None:
        if window.after not in standings.places:
            return None
        start = standings.places[window.after] + 1
    left = [row for row in standings.rows[start:] if row.shown(filters)]
    if not left:
        return None
    shown = left[: window.rows]
    query = (
        select(Evaluation, EvalSet)
        .join(EvalSet, EvalSet.number == Evaluation.eval_set_number)
        .where(Evaluation.number.in_([row.number for row in shown]))
    )
    by_number = {evaluation.number: (evaluation, eval_set) for evaluation, eval_set in await session.execute(query)}
    first, eval_set = by_number[shown[0].number]
    decoding = Decoding.model_validate({**first.decoding, "seed": None})
    if not decoding.parameters:
        decoding = await recorded_decoding(session, first.decoding_digest) or decoding
    return BoardView(
        eval_set=eval_set.name,
        eval_set_digest=eval_set.digest,
        judge=first.judge,
        judge_version=first.judge_version,
        judge_digest=first.judge_digest,
        decoding=decoding,
        decoding_digest=first.decoding_digest,
        n_items=eval_set.n_items,
        n_rows=sum(row.shown(filters) for row in standings.rows),
        n_older=sum(row.older for row in standings.rows if row.shown(filters)),
        rows=[
            BoardRow(**view(*by_number[row.number]).model_dump(), rank=row.rank, p_value=row.p_value, older=row.older)
            for row in shown
        ],
        next_row=shown[-1].id if len(left) > len(shown) else None,
    )

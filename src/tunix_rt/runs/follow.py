"""Following a run's process by what it writes: logs into the index, events into metrics and progress."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.wake import announce
from tunix_rt.runs import logs, metrics
from tunix_rt.runs.models import Run
from tunix_rt.runs.states import CHANNEL

SMOOTHING = 0.1
"""Weight of the newest step in the mean duration of a step."""


@dataclass
class Update:
    """What is new since the last look, not stored yet."""

    pieces: list[dict[str, Any]]
    news: metrics.News


class Follower:
    """How far the database knows a run's folder.

    Args:
        run_number: which run.
        folder: its own.
        place: how far its logs are indexed.
        offset: how far its events were taken in.
        latest: latest value of each metric.
        progress: as on the run's row.
    """

    def __init__(
        self,
        run_number: int,
        folder: Path,
        place: logs.Place,
        offset: int,
        latest: dict[str, Any],
        progress: dict[str, Any] | None,
    ) -> None:
        self.run_number, self.folder = run_number, folder
        self.place, self.offset = place, offset
        self.latest, self.progress = dict(latest), dict(progress) if progress else None
        self.checks: dict[str, Any] | None = None
        self.end: dict[str, Any] | None = None
        self._mean_seconds: float | None = None

    @classmethod
    async def of(cls, session: AsyncSession, run_number: int, folder: Path) -> "Follower":
        """Start where the database stands."""
        query = select(Run.events_offset, Run.metrics, Run.progress).where(Run.number == run_number)
        offset, latest, progress = (await session.execute(query)).one()
        return cls(run_number, folder, await logs.place(session, run_number), offset, latest, progress)

    def look(self, files: Sequence[tuple[int, str]], final: bool = False) -> Update | None:
        """What the process wrote since; None when it wrote nothing.

        Args:
            files: log files to look at.
            final: the process has ended.
        """
        pieces = logs.new_pieces(self.folder, self.place, files, final)
        found = metrics.news(self.folder / "events.jsonl", self.offset)
        return Update(pieces, found) if pieces or found.offset != self.offset else None

    async def store(self, session: AsyncSession, new: Update) -> None:
        """Write what is new."""
        if new.pieces:
            await logs.store(session, self.run_number, new.pieces)
        if new.news.offset == self.offset:
            return
        self._digest(new.news)
        if new.news.values:
            await metrics.store(session, self.run_number, new.news.values)
        values = {"events_offset": new.news.offset, "metrics": self.latest, "progress": self.progress}
        await session.execute(
            update(Run).where(Run.number == self.run_number).values(values).execution_options(synchronize_session=False)
        )
        await announce(session, CHANNEL)

    def advance(self, new: Update) -> None:
        """Count it as known, once it is committed."""
        logs.advance(self.place, new.pieces)
        self.offset = new.news.offset

    def _digest(self, news: metrics.News) -> None:
        for (key, _), value in sorted(news.values.items(), key=lambda item: item[0][1]):
            self.latest[key] = metrics.shown(value)
        self.checks = news.checks or self.checks
        self.end = news.end or self.end
        progress = self.progress or {"step": 0, "total_steps": 0, "eta_seconds": None}
        if news.total_steps is not None:
            progress["total_steps"] = news.total_steps
        if news.step is not None:
            progress["step"] = news.step
            seconds = news.step_seconds
            if seconds is not None and math.isfinite(seconds):
                mean = self._mean_seconds
                self._mean_seconds = seconds if mean is None else mean + SMOOTHING * (seconds - mean)
                progress["eta_seconds"] = round(self._mean_seconds * max(0, progress["total_steps"] - news.step), 1)
        if news.total_steps is not None or news.step is not None or self.progress is not None:
            self.progress = progress


async def catch_up(session: AsyncSession, run_number: int, folder: Path) -> Follower:
    """Store what the run's processes wrote and nobody has stored yet; for a process that has ended."""
    follower = await Follower.of(session, run_number, folder)
    while (new := follower.look(logs.files(folder), final=True)) is not None:
        await follower.store(session, new)
        follower.advance(new)
    return follower

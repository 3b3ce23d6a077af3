"""Metrics of a run: from its events into the database in batches, and out again thinned for a plot.

`BLOCK` steps of a metric are one row: a plot of a million points reads five thousand rows, not a million.
"""

import asyncio
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base import jsontext
from tunix_rt.base.db import is_sqlite
from tunix_rt.runs.models import RunMetricBlock
from tunix_rt.runs.schemas import Number, Points, Series, Smoothed

log = logging.getLogger(__name__)

READ_BYTES = 2**20
ROWS = 500
BLOCK = 200
"""Steps of a block: so many points PostgreSQL keeps in the row itself."""
POINT = np.dtype([("offset", "u1"), ("value", "<f8")])
"""A point of a block's bytes, where they stand in order: how far its step is from the block's first."""
_INT64 = 2**63
_NEGLIGIBLE = 1e-18
"""A weight that changes no average of 64-bit floats."""
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass
class News:
    """What a run's events told since the last look.

    Attributes:
        offset: where to read on.
        values: (key, step) -> value.
        total_steps: of the plan, where it was told.
        step: the last one told.
        step_seconds: how long it took.
        checks: of a dry run.
        end: the `end` event.
    """

    offset: int
    values: dict[tuple[str, int], float] = field(default_factory=dict)
    total_steps: int | None = None
    step: int | None = None
    step_seconds: float | None = None
    checks: dict[str, Any] | None = None
    end: dict[str, Any] | None = None


def news(path: Path, offset: int) -> News:
    """Read the whole lines of events.jsonl from a byte onwards, at most `READ_BYTES` at once."""
    found = News(offset)
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(READ_BYTES)
            while b"\n" not in data and len(data) % READ_BYTES == 0 and (more := file.read(READ_BYTES)):
                data += more  # a line longer than one reading, such as a ledger
    except FileNotFoundError:
        return found
    whole = data[: data.rfind(b"\n") + 1]
    found.offset += len(whole)
    for line in whole.splitlines():
        try:
            event = json.loads(line, parse_int=_integer)  # and not jsontext: an engine may write NaN as Python does
            _take(found, _storable(event) if b"\\u" in line else event)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            log.warning("an event that is none was left out", extra={"file": str(path)})
    return found


def _integer(digits: str) -> float:
    number = float(digits)
    return int(digits) if abs(number) < _INT64 else number


def _step(value: Any) -> int:
    step = int(value)
    if not 0 <= step < _INT64:
        raise ValueError(f"no step: {step}")
    return step


def _storable(value: Any) -> Any:
    """The value without the characters that no database keeps: NUL and lone surrogates."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {_storable(key): _storable(inner) for key, inner in value.items()}
    return [_storable(inner) for inner in value] if isinstance(value, list) else value


def _take(found: News, event: dict[str, Any]) -> None:
    kind = event["event"]
    if kind in ("check", "end"):
        jsontext.dumps(event)  # is kept as it is: it must not be nested too deeply
    if kind in ("step", "eval"):
        step = _step(event["step"])
        prefix = "eval_" if kind == "eval" else ""
        for key, value in event.items():
            number = _NOT_FINITE.get(value, value) if isinstance(value, str) else value
            if key != "step" and isinstance(number, int | float) and not isinstance(number, bool):
                found.values[f"{prefix}{key}"[:100], step] = float(number)
        if kind == "step":
            found.step = step
            found.step_seconds = float(event["step_seconds"]) if "step_seconds" in event else None
    elif kind == "plan":
        found.total_steps = _step(event["steps"])
    elif kind == "check":
        found.checks = {key: value for key, value in event.items() if key not in ("event", "time")}
    elif kind == "end":
        found.end = event


async def store(session: AsyncSession, run_number: int, values: dict[tuple[str, int], float]) -> None:
    """Enter values; one for a step that has one already replaces it. A run has one writer: who holds its lease."""
    fresh: dict[tuple[int, str], dict[int, float]] = {}
    for (key, step), value in values.items():
        fresh.setdefault((step // BLOCK, key), {})[step % BLOCK] = value
    blocks = sorted({block for block, _ in fresh})
    for first in range(0, len(blocks), ROWS):
        query = select(RunMetricBlock.block, RunMetricBlock.key, RunMetricBlock.points).where(
            RunMetricBlock.run_number == run_number, RunMetricBlock.block.in_(blocks[first : first + ROWS])
        )
        for block, key, points in (await session.execute(query)).all():
            if (block, key) in fresh:
                fresh[block, key] = _unpacked(points) | fresh[block, key]
    rows = [
        {
            "run_number": run_number,
            "block": block,
            "key": key,
            "points": np.array(sorted(points.items()), POINT).tobytes(),
        }
        for (block, key), points in fresh.items()
    ]
    insert = insert_sqlite if is_sqlite(session) else insert_postgresql
    statement = insert(RunMetricBlock)
    statement = statement.on_conflict_do_update(
        index_elements=["run_number", "block", "key"], set_={"points": statement.excluded.points}
    )
    for first in range(0, len(rows), ROWS):
        await session.execute(statement, rows[first : first + ROWS])


def _unpacked(points: bytes) -> dict[int, float]:
    return dict(np.frombuffer(points, POINT).tolist())


def shown(value: float) -> Number:
    """A value as JSON can say it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


async def series(
    session: AsyncSession, run_number: int, keys: Sequence[str], max_points: int, smooth: float = 0.0
) -> Series:
    """Points of each key, thinned; every key of the run where none is named.

    Args:
        session: of the caller.
        run_number: which run.
        keys: names of metrics.
        max_points: points wanted at most of each.
        smooth: also give the values smoothed by this amount, at the same steps; see `smoothed`. 0: do not.
    """
    columns = (RunMetricBlock.key, RunMetricBlock.block, RunMetricBlock.points)
    query = select(*columns).where(RunMetricBlock.run_number == run_number)
    if keys:
        query = query.where(RunMetricBlock.key.in_(keys))
    found: dict[str, list[tuple[int, bytes]]] = {key: [] for key in keys}
    for key, block, points in (await session.execute(query.order_by(RunMetricBlock.block))).all():
        found.setdefault(key, []).append((block, points))

    def thin() -> Series:
        drawn = {key: _plotted(found[key], max_points, smooth) for key in keys or sorted(found)}
        measured = {key: points for key, (points, _) in drawn.items()}
        if smooth == 0:
            return Series(series=measured)
        averages = {key: points for key, (_, points) in drawn.items()}
        return Series(series=measured, smoothed=Smoothed(amount=smooth, series=averages))

    return await asyncio.to_thread(thin)  # some hundredths of a second for a million points


def _plotted(blocks: list[tuple[int, bytes]], max_points: int, smooth: float) -> tuple[Points, Points]:
    """Measured points, thinned, and the smoothed values at their steps."""
    points = np.frombuffer(b"".join(part for _, part in blocks), POINT)
    begins = np.array([block * BLOCK for block, _ in blocks], np.int64)
    steps = np.repeat(begins, [len(part) // POINT.itemsize for _, part in blocks]) + points["offset"]
    values = points["value"].copy()  # aligned
    kept = thinned(steps, values, max_points)
    if smooth == 0:
        return _points(steps[kept], values[kept]), []
    finite = kept[np.isfinite(values[kept])]
    return _points(steps[kept], values[kept]), _points(steps[finite], smoothed(steps, values, smooth)[finite])


def _points(steps: NDArray[np.int64], values: NDArray[np.float64]) -> Points:
    return [(step, shown(value)) for step, value in zip(steps.tolist(), values.tolist(), strict=True)]


def smoothed(steps: NDArray[np.int64], values: NDArray[np.float64], amount: float) -> NDArray[np.float64]:
    """Take the exponential moving average of all points so far, debiased: the first one is its own average.

    A point's value depends on no later point, so it stays as it is while the run grows, and on no thinning.

    Args:
        steps: (N,), ascending.
        values: (N,); what is not finite counts for nothing.
        amount: weight of a value one step ago, relative to the present one; from 0 to below 1.

    Returns:
        averages (N,); NaN where there is no finite value so far.
    """
    finite = np.isfinite(values)
    totals, weights = np.where(finite, values, 0.0), finite.astype(np.float64)
    reach = 1  # so many points each total sums up, the last of them included
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        while reach < len(steps) and amount**reach > _NEGLIGIBLE:
            fade = amount ** (steps[reach:] - steps[:-reach]).astype(np.float64)
            totals[reach:] += fade * totals[:-reach]
            weights[reach:] += fade * weights[:-reach]
            reach *= 2
        return totals / weights


async def at_step(session: AsyncSession, run_number: int, step: int) -> dict[str, Number]:
    """All values of a step."""
    query = select(RunMetricBlock.key, RunMetricBlock.points).where(
        RunMetricBlock.run_number == run_number, RunMetricBlock.block == step // BLOCK
    )
    found = {}
    for key, points in (await session.execute(query.order_by(RunMetricBlock.key))).all():
        value = _unpacked(points).get(step % BLOCK)
        if value is not None:
            found[key] = shown(value)
    return found


def thinned(steps: NDArray[np.int64], values: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Choose points for a plot so that no extreme is lost.

    The steps' range is cut into equal buckets; of each, its first lowest, its first highest and its first NaN are
    kept, and of the whole the first and the last point.

    Args:
        steps: (N,), ascending.
        values: (N,).
        most: points wanted at most, at least 4; one more for a NaN where they are fewer than 5.

    Returns:
        places of the points that are kept, ascending; all of them where they are no more than `most`.
    """
    count = len(steps)
    if count <= most:
        return np.arange(count)
    nan = np.isnan(values)
    buckets = max(1, (most - 2) // (3 if nan.any() else 2))
    width = (int(steps[-1]) - int(steps[0]) + 1) / buckets
    bucket = ((steps - steps[0]) / width).astype(np.int64)
    begins = np.flatnonzero(np.diff(bucket, prepend=-1))
    sizes = np.diff(begins, append=count)
    kept = [np.array([0, count - 1])]
    for extreme in (np.fmin, np.fmax):  # which pass over NaN
        kept.append(_firsts(values == np.repeat(extreme.reduceat(values, begins), sizes), bucket))
    return np.unique(np.concatenate([*kept, _firsts(nan, bucket)]))


def _firsts(marked: NDArray[np.bool_], bucket: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of the first that is marked in each bucket."""
    places = np.flatnonzero(marked)
    first: NDArray[np.int64] = places[np.diff(bucket[places], prepend=-1) != 0]
    return first

"""Metrics of a run: from its events into the database in batches, and out again thinned for a plot."""

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base import jsontext
from tunix_rt.base.db import is_sqlite
from tunix_rt.runs.models import RunMetric
from tunix_rt.runs.schemas import Number

log = logging.getLogger(__name__)

READ_BYTES = 2**20
ROWS = 2000
_INT64 = 2**63
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
    """Enter values; one for a step that has one already replaces it."""
    rows = [
        {"run_number": run_number, "key": key, "step": step, "value": None if math.isnan(value) else value}
        for (key, step), value in values.items()
    ]
    insert = insert_sqlite if is_sqlite(session) else insert_postgresql
    statement = insert(RunMetric)
    statement = statement.on_conflict_do_update(
        index_elements=["run_number", "key", "step"], set_={"value": statement.excluded.value}
    )
    for first in range(0, len(rows), ROWS):
        await session.execute(statement, rows[first : first + ROWS])


def shown(value: float | None) -> Number:
    """A value as JSON can say it; None is NaN."""
    if value is None or math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


async def series(
    session: AsyncSession, run_number: int, keys: Sequence[str], max_points: int
) -> dict[str, list[tuple[int, Number]]]:
    """Points of each key, thinned; every key of the run where none is named."""
    if not keys:
        known = select(RunMetric.key).where(RunMetric.run_number == run_number).distinct().order_by(RunMetric.key)
        keys = list(await session.scalars(known))
    found = {}
    for key in keys:
        query = (
            select(RunMetric.step, RunMetric.value)
            .where(RunMetric.run_number == run_number, RunMetric.key == key)
            .order_by(RunMetric.step)
        )
        rows = (await session.execute(query)).all()
        steps = np.array([row[0] for row in rows], np.int64)
        values = np.array([math.nan if row[1] is None else row[1] for row in rows], np.float64)
        found[key] = [(int(steps[place]), shown(float(values[place]))) for place in thinned(steps, values, max_points)]
    return found


async def at_step(session: AsyncSession, run_number: int, step: int) -> dict[str, Number]:
    """All values of a step."""
    query = select(RunMetric.key, RunMetric.value).where(RunMetric.run_number == run_number, RunMetric.step == step)
    return {key: shown(value) for key, value in (await session.execute(query.order_by(RunMetric.key))).all()}


def thinned(steps: Any, values: Any, most: int) -> list[int]:
    """Choose points for a plot so that no extreme is lost.

    The steps' range is cut into equal buckets; of each, its first lowest, its first highest and its first NaN are
    kept, and of the whole the first and the last point.

    Args:
        steps: int64 (N,), ascending.
        values: float64 (N,).
        most: points wanted at most, at least 4; one more for a NaN where they are fewer than 5.

    Returns:
        places of the points that are kept, ascending; all of them where they are no more than `most`.
    """
    count = len(steps)
    if count <= most:
        return list(range(count))
    nan = np.isnan(values)
    buckets = max(1, (most - 2) // (3 if nan.any() else 2))
    width = (int(steps[-1]) - int(steps[0]) + 1) / buckets
    bucket = ((steps - steps[0]) / width).astype(np.int64)
    kept = {0, count - 1}
    for key, part in ((values, ~nan), (-values, ~nan), (np.zeros(count), nan)):
        places = np.flatnonzero(part)
        ordered = places[np.lexsort((places, key[places], bucket[places]))]
        first = np.ones(len(ordered), np.bool_)
        first[1:] = bucket[ordered][1:] != bucket[ordered][:-1]
        kept |= {int(place) for place in ordered[first]}
    return sorted(kept)

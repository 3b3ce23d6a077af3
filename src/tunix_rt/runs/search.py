"""Finding runs: filters by columns, hyperparameters and metrics, in the database, over all rows."""

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Double, case, cast, func, null, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from tunix_rt.base.db import is_sqlite
from tunix_rt.base.errors import BadInput, Fault, cut
from tunix_rt.base.http import Page, Paging
from tunix_rt.base.sorting import Sorting
from tunix_rt.runs.models import Run
from tunix_rt.runs.schemas import Mode, RunRow
from tunix_rt.runs.states import RunStatus

PREFIXES = ("param.", "metric.")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_EXPRESSION = re.compile(
    r"(?P<kind>param|metric)\.(?P<name>[^=!<>]*)(?P<operator>!=|<=|>=|=|<|>)(?P<value>(?!=).*)", re.S
)
Operator = Literal["=", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True)
class Condition:
    """A demand on a hyperparameter or a metric.

    Attributes:
        kind: whose name it is.
        name: a key of the flat config, or of the latest metrics.
        operator: how it is compared.
        value: a number, a truth value, or a text; only numbers have an order.
    """

    kind: Literal["param", "metric"]
    name: str
    operator: Operator
    value: float | bool | str


@dataclass(frozen=True)
class RunFilters:
    """Which runs; every demand must be met.

    Without a `mode` dry runs are left out, as everywhere: they train nothing. With `all` every run is listed.
    """

    status: tuple[RunStatus, ...] = ()
    dataset_key: str | None = None
    model_id: str | None = None
    mode: Mode | Literal["all"] | None = None
    engine: str | None = None
    retry_of: uuid.UUID | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    conditions: tuple[Condition, ...] = field(default=())


def conditions_of(query: Iterable[tuple[str, str]]) -> tuple[Condition, ...]:
    """Read `param.NAME=VALUE` and `metric.NAME<VALUE` from a query string's pairs.

    A query string splits at the first `=`, so `a<=1` comes as (`a<`, `1`), and `a<1` as (`a<1`, ``).

    Raises:
        BadInput: no operator, no value, a name that none can have, an order of texts.
    """
    return tuple(_condition(key, value) for key, value in query if key.startswith(PREFIXES))


def _condition(key: str, value: str) -> Condition:
    bare = re.search(r"[<>]", key) and not value and not key.endswith(("<", ">", "!"))
    text = key if bare else f"{key}={value}"
    found = _EXPRESSION.fullmatch(text)
    if found is None or not found["value"] or not _NAME.fullmatch(found["name"]):
        raise BadInput(
            f"{cut(text, 100)!r} is no filter.",
            hint="Write param.learning_rate=0.001 or metric.loss<0.5; operators are = != < <= > >=.",
            faults=[Fault(cut(key, 60), "not NAME, operator, VALUE")],
        )
    parsed = _value(found["value"])
    operator: Any = found["operator"]
    if operator not in ("=", "!=") and (isinstance(parsed, str | bool)):
        raise BadInput(
            f"{cut(text, 100)!r}: only numbers are greater or smaller.",
            hint="Compare texts by = or !=.",
            faults=[Fault(cut(key, 60), f"{cut(found['value'], 40)!r} is not a number")],
        )
    kind: Any = found["kind"]
    return Condition(kind, found["name"], operator, parsed)


def _value(text: str) -> float | bool | str:
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.A) and len(text) <= 64:
        number = float(text)
        if abs(number) != float("inf"):
            return number
    return text


def where(filters: RunFilters, session: AsyncSession) -> list[ColumnElement[bool]]:
    """What a row must fulfil, for the database of this session."""
    found: list[ColumnElement[bool]] = []
    if filters.status:
        found.append(Run.status.in_(filters.status))
    columns: dict[str, InstrumentedAttribute[Any]] = {
        "dataset_key": Run.dataset_key,
        "model_id": Run.model_id,
        "engine": Run.engine,
        "retry_of": Run.retry_of,
    }
    if filters.mode is None:
        found.append(Run.mode != "dry-run")
    elif filters.mode != "all":
        found.append(Run.mode == filters.mode)
    for name, column in columns.items():
        wanted = getattr(filters, name)
        if wanted is not None:
            found.append(column == wanted)
    if filters.created_after is not None:
        found.append(Run.created_at > filters.created_after)
    if filters.created_before is not None:
        found.append(Run.created_at < filters.created_before)
    found += [_demand(condition, is_sqlite(session)) for condition in filters.conditions]
    return found


def _entry(whose: str, name: str, sqlite: bool) -> tuple[Any, ...]:
    """A key of a JSON column: its kind, whether it is a number and which, whether it is a text and which, its truth."""
    column: Any = Run.params if whose == "param" else Run.metrics
    if sqlite:
        path = f'$."{name}"'
        kind: Any = func.json_type(column, path)
        stored = func.json_extract(column, path)
        return kind, kind.in_(("integer", "real")), stored, kind == "text", stored, kind
    kind, text = func.jsonb_typeof(column.op("->")(name)), column.op("->>")(name)
    return kind, kind == "number", cast(text, Double), kind == "string", text, text


def _demand(condition: Condition, sqlite: bool) -> ColumnElement[bool]:
    """A condition on a key of a JSON column. A run without the key meets none, not even `!=`."""
    value = condition.value
    kind, numeric, number, textual, text, truth = _entry(condition.kind, condition.name, sqlite)
    present: ColumnElement[bool] = kind.is_not(None)
    if isinstance(value, bool):
        equal = truth == ("true" if value else "false")
        equal = equal if sqlite else (kind == "boolean") & equal
    elif isinstance(value, str):
        equal = textual & (text == value)
    else:
        # The cast stands inside CASE, or it would be tried on texts too.
        compared = {
            "<": number < value,
            "<=": number <= value,
            ">": number > value,
            ">=": number >= value,
        }.get(condition.operator, number == value)
        equal = case((numeric, compared), else_=False)
    met: ColumnElement[bool] = present & ~equal if condition.operator == "!=" else equal
    return met


ROW = (
    Run.id.label("run_id"),
    Run.dataset_key,
    Run.model_id,
    Run.engine,
    Run.mode,
    Run.status,
    Run.created_at,
    Run.started_at,
    Run.completed_at,
    Run.duration_seconds,
    Run.score,
    Run.attempt,
    Run.progress,
    Run.metrics,
)


ORDERS = {
    name: getattr(Run, name)
    for name in (
        "created_at",
        "status",
        "dataset_key",
        "model_id",
        "engine",
        "mode",
        "score",
        "started_at",
        "completed_at",
        "duration_seconds",
        "attempt",
    )
}
"""What runs can be sorted by, beside the numbers among their hyperparameters and metrics."""


async def find(session: AsyncSession, filters: RunFilters, paging: Paging | Sorting) -> Page[RunRow]:
    """A page of runs, newest first or as asked; logs and configs are not read."""
    statement = select(*ROW).where(*where(filters, session))
    if isinstance(paging, Sorting):
        sorted_rows = (await session.execute(paging.over(statement, _order(paging, session), Run.id))).mappings().all()
        rows = [RunRow.model_validate({name: row[name] for name in RunRow.model_fields}) for row in sorted_rows]
        return paging.page(rows, [(row["sorted_by"], row["run_id"]) for row in sorted_rows])
    statement = (
        statement.where(*paging.where(Run.created_at, Run.id))
        .order_by(Run.created_at.desc(), Run.id.desc())
        .limit(paging.limit + 1)
    )
    rows = [RunRow.model_validate(dict(row)) for row in (await session.execute(statement)).mappings()]
    return paging.page(rows, lambda row: (row.created_at, row.run_id))


def _order(sorting: Sorting, session: AsyncSession) -> Any:
    whose, _, name = sorting.name.partition(".")
    if whose not in ("param", "metric") or not _NAME.fullmatch(name):
        return sorting.column(ORDERS | dict.fromkeys(("metric.NAME", "param.NAME")))
    _, numeric, number, *_ = _entry(whose, name, is_sqlite(session))
    return cast(case((numeric, number), else_=null()), Double)

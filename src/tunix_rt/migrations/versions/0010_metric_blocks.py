"""The metrics of runs in blocks of 200 steps: a plot of a long run reads fewer rows by as much.

And an index for traces in the order of their steps.
"""

import math
import struct
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import Any

import sqlalchemy as sa
from alembic import op

from tunix_rt.base.db import RowNumber

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

BLOCK = 200
_POINT = struct.Struct("<Bd")
_AT_ONCE = 1000
_metrics = sa.table("run_metrics", *map(sa.column, ("run_number", "key", "step", "value")))
_blocks = sa.table("run_metric_blocks", *map(sa.column, ("run_number", "block", "key", "points")))


def _table(name: str, *columns: sa.Column[Any]) -> None:
    op.create_table(
        name,
        sa.Column("run_number", RowNumber, primary_key=True, autoincrement=False),
        *columns,
        sa.ForeignKeyConstraint(["run_number"], ["runs.number"], name=f"fk_{name}_run_number", ondelete="CASCADE"),
    )


def _move(query: sa.Select[Any], into: sa.TableClause, changed: Any) -> None:
    connection = op.get_bind()
    with connection.execute(query, execution_options={"yield_per": _AT_ONCE}) as found:
        rows = changed(found)
        while some := list(islice(rows, _AT_ONCE)):
            connection.execute(into.insert(), some)


def _packed(rows: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for (run, key, block), points in groupby(rows, lambda row: (row.run_number, row.key, row.step // BLOCK)):
        # NaN was null: SQLite keeps none as a number.
        packed = b"".join(_POINT.pack(row.step % BLOCK, math.nan if row.value is None else row.value) for row in points)
        yield {"run_number": run, "block": block, "key": key, "points": packed}


def _unpacked(rows: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for row in rows:
        for offset, value in _POINT.iter_unpack(row.points):
            shown = None if math.isnan(value) else value
            yield {"run_number": row.run_number, "key": row.key, "step": row.block * BLOCK + offset, "value": shown}


def upgrade() -> None:
    """Pack the values into blocks."""
    _table(
        "run_metric_blocks",
        sa.Column("block", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("key", sa.String(100), primary_key=True),
        sa.Column("points", sa.LargeBinary(), nullable=False),
    )
    _move(sa.select(_metrics).order_by(_metrics.c.run_number, _metrics.c.key, _metrics.c.step), _blocks, _packed)
    op.drop_table("run_metrics")
    op.create_index("ix_traces_step_count_id", "traces", ["step_count", "id"])


def downgrade() -> None:
    """Unpack them."""
    op.drop_index("ix_traces_step_count_id", "traces")
    _table(
        "run_metrics",
        sa.Column("key", sa.String(100), primary_key=True),
        sa.Column("step", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("value", sa.Double()),
    )
    _move(sa.select(_blocks), _metrics, _unpacked)
    op.drop_table("run_metric_blocks")

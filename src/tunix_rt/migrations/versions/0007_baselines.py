"""Baselines of the regression gate, and the scores of an evaluation's items in one place, which boards read."""

from itertools import groupby

import sqlalchemy as sa
from alembic import op

from tunix_rt.base.db import RowNumber, Utc
from tunix_rt.evaluation.packed import pack

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, and gather the scores."""
    op.create_table(
        "baselines",
        sa.Column("number", RowNumber, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("evaluation_number", RowNumber, nullable=False),
        sa.Column("metric", sa.String(32), nullable=False),
        sa.Column("direction", sa.String(8), nullable=False),
        sa.Column("margin", sa.Double(), nullable=False),
        sa.UniqueConstraint("id", name="uq_baselines_id"),
        sa.ForeignKeyConstraint(
            ["evaluation_number"], ["evaluations.number"], name="fk_baselines_evaluation_number", ondelete="RESTRICT"
        ),
    )
    op.create_index("ix_baselines_name_number", "baselines", ["name", "number"])
    op.create_index("ix_baselines_created_at_id", "baselines", ["created_at", "id"])
    with op.batch_alter_table("evaluations") as table:
        table.add_column(sa.Column("scores", sa.LargeBinary()))
    _gather()
    with op.batch_alter_table("evaluations") as table:
        table.alter_column("scores", existing_type=sa.LargeBinary(), nullable=False)
    waived = sa.text("waiver IS NOT NULL")
    op.create_index("ix_evaluations_waived", "evaluations", ["number"], sqlite_where=waived, postgresql_where=waived)


def _gather() -> None:
    connection = op.get_bind()
    evaluations = sa.table("evaluations", sa.column("number"), sa.column("scores", sa.LargeBinary()))
    columns = ("evaluation_number", "position", "sample", "score")
    items = sa.table("evaluation_items", *(sa.column(name) for name in columns))
    for (number,) in connection.execute(sa.select(evaluations.c.number)).all():
        rows = connection.execute(
            sa.select(items.c.position, items.c.score)
            .where(items.c.evaluation_number == number)
            .order_by(items.c.position, items.c.sample)
        ).all()
        scores = []
        for _, samples in groupby(rows, key=lambda row: row.position):
            found = [row.score for row in samples if row.score is not None]
            scores.append(sum(found) / len(found) if found else None)
        connection.execute(evaluations.update().where(evaluations.c.number == number).values(scores=pack(scores)))


def downgrade() -> None:
    """Drop both; the items have the scores."""
    op.drop_index("ix_evaluations_waived", "evaluations")
    with op.batch_alter_table("evaluations") as table:
        table.drop_column("scores")
    op.drop_table("baselines")

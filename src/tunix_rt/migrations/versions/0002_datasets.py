"""Data sets and their items."""

import sqlalchemy as sa
from alembic import op

from tunix_rt.base.db import Json, RowNumber, Utc

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "datasets",
        sa.Column("number", RowNumber, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("dataset_key", sa.String(200), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("version", sa.String(99), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("trace_count", sa.Integer(), nullable=False),
        sa.Column("manifest", Json, nullable=False),
        sa.UniqueConstraint("id", name="uq_datasets_id"),
        sa.UniqueConstraint("dataset_key", name="uq_datasets_dataset_key"),
    )
    op.create_index("ix_datasets_created_at_id", "datasets", ["created_at", "id"])
    op.create_index("ix_datasets_name_created_at", "datasets", ["name", "created_at"])
    op.create_index("ix_datasets_digest", "datasets", ["digest"])
    op.create_table(
        "dataset_items",
        sa.Column("dataset_number", RowNumber, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("trace_number", RowNumber, nullable=False),
        sa.Column("split", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("dataset_number", "position", name="pk_dataset_items"),
        sa.ForeignKeyConstraint(
            ["dataset_number"], ["datasets.number"], name="fk_dataset_items_dataset_number", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["trace_number"], ["traces.number"], name="fk_dataset_items_trace_number", ondelete="RESTRICT"
        ),
    )
    op.create_index("ix_dataset_items_trace_number", "dataset_items", ["trace_number"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("dataset_items")
    op.drop_table("datasets")

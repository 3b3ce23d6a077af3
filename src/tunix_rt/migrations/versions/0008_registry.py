"""The registry: families of models, their versions, and how the aliases moved."""

import sqlalchemy as sa
from alembic import op

from tunix_rt.base.db import Json, RowNumber, Utc

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def _family(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["family_number"], ["model_families.number"], name=f"fk_{table}_family_number", ondelete="RESTRICT"
    )


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "model_families",
        sa.Column("number", RowNumber, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(99), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.UniqueConstraint("id", name="uq_model_families_id"),
        sa.UniqueConstraint("name", name="uq_model_families_name"),
    )
    op.create_index("ix_model_families_created_at_id", "model_families", ["created_at", "id"])
    op.create_table(
        "model_versions",
        sa.Column("number", RowNumber, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("family_number", RowNumber, nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("files", Json, nullable=False),
        sa.Column("provenance", Json, nullable=False),
        sa.Column("evaluations", Json, nullable=False),
        sa.UniqueConstraint("id", name="uq_model_versions_id"),
        sa.UniqueConstraint("family_number", "version", name="uq_model_versions_family_number_version"),
        sa.UniqueConstraint("family_number", "digest", name="uq_model_versions_family_number_digest"),
        _family("model_versions"),
    )
    op.create_index("ix_model_versions_run_id", "model_versions", ["run_id"])
    op.create_index(
        "ix_model_versions_family_number_created_at_id", "model_versions", ["family_number", "created_at", "id"]
    )
    op.create_table(
        "model_alias_moves",
        sa.Column("number", RowNumber, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("family_number", RowNumber, nullable=False),
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("before", sa.String(64)),
        sa.Column("after_number", RowNumber, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.UniqueConstraint("id", name="uq_model_alias_moves_id"),
        _family("model_alias_moves"),
        sa.ForeignKeyConstraint(
            ["after_number"],
            ["model_versions.number"],
            name="fk_model_alias_moves_after_number",
            ondelete="RESTRICT",
        ),
    )
    for columns in (["family_number", "alias", "number"], ["family_number", "created_at", "id"]):
        op.create_index(f"ix_model_alias_moves_{'_'.join(columns)}", "model_alias_moves", columns)


def downgrade() -> None:
    """Drop them; files in the store stay."""
    for table in ("model_alias_moves", "model_versions", "model_families"):
        op.drop_table(table)

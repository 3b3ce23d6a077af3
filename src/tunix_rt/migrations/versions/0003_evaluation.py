"""Eval sets, evaluations and their items."""

import sqlalchemy as sa
from alembic import op

from tunix_rt.base.db import Json, RowNumber, Utc

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "eval_sets",
        sa.Column("number", RowNumber, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("n_items", sa.Integer(), nullable=False),
        sa.UniqueConstraint("id", name="uq_eval_sets_id"),
        sa.UniqueConstraint("name", name="uq_eval_sets_name"),
        sa.UniqueConstraint("digest", name="uq_eval_sets_digest"),
    )
    op.create_index("ix_eval_sets_created_at_id", "eval_sets", ["created_at", "id"])
    op.create_table(
        "eval_items",
        sa.Column("eval_set_number", RowNumber, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.String(200), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("expected_answer", sa.Text(), nullable=False),
        sa.Column("section", sa.String(200)),
        sa.Column("category", sa.String(200)),
        sa.Column("difficulty", sa.String(200)),
        sa.Column("meta", Json, nullable=False),
        sa.PrimaryKeyConstraint("eval_set_number", "position", name="pk_eval_items"),
        sa.UniqueConstraint("eval_set_number", "item_id", name="uq_eval_items_eval_set_number_item_id"),
        sa.ForeignKeyConstraint(
            ["eval_set_number"], ["eval_sets.number"], name="fk_eval_items_eval_set_number", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "evaluations",
        sa.Column("number", RowNumber, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("eval_set_number", RowNumber, nullable=False),
        sa.Column("model_id", sa.String(200)),
        sa.Column("dataset_key", sa.String(200)),
        sa.Column("run_id", sa.Uuid()),
        sa.Column("judge", sa.String(64), nullable=False),
        sa.Column("judge_version", sa.String(32), nullable=False),
        sa.Column("judge_digest", sa.String(71), nullable=False),
        sa.Column("decoding", Json, nullable=False),
        sa.Column("decoding_digest", sa.String(71), nullable=False),
        sa.Column("predictions_digest", sa.String(71), nullable=False),
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in ("n_items", "n_scored", "n_missing", "n_unscored", "n_correct", "n_unknown", "n_repeated")
        ),
        sa.Column("score", sa.Double()),
        sa.Column("ci_low", sa.Double()),
        sa.Column("ci_high", sa.Double()),
        sa.UniqueConstraint("id", name="uq_evaluations_id"),
        sa.ForeignKeyConstraint(
            ["eval_set_number"], ["eval_sets.number"], name="fk_evaluations_eval_set_number", ondelete="RESTRICT"
        ),
    )
    op.create_index("ix_evaluations_created_at_id", "evaluations", ["created_at", "id"])
    op.create_index(
        "ix_evaluations_eval_set_number_judge_digest_decoding_digest",
        "evaluations",
        ["eval_set_number", "judge_digest", "decoding_digest"],
    )
    op.create_index("ix_evaluations_name_created_at", "evaluations", ["name", "created_at"])
    for column in ("model_id", "dataset_key", "run_id"):
        op.create_index(f"ix_evaluations_{column}", "evaluations", [column])
    op.create_table(
        "evaluation_items",
        sa.Column("evaluation_number", RowNumber, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.String(200), nullable=False),
        sa.Column("output", sa.Text()),
        sa.Column("extracted", sa.Text()),
        sa.Column("rule", sa.String(64)),
        sa.Column("score", sa.Double()),
        sa.Column("reason", sa.Text()),
        sa.Column("missing", sa.Boolean(), nullable=False),
        sa.Column("finish_reason", sa.String(64)),
        sa.Column("prompt_tokens", sa.Integer()),
        sa.Column("completion_tokens", sa.Integer()),
        sa.Column("latency_s", sa.Double()),
        sa.PrimaryKeyConstraint("evaluation_number", "position", name="pk_evaluation_items"),
        sa.ForeignKeyConstraint(
            ["evaluation_number"],
            ["evaluations.number"],
            name="fk_evaluation_items_evaluation_number",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("evaluation_items", "evaluations", "eval_items", "eval_sets"):
        op.drop_table(table)

"""Predictions apart from their judgements, several samples an item, contamination."""

import sqlalchemy as sa
from alembic import op

from tunix_rt.base.db import Json, RowNumber, Utc

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TOLD = "finish_reason, prompt_tokens, completion_tokens, latency_s"


def upgrade() -> None:
    """Move what was predicted out of the judged items."""
    op.create_table(
        "predictions",
        sa.Column("number", RowNumber, primary_key=True, autoincrement=True),
        sa.Column("eval_set_number", RowNumber, nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.UniqueConstraint("eval_set_number", "digest", name="uq_predictions_eval_set_number_digest"),
        sa.ForeignKeyConstraint(
            ["eval_set_number"], ["eval_sets.number"], name="fk_predictions_eval_set_number", ondelete="RESTRICT"
        ),
    )
    op.create_table(
        "prediction_lines",
        sa.Column("predictions_number", RowNumber, nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.String(200), nullable=False),
        sa.Column("sample", sa.Integer(), nullable=False),
        sa.Column("output", sa.Text(), nullable=False),
        sa.Column("finish_reason", sa.String(64)),
        sa.Column("prompt_tokens", sa.Integer()),
        sa.Column("completion_tokens", sa.Integer()),
        sa.Column("latency_s", sa.Double()),
        sa.PrimaryKeyConstraint("predictions_number", "line", name="pk_prediction_lines"),
        sa.ForeignKeyConstraint(
            ["predictions_number"],
            ["predictions.number"],
            name="fk_prediction_lines_predictions_number",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "contamination_checks",
        sa.Column("number", RowNumber, primary_key=True, autoincrement=True),
        sa.Column("dataset_digest", sa.String(71), nullable=False),
        sa.Column("eval_set_number", RowNumber, nullable=False),
        sa.Column("method", sa.String(32), nullable=False),
        sa.Column("n_traces", sa.Integer(), nullable=False),
        sa.Column("found", Json, nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.UniqueConstraint(
            "dataset_digest",
            "eval_set_number",
            "method",
            name="uq_contamination_checks_dataset_digest_eval_set_number_method",
        ),
        sa.ForeignKeyConstraint(
            ["eval_set_number"],
            ["eval_sets.number"],
            name="fk_contamination_checks_eval_set_number",
            ondelete="CASCADE",
        ),
    )
    op.execute(
        "INSERT INTO predictions (eval_set_number, digest, created_at, samples) SELECT eval_set_number, "
        "predictions_digest, min(created_at), 1 FROM evaluations GROUP BY eval_set_number, predictions_digest"
    )
    op.execute(
        f"INSERT INTO prediction_lines (predictions_number, line, item_id, sample, output, {_TOLD}) "  # noqa: S608  # ours
        f"SELECT p.number, i.position, i.item_id, 0, i.output, {_TOLD} "
        "FROM predictions p JOIN evaluations e ON e.number = (SELECT min(f.number) FROM evaluations f WHERE "
        "f.eval_set_number = p.eval_set_number AND f.predictions_digest = p.digest) "
        "JOIN evaluation_items i ON i.evaluation_number = e.number WHERE i.output IS NOT NULL"
    )
    with op.batch_alter_table("evaluations") as table:
        table.add_column(sa.Column("predictions_number", RowNumber))
        table.add_column(sa.Column("samples", sa.Integer(), nullable=False, server_default="1"))
        table.add_column(sa.Column("contamination", Json))
        table.add_column(sa.Column("waiver", sa.Text()))
    op.execute(
        "UPDATE evaluations SET predictions_number = (SELECT p.number FROM predictions p WHERE "
        "p.eval_set_number = evaluations.eval_set_number AND p.digest = evaluations.predictions_digest)"
    )
    with op.batch_alter_table("evaluations") as table:
        table.alter_column("predictions_number", existing_type=RowNumber, nullable=False)
        table.alter_column("samples", existing_type=sa.Integer(), server_default=None)
        table.create_foreign_key(
            "fk_evaluations_predictions_number", "predictions", ["predictions_number"], ["number"], ondelete="RESTRICT"
        )
        table.drop_column("predictions_digest")
        table.create_index("ix_evaluations_predictions_number", ["predictions_number"])
    op.execute("CREATE TABLE kept AS SELECT * FROM evaluation_items")
    op.drop_table("evaluation_items")
    op.create_table(
        "evaluation_items",
        sa.Column("evaluation_number", RowNumber, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("sample", sa.Integer(), nullable=False),
        sa.Column("line", sa.Integer()),
        *_judged(),
        sa.Column("contamination", sa.String(32)),
        sa.PrimaryKeyConstraint("evaluation_number", "position", "sample", name="pk_evaluation_items"),
        _of_evaluation(),
    )
    op.execute(
        "INSERT INTO evaluation_items (evaluation_number, position, sample, line, extracted, rule, score, reason, "
        "missing) SELECT evaluation_number, position, 0, CASE WHEN output IS NULL THEN NULL ELSE position END, "
        "extracted, rule, score, reason, missing FROM kept"
    )
    op.drop_table("kept")


def _judged() -> list[sa.Column[object]]:
    return [
        sa.Column("extracted", sa.Text()),
        sa.Column("rule", sa.String(64)),
        sa.Column("score", sa.Double()),
        sa.Column("reason", sa.Text()),
        sa.Column("missing", sa.Boolean(), nullable=False),
    ]


def _of_evaluation() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["evaluation_number"], ["evaluations.number"], name="fk_evaluation_items_evaluation_number", ondelete="CASCADE"
    )


def downgrade() -> None:
    """Put the predictions back beside their judgements: the first sample of each item."""
    op.execute("CREATE TABLE kept AS SELECT * FROM evaluation_items WHERE sample = 0")
    op.drop_table("evaluation_items")
    op.create_table(
        "evaluation_items",
        sa.Column("evaluation_number", RowNumber, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.String(200), nullable=False),
        sa.Column("output", sa.Text()),
        *_judged(),
        sa.Column("finish_reason", sa.String(64)),
        sa.Column("prompt_tokens", sa.Integer()),
        sa.Column("completion_tokens", sa.Integer()),
        sa.Column("latency_s", sa.Double()),
        sa.PrimaryKeyConstraint("evaluation_number", "position", name="pk_evaluation_items"),
        _of_evaluation(),
    )
    op.execute(
        "INSERT INTO evaluation_items (evaluation_number, position, item_id, output, extracted, rule, score, reason, "  # noqa: S608  # ours
        f"missing, {_TOLD}) SELECT k.evaluation_number, k.position, q.item_id, l.output, k.extracted, k.rule, k.score, "
        f"k.reason, k.missing, {_TOLD} FROM kept k "
        "JOIN evaluations e ON e.number = k.evaluation_number "
        "JOIN eval_items q ON q.eval_set_number = e.eval_set_number AND q.position = k.position "
        "LEFT JOIN prediction_lines l ON l.predictions_number = e.predictions_number AND l.line = k.line"
    )
    op.drop_table("kept")
    with op.batch_alter_table("evaluations") as table:
        table.add_column(sa.Column("predictions_digest", sa.String(71), nullable=False, server_default=""))
    op.execute(
        "UPDATE evaluations SET predictions_digest = "
        "(SELECT p.digest FROM predictions p WHERE p.number = evaluations.predictions_number)"
    )
    with op.batch_alter_table("evaluations") as table:
        table.alter_column("predictions_digest", existing_type=sa.String(71), server_default=None)
        table.drop_index("ix_evaluations_predictions_number")
        table.drop_constraint("fk_evaluations_predictions_number", type_="foreignkey")
        for column in ("predictions_number", "samples", "contamination", "waiver"):
            table.drop_column(column)
    for name in ("contamination_checks", "prediction_lines", "predictions"):
        op.drop_table(name)

"""Runs, their history, their metrics, and the index of their logs."""

import sqlalchemy as sa
from alembic import op

from tunix_rt.base.db import Json, RowNumber, Utc

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _run_number() -> sa.Column[int]:
    return sa.Column("run_number", RowNumber, nullable=False)


def _belongs_to_run(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["run_number"], ["runs.number"], name=f"fk_{table}_run_number", ondelete="CASCADE")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "runs",
        sa.Column("number", RowNumber, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_number", RowNumber, nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("dataset_key", sa.String(200), nullable=False),
        sa.Column("model_id", sa.String(200), nullable=False),
        sa.Column("engine", sa.String(64), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("status_reason", sa.Text()),
        sa.Column("queued_at", Utc(), nullable=False),
        sa.Column("started_at", Utc()),
        sa.Column("completed_at", Utc()),
        sa.Column("wait_seconds", sa.Double()),
        sa.Column("duration_seconds", sa.Double()),
        sa.Column("ran_seconds", sa.Double(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("timeout_seconds", sa.Double()),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("crash_reason", sa.Text()),
        sa.Column("worker", sa.String(200)),
        sa.Column("score", sa.Double()),
        sa.Column("progress", Json),
        sa.Column("metrics", Json, nullable=False),
        sa.Column("params", Json, nullable=False),
        sa.Column("eval_set", sa.String(200)),
        sa.Column("retry_of", sa.Uuid()),
        sa.Column("from_start", sa.Boolean(), nullable=False),
        sa.Column("request_digest", sa.String(71), nullable=False),
        sa.Column("dataset_digest", sa.String(71), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("log_seq", sa.BigInteger(), nullable=False),
        sa.Column("events_offset", sa.BigInteger(), nullable=False),
        sa.Column("config", Json, nullable=False),
        sa.Column("provenance", Json, nullable=False),
        sa.Column("result", Json),
        sa.UniqueConstraint("id", name="uq_runs_id"),
        sa.UniqueConstraint("job_number", name="uq_runs_job_number"),
        sa.ForeignKeyConstraint(["job_number"], ["jobs.number"], name="fk_runs_job_number"),
    )
    op.create_index("ix_runs_created_at_id", "runs", ["created_at", "id"])
    for column in ("status", "dataset_key", "model_id"):
        op.create_index(f"ix_runs_{column}_created_at_id", "runs", [column, "created_at", "id"])
    op.create_table(
        "run_events",
        sa.Column("number", RowNumber, primary_key=True, autoincrement=True),
        _run_number(),
        sa.Column("time", Utc(), nullable=False),
        sa.Column("before", sa.String(32)),
        sa.Column("after", sa.String(32), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("reason", sa.Text()),
        _belongs_to_run("run_events"),
    )
    op.create_index("ix_run_events_run_number_number", "run_events", ["run_number", "number"])
    op.create_table(
        "run_metrics",
        _run_number(),
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double()),
        sa.PrimaryKeyConstraint("run_number", "key", "step", name="pk_run_metrics"),
        _belongs_to_run("run_metrics"),
    )
    op.create_table(
        "run_log_chunks",
        _run_number(),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("file", sa.Integer(), nullable=False),
        sa.Column("stream", sa.String(8), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("run_number", "seq", name="pk_run_log_chunks"),
        _belongs_to_run("run_log_chunks"),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("run_log_chunks", "run_metrics", "run_events", "runs"):
        op.drop_table(table)

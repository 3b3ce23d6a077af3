"""The queue: jobs, workers, durations of writes."""

import sqlalchemy as sa
from alembic import op

from tunix_rt.base.db import Json, RowNumber, Utc

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "jobs",
        sa.Column("number", RowNumber, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("key", sa.String(255)),
        sa.Column("needs", sa.String(64)),
        sa.Column("payload", Json, nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("claim", sa.Integer(), nullable=False),
        sa.Column("expirations", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(200)),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("available_at", Utc(), nullable=False),
        sa.Column("claimed_at", Utc()),
        sa.Column("lease_expires_at", Utc()),
        sa.Column("finished_at", Utc()),
        sa.Column("reason", sa.Text()),
        sa.UniqueConstraint("key", name="uq_jobs_key"),
    )
    for name, columns, state in (
        ("ix_jobs_claim", ["rank", "number"], "pending"),
        ("ix_jobs_lease", ["lease_expires_at"], "running"),
    ):
        where = sa.text(f"state = '{state}'")
        op.create_index(name, "jobs", columns, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "workers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("offers", Json, nullable=False),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.Column("job_number", RowNumber),
        sa.Column("started_at", Utc(), nullable=False),
        sa.Column("last_heartbeat", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    op.create_index("ix_workers_last_heartbeat", "workers", ["last_heartbeat"])
    op.create_table(
        "write_durations",
        sa.Column("operation", sa.String(64), nullable=False),
        sa.Column("counts", Json, nullable=False),
        sa.Column("total", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("operation", name="pk_write_durations"),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("write_durations", "workers", "jobs"):
        op.drop_table(table)

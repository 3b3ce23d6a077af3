"""The retries of a run are found by an index."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.create_index("ix_runs_retry_of", "runs", ["retry_of"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_runs_retry_of", "runs")

"""Traces, their scores and their full-text index."""

import string

import sqlalchemy as sa
from alembic import op

from tunix_rt.base.db import Json, RowNumber, Utc

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Without punctuation, or PostgreSQL would read `2/3` as the name of a file and `end.She` as that of a machine.
_MARKS = string.punctuation.replace("'", "''")
_ONLY_WORDS = f"translate(prompt || ' ' || final_answer, '{_MARKS}', '{' ' * len(string.punctuation)}')"

_TRIGGERS = {
    "traces_fts_insert": "AFTER INSERT ON traces BEGIN INSERT INTO traces_fts(rowid, prompt, final_answer) "
    "VALUES (new.number, new.prompt, new.final_answer); END",
    "traces_fts_delete": "AFTER DELETE ON traces BEGIN INSERT INTO traces_fts(traces_fts, rowid, prompt, final_answer) "
    "VALUES ('delete', old.number, old.prompt, old.final_answer); END",
}


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "traces",
        sa.Column("number", RowNumber, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("trace_version", sa.String(16), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("steps", Json, nullable=False),
        sa.Column("final_answer", sa.Text(), nullable=False),
        sa.Column("meta", Json, nullable=False),
        sa.Column("source", sa.String(200)),
        sa.Column("step_count", sa.Integer(), nullable=False),
        sa.Column("step_characters", sa.Integer(), nullable=False),
        sa.UniqueConstraint("id", name="uq_traces_id"),
        sa.UniqueConstraint("digest", name="uq_traces_digest"),
    )
    op.create_index("ix_traces_created_at_id", "traces", ["created_at", "id"])
    op.create_index("ix_traces_source", "traces", ["source"])
    op.create_table(
        "trace_scores",
        sa.Column("trace_number", RowNumber, nullable=False),
        sa.Column("criteria", sa.String(64), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("details", Json, nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("trace_number", "criteria", name="pk_trace_scores"),
        sa.ForeignKeyConstraint(
            ["trace_number"], ["traces.number"], name="fk_trace_scores_trace_number", ondelete="CASCADE"
        ),
    )
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE traces_fts USING fts5("
            "prompt, final_answer, content='traces', content_rowid='number', tokenize='unicode61 remove_diacritics 0')"
        )
        for name, body in _TRIGGERS.items():
            op.execute(f"CREATE TRIGGER {name} {body}")
    else:
        op.execute(f"CREATE INDEX ix_traces_fulltext ON traces USING gin (to_tsvector('simple', {_ONLY_WORDS}))")


def downgrade() -> None:
    """Drop them."""
    if op.get_bind().dialect.name == "sqlite":
        for name in _TRIGGERS:
            op.execute(f"DROP TRIGGER {name}")
        op.execute("DROP TABLE traces_fts")
    op.drop_table("trace_scores")
    op.drop_table("traces")

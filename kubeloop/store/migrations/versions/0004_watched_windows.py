"""Windows that detectors have judged, and how far they have read."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create watch_streams, watch_windows."""
    op.create_table(
        "watch_streams",
        sa.Column("service", sa.Integer, nullable=False),
        sa.Column("model", sa.Integer, nullable=False),
        sa.Column("stream", sa.String(6), nullable=False),
        sa.Column("windows", sa.Integer, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("service", "model", "stream", name="watch_streams_pk"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "watch_windows",
        sa.Column("id", sa.String(71), primary_key=True),
        sa.Column("service", sa.Integer, nullable=False),
        sa.Column("model", sa.Integer, nullable=False),
        sa.Column("stream", sa.String(6), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("first_at", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.BigInteger, nullable=False),
        sa.Column("judged_at", sa.BigInteger, nullable=False),
        sa.Column("sent_at", sa.BigInteger, nullable=True),
        sa.Column("alarm", sa.Boolean, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.UniqueConstraint("service", "model", "stream", "number", name="watch_windows_number"),
    )

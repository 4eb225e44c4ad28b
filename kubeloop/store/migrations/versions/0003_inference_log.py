"""The inference log and its late labels."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create log_services, log_models, log_segments, predictions, prediction_keys, labels."""
    op.create_table(
        "log_services",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("service", sa.String(253), nullable=False),
        sa.Column("component", sa.String(63), nullable=False),
        sa.UniqueConstraint("namespace", "service", "component", name="log_services_key"),
    )
    op.create_table(
        "log_models",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("service", sa.Integer, nullable=False),
        sa.Column("version", sa.String(253), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.UniqueConstraint("service", "version", "digest", name="log_models_key"),
    )
    op.create_table(
        "log_segments",
        sa.Column("name", sa.String(120), primary_key=True),
        sa.Column("moved_at", sa.BigInteger, nullable=False),
        sa.Column("records", sa.Integer, nullable=False),
    )
    op.create_table(
        "predictions",
        sa.Column("service", sa.Integer, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("model", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("answered_at", sa.BigInteger, nullable=True),
        sa.Column("inputs", sa.LargeBinary, nullable=True),
        sa.Column("outputs", sa.LargeBinary, nullable=True),
        sa.PrimaryKeyConstraint("service", "event_id", name="predictions_pk"),
        sqlite_with_rowid=False,
    )
    op.create_index("predictions_at", "predictions", ["service", "at"])
    op.create_table(
        "prediction_keys",
        sa.Column("service", sa.Integer, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("row", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("service", "key", "at", "event_id", "row", name="prediction_keys_pk"),
        sqlite_with_rowid=False,
    )
    op.create_index("prediction_keys_at", "prediction_keys", ["service", "at"])
    op.create_table(
        "labels",
        sa.Column("service", sa.Integer, nullable=False),
        sa.Column("by", sa.String(5), nullable=False),
        sa.Column("ident", sa.Text, nullable=False),
        sa.Column("row", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("observed_at", sa.BigInteger, nullable=False),
        sa.Column("arrived_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("service", "by", "ident", "row", "revision", name="labels_pk"),
        sqlite_with_rowid=False,
    )

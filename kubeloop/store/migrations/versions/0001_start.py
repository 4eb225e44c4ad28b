"""The first four tables, spelled out: `kubeloop.store.tables` moves on, this does not."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create versions, champions, ledger, desired."""
    op.create_table(
        "versions",
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("run_id", sa.String(128), nullable=True),
        sa.Column("created_at", sa.String(40), nullable=False),
        sa.UniqueConstraint("namespace", "name", "digest", name="versions_digest"),
        sa.UniqueConstraint("namespace", "name", "version", name="versions_version"),
    )
    op.create_table(
        "ledger",
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(63), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("previous", sa.String(71), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "seq", name="ledger_pk"),
    )
    for name in ("champions", "desired"):
        op.create_table(
            name,
            sa.Column("namespace", sa.String(63), nullable=False),
            sa.Column("name", sa.String(63), nullable=False),
            sa.Column("digest", sa.String(71), nullable=False),
            sa.Column("revision", sa.Integer, nullable=False),
            sa.Column("updated_at", sa.String(40), nullable=False),
            sa.PrimaryKeyConstraint("namespace", "name", name=f"{name}_pk"),
        )

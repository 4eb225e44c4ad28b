"""Versions get a semantic number with what it was derived from, a stage, and metadata."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns; versions from before keep no semantic number, for nobody kept what it is derived from."""
    op.add_column("versions", sa.Column("semantic", sa.String(32), nullable=True))
    op.add_column("versions", sa.Column("shape", sa.Text, nullable=True))
    op.add_column("versions", sa.Column("stage", sa.String(16), nullable=False, server_default="development"))
    op.add_column("versions", sa.Column("metadata", sa.Text, nullable=False, server_default="{}"))

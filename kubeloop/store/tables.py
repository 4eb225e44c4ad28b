"""The tables. Times are ISO 8601 text in UTC: SQLite has no time zones, and the ledger hashes what it stores."""

from sqlalchemy import Column, Integer, MetaData, PrimaryKeyConstraint, String, Table, Text, UniqueConstraint

metadata = MetaData()

versions = Table(
    "versions",
    metadata,
    Column("namespace", String(63), nullable=False),
    Column("name", String(63), nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", String(71), nullable=False),
    Column("address", Text, nullable=False),
    Column("run_id", String(128), nullable=True),
    Column("created_at", String(40), nullable=False),
    Column("semantic", String(32), nullable=True),
    Column("shape", Text, nullable=True),
    Column("stage", String(16), nullable=False, server_default="development"),
    Column("metadata", Text, nullable=False, server_default="{}"),
    UniqueConstraint("namespace", "name", "digest", name="versions_digest"),
    UniqueConstraint("namespace", "name", "version", name="versions_version"),
)
"""Every package that passed its gate; numbers count from 1 within a name."""

champions = Table(
    "champions",
    metadata,
    Column("namespace", String(63), nullable=False),
    Column("name", String(63), nullable=False),
    Column("digest", String(71), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("updated_at", String(40), nullable=False),
    PrimaryKeyConstraint("namespace", "name", name="champions_pk"),
)
"""What serves, by decision; moved by `UPDATE ... WHERE revision = ?` alone."""

ledger = Table(
    "ledger",
    metadata,
    Column("namespace", String(63), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("kind", String(63), nullable=False),
    Column("body", Text, nullable=False),
    Column("at", String(40), nullable=False),
    Column("previous", String(71), nullable=False),
    Column("digest", String(71), nullable=False),
    PrimaryKeyConstraint("namespace", "seq", name="ledger_pk"),
)
"""One hash chain per namespace; written by `kubeloop.ledger` alone."""

desired = Table(
    "desired",
    metadata,
    Column("namespace", String(63), nullable=False),
    Column("name", String(63), nullable=False),
    Column("digest", String(71), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("updated_at", String(40), nullable=False),
    PrimaryKeyConstraint("namespace", "name", name="desired_pk"),
)
"""What an endpoint was last told to serve."""

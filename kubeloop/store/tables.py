"""The tables. Times are ISO 8601 text in UTC: SQLite has no time zones, and the ledger hashes what it stores.

In the inference log, whose rows are many and looked up by time, they are integers: microseconds since 1970 UTC.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

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

log_services = Table(
    "log_services",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("namespace", String(63), nullable=False),
    Column("service", String(253), nullable=False),
    Column("component", String(63), nullable=False),
    UniqueConstraint("namespace", "service", "component", name="log_services_key"),
)
"""Whose predictions are logged."""

log_models = Table(
    "log_models",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("service", Integer, nullable=False),
    Column("version", String(253), nullable=False),
    Column("digest", String(71), nullable=False),
    Column("document", Text, nullable=False),
    UniqueConstraint("service", "version", "digest", name="log_models_key"),
)
"""What answered: the model's version, its columns and classes (`kubeloop.monitoring.log.models.LoggedModel`)."""

log_segments = Table(
    "log_segments",
    metadata,
    Column("name", String(120), primary_key=True),
    Column("moved_at", BigInteger, nullable=False),
    Column("records", Integer, nullable=False),
)
"""Segment files whose records are in these tables: none is moved twice, also after retention took its rows away."""

predictions = Table(
    "predictions",
    metadata,
    Column("service", Integer, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("model", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("answered_at", BigInteger, nullable=True),
    Column("inputs", LargeBinary, nullable=True),
    Column("outputs", LargeBinary, nullable=True),
    PrimaryKeyConstraint("service", "event_id", name="predictions_pk"),
    Index("predictions_at", "service", "at"),
    sqlite_with_rowid=False,
)
"""One row for each request: rows of cells in the model's order, and what it answered; either may be missing."""

prediction_keys = Table(
    "prediction_keys",
    metadata,
    Column("service", Integer, nullable=False),
    Column("key", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("row", Integer, nullable=False),
    PrimaryKeyConstraint("service", "key", "at", "event_id", "row", name="prediction_keys_pk"),
    Index("prediction_keys_at", "service", "at"),
    sqlite_with_rowid=False,
)
"""Business keys of predicted rows, by which labels find them; hashed where the key is personal."""

labels = Table(
    "labels",
    metadata,
    Column("service", Integer, nullable=False),
    Column("by", String(5), nullable=False),
    Column("ident", Text, nullable=False),
    Column("row", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("value", Text, nullable=False),
    Column("observed_at", BigInteger, nullable=False),
    Column("arrived_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("service", "by", "ident", "row", "revision", name="labels_pk"),
    sqlite_with_rowid=False,
)
"""What came true: by event id and row, or by business key; a correction is a further revision, nothing is altered."""

watch_streams = Table(
    "watch_streams",
    metadata,
    Column("service", Integer, nullable=False),
    Column("model", Integer, nullable=False),
    Column("stream", String(6), nullable=False),
    Column("windows", Integer, nullable=False),
    Column("document", Text, nullable=False),
    PrimaryKeyConstraint("service", "model", "stream", name="watch_streams_pk"),
    sqlite_with_rowid=False,
)
"""How far detectors have read a model's log, and what its last windows told; moved by `WHERE windows = ?` alone."""

watch_windows = Table(
    "watch_windows",
    metadata,
    Column("id", String(71), primary_key=True),
    Column("service", Integer, nullable=False),
    Column("model", Integer, nullable=False),
    Column("stream", String(6), nullable=False),
    Column("number", Integer, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("judged_at", BigInteger, nullable=False),
    Column("sent_at", BigInteger, nullable=True),
    Column("alarm", Boolean, nullable=False),
    Column("document", Text, nullable=False),
    UniqueConstraint("service", "model", "stream", "number", name="watch_windows_number"),
)
"""What was said of each window; `sent_at` is empty until whoever wants to be told has been."""

"""From segment files to the SQL store: each record once, whatever dies in between.

A segment's rows and its name in `log_segments` are one transaction, and the file is removed after it: a mover that dies
before the commit has moved nothing, one that dies after it finds the name and only removes the file. Rows are keyed by
(service, event id), so that an event that came twice, in one segment or in two, is one row, and the first one stays.
"""

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from kubeloop.monitoring.labels.storing import Outcome, labels_from_json, store_labels
from kubeloop.monitoring.log import records
from kubeloop.monitoring.log.naming import model_number, number_of_service
from kubeloop.monitoring.log.reading import micros
from kubeloop.monitoring.log.segments import DAMAGED, Content, read_segment, remove_if_dead, sealed, writers
from kubeloop.store.tables import log_segments

_COLUMNS = "service, event_id, model, at, answered_at, inputs, outputs"
_KEEP_FIRST = """
ON CONFLICT (service, event_id) DO UPDATE SET
  inputs = COALESCE(predictions.inputs, excluded.inputs),
  outputs = COALESCE(predictions.outputs, excluded.outputs),
  answered_at = COALESCE(predictions.answered_at, excluded.answered_at),
  at = CASE WHEN predictions.inputs IS NULL AND excluded.inputs IS NOT NULL THEN excluded.at ELSE predictions.at END,
  model = CASE WHEN predictions.inputs IS NULL AND excluded.inputs IS NOT NULL
    THEN excluded.model ELSE predictions.model END
WHERE (predictions.inputs IS NULL AND excluded.inputs IS NOT NULL)
  OR (predictions.outputs IS NULL AND excluded.outputs IS NOT NULL)
"""
_ROWS = {
    "sqlite": f"INSERT INTO predictions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) {_KEEP_FIRST}",  # noqa: S608 - fixed
    "postgresql": f"INSERT INTO predictions ({_COLUMNS}) SELECT * FROM unnest(%s::int[], %s::text[], %s::int[], "  # noqa: S608
    f"%s::bigint[], %s::bigint[], %s::bytea[], %s::bytea[]) {_KEEP_FIRST}",
}
_KEYS = {
    "sqlite": "INSERT INTO prediction_keys (service, key, at, event_id, row) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING",
    "postgresql": "INSERT INTO prediction_keys (service, key, at, event_id, row) SELECT * FROM unnest(%s::int[], "
    "%s::text[], %s::bigint[], %s::text[], %s::int[]) ON CONFLICT DO NOTHING",
}


@dataclass
class Moved:
    """What a mover has done.

    Attributes:
        segments: Files moved.
        records: Records in them, definitions left out.
        again: Events that came again with nothing new, and of which the first is kept: sent twice, or two requests to
            which a client gave one id.
        torn: Files whose last record was torn: it was never acknowledged.
        damaged: Files with an altered record; what precedes it was moved, the file is kept beside as `.damaged`.
        labels: By outcome.
    """

    segments: int = 0
    records: int = 0
    again: int = 0
    torn: int = 0
    damaged: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Moved") -> None:
        """Count what another run has done, too."""
        self.segments += other.segments
        self.records += other.records
        self.again += other.again
        self.torn += other.torn
        self.damaged += other.damaged
        self.labels += other.labels


def move_all(store: sa.Engine, root: Path, now: dt.datetime) -> Moved:
    """Move all sealed segments below a root, and those that dead writers left open. One mover of a root at a time.

    Args:
        store: From `open_engine`.
        root: The log's root.
        now: The clock, with a time zone.
    """
    moved = Moved()
    for folder in writers(root):
        for path in sealed(folder):
            _move(store, path, now, moved)
        remove_if_dead(folder)
    return moved


def _move(store: sa.Engine, path: Path, now: dt.datetime, moved: Moved) -> None:
    content = read_segment(path)
    with store.begin() as connection:
        known = connection.execute(sa.select(log_segments.c.records).where(log_segments.c.name == path.name)).scalar()
        if known is None:
            batch = _Batch(connection)
            batch.take(content)
            batch.write(moved)
            entry = {"name": path.name, "moved_at": micros(now), "records": batch.records}
            connection.execute(sa.insert(log_segments), entry)
            moved.records += batch.records
            moved.again += batch.again
    moved.segments += 1
    moved.torn += content.torn > 0 and not content.damaged
    moved.damaged += content.damaged
    if content.damaged:
        path.rename(path.with_suffix(DAMAGED))
    else:
        path.unlink()


class _Batch:
    """The rows of one segment: request and answer of one event are one row."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._speakers: dict[int, tuple[int, int]] = {}
        self._rows: dict[tuple[int, str], list[Any]] = {}
        self._keys: list[tuple[int, str, int, str, int]] = []
        self._labels: list[tuple[records.Record, int]] = []
        self.records = 0
        self.again = 0

    def take(self, content: Content) -> None:
        """Take the records of a segment."""
        for payload in content.payloads:
            record = records.decode(payload)
            if record.kind == records.DEFINITION:
                self._define(record)
                continue
            self.records += 1
            service, model = self._speakers[record.speaker]
            if record.kind == records.LABELS:
                self._labels.append((record, service))
            else:
                self._event(record, service, model)

    def _define(self, record: records.Record) -> None:
        speaker = records.speaker_of(record)
        service = number_of_service(self._connection, speaker.namespace, speaker.service, speaker.component)
        self._speakers[record.speaker] = service, model_number(self._connection, service, speaker.model)

    def _event(self, record: records.Record, service: int, model: int) -> None:
        asks = record.kind in (records.REQUEST, records.BOTH)
        answers = record.kind in (records.ANSWER, records.BOTH)
        row = self._rows.get((service, record.event_id))
        if row is None:
            row = [service, record.event_id, model, record.at, None, None, None]
            self._rows[service, record.event_id] = row
        news = False
        if asks and row[5] is None:
            row[2], row[3], row[5], news = model, record.at, record.inputs, True
            if record.keys:
                self._key(record, service)
        if answers and row[6] is None:
            row[4], row[6], news = record.at, record.outputs, True
        self.again += not news

    def _key(self, record: records.Record, service: int) -> None:
        for number, key in enumerate(json.loads(record.keys)):
            if key is not None:
                self._keys.append((service, key, record.at, record.event_id, number))

    def write(self, moved: Moved) -> None:
        """Write all that was taken."""
        self.again += len(self._rows) - _insert(self._connection, _ROWS, list(self._rows.values()))
        _insert(self._connection, _KEYS, self._keys)
        for record, service in self._labels:
            found = labels_from_json(record.inputs)
            outcome: Outcome = store_labels(self._connection, service, found, record.at)
            moved.labels.update(outcome)


def _insert(connection: sa.Connection, statements: dict[str, str], rows: Iterable[Sequence[Any]]) -> int:
    """How many rows were written; others brought nothing new."""
    rows = list(rows)
    if not rows:
        return 0
    statement = statements[connection.dialect.name]
    if connection.dialect.name == "sqlite":
        return connection.exec_driver_sql(statement, [tuple(row) for row in rows]).rowcount
    return connection.exec_driver_sql(statement, tuple(list(column) for column in zip(*rows, strict=True))).rowcount

"""Append to the chain, read it, prove it whole."""

import datetime as dt
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from kubeloop.digests import canonical_json, document_digest
from kubeloop.errors import IntegrityError, PermanentError, TransientError
from kubeloop.store.tables import ledger

GENESIS = "sha256-" + "0" * 64
"""What the first entry names as its previous one."""

_TRIES = 20


@dataclass(frozen=True)
class Entry:
    """One entry.

    Attributes:
        namespace: Which chain.
        seq: Place in it, from 1, without gaps.
        kind: What happened, such as `gate`, `registration`, `promotion.intent`.
        body: About it; JSON types.
        at: When, UTC.
        previous: Digest of the entry before.
        digest: `sha256-...` over all of the above; `body` as the stored text, so that no byte of it is outside.
    """

    namespace: str
    seq: int
    kind: str
    body: dict[str, Any]
    at: dt.datetime
    previous: str
    digest: str


def append(engine: sa.Engine, namespace: str, kind: str, body: Mapping[str, Any], now: dt.datetime) -> Entry:
    """Add an entry at the end of the chain of `namespace`, in a transaction of its own.

    Args:
        engine: From `kubeloop.store.open_engine`.
        namespace: Which chain.
        kind: What happened.
        body: JSON types, finite; no secrets and no data values.
        now: Aware.

    Raises:
        PermanentError: `body` is not JSON, or `now` has no time zone.
        TransientError: Others appended first, each time.
    """
    if now.tzinfo is None:
        raise PermanentError("a ledger entry needs a time with its zone", "pass datetime.now(UTC)")
    try:
        text = canonical_json(dict(body))
    except (TypeError, ValueError) as error:
        raise PermanentError(
            f"the body of a {kind} entry is no finite JSON: {error}", "sanitise it with kubeloop.tracking.plain"
        ) from error
    at = now.astimezone(dt.UTC).isoformat()
    for _ in range(_TRIES):
        try:
            with engine.begin() as connection:
                _take_turn(connection, namespace)
                row = _next(connection, namespace, kind, text, at)
                connection.execute(sa.insert(ledger).values(row))
            return _entry(row)
        except sa.exc.IntegrityError:  # another took this place between our read and our write
            continue
    raise TransientError(f"{_TRIES} other entries came first", "run the same command again", retry_after_s=1.0)


def entries(engine: sa.Engine, namespace: str, kinds: Collection[str] = ()) -> list[Entry]:
    """The entries of a namespace in order; not verified.

    Args:
        engine: From `kubeloop.store.open_engine`.
        namespace: Which chain.
        kinds: Only entries of these kinds; empty: all.

    Raises:
        IntegrityError: An entry cannot be read at all.
    """
    return [_entry(row) for row in _rows(engine, namespace, kinds)]


def verify(engine: sa.Engine, namespace: str) -> int:
    """Prove that no entry was changed, removed from within or put in; returns how many there are.

    A chain whose end was cut off is a whole, shorter chain: `kubeloop.ledger.witness` holds it against what was kept
    elsewhere.

    Raises:
        IntegrityError: Names the first entry that is not what was written.
    """
    rows, previous = _rows(engine, namespace), GENESIS
    places = range(1, len(rows) + 1)
    if missing := set(places) - {row["seq"] for row in rows}:
        raise _broken(namespace, min(missing), "is missing")
    for row in rows:
        if row["previous"] != previous:
            raise _broken(namespace, row["seq"], "does not follow from the one before it")
        if row["digest"] != _digest(row):
            raise _broken(namespace, row["seq"], "was altered: its content does not have its digest")
        previous = row["digest"]
    return len(rows)


def head(engine: sa.Engine, namespace: str) -> tuple[int, str]:
    """Place and digest of the last entry; 0 and `GENESIS` where there is none."""
    with engine.connect() as connection:
        last = _last(connection, namespace)
    return (last.seq, last.digest) if last else (0, GENESIS)


def _take_turn(connection: sa.Connection, namespace: str) -> None:
    # SQLite's transactions have the write lock already. On PostgreSQL retries alone do not get eight appenders through.
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"ledger {namespace}", 0))))


def _next(connection: sa.Connection, namespace: str, kind: str, text: str, at: str) -> dict[str, Any]:
    last = _last(connection, namespace)
    row = {
        "namespace": namespace,
        "seq": last.seq + 1 if last else 1,
        "kind": kind,
        "body": text,
        "at": at,
        "previous": last.digest if last else GENESIS,
    }
    return {**row, "digest": _digest(row)}


def _last(connection: sa.Connection, namespace: str) -> Any:
    mine = sa.select(ledger.c.seq, ledger.c.digest).where(ledger.c.namespace == namespace)
    return connection.execute(mine.order_by(ledger.c.seq.desc()).limit(1)).first()


def _digest(row: Mapping[str, Any]) -> str:
    return document_digest({key: row[key] for key in ("namespace", "seq", "kind", "body", "at", "previous")})


def _rows(engine: sa.Engine, namespace: str, kinds: Collection[str] = ()) -> list[dict[str, Any]]:
    # The concatenation keeps the index out: it has a copy of two columns, and the rows themselves are what counts.
    query = sa.select(ledger).where(ledger.c.namespace.concat("") == namespace).order_by(ledger.c.seq)
    if kinds:
        query = query.where(ledger.c.kind.in_(kinds))
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def _entry(row: Mapping[str, Any]) -> Entry:
    try:
        body, at = json.loads(row["body"]), dt.datetime.fromisoformat(row["at"])
    except (TypeError, ValueError):
        raise _broken(str(row["namespace"]), row["seq"], "was altered: it cannot be read") from None
    return Entry(**{**row, "body": body, "at": at})


def _broken(namespace: str, seq: object, how: str) -> IntegrityError:
    return IntegrityError(
        f"entry {seq} of the ledger of {namespace} {how}",
        "find out who had access to the database, and restore the ledger from a copy",
        namespace=namespace,
        seq=seq,
    )

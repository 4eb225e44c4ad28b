"""Labels as they arrive: kept once, corrected by a further revision, never altered."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from kubeloop.digests import canonical_json
from kubeloop.store.tables import labels, log_services, prediction_keys, predictions

Outcome = Counter[str]
"""How many labels were `new`, `corrected`, or there already (`duplicate`)."""

_PAGE = 500


class Label(BaseModel):
    """One label.

    Attributes:
        by: Whether `ident` is the id of an event or a business key.
        ident: The event's id, or the key as it was logged (hashed where the key is personal).
        row: Number of the row in the event's request, from 0; 0 for a business key.
        value: The truth: a class, or a number; None takes back what was said before.
        observed_at: When it was observed, microseconds since 1970 UTC; None: when it arrived. A label by business key
            belongs to the latest prediction of that key at or before this moment.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    by: Literal["event", "key"]
    ident: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00]*$")]
    row: Annotated[int, Field(ge=0, lt=2**31)] = 0
    value: str | int | float | bool | None
    observed_at: Annotated[int, Field(ge=0, lt=2**62)] | None = None


_MANY = TypeAdapter(tuple[Label, ...])


def labels_to_json(found: Sequence[Label]) -> bytes:
    """Labels as the log carries them."""
    return _MANY.dump_json(tuple(found))


def labels_from_json(content: bytes) -> tuple[Label, ...]:
    """The labels of `labels_to_json`."""
    return _MANY.validate_json(content, strict=True)


def store_labels(connection: sa.Connection, service: int, found: Sequence[Label], arrived_at: int) -> Outcome:
    """Keep labels; in the caller's transaction.

    Args:
        connection: Inside a transaction.
        service: The service's number.
        found: The labels, in the order in which they came: of two for the same row, the later is the correction.
        arrived_at: Microseconds since 1970 UTC.
    """
    # Two writers must not give the same revision: the service's row is locked (SQLite locks the whole file anyway).
    connection.execute(sa.select(log_services.c.id).where(log_services.c.id == service).with_for_update())
    outcome: Outcome = Counter()
    for start in range(0, len(found), _PAGE):
        _page(connection, service, found[start : start + _PAGE], arrived_at, outcome)
    return outcome


def count_known(connection: sa.Connection, service: int, found: Sequence[Label]) -> int:
    """How many labels name a prediction that the log has."""
    known: set[tuple[str, str]] = set()
    for by, column in (("event", predictions.c.event_id), ("key", prediction_keys.c.key)):
        idents = sorted({label.ident for label in found if label.by == by})
        for start in range(0, len(idents), _PAGE):
            query = sa.select(column).distinct()
            query = query.where(column.table.c.service == service, column.in_(idents[start : start + _PAGE]))
            known |= {(by, ident) for ident in connection.scalars(query)}
    return sum((label.by, label.ident) in known for label in found)


def _page(connection: sa.Connection, service: int, found: Sequence[Label], arrived_at: int, outcome: Outcome) -> None:
    latest = _latest(connection, service, sorted({label.ident for label in found}))
    fresh: list[dict[str, Any]] = []
    for label in found:
        place = (label.by, label.ident, label.row)
        before = latest.get(place)
        said = (canonical_json(label.value), label.observed_at)
        if before is not None and said[0] == before[1] and said[1] in (None, before[2]):
            outcome["duplicate"] += 1
            continue
        outcome["new" if before is None else "corrected"] += 1
        observed = arrived_at if label.observed_at is None else label.observed_at
        revision = 1 if before is None else before[0] + 1
        latest[place] = (revision, said[0], observed)
        row = {"service": service, "by": label.by, "ident": label.ident, "row": label.row, "revision": revision}
        fresh.append({**row, "value": said[0], "observed_at": observed, "arrived_at": arrived_at})
    if fresh:
        connection.execute(sa.insert(labels), fresh)


def _latest(
    connection: sa.Connection, service: int, idents: Sequence[str]
) -> dict[tuple[str, str, int], tuple[int, str, int]]:
    """By place: the newest revision, its value and when it was observed."""
    query = (
        sa.select(labels.c.by, labels.c.ident, labels.c.row, labels.c.revision, labels.c.value, labels.c.observed_at)
        .where(labels.c.service == service, labels.c.ident.in_(idents))
        .order_by(labels.c.revision)
    )
    return {
        (row.by, row.ident, row.row): (row.revision, row.value, row.observed_at) for row in connection.execute(query)
    }


def label_value(text: str) -> Any:
    """The value of a stored label."""
    return json.loads(text)

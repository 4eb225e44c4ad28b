"""Labels joined to predictions: by event id and row, or by business key as of the label's time.

A label by business key belongs to the latest prediction of that key at or before the moment at which the label was
observed: of a customer who is scored each month, each month gets its own truth. Of several labels for one row the one
that arrived last holds; a label whose value is null takes back the one before.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from kubeloop.learning.inputs import category_text
from kubeloop.monitoring.labels.storing import label_value
from kubeloop.monitoring.log.reading import micros, service_number
from kubeloop.monitoring.log.windows import Window
from kubeloop.store.tables import labels, prediction_keys, predictions

_Rows = dict[tuple[str, int], tuple[Any, int]]
"""By event id and row: the label's value and when it arrived."""


@dataclass(frozen=True)
class Joined:
    """A window with its labels, as known at one moment.

    Attributes:
        window: n rows.
        values: (n,) object: the truth, in the type of its class, or a float; None: none is known.
        arrived: (n,) datetime64[us]: when that label arrived; NaT where there is none.
        superseded: (n,) bool: no label of its own will come, for its key was predicted again before it was mature.
    """

    window: Window
    values: NDArray[np.object_]
    arrived: NDArray[np.datetime64]
    superseded: NDArray[np.bool_]

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(n,) whether the truth is known."""
        return np.array([value is not None for value in self.values], dtype=np.bool_)


def join(store: sa.Engine, window: Window, maturity: dt.timedelta, known_by: dt.datetime) -> Joined:
    """The labels of a window's rows.

    Args:
        store: From `open_engine`.
        window: The rows.
        maturity: How long a label may take, for which later predictions of the same key are looked up.
        known_by: Labels that arrived later are not seen: what was known then can be told again.
    """
    size = len(window)
    values = np.full(size, None, dtype=object)
    arrived = np.full(size, np.datetime64("NaT", "us"))
    superseded = np.zeros(size, dtype=np.bool_)
    if size:
        times = window.times.astype(np.int64)
        reach = (int(times.min()), int(times.max()))
        with store.connect() as connection:
            service = service_number(connection, window.key)
            found = _by_key(connection, service, reach, micros(known_by))
            found |= _by_event(connection, service, reach, micros(known_by))
            again = _predicted_again(connection, service, reach, int(maturity.total_seconds() * 1e6))
        types = window.model.class_words()
        for place, name in enumerate(zip(window.event_ids, window.rows.tolist(), strict=True)):
            value, at = found.get(name, (None, 0))
            if value is not None:
                values[place] = types.get(category_text(value), value)
                arrived[place] = np.datetime64(at, "us")
            superseded[place] = value is None and name in again
    return Joined(window, values, arrived, superseded)


def _by_event(connection: sa.Connection, service: int, reach: tuple[int, int], known_by: int) -> _Rows:
    query = (
        sa.select(labels.c.ident, labels.c.row, labels.c.value, labels.c.arrived_at)
        .join(predictions, (predictions.c.service == labels.c.service) & (predictions.c.event_id == labels.c.ident))
        .where(labels.c.service == service, labels.c.by == "event", labels.c.arrived_at <= known_by)
        .where(predictions.c.at.between(*reach))
        .order_by(labels.c.revision)
    )
    return {(row.ident, row.row): (label_value(row.value), row.arrived_at) for row in connection.execute(query)}


def _by_key(connection: sa.Connection, service: int, reach: tuple[int, int], known_by: int) -> _Rows:
    key, later = prediction_keys, prediction_keys.alias()
    newer = sa.exists().where(
        later.c.service == key.c.service,
        later.c.key == key.c.key,
        later.c.at > key.c.at,
        later.c.at <= labels.c.observed_at,
    )
    query = (
        sa.select(key.c.event_id, key.c.row, labels.c.value, labels.c.arrived_at)
        .join(labels, (labels.c.service == key.c.service) & (labels.c.ident == key.c.key))
        .where(key.c.service == service, key.c.at.between(*reach), labels.c.by == "key")
        .where(labels.c.arrived_at <= known_by, labels.c.observed_at >= key.c.at, ~newer)
        .order_by(labels.c.revision)
    )
    return {(row.event_id, row.row): (label_value(row.value), row.arrived_at) for row in connection.execute(query)}


def _predicted_again(
    connection: sa.Connection, service: int, reach: tuple[int, int], maturity: int
) -> set[tuple[str, int]]:
    key, later = prediction_keys, prediction_keys.alias()
    query = sa.select(key.c.event_id, key.c.row).where(
        key.c.service == service,
        key.c.at.between(*reach),
        sa.exists().where(
            later.c.service == key.c.service,
            later.c.key == key.c.key,
            later.c.at > key.c.at,
            later.c.at <= key.c.at + maturity,
        ),
    )
    return {(row.event_id, row.row) for row in connection.execute(query)}

"""The log in the order of its events, from one place to another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from kubeloop.monitoring.log.models import LoggedModel, read_model
from kubeloop.monitoring.log.windows import LoggedEvent, WindowKey
from kubeloop.store.tables import log_models, log_services, predictions


@dataclass(frozen=True, order=True)
class Place:
    """Behind one event, in the order of moments and then ids.

    Attributes:
        at: Microseconds since 1970 UTC.
        event_id: Of the event.
    """

    at: int = -1
    event_id: str = ""


@dataclass(frozen=True)
class Logged:
    """A version of a service that has logged something.

    Attributes:
        service: The service's number in the store.
        model: The model's.
        key: Its names.
        columns: What it logs.
    """

    service: int
    model: int
    key: WindowKey
    columns: LoggedModel


def logged(store: sa.Engine, namespace: str) -> list[Logged]:
    """All that has logged something, the oldest version first."""
    query = (
        sa.select(log_services, log_models.c.id.label("model"), log_models.c.version, log_models.c.document)
        .join(log_models, log_models.c.service == log_services.c.id)
        .where(log_services.c.namespace == namespace)
        .order_by(log_models.c.id)
    )
    with store.connect() as connection:
        found = connection.execute(query).all()
    return [
        Logged(
            row.id,
            row.model,
            WindowKey(row.namespace, row.service, row.component, row.version),
            read_model(row.version, row.document),
        )
        for row in found
    ]


def newest(store: sa.Engine, service: int) -> int:
    """When a service's newest event came, microseconds since 1970 UTC; -1: it has none."""
    with store.connect() as connection:
        found = connection.execute(
            sa.select(sa.func.max(predictions.c.at)).where(predictions.c.service == service)
        ).scalar()
    return -1 if found is None else int(found)


def events_after(store: sa.Engine, of: Logged, after: Place, upto: int, limit: int) -> list[LoggedEvent]:
    """The next events of a version, the oldest first.

    Args:
        store: From `open_engine`.
        of: Whose.
        after: The place behind which they lie.
        upto: The last moment, microseconds since 1970 UTC.
        limit: At most so many.
    """
    table = predictions
    query = sa.select(table.c.event_id, table.c.model, table.c.at, table.c.inputs, table.c.outputs)
    query = query.where(*_behind(of, after), table.c.at <= upto).order_by(table.c.at, table.c.event_id).limit(limit)
    with store.connect() as connection:
        found = connection.execute(query).all()
    return [LoggedEvent(row.event_id, row.model, row.at, _bytes(row.inputs), _bytes(row.outputs)) for row in found]


def count_between(store: sa.Engine, of: Logged, after: Place, upto: Place) -> int:
    """How many events of a version lie behind a place, up to another."""
    table = predictions
    within = sa.or_(table.c.at < upto.at, sa.and_(table.c.at == upto.at, table.c.event_id <= upto.event_id))
    with store.connect() as connection:
        query = sa.select(sa.func.count()).select_from(table).where(*_behind(of, after), table.c.at <= upto.at, within)
        return int(connection.execute(query).scalar_one())


def _behind(of: Logged, after: Place) -> Sequence[sa.ColumnElement[bool]]:
    table = predictions
    behind = sa.or_(table.c.at > after.at, sa.and_(table.c.at == after.at, table.c.event_id > after.event_id))
    # The first condition says nothing that the last does not, but lets the index find where to begin.
    return table.c.service == of.service, table.c.at >= after.at, table.c.model == of.model, behind


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)

"""The log's rows as they lie in the store."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from kubeloop.errors import InputError
from kubeloop.monitoring.log.models import LoggedModel, read_model
from kubeloop.monitoring.log.windows import LoggedEvent, WindowKey
from kubeloop.store.tables import log_models, log_services, predictions

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_PAGE = 4096


def micros(moment: dt.datetime) -> int:
    """Microseconds since 1970 UTC of a moment with a time zone."""
    return (moment - _EPOCH) // dt.timedelta(microseconds=1)


def moment_of(value: int) -> dt.datetime:
    """The moment of microseconds since 1970 UTC."""
    return _EPOCH + dt.timedelta(microseconds=value)


def service_number(connection: sa.Connection, key: WindowKey) -> int:
    """The number of a service that has logged something.

    Raises:
        InputError: It has not.
    """
    table = log_services
    found = connection.execute(
        sa.select(table.c.id).where(
            table.c.namespace == key.namespace, table.c.service == key.service, table.c.component == key.component
        )
    ).scalar()
    if found is None:
        known = connection.execute(sa.select(table.c.service).where(table.c.namespace == key.namespace).distinct())
        raise InputError(
            f"{key.service!r} ({key.component}) in namespace {key.namespace} has logged nothing; "
            f"in the log are: {', '.join(sorted(known.scalars())) or 'none'}",
            "give the name of one that has, or send requests first and move the log with `kubeloop log move`",
            service=key.service,
        )
    return int(found)


def services_models(store: sa.Engine, key: WindowKey) -> tuple[int, dict[int, LoggedModel]]:
    """The service's number, and its models of the key's version by number, the newest the largest.

    Raises:
        InputError: The service, or this version of it, has logged nothing.
    """
    with store.connect() as connection:
        service = service_number(connection, key)
        found = connection.execute(
            sa.select(log_models.c.id, log_models.c.version, log_models.c.document)
            .where(log_models.c.service == service)
            .order_by(log_models.c.id)
        ).all()
    models = {row.id: read_model(row.version, row.document) for row in found if key.version in (None, row.version)}
    if not models:
        known = ", ".join(sorted({row.version for row in found})) or "none"
        raise InputError(
            f"version {key.version!r} of {key.service!r} has logged nothing; in the log are: {known}",
            "give one of these versions, or none for all",
            service=key.service,
        )
    return service, models


def events_between(
    store: sa.Engine,
    service: int,
    models: Sequence[int],
    *,
    rows: int | None,
    since: dt.datetime | None,
    until: dt.datetime | None,
) -> list[LoggedEvent]:
    """The events of models within [since, until), the oldest first; with `rows`, as many of the newest as hold them."""
    table = predictions
    query = sa.select(table.c.event_id, table.c.model, table.c.at, table.c.inputs, table.c.outputs)
    query = query.where(table.c.service == service, table.c.model.in_(models))
    if since is not None:
        query = query.where(table.c.at >= micros(since))
    if until is not None:
        query = query.where(table.c.at < micros(until))
    query = query.order_by(table.c.at.desc(), table.c.event_id.desc())
    found: list[LoggedEvent] = []
    held = 0
    with store.connect() as connection:
        for row in connection.execution_options(yield_per=_PAGE).execute(query):
            found.append(LoggedEvent(row.event_id, row.model, row.at, _bytes(row.inputs), _bytes(row.outputs)))
            held += _rows_in(found[-1].inputs)
            if rows is not None and held >= rows:
                break
    found.reverse()
    return found


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


def _rows_in(inputs: bytes | None) -> int:
    """Never more rows than there are: rows with texts, which may hold brackets, count as one."""
    if inputs is None:
        return 0
    return 1 if b'"' in inputs else inputs.count(b"],[") + 1

"""Numbers of services and models in the store: found, or given at the first mention."""

from typing import Any

import sqlalchemy as sa

from kubeloop.monitoring.log.models import LoggedModel
from kubeloop.store.tables import log_models, log_services


def number_of_service(connection: sa.Connection, namespace: str, service: str, component: str) -> int:
    """The number of a service; made where it has none."""
    return _number(connection, log_services, {"namespace": namespace, "service": service, "component": component}, {})


def model_number(connection: sa.Connection, service: int, model: LoggedModel) -> int:
    """The number of a model of a service; made where it has none."""
    names = {"service": service, "version": model.version, "digest": model.digest()}
    return _number(connection, log_models, names, {"document": model.text()})


def _number(connection: sa.Connection, table: sa.Table, names: dict[str, Any], more: dict[str, Any]) -> int:
    from sqlalchemy.dialects import postgresql, sqlite

    known = sa.select(table.c.id).where(*(table.c[name] == value for name, value in names.items()))
    found = connection.execute(known).scalar()
    if found is None:
        make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        connection.execute(make(table).values(**names, **more).on_conflict_do_nothing())
        found = connection.execute(known).scalar_one()
    return int(found)

"""What the log holds, in numbers."""

from typing import Any

import sqlalchemy as sa

from kubeloop.monitoring.log.reading import moment_of
from kubeloop.store.tables import log_models, log_services, predictions


def standing(store: sa.Engine) -> list[dict[str, Any]]:
    """What there is per service and version, as JSON types.

    Counts: `events`; `unanswered`, whose answer was not logged (errors, and what the logger lost); `orphans`, answers
    whose request was not. `first` and `last` are moments.
    """
    table = predictions
    query = (
        sa.select(
            log_services.c.namespace,
            log_services.c.service,
            log_services.c.component,
            log_models.c.version,
            sa.func.count().label("events"),
            sa.func.sum(sa.case((table.c.outputs.is_(None), 1), else_=0)).label("unanswered"),
            sa.func.sum(sa.case((table.c.inputs.is_(None), 1), else_=0)).label("orphans"),
            sa.func.min(table.c.at).label("first"),
            sa.func.max(table.c.at).label("last"),
        )
        .join(log_services, log_services.c.id == table.c.service)
        .join(log_models, log_models.c.id == table.c.model)
        .group_by(log_models.c.id, *(log_services.c[name] for name in ("namespace", "service", "component")))
        .group_by(log_models.c.version)
        .order_by(log_models.c.id)
    )
    with store.connect() as connection:
        found = [dict(row) for row in connection.execute(query).mappings()]
    for row in found:
        row |= {end: moment_of(row[end]).isoformat(timespec="seconds") for end in ("first", "last")}
        row |= {count: int(row[count]) for count in ("events", "unanswered", "orphans")}
    return found

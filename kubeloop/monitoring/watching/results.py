"""What was said of windows, as kept in the store."""

import datetime as dt
import json
from typing import Any

import sqlalchemy as sa

from kubeloop.monitoring.log.reading import micros
from kubeloop.store.tables import log_services, watch_windows

_MINE = ("service", "model", "stream")


def last_windows(store: sa.Engine, namespace: str, count: int = 1) -> list[dict[str, Any]]:
    """The documents of the last so many windows of every stream: streams in the order of their models, newest first."""
    table = watch_windows
    heads = sa.select(*(table.c[name] for name in _MINE), sa.func.max(table.c.number).label("last"))
    heads = heads.where(table.c.service.in_(_services(namespace))).group_by(*(table.c[name] for name in _MINE))
    newest = heads.subquery()
    query = (
        sa.select(table.c.document)
        .join(newest, sa.and_(*(table.c[name] == newest.c[name] for name in _MINE)))
        .where(table.c.number > newest.c.last - count)
        .order_by(*(table.c[name] for name in _MINE), table.c.number.desc())
    )
    with store.connect() as connection:
        return [json.loads(text) for text in connection.execute(query).scalars()]


def window(store: sa.Engine, namespace: str, ident: str) -> dict[str, Any] | None:
    """The document of a window; None: there is none of this id in the namespace."""
    table = watch_windows
    query = sa.select(table.c.document).where(table.c.id == ident, table.c.service.in_(_services(namespace)))
    with store.connect() as connection:
        found = connection.execute(query).scalar()
    return None if found is None else dict(json.loads(found))


def unsent(store: sa.Engine, namespace: str, limit: int) -> list[dict[str, Any]]:
    """Windows that nobody was told of yet, the oldest first."""
    table = watch_windows
    query = sa.select(table.c.document).where(table.c.sent_at.is_(None), table.c.service.in_(_services(namespace)))
    query = query.order_by(table.c.judged_at, table.c.number).limit(limit)
    with store.connect() as connection:
        return [json.loads(text) for text in connection.execute(query).scalars()]


def sent(store: sa.Engine, ident: str, now: dt.datetime) -> None:
    """Remember that somebody was told of a window."""
    with store.begin() as connection:
        connection.execute(sa.update(watch_windows).where(watch_windows.c.id == ident).values(sent_at=micros(now)))


def totals(store: sa.Engine, namespace: str) -> dict[tuple[str, str, str], tuple[int, int]]:
    """By service, component and stream: windows judged, and windows that told something."""
    table, named = watch_windows, log_services
    query = (
        sa.select(
            named.c.service,
            named.c.component,
            table.c.stream,
            sa.func.count(),
            sa.func.sum(sa.case((table.c.alarm, 1), else_=0)),
        )
        .join(named, named.c.id == table.c.service)
        .where(named.c.namespace == namespace)
        .group_by(named.c.service, named.c.component, table.c.stream)
    )
    with store.connect() as connection:
        return {(row[0], row[1], row[2]): (int(row[3]), int(row[4])) for row in connection.execute(query)}


def _services(namespace: str) -> sa.Select[tuple[int]]:
    return sa.select(log_services.c.id).where(log_services.c.namespace == namespace)

"""What the endpoint of a model was last told to serve, beside the champion row, which says what it should."""

import datetime as dt
from dataclasses import dataclass

import sqlalchemy as sa

from kubeloop.store.tables import desired as desired_table


@dataclass(frozen=True)
class Desired:
    """What an endpoint was told.

    Attributes:
        name: The model.
        digest: The package.
        revision: The champion row's revision that it belongs to, or will if the promotion ends well.
        updated_at: When it was told, UTC.
    """

    name: str
    digest: str
    revision: int
    updated_at: dt.datetime


def desired(engine: sa.Engine, namespace: str, name: str) -> Desired | None:
    """What the endpoint was last told; None if nothing."""
    table = desired_table
    query = sa.select(table).where(table.c.namespace == namespace, table.c.name == name)
    with engine.connect() as connection:
        row = connection.execute(query).mappings().first()
    if row is None:
        return None
    return Desired(name, row["digest"], row["revision"], dt.datetime.fromisoformat(row["updated_at"]))


def want(engine: sa.Engine, namespace: str, name: str, digest: str, revision: int, now: dt.datetime) -> None:
    """Record what the endpoint was told."""
    table = desired_table
    values = {"digest": digest, "revision": revision, "updated_at": now.astimezone(dt.UTC).isoformat()}
    with engine.begin() as connection:
        found = connection.execute(
            sa.update(table).where(table.c.namespace == namespace, table.c.name == name).values(values)
        )
        if found.rowcount == 0:
            connection.execute(sa.insert(table).values(namespace=namespace, name=name, **values))


def want_nothing(engine: sa.Engine, namespace: str, name: str) -> None:
    """Forget what the endpoint was told: it never came to serve."""
    table = desired_table
    with engine.begin() as connection:
        connection.execute(sa.delete(table).where(table.c.namespace == namespace, table.c.name == name))

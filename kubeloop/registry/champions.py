"""The champion row: the one truth about what serves. It moves by its revision, so two movers cannot both win."""

import datetime as dt
from dataclasses import dataclass

import sqlalchemy as sa

from kubeloop.errors import InputError, RefusedError
from kubeloop.site.model import Site
from kubeloop.store import open_engine
from kubeloop.store.tables import champions as champions_table
from kubeloop.store.tables import versions as versions_table


@dataclass(frozen=True)
class ChampionRow:
    """What serves.

    Attributes:
        name: The model.
        digest: The package.
        revision: How often the row was written; from 1.
        updated_at: When last, UTC.
    """

    name: str
    digest: str
    revision: int
    updated_at: dt.datetime


def champion(engine: sa.Engine, namespace: str, name: str) -> ChampionRow | None:
    """The champion of a model; None where there is none yet."""
    table = champions_table
    query = sa.select(table).where(table.c.namespace == namespace, table.c.name == name)
    with engine.connect() as connection:
        row = connection.execute(query).mappings().first()
    if row is None:
        return None
    return ChampionRow(name, row["digest"], row["revision"], dt.datetime.fromisoformat(row["updated_at"]))


def present_champion(site: Site, name: str) -> ChampionRow | None:
    """The champion of a model in a Site's registry, by a look of its own; None where there is none yet."""
    engine = open_engine(site)
    try:
        return champion(engine, site.namespace, name)
    finally:
        engine.dispose()


def move_champion(
    engine: sa.Engine, namespace: str, name: str, digest: str, expected_revision: int, now: dt.datetime
) -> ChampionRow:
    """Compare and set.

    Args:
        engine: Of the Site.
        namespace: Whose registry.
        name: The model.
        digest: The package that becomes champion; a registered version.
        expected_revision: The row's revision as the mover knows it; 0: no row.
        now: Aware.

    Returns:
        The row as it is now.

    Raises:
        RefusedError: The row has another revision: somebody else moved it.
        InputError: The digest is no version of the model.
    """
    table, at = champions_table, now.astimezone(dt.UTC)
    values: dict[str, str | int] = {"digest": digest, "revision": expected_revision + 1, "updated_at": at.isoformat()}
    with engine.begin() as connection:
        _must_be_registered(connection, namespace, name, digest)
        if expected_revision == 0:
            moved = _insert(connection, {"namespace": namespace, "name": name, **values})
        else:
            mine = (table.c.namespace == namespace, table.c.name == name, table.c.revision == expected_revision)
            moved = connection.execute(sa.update(table).where(*mine).values(values)).rowcount == 1
    if not moved:
        raise RefusedError(
            f"the champion of {name} was expected at revision {expected_revision}, but somebody else moved it",
            "run again: the challenger is then judged against the new champion",
            name=name,
            expected_revision=expected_revision,
        )
    return ChampionRow(name, digest, expected_revision + 1, at)


def _insert(connection: sa.Connection, values: dict[str, str | int]) -> bool:
    try:
        with connection.begin_nested():
            connection.execute(sa.insert(champions_table).values(values))
    except sa.exc.IntegrityError:
        return False
    return True


def _must_be_registered(connection: sa.Connection, namespace: str, name: str, digest: str) -> None:
    table = versions_table
    mine = (table.c.namespace == namespace, table.c.name == name, table.c.digest == digest)
    if connection.execute(sa.select(table.c.version).where(*mine)).first() is None:
        raise InputError(
            f"{digest} was expected to be a registered version of {name}, but it is none",
            "register it first; `kubeloop versions` lists what there is",
            digest=digest,
        )

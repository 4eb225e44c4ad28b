"""The SQL engine of a Site, its schema brought up to date."""

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock, Timeout

from kubeloop.errors import InputError, PermanentError, TransientError
from kubeloop.site.addresses import disk_full
from kubeloop.site.model import Site
from kubeloop.site.secrets import resolve
from kubeloop.store.errors import meaning, translate

HEAD = "0004"
"""The newest migration; a test holds it equal to alembic's own answer."""

BUSY_MS = 30_000
MIGRATE_WAIT_S = 60.0
_ADVISORY = 0x6B756265  # "kube": PostgreSQL's lock for migrations


def open_engine(site: Site) -> sa.Engine:
    """The engine of `site.sql`, migrated.

    SQLite: WAL, foreign keys, waits up to 30 s for other writers, and opens the file for each connection, so an engine
    holds nothing between uses and survives a fork. Each of its transactions takes the write lock at its start: what it
    read cannot change under it. Keep transactions short.

    Raises:
        InputError: The URL is wrong, the driver is missing, the folder is not writable or the disk is full.
        TransientError: The database is busy or does not answer.
        IntegrityError: The file is no whole database.
        PermanentError: A later version of kubeloop has written it.
    """
    engine = _create(resolve(site.sql, site))
    # Nobody connects to a file before it is in WAL: changing that fails while others look.
    if not _in_wal(engine) or _revision(engine) != HEAD:
        _migrate(engine)
    return engine


def _create(address: str) -> sa.Engine:
    try:
        url = sa.make_url(address)
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        if url.get_backend_name() == "sqlite":
            if not url.database or url.database == ":memory:":
                raise InputError("an SQLite store is a file", "write sqlite:////path/to/kubeloop.db as sql")
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
            engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={"timeout": BUSY_MS / 1000})
            sa.event.listen(engine, "connect", _prepare)
            sa.event.listen(engine, "begin", _begin)
        else:
            engine = sa.create_engine(url, pool_pre_ping=True)
    except (sa.exc.ArgumentError, ModuleNotFoundError) as error:
        # `from None` and no text of the error: both can quote the URL with its password.
        missing = f": {error.name} is not installed" if isinstance(error, ModuleNotFoundError) else ""
        raise InputError(
            f"the Site's sql is no URL of a database that can be opened here{missing}",
            "use sqlite:///<file>, or postgresql://... with `pip install psycopg[binary]`",
        ) from None
    except OSError as error:
        raise disk_full(error, address) or InputError(
            f"the folder of the SQLite store cannot be made: {error.strerror}", "set KUBELOOP_HOME to a writable folder"
        ) from None
    sa.event.listen(engine, "handle_error", translate)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    # We begin transactions ourselves: sqlite3 would begin them late and fail where a reader turns writer.
    connection.isolation_level = None
    # An altered byte must reach the ledger's check, not fail in the driver.
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _revision(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        return None if found is None else str(found)


def _migrate(engine: sa.Engine) -> None:
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY})
            _upgrade(connection)
        return
    file = str(engine.url.database)
    try:
        with FileLock(f"{file}.lock", timeout=MIGRATE_WAIT_S):
            if not _in_wal(engine):
                _write_ahead(engine, file)
            if _revision(engine) != HEAD:
                with engine.begin() as connection:
                    _upgrade(connection)
    except Timeout:
        raise TransientError(
            f"another process has been migrating {file} for {MIGRATE_WAIT_S:.0f} s", "wait for it, then run it again"
        ) from None


def _in_wal(engine: sa.Engine) -> bool:
    if engine.dialect.name != "sqlite":
        return True
    try:
        with Path(str(engine.url.database)).open("rb") as stream:
            # Bytes 18 and 19 of the header are 2 in WAL (sqlite.org/fileformat2.html).
            return stream.read(20)[18:] == b"\x02\x02"
    except OSError:  # not there yet; what else there may be shows when it is opened
        return False


def _write_ahead(engine: sa.Engine, file: str) -> None:
    connection = None
    try:
        connection = sqlite3.connect(file, timeout=BUSY_MS / 1000)
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.DatabaseError as error:
        raise meaning(str(error), engine.url.render_as_string(), operational=False) or error from None
    finally:
        if connection is not None:
            connection.close()


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise PermanentError(
            f"the database was written by a later version of kubeloop; this one knows it up to {HEAD}",
            "install that version, or use another store",
        ) from error

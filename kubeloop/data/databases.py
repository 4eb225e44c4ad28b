"""Rows of a database: one SELECT, read as a stream into a Parquet file of text cells."""

# ruff: noqa: S608 - the query is the contract's own, names go through `quoted`

import datetime as dt
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeloop.contract.data import Source
from kubeloop.data.engine import quoted
from kubeloop.data.patience import Patience, Tries
from kubeloop.errors import InputError, TransientError
from kubeloop.site.secrets import resolve

if TYPE_CHECKING:
    from kubeloop.site import Site

_ROWS = 10_000
_TIMES = {"timestamp": {1184: "TIMESTAMPTZ", 1114: "TIMESTAMPTZ", 1082: "TIMESTAMPTZ"}, "date": {1082: "DATE"}}
"""By the contract's type and PostgreSQL's type number (pg_type.oid), what the moment is written as to be compared."""
_TEXTS = (25, 1042, 1043)
"""PostgreSQL's type numbers of text."""
_ZONES = dt.timedelta(days=5)
"""Further from UTC than any offset that DuckDB reads in a text, which ends at 99:59."""
_RENAMED = re.compile(r":\d+$")
"""How SQLite names a column of a subquery whose name came before."""
_REFUSED = ("28", "3D", "42501")  # SQLSTATE: login, no such database, no right
_REFUSALS = ("authentication failed", "does not exist", "no password supplied", "unable to open database file")


@dataclass(frozen=True)
class Until:
    """Up to which moment rows are wanted.

    Attributes:
        column: Of the query.
        type: The contract's type of it, `timestamp` or `date`.
        moment: UTC.
    """

    column: str
    type: str
    moment: dt.datetime


def read(source: Source, site: "Site", into: Path, patience: Patience, until: Until | None = None) -> int:
    """Run a source's query and write its rows, each cell as text, null as null.

    The contract's types are cast from the text as they are from CSV, so that a table has one digest wherever it comes
    from. PostgreSQL sends rows through a server-side cursor in a read-only transaction of one moment; a SQLite file is
    opened for reading only. A query that breaks off is run again from its start.

    Where PostgreSQL knows the column of `until` as a moment, only rows up to it are sent; the others are counted. Where
    it is text, as in every SQLite file, texts that begin with a day and are later whatever their zone are kept back and
    counted; a text compares right in one format alone, so all others are sent, and looked at here.

    Args:
        source: With `sql` and `query`.
        site: Base of a relative SQLite file, and the secrets.
        into: The file; complete when this returns, and not to be used otherwise.
        patience: For how long a broken source is tried again; more rows than in any try before start it anew.
        until: What is asked of the server, where it can tell.

    Returns:
        How many rows the server has kept back: later ones, and those without a moment.

    Raises:
        InputError: The database or the query is wrong.
        TransientError: The database did not answer, or broke off again and again.
    """
    tries = Tries(patience)
    while True:
        came = Counter[str]()
        try:
            return _read_once(source, site, into, came, until)
        except TransientError as error:
            tries.again(error, came["rows"])


def _read_once(source: Source, site: "Site", into: Path, came: Counter[str], until: Until | None) -> int:
    import sqlalchemy as sa

    query, left = _query(source), 0
    engine = _engine(source, site)
    try:
        with engine.connect() as connection:
            connection.execution_options(no_parameters=True)
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")  # its driver begins no transaction by itself
            test = _early(connection, query, until) if until else None
            if test:
                # In the same transaction, so of the same rows.
                counted = f"SELECT count(*) FROM ({query}\n) AS q WHERE ({test}) IS NOT TRUE"
                left = int(connection.exec_driver_sql(counted).scalar_one())
                query = f"SELECT * FROM ({query}\n) AS q WHERE {test}"
            stream = connection.execution_options(stream_results=True, yield_per=_ROWS)
            rows = stream.exec_driver_sql(query)
            _write(list(rows.keys()), _counted(rows.partitions(_ROWS), came), into, source.name)
    except sa.exc.DBAPIError as error:
        raise _translated(error, source) from None
    finally:
        engine.dispose()
    return left


def _early(connection: Any, query: str, until: Until) -> str | None:
    """SQL of what is true of every row of the moment or before; None where nothing can be said."""
    columns = connection.exec_driver_sql(f"SELECT * FROM ({query}\n) AS q LIMIT 0").cursor.description
    found = [column[1] for column in columns if column[0] == until.column]
    if len(found) != 1:
        return None
    name, moment = quoted(until.column), until.moment.astimezone(dt.UTC)
    latest = (moment.date() + _ZONES).isoformat()
    if connection.dialect.name == "sqlite":
        if any(_RENAMED.search(column[0]) for column in columns):
            return None  # a name stands there twice, which is told when all rows are read
        day = f"{name} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*' AND {name} NOT GLOB '*[^-0-9:.+TZ ]*'"
        return f"CASE WHEN typeof({name}) = 'text' AND {day} THEN substr({name}, 1, 10) <= '{latest}' ELSE true END"
    if found[0] in _TEXTS:
        day = f"{name} ~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[-0-9:.+TZ ]*$'"
        return f"CASE WHEN {day} THEN left({name}, 10) COLLATE \"C\" <= '{latest}' ELSE true END"
    kind = _TIMES.get(until.type, {}).get(found[0])
    text = moment.date().isoformat() if kind == "DATE" else moment.isoformat()
    return f"{name} <= {kind} '{text}'" if kind else None


def _counted(parts: Iterator[Any], came: Counter[str]) -> Iterator[Any]:
    for rows in parts:
        came["rows"] += len(rows)
        yield rows


def _query(source: Source) -> str:
    query = (source.query or "").strip().rstrip(";")
    if not re.match(r"\(*\s*(select|with)\b", query, re.I):
        raise InputError(
            f"source {source.name!r}: one SELECT was expected as its `query`",
            "write `query: select ...` beside `sql`",
            source=source.name,
        )
    return query


def _engine(source: Source, site: "Site") -> Any:
    import sqlalchemy as sa

    # Made and used here: the resolved address holds the password, and never leaves this function's callers.
    url = sa.make_url(resolve(source.sql or "", site))
    if url.get_backend_name() == "sqlite":
        path = Path(site.inputs or ".") / (url.database or "")
        if not path.is_file():
            raise InputError(
                f"source {source.name!r}: the SQLite file {url.database} was expected, there is none",
                "correct `sql` in loop.yaml; it is relative to loop.yaml",
                source=source.name,
            )
        name = f"file:{str(path.resolve()).replace('?', '%3f').replace('#', '%23')}"
        return sa.create_engine(sa.URL.create("sqlite", database=name, query={"mode": "ro", "uri": "true"}))
    if url.get_backend_name() != "postgresql":
        raise InputError(
            f"source {source.name!r}: sqlite or postgresql was expected, got {url.get_backend_name()}",
            "correct `sql` in loop.yaml",
            source=source.name,
        )
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={"connect_timeout": 10, "keepalives_idle": 30, "options": "-c TimeZone=UTC -c DateStyle=ISO"},
        poolclass=sa.pool.NullPool,
        execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
        hide_parameters=True,
    )


def _write(names: list[str], parts: Iterator[Any], into: Path, source: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    doubled = sorted({name for name in names if [other.casefold() for other in names].count(name.casefold()) > 1})
    if doubled:
        raise InputError(
            f"source {source!r}: unique column names were expected, the query gives {doubled[0]!r} twice",
            "name the columns of the query apart, with AS",
            source=source,
        )
    schema = pa.schema([(name, pa.string()) for name in names])
    with pq.ParquetWriter(into, schema, compression="lz4") as writer:
        for rows in parts:
            columns = [[_text(cell, source) for cell in cells] for cells in zip(*rows, strict=True)]
            writer.write_batch(pa.record_batch([pa.array(cells, pa.string()) for cells in columns], schema=schema))


def _text(cell: Any, source: str) -> str | None:
    """A cell as a CSV file would have it; Python's shortest text of a float gives the same float again."""
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return None if math.isnan(cell) else repr(cell)
    if isinstance(cell, Decimal):
        return None if cell.is_nan() else format(cell, "f")
    if isinstance(cell, dt.date | dt.time):
        return cell.isoformat()
    if isinstance(cell, dict | list):
        return json.dumps(cell)
    if isinstance(cell, bytes | memoryview):
        raise InputError(
            f"source {source!r}: numbers, text, booleans or times were expected, the query gives bytes",
            "leave that column out of the query",
            source=source,
        )
    return str(cell)


def _translated(error: Any, source: Source) -> InputError | TransientError:
    """A driver's error as one of ours; its own text can hold data values and addresses, so it is not shown."""
    state = str(getattr(error.orig, "sqlstate", None) or "")
    kind = type(error.orig).__name__
    said = str(error.orig)
    refused = state.startswith(_REFUSED) or any(words in said for words in _REFUSALS)
    passing = kind in ("OperationalError", "InterfaceError", "AdminShutdown", "CrashShutdown", "CannotConnectNow")
    passing = passing or state.startswith(("08", "57P", "40", "53"))
    if source.sql is not None and source.sql.startswith("sqlite"):
        passing = "locked" in said or "busy" in said
    if passing and not refused:
        return TransientError(
            f"source {source.name!r}: the database broke off or did not answer ({kind}); nothing was kept",
            "run the same command again when the database is there",
            source=source.name,
        )
    what = "the database lets this user not in" if refused and not state.startswith("42") else "the query failed"
    return InputError(
        f"source {source.name!r}: {what} ({kind}{' ' + state if state else ''})",
        "correct `sql` and `query` in loop.yaml; try the query in the database's own client",
        source=source.name,
    )

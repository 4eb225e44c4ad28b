"""What a table looks like: types, missing and distinct values, ranges."""

# ruff: noqa: S608 - names go through `quoted`

import math
from pathlib import Path
from typing import Any

from kubeloop.contract.data import Column, Source
from kubeloop.contract.profile import FEW, ColumnProfile, TableProfile
from kubeloop.data.casting import raw_sql, typed_sql
from kubeloop.data.csv_files import explain
from kubeloop.data.engine import connect, one, quoted
from kubeloop.data.sources import OpenSource, open_source
from kubeloop.data.suspicions import compact_dates, late_moments, tells, texts

_CANDIDATES = ("boolean", "integer", "number", "date", "timestamp")


def profile(path: Path, target: str | None = None, time: str | None = None) -> TableProfile:
    """Look at every row of a table's file.

    A CSV column has the narrowest type that all its cells fit; numbers with leading zeros are text, for they are names.

    Args:
        path: The file.
        target: The column to predict: how well each other one tells it is looked at, on at most 20,000 rows.
        time: The column with the moment of the decision: how much of other moments is later is looked at.

    Raises:
        InputError: The file is missing, or not what its ending says.
    """
    import tempfile

    import duckdb

    source = Source(name="table", path=str(path))
    with tempfile.TemporaryDirectory(prefix="kubeloop-") as scratch, connect(Path(scratch)) as connection:
        opened = open_source(source, None, Path(scratch), connection)
        try:
            return _suspicious(connection, _profile(connection, opened), target, time)
        except duckdb.Error as error:
            if opened.header is not None and (found := explain(opened.path, opened.shown, opened.header)):
                raise found from error
            raise


def _profile(connection: Any, source: OpenSource) -> TableProfile:
    names = [name for name in source.cells if name]
    raw = {name: raw_sql(source.cells[name], source.kinds[name]) for name in names}
    types = _types(connection, source, raw)
    typed = [f"{_typed(types[name], raw[name], source.kinds[name])} AS {quoted(name)}" for name in names]
    # Read once, then ask column by column; DuckDB spills what does not fit.
    connection.execute(f"CREATE TEMP TABLE typed AS SELECT {', '.join(typed)} FROM {source.scan}").fetchall()
    parts = ["count(*)"]
    for name in names:
        cell = quoted(name)
        low, high = _range(types[name], cell)
        parts += [f"count({cell})", f"count(DISTINCT {cell})", low, high]
    rows, *found = one(connection, f"SELECT {', '.join(parts)} FROM typed")
    columns = []
    for place, name in enumerate(names):
        filled, distinct, low, high = found[4 * place : 4 * place + 4]
        listed = distinct <= FEW and types[name] not in ("timestamp", "date")
        columns.append(
            ColumnProfile(
                name=name,
                type=types[name],
                nulls=rows - filled,
                distinct=distinct,
                minimum=low,
                maximum=high,
                values=_values(connection, name) if listed else (),
                constant=distinct == 0 or (distinct == 1 and filled == rows),
                id_like=rows > 1 and distinct == rows and types[name] in ("integer", "text"),
            )
        )
    return TableProfile(rows=rows, columns=tuple(columns))


def _suspicious(connection: Any, found: TableProfile, target: str | None, time: str | None) -> TableProfile:
    """The profile after a second look at each column."""
    columns = []
    for column in found.columns:
        more: dict[str, Any] = {}
        if column.type == "text" and column.distinct:
            more = texts(connection, column.name)
        elif column.type == "integer":
            more = {"date_format": compact_dates(connection, column)}
        columns.append(column.model_copy(update=more))
    answer, moment = found.column(target or ""), found.column(time or "")
    if answer is not None and answer.distinct > 1 and answer.type not in ("timestamp", "date"):
        columns = tells(connection, columns, answer, found.rows)
    if moment is not None and moment.type in ("timestamp", "date"):
        columns = late_moments(connection, columns, moment.name)
    return found.model_copy(update={"columns": tuple(columns)})


def _types(connection: Any, source: OpenSource, raw: dict[str, str]) -> dict[str, Any]:
    """The type of each column; for text cells, the first candidate that all of them fit."""
    fixed = {name: _type_of(source.kinds[name]) for name in raw}
    open_ = [name for name in raw if source.is_text]
    if not open_:
        return fixed
    parts = []
    for name in open_:
        cell = raw[name]
        fits = [f"count({_typed(kind, cell, 'VARCHAR')})" for kind in _CANDIDATES]
        coded = f"count_if(regexp_matches({cell}, '^\\s*[+-]?0[0-9]'))"
        digits = f"count_if(trim({cell}) IN ('0', '1'))"
        parts += [f"count({cell})", *fits, coded, digits]
    found = one(connection, f"SELECT {', '.join(parts)} FROM {source.scan}")
    width = len(_CANDIDATES) + 3
    for place, name in enumerate(open_):
        filled, *counts, coded, digits = found[width * place : width * (place + 1)]
        if digits:
            counts[0] = 0  # 0 and 1 are numbers here, whatever else they may mean
        fixed[name] = _first(filled, counts, coded)
    return fixed


def _first(filled: int, fits: list[int], coded: int) -> str:
    for kind, count in zip(_CANDIDATES, fits, strict=True):
        if filled and count == filled and not (coded and kind in ("integer", "number")):
            return kind
    return "text"


def _type_of(kind: str) -> str:
    """The profile's word for a DuckDB type."""
    if kind == "BOOLEAN":
        return "boolean"
    if kind == "DATE":
        return "date"
    if kind.startswith("TIMESTAMP"):
        return "timestamp"
    if kind.startswith(("FLOAT", "DOUBLE", "DECIMAL")):
        return "number"
    return "integer" if kind.endswith(("INT", "INTEGER")) else "text"


def _typed(kind: str, raw: str, source_kind: str) -> str:
    return typed_sql(Column.model_validate({"type": kind}), raw, source_kind)


def _range(kind: str, cell: str) -> tuple[str, str]:
    """SQL of the smallest and the largest value."""
    if kind == "number":
        return (f"min({cell}) FILTER (isfinite({cell}))", f"max({cell}) FILTER (isfinite({cell}))")
    if kind == "integer":
        return (f"min({cell})", f"max({cell})")
    if kind == "date":
        return (f"CAST(min({cell}) AS VARCHAR)", f"CAST(max({cell}) AS VARCHAR)")
    if kind == "timestamp":
        shape = "'%Y-%m-%dT%H:%M:%SZ'"
        return (f"strftime(min({cell}), {shape})", f"strftime(max({cell}), {shape})")
    return ("NULL", "NULL")


def _values(connection: Any, name: str) -> tuple[Any, ...]:
    """All distinct values, the most frequent first; `ingest` refuses infinite ones, so they are not listed."""
    query = f"SELECT v, count(*) AS n FROM (SELECT {quoted(name)} AS v FROM typed) WHERE v IS NOT NULL GROUP BY v"
    found = [row[0] for row in connection.execute(f"{query} ORDER BY n DESC, v").fetchall()]
    return tuple(value for value in found if not isinstance(value, float) or math.isfinite(value))

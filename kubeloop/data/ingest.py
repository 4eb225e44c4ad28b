"""From the contract's sources to one immutable snapshot."""

# ruff: noqa: S608 - names go through `quoted`, values through `literal`, expressions through `check_expression`

import datetime as dt
import difflib
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kubeloop.contract.data import RESERVED_COLUMNS, Column, ColumnType
from kubeloop.contract.sections import IngestSection
from kubeloop.data import csv_files
from kubeloop.data.casting import BAD, MARKS
from kubeloop.data.databases import Until
from kubeloop.data.engine import batches, connect, one, quoted, scan
from kubeloop.data.joins import Plan, assign, check_keys, count_rows, gap, joined_sql
from kubeloop.data.passing import BadCellFound, Counts, kept, until
from kubeloop.data.personal import masked_sql
from kubeloop.data.sources import OpenSource, open_source, swift
from kubeloop.data.tables import TableFacts, staged, write_parts
from kubeloop.errors import InputError, PermanentError

if TYPE_CHECKING:
    from kubeloop.site import Site

_TYPE_OF_RESULT: dict[str, ColumnType] = {
    "BOOLEAN": "boolean",
    "INTEGER": "integer",
    "BIGINT": "integer",
    "DOUBLE": "number",
    "VARCHAR": "category",
    "DATE": "date",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
}


def ingest(section: IngestSection, site: "Site", out: Path, moment: dt.datetime | None = None) -> dict[str, Any]:
    """Read the sources, join them, derive the target, write the snapshot.

    Rows keep the order of the first source. Columns that the contract does not name, or denies, are never written; of
    personal ones no value is, see `kubeloop.data.personal`.
    Rows whose target is unknown are dropped and counted. A cell that does not fit its type is written as null and named
    in the column `_bad`, which exists only then; `validate` sets such rows aside. A source that breaks off leaves
    nothing.

    Args:
        section: The contract's part.
        site: Gives `inputs`, the base of relative paths, and the way to databases and object storage.
        out: Folder of the snapshot; nothing is there when this fails.
        moment: The moment of the run, UTC; `snapshot: as_of` keeps rows up to it, others are counted.

    Returns:
        digest, rows, columns, sources (`name`, `rows`), joins (`source`, `matched`, `gaps`: rows that found nothing,
        `too_old`: rows that found something beyond the tolerance only, `ties`: none, for they are refused),
        target_unknown, bad_rows; not_in_contract and denied (numbers of columns); profile (per column: `nulls`, and for
        numbers without a policy `minimum`, `maximum`, `mean`); snapshot (`kind`; for `as_of` also `column`, `moment`,
        `digest` and `later`: rows left out; the same moment gives the same digest again).

    Raises:
        InputError: What a source or the contract says cannot be right; with file and line where they are known.
        TransientError: A source that is not on this machine broke off, again and again.
    """
    wanted = wanted_columns(section)
    as_of = section.data.snapshot == "as_of"
    if as_of and moment is None:
        raise PermanentError("a snapshot as of a moment needs the moment of the run", "pass `moment`")
    first, *others = section.data.sources
    with staged(out) as partial, connect(scratch := partial / "scratch") as connection:
        sources = [open_source(first, site, scratch, connection, _until(section, moment))]
        sources += [open_source(source, site, scratch, connection) for source in others]
        plan = assign(section.data, wanted, sources)
        _check_columns(section, wanted, plan)
        with _explained(sources):
            check_keys(connection, plan)
            counts, facts = _write(connection, section, plan, partial, site, moment if as_of else None)
            counts.read, counts.later = counts.read + sources[0].later, counts.later + sources[0].later
            rows = count_rows(connection, plan, counts.read)
        profile = _check_values(connection, partial, facts, section, plan)
        shutil.rmtree(scratch)
    return {
        **facts.to_dict(),
        "sources": [{"name": name, "rows": count} for name, count in rows.items()],
        "joins": _join_facts(plan, counts),
        "target_unknown": counts.target_unknown,
        "bad_rows": counts.bad_rows,
        "profile": profile,
        "snapshot": _snapshot_facts(section, facts, counts, moment),
        **_dropped(section, sources),
    }


def _until(section: IngestSection, moment: dt.datetime | None) -> Until | None:
    """What the server of the first source is asked for, for a snapshot as of a moment."""
    time = section.data.time
    column = section.data.columns.get(time) if time else None
    if section.data.snapshot == "copy" or moment is None or time is None or column is None:
        return None
    return Until(time, column.type, moment)


def _join_facts(plan: Plan, counts: Counts) -> list[dict[str, Any]]:
    found = zip(plan.joins, counts.gaps.values(), strict=True)
    return [
        {"source": join.source, "matched": seen[None], "gaps": seen["none"], "too_old": seen["too old"], "ties": 0}
        for join, seen in found
    ]


def _snapshot_facts(
    section: IngestSection, facts: TableFacts, counts: Counts, moment: dt.datetime | None
) -> dict[str, Any]:
    if section.data.snapshot == "copy" or moment is None:
        return {"kind": "copy"}
    shown = moment.astimezone(dt.UTC).isoformat()
    return {
        "kind": "as_of",
        "column": section.data.time,
        "moment": shown,
        "digest": facts.digest,
        "later": counts.later,
    }


def wanted_columns(section: IngestSection) -> dict[str, Column]:
    """The contract's columns that may be written."""
    reserved = sorted(RESERVED_COLUMNS & set(section.data.columns))
    if reserved:
        raise InputError(
            f"the column name {reserved[0]!r} is kept for Kubeloop's own use", "rename the column", column=reserved[0]
        )
    return {name: column for name, column in section.data.columns.items() if column.policy != "deny"}


def _dropped(section: IngestSection, sources: list[OpenSource]) -> dict[str, int]:
    known = section.data.columns
    seen = {name for source in sources for name in source.cells}
    denied = [name for name in seen if name in known and known[name].policy == "deny"]
    return {"not_in_contract": len(seen - set(known)), "denied": len(denied)}


def _check_columns(section: IngestSection, wanted: dict[str, Column], plan: Plan) -> None:
    """Every column of the contract, and the target, is in some source."""
    target = section.target.column
    names = [name for source in plan.sources for name in source.cells]
    first = plan.sources[0]
    if target is not None and target not in names:
        raise InputError(
            f"{first.shown}: the target column {target!r} was expected, there is none{_nearest(target, names)}",
            "correct `target` in loop.yaml, or the header",
            file=first.shown,
            column=target,
        )
    if target is not None and target not in wanted:
        raise InputError(
            f"the target {target!r} was expected among the contract's columns, and not under policy deny",
            "add it to `data.columns`",
            column=target,
        )
    if target is None and section.target.output in section.data.columns:
        raise InputError(
            f"the derived target is called {section.target.output!r}, and so is a column of the data",
            "give the target another `name`",
            column=section.target.output,
        )
    missing = [name for name in wanted if name not in names]
    if missing:
        listed = ", ".join(f"{name!r}{_nearest(name, names)}" for name in missing[:5])
        places = ", ".join(source.shown for source in plan.sources)
        raise InputError(
            f"{places}: {len(missing)} of the contract's {len(wanted)} columns not found: {listed}",
            "correct the names in loop.yaml, or the header",
            columns=missing[:5],
        )


def _nearest(name: str, names: list[str]) -> str:
    folded = {other.casefold(): other for other in names}
    found = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    return f" (nearest: {folded[found[0]]!r})" if found else ""


def with_target(
    connection: Any, section: IngestSection, sql: str, wanted: dict[str, Column], gaps: list[str]
) -> tuple[str, dict[str, str]]:
    """The query with the derived target, and the contract's type of every column."""
    types: dict[str, str] = {name: column.type for name, column in wanted.items()}
    expression = section.target.expression
    if section.target.column is not None or expression is None:
        return sql, types
    from kubeloop.contract.expressions import check_expression

    check_expression(expression, list(wanted))
    name = section.target.output
    # The newline ends a comment, should the expression have one.
    listed = ", ".join(quoted(column) for column in wanted)
    own = ", ".join(quoted(each) for each in (BAD, *gaps))
    derived = f"SELECT {listed}, ({expression}\n) AS {quoted(name)}, {own} FROM ({sql})"
    result = next(row[1] for row in connection.execute(f"DESCRIBE {derived}").fetchall() if row[0] == name)
    kind = "DOUBLE" if result.startswith(("DECIMAL", "FLOAT", "HUGEINT")) else result
    if kind not in _TYPE_OF_RESULT:
        raise InputError(
            f"the target's expression was expected to give numbers, booleans, text or times, it gives {result}",
            "rewrite the expression",
        )
    types[name] = _TYPE_OF_RESULT[kind]
    cast = "BIGINT" if types[name] == "integer" else kind
    return (f"SELECT * REPLACE (CAST({quoted(name)} AS {cast}) AS {quoted(name)}) FROM ({derived})", types)


def _write(
    connection: Any, section: IngestSection, plan: Plan, partial: Path, site: "Site", moment: dt.datetime | None
) -> tuple[Counts, TableFacts]:
    """Write the snapshot: swiftly; or reading every cell as text; or, where a cell is bad, with `_bad`."""
    quick = swift(plan.sources[0], plan.declared)
    ways: list[tuple[Plan, dict[str, str]]] = [(plan, {}), (plan, {BAD: "text"})]
    if quick:
        ways.insert(0, (replace(plan, sources=(quick, *plan.sources[1:])), {}))
    gaps = [gap(place) for place in range(1, len(plan.sources))]
    wanted = {name: plan.declared[name] for name in plan.wanted}
    for way, marks in ways:
        try:
            sql, types = with_target(connection, section, joined_sql(way), wanted, gaps)
            sql, types = masked_sql(connection, section, sql, types, (BAD, *gaps), site)
            return _write_once(connection, section, sql, types | marks, partial, gaps, moment)
        except BadCellFound:
            continue
        except (*_engine_errors(), pa.ArrowException, OSError):
            if way is plan:
                raise
    raise AssertionError("the last pass accepts bad cells")


def _write_once(
    connection: Any,
    section: IngestSection,
    sql: str,
    types: dict[str, str],
    partial: Path,
    gaps: list[str],
    moment: dt.datetime | None,
) -> tuple[Counts, TableFacts]:
    counts = Counts({name: Counter() for name in gaps})
    with batches(connection, sql) as reader:
        schema = pa.schema([field for field in reader.schema if field.name in types])
        rows = kept(until(reader, section.data.time, moment, counts), schema, section.target.output, counts)
        return counts, write_parts(schema, rows, partial, types)


def _engine_errors() -> tuple[type[Exception], ...]:
    import duckdb

    return (duckdb.Error,)


def _check_values(
    connection: Any, partial: Path, facts: TableFacts, section: IngestSection, plan: Plan
) -> dict[str, dict[str, Any]]:
    """What makes a table useless as a whole: too few rows, a constant target, an empty column, an infinite number.

    Returns:
        What the same scan has seen of each column.
    """
    shown = plan.sources[0].shown
    if facts.rows < 2:
        raise InputError(
            f"{shown}: at least 2 rows with a known target were expected, got {facts.rows}",
            "bring more rows",
            file=shown,
        )
    types = {name: kind for name, kind in facts.types.items() if name not in MARKS}
    target = section.target.output
    parts = [f"count(DISTINCT {quoted(target)})"]
    parts += [f"count({quoted(name)})" for name in types]
    numbers = [name for name, kind in types.items() if kind == "number"]
    parts += [f"count_if(isinf({quoted(name)}))" for name in numbers]
    ranged = [name for name, kind in types.items() if kind in ("integer", "number") and _is_open(section, name)]
    parts += [f"{word}({quoted(name)})" for name in ranged for word in ("min", "max", "avg")]
    distinct, *found = one(connection, f"SELECT {', '.join(parts)} FROM {scan(partial)}")
    infinite = [name for name, count in zip(numbers, found[len(types) :], strict=False) if count]
    if infinite:
        raise _infinite(connection, infinite[0], plan)
    bad = BAD in facts.types
    empty = [name for name, count in zip(types, found[: len(types)], strict=True) if not count]
    if empty and not bad:
        raise InputError(
            f"{shown}: the column {empty[0]!r} has no value in any of {facts.rows} rows",
            f"fill the column, or take {empty[0]!r} out of loop.yaml",
            column=empty[0],
        )
    if distinct < 2 and not bad:
        raise InputError(
            f"{shown}: the target {target!r} was expected to vary, it has the same value in all {facts.rows} rows",
            "choose another target, or rows with other outcomes",
            column=target,
        )
    profile: dict[str, dict[str, Any]] = {
        name: {"nulls": facts.rows - count} for name, count in zip(types, found[: len(types)], strict=True)
    }
    ranges = iter(found[len(types) + len(numbers) :])
    for name in ranged:
        profile[name] |= {"minimum": next(ranges), "maximum": next(ranges), "mean": next(ranges)}
    return profile


def _is_open(section: IngestSection, name: str) -> bool:
    """Whether a column's values may be shown."""
    column = section.data.columns.get(name)
    return column is None or column.policy is None


def _infinite(connection: Any, column: str, plan: Plan) -> InputError:
    source = plan.owner(column)
    if source is None:
        return InputError(
            f"the target {column!r} was expected to be finite, its expression gives infinity",
            "guard the expression against division by zero",
            column=column,
        )
    context: dict[str, Any] = {"file": source.shown, "column": column}
    if source.header is not None:
        line = csv_files.line_of_infinite(source.path, source.header, column)
        where, context["line"] = f"{source.shown}:{line}", line
    else:
        cell = source.cells[column]
        numbered = f"SELECT row_number() OVER () AS n, {cell} AS x FROM {source.scan}"
        (row,) = one(connection, f"SELECT min(n) FROM ({numbered}) WHERE isinf(CAST(x AS DOUBLE))")
        where, context["row"] = f"{source.shown}: row {row}", row
    return InputError(
        f"{where}: a finite number was expected in {column!r}, got an infinite one",
        "write a missing value as an empty cell, or correct the number",
        **context,
    )


@contextmanager
def _explained(sources: list[OpenSource]) -> Iterator[None]:
    """Turn DuckDB's refusal of a CSV file into an error that names the line."""
    import duckdb

    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        # What comes through Arrow's stream has lost its class, not its text.
        if "CSV" not in str(error):
            raise
        for source in sources:
            if source.header is not None and (found := csv_files.explain(source.path, source.shown, source.header)):
                raise found from error
        raise

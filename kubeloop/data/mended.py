"""Rows of the quarantine that somebody has mended: each finds its place by the digest of the row that it replaces."""

# ruff: noqa: S608 - names go through `quoted`, paths through `glob_free`, expressions are those of the contract

import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kubeloop.contract.data import Source
from kubeloop.contract.sections import IngestSection, ValidateSection
from kubeloop.data.casting import BROKEN_UNSEEN, MARKS, is_masked
from kubeloop.data.engine import quoted
from kubeloop.digests.rows import row_digests
from kubeloop.errors import InputError

if TYPE_CHECKING:
    from kubeloop.data.tables import TableFacts
    from kubeloop.site import Site

DIGEST = "_digest"


def with_digest(batch: Any, names: Iterable[str]) -> Any:
    """A record batch with `_digest`, the hexadecimal SHA-256 of each row as the snapshot has it, and without its marks.

    Args:
        batch: `pyarrow.RecordBatch` or `Table`; `_bad` and `_personal` are part of the row if they are there.
        names: The row's columns.
    """
    covered = [*sorted(names), *(mark for mark in MARKS if mark in batch.schema.names)]
    digests = pa.array([row.tobytes().hex() for row in row_digests(batch.select(covered))], pa.string())
    kept = batch.select([name for name in batch.schema.names if name not in MARKS])
    return kept.append_column(DIGEST, digests)


def export_rows(quarantine: Path, out: Path, section: IngestSection | None = None, site: "Site | None" = None) -> int:
    """Write a quarantine as CSV to mend: what a cell held that did not fit its type stands in `_reasons`.

    What personal cells hold is read from the sources again, and only the user may read the file.

    Args:
        quarantine: From `validate`.
        out: The file.
        section: The contract's part of the run; needed where the quarantine has personal columns.
        site: The same.

    Returns:
        Number of rows.

    Raises:
        IntegrityError: The sources do not give those rows any more.
    """
    import tempfile

    from kubeloop.data.engine import connect, glob_free, scan
    from kubeloop.data.tables import read_facts

    facts = read_facts(quarantine)
    beside = out.with_name(f".{out.name}.partial")
    with tempfile.TemporaryDirectory(prefix="kubeloop-") as scratch, connect(Path(scratch) / "a") as connection:
        table, personal = scan(quarantine), [name for name, kind in facts.types.items() if is_masked(kind)]
        if personal:
            from kubeloop.data.again import personal_cells

            if section is None or site is None:
                raise InputError(
                    "what a run was asked to do was expected, to read personal columns again; it is not known any more",
                    "run the loop again, then export what it sets aside",
                )
            connection.register("cells", personal_cells(section, site, quarantine, Path(scratch) / "b"))
            clear = ", ".join(f"c.{quoted(name)} AS {quoted(name)}" for name in personal)
            table = f"(SELECT q.* REPLACE ({clear}) FROM {table} AS q JOIN cells AS c USING (_row))"
        listed = ", ".join(quoted(name) for name in facts.types)
        query = f"SELECT {listed} FROM {table} ORDER BY _row"
        beside.touch(mode=0o600 if personal else 0o666)
        # Into the file as it was made, with its mode.
        form = "(HEADER, DELIMITER ',', USE_TMP_FILE false)"
        connection.execute(f"COPY ({query}) TO {glob_free(beside)} {form}").fetchall()
    beside.replace(out)
    return facts.rows


def read_mended(section: ValidateSection, file: Path, site: "Site") -> Any:
    """Mended rows from a file with the columns that `export_rows` writes; a derived target is derived again.

    Returns:
        `pyarrow.Table` of the columns of the snapshot, in which personal cells say no more than there, and `_digest`.

    Raises:
        InputError: A column is missing, a digest is none or stands twice, or a cell does not fit its type.
    """
    import tempfile

    from kubeloop.data.casting import raw_sql, typed_sql
    from kubeloop.data.engine import connect
    from kubeloop.data.personal import masked_sql
    from kubeloop.data.sources import open_source

    wanted = {name: column for name, column in section.data.columns.items() if column.policy != "deny"}
    with tempfile.TemporaryDirectory(prefix="kubeloop-") as scratch, connect(Path(scratch)) as connection:
        source = open_source(Source(name="mended", path=str(file.resolve())), None, Path(scratch), connection)
        missing = [name for name in (*wanted, DIGEST) if name not in source.cells]
        if missing:
            raise InputError(
                f"{file.name}: the column {missing[0]!r} was expected, there is none",
                "mend the file that `kubeloop quarantine export` wrote, and keep its header",
                column=missing[0],
            )
        raw = {name: raw_sql(source.cells[name], source.kinds[name]) for name in wanted}
        cells = {name: typed_sql(column, raw[name], source.kinds[name]) for name, column in wanted.items()}
        _refuse_bad_cells(connection, source, file.name, raw, cells)
        typed = ", ".join(f"{sql} AS {quoted(name)}" for name, sql in cells.items())
        rows = f"SELECT {typed}, CAST({source.cells[DIGEST]} AS VARCHAR) AS {DIGEST} FROM {source.scan}"
        if section.target.expression is not None:
            rows = f"SELECT *, ({section.target.expression}\n) AS {quoted(section.target.output)} FROM ({rows})"
        types: dict[str, str] = {name: column.type for name, column in wanted.items()}
        if section.target.expression is not None:
            types[section.target.output] = "derived"
        found = connection.sql(masked_sql(connection, section, rows, types, (DIGEST,), site)[0]).to_arrow_table()
    digests = found.column(DIGEST).to_pylist()
    if any(digest is None or not re.fullmatch("[0-9a-f]{64}", digest) for digest in digests):
        raise InputError(f"{file.name}: `_digest` was expected to be kept as it was", "export the rows again")
    if len(set(digests)) < len(digests):
        # Equal rows of the quarantine have one digest; they must stay equal.
        found = pa.Table.from_pylist([dict(row) for row in {tuple(r.items()) for r in found.to_pylist()}], found.schema)
        if len(set(found.column(DIGEST).to_pylist())) < len(found):
            raise InputError(
                f"{file.name}: rows with one `_digest` were expected to be mended alike",
                "mend equal rows in the same way",
            )
    return found


def _refuse_bad_cells(connection: Any, source: Any, shown: str, raw: dict[str, str], cells: dict[str, str]) -> None:
    from kubeloop.data.engine import one

    names = list(cells)
    tests = [f"count_if({cells[name]} IS NULL AND trim(CAST({raw[name]} AS VARCHAR)) <> '')" for name in names]
    for name, count in zip(names, one(connection, f"SELECT {', '.join(tests)} FROM {source.scan}"), strict=True):
        if count:
            raise InputError(
                f"{shown}: {count} cells of {name!r} do not fit its type", "mend them, or leave them empty", column=name
            )


def keep_mended(site: "Site", name: str, rows: Any) -> int:
    """Keep mended rows for the runs to come; one that was mended before is replaced.

    Returns:
        How many are kept in all.
    """
    from kubeloop.site.addresses import filesystem, write_whole

    before = mended_rows(site, name)
    if before is not None and before.schema.names == rows.schema.names:
        kept = before.filter(pc.invert(pc.is_in(before.column(DIGEST), rows.column(DIGEST).combine_chunks())))
        rows = pa.concat_tables([kept.cast(rows.schema), rows])
    files, path = filesystem(site, _address(site, name))
    stream = io.BytesIO()
    pq.write_table(rows.sort_by(DIGEST), stream)
    write_whole(files, path, stream.getvalue())
    return int(rows.num_rows)


def mended_rows(site: "Site", name: str) -> Any:
    """The mended rows of a model as `pyarrow.Table`; None where there are none."""
    from kubeloop.site.addresses import filesystem

    files, path = filesystem(site, _address(site, name))
    return pq.read_table(io.BytesIO(files.cat_file(path))) if files.exists(path) else None


def _address(site: "Site", name: str) -> str:
    return f"{site.store}/mended/{site.namespace}/{name}.parquet"


def replay(
    connection: Any, section: ValidateSection, mended: Any, valid: Path, quarantine: Path, needed: list[str]
) -> tuple["TableFacts", "TableFacts", int]:
    """Put mended rows that keep all rules in the place of those in the quarantine, at the end of the valid ones.

    Args:
        connection: DuckDB.
        section: The contract's part.
        mended: From `mended_rows`.
        valid: Valid rows, not yet under their final name; rewritten where a row comes back.
        quarantine: The same of the others.
        needed: Columns that the split needs.

    Returns:
        Facts of both tables, and how many rows came back.
    """
    from kubeloop.data.engine import batches, one, scan
    from kubeloop.data.rules import rules_of
    from kubeloop.data.tables import read_facts, write_parts

    before, aside = read_facts(valid), read_facts(quarantine)
    names = list(before.types)
    if not aside.rows or any(name not in mended.schema.names for name in names):
        return before, aside, 0
    connection.register("mended_rows", mended)
    listed = ", ".join(f"m.{quoted(name)}" for name in names)
    joined = f"SELECT {listed}, q._row FROM {scan(quarantine)} AS q JOIN mended_rows AS m ON q.{DIGEST} = m.{DIGEST}"
    if BROKEN_UNSEEN in mended.schema.names:
        joined += f" WHERE m.{BROKEN_UNSEEN} IS NULL"
    connection.execute(f"CREATE TEMP TABLE back AS {joined} ORDER BY q._row").fetchall()
    bare = ", ".join(quoted(name) for name in names)
    everything = f"(SELECT {bare} FROM {scan(valid)} UNION ALL SELECT {bare} FROM back)"
    rules = rules_of(section.data, section.target.output, before.types, everything, needed)
    test = " OR ".join(rule.broken for rule in rules) or "false"
    connection.execute(f"CREATE TEMP TABLE good AS SELECT * FROM back WHERE NOT ({test})").fetchall()
    (count,) = one(connection, "SELECT count(*) FROM good")
    if not count:
        return before, aside, 0
    kept = f"SELECT {bare} FROM {scan(valid)} UNION ALL SELECT {bare} FROM good"
    left = f"SELECT * EXCLUDE (file_row_number) FROM {scan(quarantine)} WHERE _row NOT IN (SELECT _row FROM good)"
    facts = []
    for query, folder, types in ((kept, valid, before.types), (left, quarantine, aside.types)):
        again = folder / "again"
        again.mkdir()
        with batches(connection, query) as reader:
            facts.append(write_parts(reader.schema, reader, again, types))
        for file in sorted(again.iterdir()):
            file.replace(folder / file.name)
        again.rmdir()
    return facts[0], facts[1], int(count)

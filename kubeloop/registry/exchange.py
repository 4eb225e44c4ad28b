"""Rows in from an address, and answers out to one: what the components `read_rows` and `write_rows` do."""

# ruff: noqa: S608 - names go through `quoted`

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kubeloop.contract.data import Source
from kubeloop.data import csv_files
from kubeloop.data.engine import batches, connect, quoted
from kubeloop.data.sources import OpenSource, open_source
from kubeloop.data.tables import PART, read_facts, write_table
from kubeloop.errors import InputError, TransientError
from kubeloop.learning.inputs import InputColumn, to_frame
from kubeloop.registry.scored import named
from kubeloop.site.addresses import disk_full, filesystem, is_local, store_failures, written_beside

if TYPE_CHECKING:
    from kubeloop.site import Site
    from kubeloop.tracking.task import TaskContext

ENDINGS = (".csv", ".parquet")
"""Of what is written; what is read may end in any way that a source of a contract may."""

_NUMBERS = ("DECIMAL", "HUGEINT", "UHUGEINT", "FLOAT")
_TEXTS = ("ENUM", "UUID", "TIME")
_PLAIN = (*_NUMBERS, *_TEXTS, "VARCHAR", "BOOLEAN", "DOUBLE", "DATE", "TIMESTAMP", "TINYINT", "SMALLINT", "INTEGER",
          "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")  # fmt: skip


def read_rows(run: "TaskContext", model: str, source: str, rows: Path) -> dict[str, Any]:
    """Bring the rows of a file in as a table of the model's columns; all others stay where they are.

    Args:
        run: Site and run id.
        model: NAME, NAME@VERSION or NAME@DIGEST.
        source: Address of a file: https://, s3://, gs://, or an absolute path; CSV, Parquet or JSON Lines.
        rows: Folder of the table; of a CSV file each cell is text, which scoring reads by the model's schema.

    Returns:
        Facts: name, digest (of the package), rows, columns, data (the table's digest).

    Raises:
        InputError: There is no such model or file, a column is missing, or a file is not what its ending says.
        TransientError: What is not on this machine did not come whole in time.
    """
    import duckdb
    import pyarrow as pa

    package = named(run.site, model)
    place = _checked(source, "source")
    with tempfile.TemporaryDirectory(prefix="kubeloop-rows-") as scratch, connect(Path(scratch)) as connection:
        opened = open_source(Source(name="rows", path=place), run.site, Path(scratch), connection)
        try:
            with batches(connection, _columns_sql(opened, package.schema)) as reader:
                facts = write_table(reader, rows)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            found = opened.header and csv_files.explain(opened.path, opened.shown, opened.header)
            raise found or error from error
    return {
        "name": package.name,
        "digest": package.digest,
        "rows": facts.rows,
        "columns": len(facts.columns),
        "data": facts.digest,
    }


def write_rows(run: "TaskContext", answers: Path, quarantine: Path, out: str, quarantine_out: str) -> dict[str, Any]:
    """Put answers, and the reasons for those that are missing, where somebody waits for them.

    Each file appears whole or not at all, the reasons first: who finds the answers need not wait for these.

    Args:
        run: Site and run id.
        answers: Folder of the table.
        quarantine: Folder of the table of refused rows.
        out: Address that ends in .csv or .parquet: s3://, gs://, or an absolute path.
        quarantine_out: Likewise; empty: beside `out`, as `<name>.quarantine.csv`. Nothing is there where no row was
            refused.

    Returns:
        Facts: rows, refused, out, quarantine_out (None where no row was refused).

    Raises:
        InputError: An address does not end as it should, or may not be written.
        TransientError: The store does not answer.
    """
    place = _checked(out, "out", ENDINGS)
    beside = _checked(quarantine_out or f"{place.removesuffix(_ending(place))}.quarantine.csv", "quarantine", ENDINGS)
    if beside == place:
        raise InputError(f"two files were expected, and both are {place}", "give the quarantine another name")
    refused = read_facts(quarantine).rows
    if refused:
        _put(run.site, quarantine, beside)
    else:
        _take_away(run.site, beside)
    _put(run.site, answers, place)
    return {
        "rows": read_facts(answers).rows,
        "refused": refused,
        "out": place,
        "quarantine_out": beside if refused else None,
    }


def _checked(address: str, what: str, endings: tuple[str, ...] = ()) -> str:
    """An address that means the same on every machine of a Site.

    Raises:
        InputError: It is relative, or does not end as it should.
    """
    if "://" not in address and not Path(address).is_absolute():
        raise InputError(
            f"`{what}` should be an address or an absolute path, got {address!r}",
            "give s3://..., gs://..., or a path from the root: a task does not know your folder",
        )
    if endings and _ending(address) not in endings:
        raise InputError(f"`{what}` should end in {' or '.join(endings)}, got {address!r}", "name it so")
    return address


def _ending(address: str) -> str:
    return Path(urlsplit(address).path if "://" in address else address).suffix


def _columns_sql(opened: OpenSource, schema: Sequence[InputColumn]) -> str:
    """A query for the model's columns, in kinds of cell that a table can hold.

    Raises:
        InputError: One is missing, or holds what no model takes.
    """
    import pandas as pd

    to_frame(pd.DataFrame(columns=list(opened.cells)), schema)  # says which column is missing
    listed = []
    for column in schema:
        name, kind = column["name"], opened.kinds[column["name"]]
        if not kind.startswith(_PLAIN) or kind.endswith("]"):
            raise InputError(
                f"{opened.shown}: the column {name!r} should hold numbers, text, booleans or times, not {kind}",
                "write one plain value in each cell",
                column=name,
            )
        wanted = "DOUBLE" if kind.startswith(_NUMBERS) else "VARCHAR" if _is_text(kind) else kind
        listed.append(f"CAST({opened.cells[name]} AS {wanted}) AS {quoted(name)}")
    return f"SELECT {', '.join(listed)} FROM {opened.scan}"


def _is_text(kind: str) -> bool:
    return kind.startswith(_TEXTS) and not kind.startswith("TIMESTAMP")


def _put(site: "Site", table: Path, address: str) -> None:
    """A table as a file at an address."""
    files, path = filesystem(site, address)
    parquet = _ending(address) == ".parquet"
    try:
        if is_local(files):
            with written_beside(Path(path)) as made:
                _convert(table, made, parquet=parquet)
            return
        # An object store shows an object once it is whole.
        with tempfile.TemporaryDirectory(prefix="kubeloop-") as scratch:
            made = Path(scratch) / "answers"
            _convert(table, made, parquet=parquet)
            files.put_file(str(made), path)
    except PermissionError as error:
        raise InputError(f"{address} may not be written: permission denied", "give the Site's key the right") from error
    except store_failures() as error:
        raise (isinstance(error, OSError) and disk_full(error, address)) or TransientError(
            f"{address} could not be written ({type(error).__name__})", "run the same command again", address=address
        ) from error


def _take_away(site: "Site", address: str) -> None:
    """What an earlier run left there would be taken for this one's."""
    files, path = filesystem(site, address)
    try:
        if files.exists(path):
            files.rm_file(path)
    except store_failures() as error:
        raise TransientError(
            f"{address} could not be taken away ({type(error).__name__})", "run the same command again"
        ) from error


def _convert(table: Path, into: Path, *, parquet: bool) -> None:
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(table / PART) as file:
        schema = file.schema_arrow
        quoting = pc.WriteOptions(quoting_style="needed")
        with pq.ParquetWriter(into, schema) if parquet else pc.CSVWriter(into, schema, write_options=quoting) as writer:
            for batch in file.iter_batches():
                writer.write_batch(batch)

"""A table between tasks: a folder with `part-0.parquet` and `table.json`; same rows, same bytes."""

import errno
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from kubeloop.digests import canonical_json
from kubeloop.digests.cells import kind_of
from kubeloop.digests.rows import TableDigest
from kubeloop.errors import InputError, IntegrityError

if TYPE_CHECKING:
    import pandas as pd

PART = "part-0.parquet"
FACTS = "table.json"
GROUP_ROWS = 131_072
"""Rows of a Parquet row group: fixed, so that equal tables are equal files."""


@dataclass(frozen=True)
class TableFacts:
    """What is known of a written table.

    Attributes:
        digest: `sha256-...` of schema, number of rows and rows in any order.
        rows: Number of rows.
        columns: `{"name", "type"}` per column, in order; the type is the contract's word where the contract has one.
        total: Sum of the row digests, by which a part's digest follows from that of the rest; None when not known.
    """

    digest: str
    rows: int
    columns: tuple[dict[str, str], ...]
    total: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON types, the form of `table.json`."""
        return {"digest": self.digest, "rows": self.rows, "columns": [dict(column) for column in self.columns]}

    @property
    def types(self) -> dict[str, str]:
        """From column name to type."""
        return {column["name"]: column["type"] for column in self.columns}


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that becomes `folder` when the block ends, and vanishes when it fails.

    Raises:
        InputError: The disk is full.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        if folder.is_dir():
            shutil.rmtree(folder)
        partial.rename(folder)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise no_space(folder) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def no_space(folder: Path) -> InputError:
    """The error for a full disk."""
    return InputError(
        f"no space left on the disk that holds {folder.parent}",
        "free space on that disk, then run the same command again",
        folder=str(folder.parent),
    )


def write_table(source: Any, folder: Path, types: Mapping[str, str] | None = None) -> TableFacts:
    """Write rows as a table; nothing is there under the folder's name until all of it is.

    Args:
        source: `pyarrow.Table` or `RecordBatchReader`; read as a stream.
        folder: Where; an existing folder is replaced.
        types: The contract's types by column name; by the Arrow type where not given.
    """
    with staged(folder) as partial:
        return write_parts(source.schema, _batches(source), partial, types)


def write_parts(
    schema: Any,
    batches: Iterable[Any],
    partial: Path,
    types: Mapping[str, str] | None = None,
    known: TableDigest | None = None,
) -> TableFacts:
    """Write batches (`pyarrow.RecordBatch`) into a folder that is not yet under its final name.

    Args:
        schema: Of all batches.
        batches: The rows.
        partial: The folder.
        types: The contract's types by column name; by the Arrow type where not given.
        known: The digest of these rows, where it follows from others.

    Raises:
        IntegrityError: Another number of rows came than the digest covers.
    """
    schema = schema.remove_metadata()
    total = known or TableDigest(schema)
    rows = 0
    texts = [field.name for field in schema if kind_of(field.type) == "text"]
    # Dictionaries of numbers make files larger, and writing slower.
    form = {"compression": "zstd", "version": "2.6", "use_dictionary": texts}
    # One thread compresses while this one hashes.
    with pq.ParquetWriter(partial / PART, schema, **form) as writer, ThreadPoolExecutor(1) as pool:
        for group in _groups(schema, batches):
            written = pool.submit(writer.write_table, group, row_group_size=GROUP_ROWS)
            if known is None:
                total.add(group)
            rows += group.num_rows
            written.result()
    if rows != total.rows:
        raise IntegrityError(f"{total.rows} rows were expected, {rows} came", "run the task again")
    words = types or {}
    columns = tuple({"name": f.name, "type": words.get(f.name, kind_of(f.type))} for f in schema)
    facts = TableFacts(total.digest(), rows, columns, total.total)
    (partial / FACTS).write_text(canonical_json(facts.to_dict() | {"sum": f"{total.total:064x}"}), encoding="ascii")
    return facts


def read_facts(folder: Path) -> TableFacts:
    """What `table.json` says.

    Raises:
        IntegrityError: The folder is no table.
    """
    try:
        document = json.loads((folder / FACTS).read_text(encoding="ascii"))
        total = int(document["sum"], 16) if "sum" in document else None
        return TableFacts(document["digest"], int(document["rows"]), tuple(document["columns"]), total)
    except (OSError, ValueError, KeyError) as error:
        raise IntegrityError(
            f"a table ({PART} and {FACTS}) was expected in {folder}, but it cannot be read: {error}",
            "run the task that writes it again",
        ) from error


def read_frame(folder: Path) -> "pd.DataFrame":
    """A table as a frame.

    Returns:
        integer: int64, float64 with NaN where values are missing; number: float64; boolean: bool, or object of True,
        False and None; category and text: object of str and None; timestamp: datetime64[us, UTC]; date: datetime64[ms].
    """
    read_facts(folder)
    frame: pd.DataFrame = pq.read_table(folder / PART).to_pandas(date_as_object=False)
    return frame


def read_arrow(folder: Path) -> Any:
    """A table as `pyarrow.Table`."""
    read_facts(folder)
    return pq.read_table(folder / PART)


class Stored:
    """A table in its folder, of which a column at a time, or a stream of batches, is in memory.

    Args:
        folder: Of the table.

    Attributes:
        num_rows: Number of rows.
        column_names: In order.
        schema: `pyarrow.Schema` of all columns.
    """

    def __init__(self, folder: Path) -> None:
        facts = read_facts(folder)
        self._path = folder / PART
        self.schema = pq.read_schema(self._path)
        self.num_rows = facts.rows
        self.column_names = list(facts.types)

    def column(self, name: str) -> Any:
        """One column as `pyarrow.ChunkedArray`."""
        return self.select([name]).column(0)

    def select(self, names: list[str]) -> Any:
        """Some columns as `pyarrow.Table`."""
        with pq.ParquetFile(self._path) as file:
            # Parquet gives columns in the order of the file.
            return file.read(columns=names).select(names)

    def batches(self, rows: int, names: Iterable[str] | None = None) -> Iterator[Any]:
        """All rows in order, in record batches of at most so many; of some columns where they are named."""
        wanted = self.column_names if names is None else list(names)
        with pq.ParquetFile(self._path) as file:
            # One group at a time: a reader of all of them keeps what it has read.
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(rows, row_groups=[group], columns=wanted):
                    yield batch.select(wanted)


def _batches(source: Any) -> Iterator[Any]:
    yield from source.to_batches() if isinstance(source, pa.Table) else source


def _groups(schema: Any, batches: Iterable[Any]) -> Iterator[Any]:
    """Tables of exactly `GROUP_ROWS` rows, then the rest, whatever the size of the batches."""
    held: list[Any] = []
    count = 0
    for batch in batches:
        held.append(batch.replace_schema_metadata(None))
        count += batch.num_rows
        while count >= GROUP_ROWS:
            table = pa.Table.from_batches(held, schema)
            yield table.slice(0, GROUP_ROWS).combine_chunks()
            held = table.slice(GROUP_ROWS).to_batches()
            count -= GROUP_ROWS
    if count:
        yield pa.Table.from_batches(held, schema).combine_chunks()

"""DuckDB as we use it: no network, UTC, errors of our own family."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeloop.data.tables import PART, no_space
from kubeloop.errors import InputError, PermanentError

if TYPE_CHECKING:
    import duckdb

BATCH_ROWS = 65_536
_THREADS = 8
_BASE_MB = 150
_THREAD_MB = 75
"""A table of any size is worked on in this much memory; what does not fit is spilled."""


def quoted(name: str) -> str:
    """A name as an SQL identifier, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Text as an SQL literal, whatever is in it."""
    return "'" + text.replace("'", "''") + "'"


def glob_free(path: Path) -> str:
    """A path as an SQL literal in which DuckDB sees no pattern."""
    return literal(re.sub(r"([*?\[])", r"[\1]", str(path)))


def scan(folder: Path) -> str:
    """SQL that reads a table's rows in their order."""
    return f"read_parquet({glob_free(folder / PART)}, file_row_number = true)"


@contextmanager
def connect(spill: Path) -> Iterator["duckdb.DuckDBPyConnection"]:
    """A connection that keeps the order of rows, spills into `spill` and fetches nothing from a network.

    Raises:
        InputError: The disk is full, or a value made an expression fail.
        PermanentError: DuckDB cannot go on: out of memory, for example.
    """
    import duckdb

    spill.mkdir(parents=True, exist_ok=True)
    threads = min(len(os.sched_getaffinity(0)), _THREADS) if hasattr(os, "sched_getaffinity") else _THREADS
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "python_enable_replacements": "false",
        "preserve_insertion_order": "true",
        "temp_directory": str(spill),
        "threads": threads,
        "memory_limit": f"{_BASE_MB + threads * _THREAD_MB}MB",
        # Parquet's statistics leave NaN out; DuckDB 2.0.0 concludes from them that isnan() is false for every row.
        "disabled_optimizers": "statistics_propagation",
    }
    with duckdb.connect(config=config) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        # What waits for Python; at the default of 1 MB the engine's threads stand still while rows are hashed.
        connection.execute("SET streaming_buffer_size = '32MB'")
        try:
            yield connection
        except duckdb.Error as error:
            raise translate(error, spill) from error


def translate(error: "duckdb.Error", folder: Path) -> InputError | PermanentError:
    """A DuckDB error as one of ours; its own text can hold data values, so only its kind is shown."""
    text = str(error)
    if "No space left on device" in text:
        return no_space(folder)
    kind = type(error).__name__
    if kind in ("ConversionException", "OutOfRangeException", "BinderException", "TypeMismatchException"):
        return InputError(
            f"an expression cannot be computed on these columns ({kind})",
            "compare columns only with values of their own type",
        )
    if kind == "OutOfMemoryException":
        return PermanentError("the data does not fit into memory", "give the task more memory or fewer columns")
    return PermanentError(f"the data engine stopped ({kind})", "see the task's log, then run the task again")


def batches(connection: "duckdb.DuckDBPyConnection", sql: str) -> Any:
    """The rows of a query as a `pyarrow.RecordBatchReader`, in order."""
    return connection.sql(sql).to_arrow_reader(BATCH_ROWS)


def one(connection: "duckdb.DuckDBPyConnection", sql: str) -> tuple[Any, ...]:
    """The single row of a query."""
    # All rows, for DuckDB 2 starts nothing else on a connection whose result is not read to its end.
    (row,) = connection.execute(sql).fetchall()
    return tuple(row)

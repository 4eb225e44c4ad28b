"""Aggregates over each row's past: computed once over all valid rows, before they are parted.

Only rows that are strictly earlier count, never the row itself nor one of the same moment: what a window says was
known when the row came. A row's past may lie among rows of the other side of the split; it lends them its inputs, never
its target. In serving a request carries the value, for a predictor sees no past.
"""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa

from kubeloop.contract.durations import length_of
from kubeloop.contract.features import Window
from kubeloop.data.engine import connect, quoted
from kubeloop.errors import InputError

_FUNCTIONS = {"mean": "avg", "sum": "sum", "minimum": "min", "maximum": "max"}


def window_columns(rows: Any, windows: tuple[Window, ...], time: str | None, spill: Path) -> Any:
    """A float64 column per window, as `pyarrow.Table` of n rows.

    A count without earlier rows is 0, everything else is null; so is each window of a row without a time or without a
    value in one of the columns `by`.

    Args:
        rows: `pyarrow.Table` of n rows, or a `Stored` one.
        windows: Of the contract.
        time: The time column.
        spill: A folder for what does not fit into memory; removed at the end.

    Raises:
        InputError: A column is not in the table.
    """
    needed = {str(time), *(name for each in windows for name in (*each.by, *((each.column,) if each.column else ())))}
    for name in sorted(needed):
        if name not in rows.column_names:
            raise InputError(
                f"a window needs the column {name!r}, which the table does not have", "correct features.windows"
            )
    source = rows.select(sorted(needed)).append_column("_row", pa.array(range(rows.num_rows), pa.int64()))
    moment = f"epoch_us({quoted(str(time))}::TIMESTAMPTZ)"
    wanted = ", ".join(f"{_expression(each, moment)} AS {quoted(each.name)}" for each in windows)
    try:
        with connect(spill) as connection:
            connection.register("_rows", source)
            found: Any = connection.sql(f"SELECT {wanted} FROM _rows ORDER BY _row").to_arrow_table()  # noqa: S608
    finally:
        shutil.rmtree(spill, ignore_errors=True)
    return found.cast(pa.schema([(each.name, pa.float64()) for each in windows]))


def _expression(window: Window, moment: str) -> str:
    back = int(length_of(window.over).total_seconds() * 1_000_000)
    value = "count(*)" if window.column is None else f"{_FUNCTIONS[window.function]}({quoted(window.column)}::DOUBLE)"
    parts = f"PARTITION BY {', '.join(map(quoted, window.by))} " if window.by else ""
    past = f"{value} OVER ({parts}ORDER BY {moment} RANGE BETWEEN {back} PRECEDING AND 1 PRECEDING)"
    known = " AND ".join(f"{part} IS NOT NULL" for part in (moment, *map(quoted, window.by)))
    return f"CASE WHEN {known} THEN {past} END::DOUBLE"

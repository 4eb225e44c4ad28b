"""Labels from a file: CSV, Parquet or JSON lines."""

import datetime as dt
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeloop.errors import InputError
from kubeloop.learning.inputs import category_text
from kubeloop.monitoring.labels.storing import Label
from kubeloop.monitoring.log.reading import micros

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Columns:
    """Which columns say what.

    Attributes:
        value: The truth.
        event_id: Id of the event; None: labels name a business key.
        key: The business key; None: labels name an event.
        row: Number of the row in its request, from 0; a file without this column means row 0.
        observed_at: When it was observed; a file without this column means: when it arrived.
    """

    value: str = "value"
    event_id: str | None = None
    key: str | None = None
    row: str = "row"
    observed_at: str = "observed_at"


def read_labels(path: Path, columns: Columns, kind: str | None = None) -> list[Label]:
    """The labels of a file, in its order.

    Args:
        path: CSV, Parquet or JSON lines, UTF-8.
        columns: Exactly one of `event_id` and `key` is set.
        kind: `csv`, `parquet` or `jsonl`; by the ending of the path if not given.

    Raises:
        InputError: The file, a column or a value is not as expected; the row is named, counted from 1.
    """
    ident = columns.event_id or columns.key
    assert ident is not None
    table = _table(path, ident, f".{kind}" if kind else path.suffix.lower())
    for name in (ident, columns.value):
        if name not in table.column_names:
            near = get_close_matches(name, table.column_names, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(
                f"{path}: a column {name!r} was expected, there are {', '.join(table.column_names)}{hint}",
                "name the columns with --event-id or --key, and --value, or under monitoring.labels in loop.yaml",
                file=str(path),
                column=name,
            )
    cells = table.to_pydict()
    count = table.num_rows
    rows = cells[columns.row] if columns.event_id and columns.row in cells else [0] * count
    moments = cells.get(columns.observed_at, [None] * count)
    by = "event" if columns.event_id else "key"
    parts = zip(cells[ident], rows, cells[columns.value], moments, strict=True)
    return [_label(path, number, by, *part) for number, part in enumerate(parts, start=1)]


def _table(path: Path, ident: str, kind: str) -> "pa.Table":
    import pyarrow as pa
    from pyarrow import csv, json, parquet

    try:
        if kind == ".csv":
            # A key that looks like a number is text all the same: 007 is not 7.
            return csv.read_csv(
                path, convert_options=csv.ConvertOptions(column_types={ident: pa.string()}, strings_can_be_null=True)
            )
        if kind in (".jsonl", ".ndjson"):
            return json.read_json(path)
        if kind == ".parquet":
            return parquet.read_table(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}", "name a file that exists", file=str(path)) from None
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} is no such file: {error}", "mend it, or save it again", file=str(path)) from None
    raise InputError(
        f"{path}: a file that ends in .csv, .parquet, .jsonl or .ndjson was expected", "rename or convert it"
    )


def _label(path: Path, number: int, by: Any, ident: Any, row: Any, value: Any, observed: Any) -> Label:
    name = category_text(ident)
    moment = _moment(observed)
    if not name or len(name) > 512:
        raise _bad(path, number, "has no id or key of at most 512 characters")
    if value is not None and not isinstance(value, (str, int, float, bool)):
        raise _bad(path, number, f"has {type(value).__name__} as its value, a class or a number was expected")
    if isinstance(value, float) and value != value:
        value = None
    if type(row) is not int or row < 0:
        raise _bad(path, number, "has no whole number from 0 as its row")
    if observed is not None and moment is None:
        raise _bad(path, number, "has no moment with a time zone, such as 2026-03-01T12:00:00Z, as observed_at")
    return Label(by=by, ident=name, row=row, value=value, observed_at=moment)


def _moment(value: Any) -> int | None:
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, dt.datetime):
        return None
    # A Parquet or CSV column of moments without a zone is UTC, as everywhere in this house.
    return max(0, micros(value if value.tzinfo else value.replace(tzinfo=dt.UTC)))


def _bad(path: Path, number: int, what: str) -> InputError:
    return InputError(f"{path}: row {number} {what}", "mend that row; nothing was stored", file=str(path), row=number)

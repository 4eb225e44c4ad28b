"""From rows as people send them to the frame that the estimator was fitted on; the same way in training and serving.

One rule for categories: in the frame a category is always text. An integer, and a float without a fraction, are the
text of the integer (`1`, `1.0` and `"1"` are one category); a bool is `true` or `false`; text is taken as it is. If
training never saw that text but saw exactly one that is the same plain number (`"1.0"` for `1`) or the same bool
(`"True"`), it is that one. `"01"` is no plain number and so never the same as `"1"`.
"""

import datetime as dt
import math
import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from kubeloop.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["number", "category", "boolean", "timestamp"]

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
_PLAIN = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
_BOOLEANS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}
_EXACT = 2.0**53
_LAST_S = 253_402_300_799.0
_MOMENT = "give a moment such as 2027-01-31T12:00:00Z, seconds since 1970 in UTC, or null where it is not known"


class InputColumn(TypedDict):
    """One input of a model.

    Attributes:
        name: The column's name.
        kind: `number` and `boolean` are float64 in the frame (a boolean is 0.0 or 1.0, missing is NaN); `category` is
            object: text, missing is None; `timestamp` is float64, seconds since 1970 UTC, missing is NaN.
        categories: For a category, all texts that training saw or the contract lists, sorted; else None.
        minimum: Smallest number that the contract allows, else that training saw; None for a category.
        maximum: Likewise, the largest.
        nullable: Whether a row may lack the value.
    """

    name: str
    kind: Kind
    categories: list[str] | None
    minimum: float | None
    maximum: float | None
    nullable: bool


def to_frame(
    rows: "pd.DataFrame | Sequence[Sequence[Any]] | Sequence[Mapping[str, Any]]", schema: Sequence[InputColumn]
) -> "pd.DataFrame":
    """Rows as the frame that the estimator was fitted on.

    Args:
        rows: A frame, or a list of lists in the order of the schema, or a list of objects by column name; n may be 0.
            Further columns of a frame or an object are left out. None and NaN are missing. A number may come as text
            that is a number.
        schema: The model's inputs.

    Returns:
        (n, len(schema)) frame, columns in the order of the schema, dtypes as in `InputColumn`, index 0..n-1.

    Raises:
        InputError: With the column, the row (counted from 1) and the mend: wrong width, missing column, a
            value of the wrong type, an infinity, a missing value in a column that has to have one.
    """
    import pandas as pd

    columns: Sequence[Any] = _of_frame(rows, schema) if isinstance(rows, pd.DataFrame) else _of_rows(rows, schema)
    made: dict[str, NDArray[Any]] = {}
    for column, values in zip(schema, columns, strict=True):
        made[column["name"]] = cells(values, column)
    size = len(next(iter(made.values()))) if made else 0
    return pd.DataFrame(made, index=pd.RangeIndex(size))


def cells(values: Any, column: InputColumn) -> NDArray[Any]:
    """One column as it stands in the frame.

    Args:
        values: n cells: a list or a Series.
        column: The input.

    Returns:
        (n,) float64, or object with text or None for a category.

    Raises:
        InputError: As `to_frame`.
    """
    found: NDArray[Any] = _CONVERT[column["kind"]](values, column)
    if not column["nullable"]:
        _refuse_missing(found, column)
    return found


def category_text(value: Any) -> str | None:
    """The text of one category by the rule of this module; None for a missing value."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        number = float(value)
        if math.isnan(number):
            return None
        return str(int(number)) if number.is_integer() and abs(number) < _EXACT else repr(number)
    return None if _is_missing(value) else str(value)


def nearest(word: str, words: Sequence[str]) -> str:
    """`; did you mean 'x'?` for the nearest of `words`, or an empty text."""
    close = get_close_matches(word, words, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _of_frame(frame: "pd.DataFrame", schema: Sequence[InputColumn]) -> list["pd.Series[Any]"]:
    """The schema's columns of a frame."""
    present = [str(name) for name in frame.columns]
    for column in schema:
        if present.count(column["name"]) != 1:
            problem = "appears twice" if column["name"] in present else "is missing"
            hint = nearest(column["name"], present) if problem == "is missing" else ""
            raise InputError(
                f"column {column['name']!r} {problem} in the table{hint}",
                f"give exactly one column {column['name']!r}; the model needs {_names(schema)}",
                column=column["name"],
            )
    return [frame[column["name"]] for column in schema]


def _of_rows(rows: Sequence[Any], schema: Sequence[InputColumn]) -> list[list[Any]]:
    """Columns of a list of rows, every row of which was checked for its shape."""
    if isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Sequence | np.ndarray):
        raise InputError(
            f"a list of rows was expected, {_kind_of(rows)} came",
            f"send a list with one entry per row, each a list of {len(schema)} values or an object by column name",
        )
    names = [column["name"] for column in schema]
    wanted = set(names)
    table: list[Any] = []
    for number, row in enumerate(rows, start=1):
        if isinstance(row, Mapping):
            if not row.keys() >= wanted:
                _refuse_keys(row, names, number, len(rows))
            table.append([row[name] for name in names])
        elif isinstance(row, Sequence | np.ndarray) and not isinstance(row, (str, bytes)):
            if len(row) != len(names):
                raise InputError(
                    f"row {number} of {len(rows)} has {len(row)} values, {len(names)} were expected",
                    f"give the values in this order: {_names(schema)}; or name them in an object",
                    row=number,
                )
            table.append(row)
        else:
            raise InputError(
                f"row {number} of {len(rows)} is {_kind_of(row)}, not a list of {len(names)} values or an object",
                f"give each row as a list in this order: {_names(schema)}; or as an object by column name",
                row=number,
            )
    return [list(values) for values in zip(*table, strict=True)] if table else [[] for _ in names]


def _refuse_keys(row: Mapping[str, Any], names: Sequence[str], number: int, total: int) -> None:
    missing = next(name for name in names if name not in row)
    unknown = [str(key) for key in row if key not in names]
    hint = f", but an unknown column {unknown[0]!r}" if unknown else ""
    raise InputError(
        f"row {number} of {total} has no column {missing!r}{hint}",
        f"add {missing!r}; a value that is not known is given as null",
        row=number,
        column=missing,
    )


def _numbers(values: Any, column: InputColumn) -> NDArray[np.float64]:
    """A column of numbers as float64, missing as NaN."""
    array = _plain_floats(values)
    if array is None:
        array = np.fromiter(
            (_number(value, row, column) for row, value in enumerate(values, 1)), np.float64, len(values)
        )
    infinite = np.flatnonzero(np.isinf(array))
    if infinite.size:
        raise _bad(column, int(infinite[0]) + 1, "is infinite", "give a finite number, or null where it is not known")
    return array


def _plain_floats(values: Any) -> NDArray[np.float64] | None:
    """The whole column at once where nothing in it needs a look; None otherwise."""
    import pandas as pd

    if isinstance(values, pd.Series):
        if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
            return values.to_numpy(dtype=np.float64, na_value=np.nan)
        return None
    if set(map(type, values)) <= {int, float, type(None), np.float64, np.int64}:
        try:
            return np.array(values, dtype=np.float64)
        except OverflowError:
            return None
    return None


def _number(value: Any, row: int, column: InputColumn) -> float:
    if _is_missing(value):
        return math.nan
    if isinstance(value, str):
        if _NUMBER.fullmatch(value):
            return float(value)
        if value.strip().lower().lstrip("+-") in ("inf", "infinity"):
            return math.inf
        raise _bad(column, row, f"is the text {_shown(value)}", "give a number, or null where it is not known")
    if isinstance(value, Real) or _is_decimal(value):
        if isinstance(value, (bool, np.bool_)):
            raise _bad(column, row, f"is the boolean {str(bool(value)).lower()}", "give a number")
        try:
            return float(value)
        except OverflowError as error:
            raise _bad(column, row, "is too large for a 64-bit number", "give a finite number") from error
    raise _bad(column, row, f"is {_kind_of(value)}", "give a number, or null where it is not known")


def seconds_of(values: "pd.Series[Any]") -> NDArray[np.float64]:
    """(n,) datetime64 values as seconds since 1970 UTC, missing as NaN; without a time zone they count as UTC."""
    import pandas as pd

    plain = values.dt.tz_convert("UTC").dt.tz_localize(None) if values.dt.tz is not None else values
    micros = plain.astype("datetime64[us]").astype(np.int64).to_numpy(dtype=np.float64)
    return np.asarray(np.where(pd.isna(plain), np.nan, micros / 1e6), dtype=np.float64)


def _timestamps(values: Any, column: InputColumn) -> NDArray[np.float64]:
    """A column of moments as seconds since 1970 UTC, missing as NaN."""
    import pandas as pd

    if isinstance(values, pd.Series) and pd.api.types.is_datetime64_any_dtype(values.dtype):
        return seconds_of(values)
    array = _plain_floats(values)
    if array is None:
        array = np.fromiter(
            (_seconds(value, row, column) for row, value in enumerate(values, 1)), np.float64, len(values)
        )
    outside = np.flatnonzero(np.abs(np.nan_to_num(array)) > _LAST_S)
    if outside.size:
        raise _bad(column, int(outside[0]) + 1, "is not within the years 1 to 9999", _MOMENT)
    return array


def _seconds(value: Any, row: int, column: InputColumn) -> float:
    if _is_missing(value):
        return math.nan
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value.strip())
        except ValueError:
            raise _bad(column, row, f"is the text {_shown(value)}", _MOMENT) from None
    if isinstance(value, dt.datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)
        return aware.timestamp()
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC).timestamp()
    if isinstance(value, Real) and category_text(value) not in ("true", "false") and abs(float(value)) <= _LAST_S:
        return float(value)
    raise _bad(column, row, f"is {_kind_of(value)}", _MOMENT)


def _booleans(values: Any, column: InputColumn) -> NDArray[np.float64]:
    """A column of booleans as 0.0 and 1.0, missing as NaN."""
    import pandas as pd

    if isinstance(values, pd.Series) and pd.api.types.is_bool_dtype(values.dtype) and values.dtype != object:
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.fromiter((_boolean(value, row, column) for row, value in enumerate(values, 1)), np.float64, len(values))


def _boolean(value: Any, row: int, column: InputColumn) -> float:
    if _is_missing(value):
        return math.nan
    text = category_text(value) if isinstance(value, (str, Real)) else None
    found = _BOOLEANS.get(text.strip().lower()) if text is not None else None
    if found is None:
        shown = _shown(value) if isinstance(value, (str, Real)) else _kind_of(value)
        raise _bad(column, row, f"is {shown}", "give true or false, or null where it is not known")
    return found


def _categories(values: Any, column: InputColumn) -> NDArray[Any]:
    """A column of categories as object array of text, missing as None."""
    import pandas as pd

    result = np.empty(len(values), dtype=object)
    # A list is searched as fast as it can be made a set, unless it is searched often.
    known = frozenset(column["categories"] or ()) if len(values) > 16 else (column["categories"] or ())
    if not isinstance(values, pd.Series) or pd.api.types.infer_dtype(values, skipna=True).startswith("mixed"):
        result[:] = [_category(value, row, column, known) for row, value in enumerate(values, 1)]
        return result
    # A frame has many rows and few categories: convert each distinct value once.
    codes, distinct = pd.factorize(values, use_na_sentinel=True)
    _, first = np.unique(codes[codes >= 0], return_index=True)
    rows = np.flatnonzero(codes >= 0)[first] + 1
    texts = np.empty(len(distinct) + 1, dtype=object)
    texts[:-1] = [_category(value, int(row), column, known) for value, row in zip(distinct, rows, strict=True)]
    result[:] = texts[codes]
    return result


def _category(value: Any, row: int, column: InputColumn, known: Collection[str]) -> str | None:
    if isinstance(value, (list, tuple, dict, set, bytes, np.ndarray)):
        raise _bad(column, row, f"is {_kind_of(value)}", "give a text or a whole number, or null where it is not known")
    if isinstance(value, Real) and not isinstance(value, Integral) and math.isinf(float(value)):
        raise _bad(column, row, "is infinite", "give a text or a whole number, or null where it is not known")
    text = category_text(value)
    if text is None or not known or text in known:
        return text
    return _same_number(text, known) if _PLAIN.fullmatch(text) else _same_boolean(value, text, known)


def _same_number(text: str, known: Collection[str]) -> str:
    same = [other for other in known if _PLAIN.fullmatch(other) and float(other) == float(text)]
    return same[0] if len(same) == 1 else text


def _same_boolean(value: Any, text: str, known: Collection[str]) -> str:
    same = [other for other in known if other.lower() == text] if isinstance(value, (bool, np.bool_)) else []
    return same[0] if len(same) == 1 else text


_CONVERT = {"number": _numbers, "boolean": _booleans, "category": _categories, "timestamp": _timestamps}


def _refuse_missing(values: NDArray[Any], column: InputColumn) -> None:
    missing = np.array([value is None for value in values]) if values.dtype == object else np.isnan(values)
    if missing.any():
        raise _bad(column, int(np.argmax(missing)) + 1, "is missing", "give a value: this column may not be null")


def _bad(column: InputColumn, row: int, what: str, fix: str) -> InputError:
    expected = {"number": "a number", "category": "a category", "boolean": "true or false"}.get(
        column["kind"], "a moment"
    )
    return InputError(
        f"column {column['name']!r}, row {row}: {expected} was expected, the value {what}",
        fix,
        column=column["name"],
        row=row,
    )


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def _is_decimal(value: Any) -> bool:
    from decimal import Decimal

    return isinstance(value, Decimal)


def _kind_of(value: Any) -> str:
    words = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "null"}
    return words.get(type(value), f"a {type(value).__name__}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _names(schema: Sequence[InputColumn]) -> str:
    return ", ".join(column["name"] for column in schema)

"""Rows as detectors read them: by the names of the reference's schema, whatever order or type they come in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.errors import InputError
from kubeloop.learning.inputs import InputColumn, category_text, nearest

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True)
class Rows:
    """n rows of inputs.

    Attributes:
        values: By column of the schema: (n,) float64 with NaN for missing, or object of text with None for missing.
        mistyped: (n,) bool: a cell of the row is none of its column's kind; the cell itself counts as missing.
    """

    values: dict[str, NDArray[Any]]
    mistyped: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.mistyped)


def read_rows(table: "pa.Table | pd.DataFrame", schema: Sequence[InputColumn]) -> Rows:
    """The schema's columns of a table; columns that the schema does not have are left out.

    Args:
        table: (n, columns), n may be 0.
        schema: The reference's inputs.

    Raises:
        InputError: A column of the schema is not there: rows of another model, which no number may hide.
    """
    names = [str(name) for name in (table.columns if hasattr(table, "iloc") else table.column_names)]
    values: dict[str, NDArray[Any]] = {}
    mistyped = np.zeros(len(table), dtype=bool)
    for column in schema:
        name = column["name"]
        if name not in names:
            raise InputError(
                f"column {name!r} was expected in the window, but it has {', '.join(names) or 'no column'}"
                f"{nearest(name, names)}",
                "give rows of the model that the reference was fitted for, or fit a reference for this one",
                column=name,
            )
        found = _column(table, name)
        values[name], wrong = (_texts if column["kind"] == "category" else _numbers)(found)
        mistyped |= wrong
    return Rows(values, mistyped)


def _column(table: Any, name: str) -> NDArray[Any]:
    found = table[name].to_numpy() if hasattr(table, "iloc") else table.column(name).to_numpy(zero_copy_only=False)
    return np.asarray(found)


def _numbers(values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    import pandas as pd

    if values.dtype.kind == "M":
        found = values.astype("datetime64[us]")
        return np.where(np.isnat(found), np.nan, found.astype(np.int64) / 1e6), np.zeros(len(values), dtype=bool)
    if values.dtype.kind in "fiub":
        numbers = values.astype(np.float64)
    else:
        read: Any = pd.to_numeric(pd.Series(list(values), dtype="object"), errors="coerce")
        numbers = np.asarray(read, dtype=np.float64)
    infinite = np.isinf(numbers)
    wrong = infinite if values.dtype != object else infinite | (np.isnan(numbers) & ~pd.isna(values))
    return np.where(infinite, np.nan, numbers), wrong


def _texts(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    fine = np.zeros(len(values), dtype=bool)
    if values.dtype == object and all(value is None or type(value) is str for value in values):
        return values, fine
    found = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        fine[place] = isinstance(value, (list, dict, tuple, set, bytes))
        found[place] = None if fine[place] else category_text(value)
    return found, fine

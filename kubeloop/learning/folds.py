"""How development rows are parted: for each fold, the rows that judge and the rows that teach."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.contract.sections import TrainSection
from kubeloop.errors import InputError, PermanentError
from kubeloop.learning.inputs import category_text, nearest, seconds_of

if TYPE_CHECKING:
    import pandas as pd

FOLD = "_fold"
Rows = NDArray[np.bool_]


def parts(section: TrainSection, table: "pd.DataFrame") -> list[tuple[Rows, Rows]]:
    """(validation rows, training rows) of each fold, (n,) bool each.

    Args:
        section: The contract's part.
        table: (n, columns) development rows.

    Raises:
        PermanentError: The table has no folds.
        InputError: The column to part by is missing, or has too few values.
    """
    kind, count = section.cross_validation.kind, section.cross_validation.folds or section.split.folds
    if kind == "folds":
        if FOLD not in table.columns:
            raise PermanentError(f"the development table has no column {FOLD!r}", "run `split` before `train`")
        folds = table[FOLD].to_numpy(dtype=np.int64)
        return [(folds == each, folds != each) for each in np.unique(folds)]
    if kind == "group":
        return _by_group(_column(table, section.data.group, kind), count)
    return _by_time(seconds(_column(table, section.data.time, kind)), count)


def seconds(values: "pd.Series[Any]") -> NDArray[np.float64]:
    """A column of moments as seconds since 1970 UTC."""
    return seconds_of(values)


def _column(table: "pd.DataFrame", name: str | None, kind: str) -> "pd.Series[Any]":
    if name is None or name not in table.columns:
        near = nearest(str(name), [str(column) for column in table.columns])
        raise InputError(
            f"cross_validation.kind is {kind}, but there is no column {name!r} in the table{near}",
            f"name data.{kind}, and give the column",
            column=name,
        )
    return table[name]


def _by_group(values: "pd.Series[Any]", count: int) -> list[tuple[Rows, Rows]]:
    """Whole groups, the largest first into the smallest fold; a row without a group is one by itself."""
    names = [category_text(value) or f"\0{row}" for row, value in enumerate(values.tolist())]
    distinct, where = np.unique(np.array(names, dtype=object), return_inverse=True)
    if len(distinct) < count:
        raise InputError(
            f"{count} folds by group were asked for, the development rows have {len(distinct)} groups",
            "lower cross_validation.folds, or bring more groups",
        )
    sizes = np.bincount(where)
    filled = np.zeros(count, dtype=np.int64)
    fold_of = np.zeros(len(distinct), dtype=np.int64)
    for group in np.argsort(-sizes, kind="stable"):
        fold_of[group] = int(filled.argmin())
        filled[fold_of[group]] += sizes[group]
    folds = fold_of[where]
    return [(folds == each, folds != each) for each in range(count)]


def _by_time(moments: NDArray[np.float64], count: int) -> list[tuple[Rows, Rows]]:
    """Blocks of time: each but the first is judged by what came before it; rows of one moment stay together."""
    known = np.isfinite(moments)
    distinct, sizes = np.unique(moments[known], return_counts=True)
    if len(distinct) < count + 1:
        raise InputError(
            f"{count} folds by time need {count + 1} different moments, the development rows have {len(distinct)}",
            "lower cross_validation.folds, or bring rows of more moments",
        )
    # A block ends where its share of the rows is full; each has one moment at least.
    ends = np.searchsorted(np.cumsum(sizes), np.arange(1, count + 1) * sizes.sum() / (count + 1))
    places = np.arange(count)
    ends = np.maximum.accumulate(ends - places) + places
    ends = np.minimum(ends, len(distinct) - 1 - count + places)
    bounds = [-np.inf, *distinct[ends], np.inf]
    return [
        ((moments > bounds[block]) & (moments <= bounds[block + 1]) & known, (moments <= bounds[block]) & known)
        for block in range(1, count + 1)
    ]

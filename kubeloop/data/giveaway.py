"""How well one column alone tells the target, on rows that were held out: what is too good gives the answer away."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FEWEST_ROWS = 50
_FEWEST_OTHERS = 10
_CLASSES_AT_LEAST, _CLASSES_LOW = 0.95, 0.75
_NUMBERS_AT_LEAST = 0.98
_NEIGHBOURS = 5
_Z = 1.959964

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Giveaway:
    """What a column alone says of the target.

    Attributes:
        score: 1 for a column that always tells it, 0 for one that tells no more than the most frequent class, or the
            mean. Classes: Goodman and Kruskal's lambda (1954, JASA 49); numbers: R squared of the target's ranks. Both
            on held-out rows.
        low: For classes, the score at the upper 95% Wilson bound of the error; for numbers, the score.
        rows: On which this was seen.
        leaks: Whether that is too good to be true.
    """

    score: float
    low: float
    rows: int
    leaks: bool


def giveaway(column: Any, target: Any, *, classes: bool, seed: int = 0) -> Giveaway | None:
    """Tell the target of each half of the rows by the other half: by equal values, or by the nearest ones of numbers.

    Args:
        column: `pyarrow` array of n cells of any scalar type; a missing cell is a value of its own.
        target: `pyarrow` array of n cells; rows without target are left out.
        classes: Whether the target is a class, and not a number.
        seed: Of the halves.

    Returns:
        None for too few rows to tell: fewer than 50, or fewer than 10 outside the most frequent class.
    """
    known = target.is_valid().to_numpy(zero_copy_only=False)
    rows = int(known.sum())
    if rows < FEWEST_ROWS:
        return None
    values, nearest = _values(column.filter(known))
    goal = _one_hot(target.filter(known)) if classes else _ranks(target.filter(known))
    most = float(goal.mean(axis=0).max())
    if classes and rows * (1 - most) < _FEWEST_OTHERS:
        return None
    half = np.random.default_rng(seed).permutation(rows) % 2 == 0
    told = np.empty_like(goal)
    for fitted in (half, ~half):
        told[~fitted] = _tell(values[fitted], goal[fitted], values[~fitted], nearest=nearest)
    return _of_classes(goal, told, most) if classes else _of_numbers(goal, told)


def _of_classes(goal: Numbers, told: Numbers, most: float) -> Giveaway:
    rows = len(goal)
    error = float((goal.argmax(axis=1) != told.argmax(axis=1)).mean())
    centre, spread = error + _Z**2 / (2 * rows), _Z * np.sqrt(error * (1 - error) / rows + _Z**2 / (4 * rows**2))
    upper = float((centre + spread) / (1 + _Z**2 / rows))
    score, low = 1 - error / (1 - most), 1 - upper / (1 - most)
    return Giveaway(score, low, rows, score >= _CLASSES_AT_LEAST and low >= _CLASSES_LOW)


def _of_numbers(goal: Numbers, told: Numbers) -> Giveaway:
    spread = float(((goal - goal.mean()) ** 2).sum())
    score = 1 - float(((goal - told) ** 2).sum()) / spread if spread else 0.0
    return Giveaway(score, score, len(goal), score >= _NUMBERS_AT_LEAST)


def _values(column: Any) -> tuple[Numbers, bool]:
    """Cells as numbers, missing ones as NaN, and whether near numbers mean near things."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64), True
    if pa.types.is_temporal(kind):
        whole = column.cast(pa.timestamp("us")).cast(pa.int64())
        return np.asarray(whole.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64), True
    codes = pc.dictionary_encode(column.cast(pa.string())).indices.cast(pa.float64())
    return np.asarray(codes.to_numpy(zero_copy_only=False), np.float64), False


def _one_hot(target: Any) -> Numbers:
    import pyarrow as pa

    _, codes = np.unique(np.asarray(target.cast(pa.string()).to_numpy(zero_copy_only=False), str), return_inverse=True)
    return np.eye(int(codes.max()) + 1)[codes]


def _ranks(target: Any) -> Numbers:
    """(n, 1) mean ranks in [0, 1]: one very large value must not decide."""
    import pyarrow as pa

    numbers = np.asarray(target.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
    _, codes, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (((last - counts + last - 1) / 2) / max(len(numbers) - 1, 1))[codes][:, None]


def _tell(values: Numbers, goal: Numbers, asked: Numbers, *, nearest: bool) -> Numbers:
    """(m, k) mean goals of the rows whose value is that of each asked cell; of the nearest five where it has none."""
    filled, missing = ~np.isnan(values), np.isnan(asked)
    told = np.tile(goal.mean(axis=0), (len(asked), 1))
    if missing.any() and not filled.all():
        told[missing] = goal[~filled].mean(axis=0)
    if not filled.any() or missing.all():
        return told
    order = np.argsort(values[filled], kind="stable")
    ranked = values[filled][order]
    sums = np.vstack([np.zeros(goal.shape[1]), np.cumsum(goal[filled][order], axis=0)])
    cells = asked[~missing]
    first, last = np.searchsorted(ranked, cells, "left"), np.searchsorted(ranked, cells, "right")
    if nearest:
        few = last - first < 1
        first = np.where(few, np.clip(first - _NEIGHBOURS // 2, 0, max(len(ranked) - _NEIGHBOURS, 0)), first)
        last = np.where(few, np.minimum(first + _NEIGHBOURS, len(ranked)), last)
    equal = last > first
    found = told[~missing]
    found[equal] = (sums[last[equal]] - sums[first[equal]]) / (last - first)[equal][:, None]
    told[~missing] = found
    return told

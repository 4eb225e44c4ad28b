"""A column of the reference as counts in bins: what is kept of the training rows, for no row itself may be kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Test = Literal["ks", "cvm", "chi_square", "fet"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BINS = 256
"""Bins of a column at most: the largest distance of two distributions is then known to within 1/256 of the rows."""
UNSEEN = BINS
MISSING = BINS + 1
WIDTH = BINS + 2
FEWEST = 5
"""Rows that a bin of a number column holds at least, so that an edge tells nothing about one row."""


@dataclass(frozen=True)
class Bins:
    """One column.

    Attributes:
        name: The column.
        test: How its distribution is compared: `ks` or `cvm` for numbers, `chi_square` for categories, `fet` (Fisher's
            exact test) for columns of two values.
        edges: Numbers: (k - 1,) rising; bin i holds the values in (edges[i-1], edges[i]]. None for a category.
        labels: Categories: all that training saw, the most frequent first; from the 256th on they share a bin.
        low: Numbers: the smallest value that is no violation.
        high: Likewise, the largest.
    """

    name: str
    test: Test
    edges: Floats | None = None
    labels: tuple[str, ...] | None = None
    low: float = -np.inf
    high: float = np.inf

    def codes(self, values: NDArray[Any]) -> NDArray[np.int16]:
        """The bin of each value.

        Args:
            values: (n,) float64 with NaN for missing, or object of text with None for missing.

        Returns:
            (n,) int16: 0 to 255, `UNSEEN` for a category that training never saw, `MISSING`.
        """
        if self.edges is not None:
            found = self._ranks(values)
            found[np.isnan(values)] = MISSING
            return found
        places = self._places
        return np.fromiter((places.get(value, UNSEEN) for value in values), np.int16, len(values))

    def _ranks(self, values: NDArray[Any]) -> NDArray[np.int16]:
        """(n,) edges below each value, as `numpy.searchsorted` says; anything for NaN."""
        assert self.edges is not None
        grid = self._grid
        if grid is None:
            return np.searchsorted(self.edges, values, side="left").astype(np.int16)
        found = grid.below[grid.cells(values)]
        for _ in range(grid.most):
            found += grid.edges[found] < values
        return found

    @cached_property
    def _grid(self) -> "_Grid | None":
        return None if self.edges is None else _grid_of(self.edges)

    @property
    def _places(self) -> dict[str | None, int]:
        places: dict[str | None, int] = {label: min(i, BINS - 1) for i, label in enumerate(self.labels or ())}
        places[None] = MISSING
        return places

    def outside(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """(n,) whether a number lies outside [low, high]; False where it is missing, and for categories."""
        if self.edges is None:
            return np.zeros(len(values), dtype=bool)
        with np.errstate(invalid="ignore"):
            return np.asarray((values < self.low) | (values > self.high))


@dataclass(frozen=True)
class _Grid:
    """Where to begin to look for a value among edges: several times as fast as halving.

    The cell of a value never falls as the value rises, whatever is rounded. So all edges of earlier cells lie below a
    value, none of later ones does, and only those of its own cell are compared.

    Attributes:
        low: The first edge.
        scale: Cells per unit.
        below: (`_CELLS`,) edges in earlier cells.
        edges: (k + 1,) the edges, then infinity.
        most: Edges in one cell at most.
    """

    low: float
    scale: float
    below: NDArray[np.int16]
    edges: Floats
    most: int

    def cells(self, values: NDArray[Any]) -> NDArray[np.int16]:
        """(n,) the cell of each value; 0 for NaN."""
        place = (values - self.low) * self.scale
        np.fmax(place, 0.0, out=place)
        return np.fmin(place, _CELLS - 1.0, out=place).astype(np.int16)


_CELLS = 4096
_MOST = 4
"""More edges than these in one cell, and halving is as fast."""


def _grid_of(edges: Floats) -> _Grid | None:
    """None: the edges lie too unevenly for a grid, or there are too few."""
    if len(edges) < 2:
        return None
    with np.errstate(over="ignore"):
        scale = float(_CELLS / (edges[-1] - edges[0]))
    grid = _Grid(float(edges[0]), scale, np.empty(0, np.int16), np.append(edges, np.inf), 0)
    if not 0 < scale < np.inf:
        return None
    counts = np.bincount(grid.cells(edges), minlength=_CELLS)
    most = int(counts.max())
    below = (np.cumsum(counts) - counts).astype(np.int16)
    return replace(grid, below=below, most=most) if most <= _MOST else None


def bin_numbers(name: str, values: Floats, test: Test, bounds: tuple[float | None, float | None]) -> Bins:
    """Bins of about equally many rows, at least `FEWEST` in each; a value that is frequent has its own.

    Args:
        name: The column.
        values: (n,) float64; NaN is missing.
        test: `ks`, `cvm` or `fet`.
        bounds: What the contract allows at least and at most; None: half the span of the values beyond them.
    """
    known = values[~np.isnan(values)]
    if not known.size:
        return Bins(name, test, edges=np.empty(0))
    distinct, counts = np.unique(known, return_counts=True)
    edges = _edges(distinct, counts, max(FEWEST, -(-known.size // (BINS - 1))))
    reach = float(distinct[-1] - distinct[0]) / 2
    low, high = bounds
    return Bins(
        name,
        test,
        edges=edges,
        low=float(distinct[0]) - reach if low is None else low,
        high=float(distinct[-1]) + reach if high is None else high,
    )


def _edges(distinct: Floats, counts: Ints, enough: int) -> Floats:
    """Midpoints between neighbouring values at which a bin is full; what is left over at the end joins the last bin."""
    upto = np.cumsum(counts)
    edges: list[float] = []
    place, begun = 0, 0
    while upto[-1] - begun >= 2 * enough:
        place = int(np.searchsorted(upto, begun + enough, side="left"))
        if place >= len(distinct) - 1 or upto[-1] - upto[place] < enough:
            break
        edges.append(float(distinct[place] / 2 + distinct[place + 1] / 2))
        begun = int(upto[place])
    return np.unique(np.array(edges, dtype=np.float64))


def bin_categories(name: str, values: NDArray[Any], known: Sequence[str], test: Test) -> Bins:
    """A bin per category.

    Args:
        name: The column.
        values: (n,) object of text; None is missing.
        known: Further categories that are no surprise: those of the contract.
        test: `chi_square` or `fet`.
    """
    counts: dict[str, int] = dict.fromkeys(known, 0)
    for value in values:
        if value is not None:
            counts[value] = counts.get(value, 0) + 1
    return Bins(name, test, labels=tuple(sorted(counts, key=lambda label: (-counts[label], label))))


@dataclass(frozen=True)
class Encoded:
    """n rows as detectors see them; nothing else of a row is looked at.

    Attributes:
        codes: (n, columns) int16, bins.
        flags: (n, flags) bool, what was said of a row: outside, of the wrong type, outlier, of no known class.
        keys: (n,) uint64, equal for equal inputs.
    """

    codes: NDArray[np.int16]
    flags: NDArray[np.bool_]
    keys: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: Ints) -> "Encoded":
        """The chosen rows."""
        return Encoded(self.codes[rows], self.flags[rows], self.keys[rows])


def encode_columns(columns: Sequence[Bins], values: Mapping[str, NDArray[Any]]) -> NDArray[np.int16]:
    """(n, columns) bins of the columns' values."""
    size = len(next(iter(values.values()))) if values else 0
    found = np.empty((size, len(columns)), dtype=np.int16)
    for place, column in enumerate(columns):
        found[:, place] = column.codes(values[column.name])
    return found


def count(codes: NDArray[np.int16]) -> Ints:
    """(columns, WIDTH) rows in each bin of each column."""
    columns = codes.shape[1]
    if not columns:
        return np.zeros((0, WIDTH), dtype=np.int64)
    flat = codes + np.arange(columns, dtype=np.int64) * WIDTH
    return np.bincount(flat.ravel(), minlength=columns * WIDTH).reshape(columns, WIDTH)


def row_keys(values: Mapping[str, NDArray[Any]], size: int) -> NDArray[np.uint64]:
    """(n,) one number per row of inputs, equal for equal rows; missing equals missing, -0.0 equals 0.0."""
    keys = np.zeros(size, dtype=np.uint64)
    for found in values.values():
        keys = (keys ^ _bits(found)) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys


def _bits(values: NDArray[Any]) -> NDArray[np.uint64]:
    if values.dtype == object:
        places: dict[Any, int] = {}
        return np.fromiter((places.setdefault(value, len(places)) for value in values), np.uint64, len(values))
    plain = np.where(np.isnan(values), np.nan, values + 0.0)
    return np.ascontiguousarray(plain).view(np.uint64)

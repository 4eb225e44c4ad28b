"""Rows far from where training rows lie: from their mean (outliers), or from the mean of every class (novel class)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.monitoring.reference.bins import FEWEST, Floats, Ints

FOLDS = 5
WIDEST = 500
"""Number columns that are used at most: the inverse of a covariance has the square of their count as numbers."""
_FIT_ROWS = 20_000


@dataclass(frozen=True)
class Centres:
    """Squared Mahalanobis distance to the nearest of k centres.

    Attributes:
        names: The p number columns that are read.
        mean: (p,) what a missing value is taken for.
        scale: (p,) standard deviations.
        centres: (k, p) in standard deviations from the mean.
        precision: (p, p) inverse of the covariance around the centres, shrunk (Ledoit and Wolf 2004).
        threshold: Rows farther than this are flagged.
    """

    names: tuple[str, ...]
    mean: Floats
    scale: Floats
    centres: Floats
    precision: Floats
    threshold: float

    def standard(self, values: Mapping[str, NDArray[Any]]) -> Floats:
        """(n, p) rows in standard deviations from the mean; missing is 0."""
        found = matrix(values, self.names)
        return np.asarray(np.where(np.isnan(found), 0.0, (found - self.mean) / self.scale))

    def scores(self, values: Mapping[str, NDArray[Any]]) -> Floats:
        """(n,) squared distances.

        |L'x - L'c|^2 with LL' the precision: one product of matrices for all rows, and none per pair.
        """
        root = np.linalg.cholesky(self.precision)
        rows, centres = self.standard(values) @ root, self.centres @ root
        apart = (rows**2).sum(axis=1)[:, None] - 2 * rows @ centres.T + (centres**2).sum(axis=1)
        return np.asarray(np.maximum(apart, 0.0).min(axis=1, initial=np.inf))


def matrix(values: Mapping[str, NDArray[Any]], names: Sequence[str]) -> Floats:
    """(n, names) float64, missing as NaN."""
    return np.column_stack([values[name] for name in names]) if names else np.empty((0, 0))


def usable(values: Mapping[str, NDArray[Any]], names: Sequence[str]) -> tuple[str, ...]:
    """Of the number columns those that vary, at most `WIDEST`."""
    varied = [
        name for name in names if np.nanmax(values[name], initial=-np.inf) > np.nanmin(values[name], initial=np.inf)
    ]
    return tuple(varied[:WIDEST])


def fit_centres(
    values: Mapping[str, NDArray[Any]], names: tuple[str, ...], classes: Ints, rng: np.random.Generator
) -> Centres:
    """Centres of rows, with an infinite threshold.

    Args:
        values: By column.
        names: From `usable`, at least one.
        classes: (n,) the class of each row; all 0 for one centre. Classes of fewer than five rows get no centre.
        rng: Picks the rows where there are more than are needed.
    """
    from sklearn.covariance import ledoit_wolf

    found = matrix(values, names)
    if len(found) > _FIT_ROWS:
        chosen = rng.choice(len(found), _FIT_ROWS, replace=False)
        found, classes = found[chosen], classes[chosen]
    mean = np.nanmean(found, axis=0)
    scale = np.nanstd(found, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    rows = np.where(np.isnan(found), 0.0, (found - mean) / scale)
    kept = [label for label in np.unique(classes) if np.count_nonzero(classes == label) >= FEWEST]
    centres = np.array([rows[classes == label].mean(axis=0) for label in kept] or [rows.mean(axis=0)])
    places = {label: place for place, label in enumerate(kept)}
    around = rows - centres[[places.get(label, 0) for label in classes]]
    covariance, _ = ledoit_wolf(around, assume_centered=True)
    precision = np.linalg.inv(covariance + 1e-9 * np.eye(len(names)))
    return Centres(names, mean, scale, centres, (precision + precision.T) / 2, np.inf)


def folds_of(blocks: Ints, rng: np.random.Generator) -> Ints:
    """(n,) fold 0 to 4 of each row; rows of a block share it."""
    numbers, place = np.unique(blocks, return_inverse=True)
    return np.asarray((rng.permutation(len(numbers)) % FOLDS)[place], dtype=np.int64)


def unseen_scores(score: Callable[[Ints, Ints], Floats], folds: Ints) -> Floats:
    """(n,) the score of each row by a model of the other folds: how far a new row of this kind lies.

    Args:
        score: From the rows that teach and the rows that are asked to the scores of the latter.
        folds: (n,).
    """
    found = np.full(len(folds), np.nan)
    for fold in np.unique(folds):
        found[folds == fold] = score(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold))
    return found

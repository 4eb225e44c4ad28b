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
_REACH = 3.0
_LEAST = 1e-6
"""Variance that is added everywhere, of a standard deviation squared: a column that a class never varies in."""


@dataclass(frozen=True)
class Centres:
    """Squared Mahalanobis distance to the nearest of k centres, each with a covariance of its own.

    With more than one centre the logarithm of the covariance's determinant is added, so that the score is that of the
    likeliest class in quadratic discriminant analysis, up to factor and constant.

    Attributes:
        names: The p number columns that are read.
        mean: (p,) what a missing value is taken for.
        scale: (p,) standard deviations.
        reach: Values farther from the mean, in standard deviations, count as so far; infinity: none do.
        centres: (k, p) in standard deviations from the mean.
        precision: (k, p, p) inverse covariances around the centres, shrunk (Ledoit and Wolf 2004).
        threshold: Rows with a higher score are flagged.
    """

    names: tuple[str, ...]
    mean: Floats
    scale: Floats
    reach: float
    centres: Floats
    precision: Floats
    threshold: float

    def standard(self, values: Mapping[str, NDArray[Any]]) -> Floats:
        """(n, p) rows in standard deviations from the mean; missing is 0."""
        found = matrix(values, self.names)
        return _standard(found, self.mean, self.scale, self.reach)

    def scores(self, values: Mapping[str, NDArray[Any]]) -> Floats:
        """(n,) scores."""
        rows = self.standard(values)
        several = len(self.centres) > 1
        best = np.full(len(rows), np.inf)
        for centre, precision in zip(self.centres, self.precision, strict=True):
            root = np.linalg.cholesky(precision)
            volume = -2 * float(np.log(np.diag(root)).sum()) if several else 0.0
            best = np.minimum(best, (((rows - centre) @ root) ** 2).sum(axis=1) + volume)
        return best


def _standard(found: Floats, mean: Floats, scale: Floats, reach: float) -> Floats:
    return np.asarray(np.where(np.isnan(found), 0.0, np.clip((found - mean) / scale, -reach, reach)))


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
    spread = np.nanstd(found, axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    kept = [label for label in np.unique(classes) if np.count_nonzero(classes == label) >= FEWEST]
    # A pixel that is nearly always 0 must not outweigh all others; a single far value is an outlier, not a class.
    reach = _REACH if len(kept) > 1 else np.inf
    rows = _standard(found, mean, scale, reach)
    centres, precision = [], []
    for label in kept or [None]:
        members = rows[classes == label] if label is not None else rows
        centres.append(members.mean(axis=0))
        covariance, _ = ledoit_wolf(members - centres[-1], assume_centered=True)
        inverse = np.linalg.inv(covariance + _LEAST * np.eye(len(names)))
        precision.append((inverse + inverse.T) / 2)
    return Centres(names, mean, scale, reach, np.array(centres), np.array(precision), np.inf)


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

"""How much each encoded feature counts, for `features.selection`; in training only."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SIGNIFICANT = 0.05
"""Without `keep`, a feature whose F test is above this p-value goes."""
_PART = 3
_TREES = 30
_MOST_ROWS = 5_000


def scores(kind: str, x: Floats, y: NDArray[Any], classify: bool, seed: int) -> tuple[Floats, float]:
    """A score per column, more is better, and the bar above which a column counts at all.

    Args:
        kind: `filter`, `l1` or `permutation`.
        x: (n, columns), finite.
        y: (n,) positions of classes, or numbers.
        classify: Whether `y` is classes.
        seed: Of what is random.
    """
    found, bar = {"filter": _filter, "l1": _l1, "permutation": _permutation}[kind](x, y, classify, seed)
    return np.where(np.isnan(found), -np.inf, found), bar


def _filter(x: Floats, y: NDArray[Any], classify: bool, seed: int) -> tuple[Floats, float]:
    """Minus the p-value of an F test of each column by itself; equal ones (p underflows) by F."""
    from sklearn.feature_selection import f_classif, f_regression

    with np.errstate(all="ignore"):
        statistic, p = (f_classif if classify else f_regression)(x, y)
    size = np.minimum(np.where(np.isnan(statistic), 0.0, statistic), 1e300)
    known = np.where(np.isnan(p), 1.0, p)
    return np.asarray(-known + 1e-12 * size / (1.0 + size), dtype=np.float64), -SIGNIFICANT


def _l1(x: Floats, y: NDArray[Any], classify: bool, seed: int) -> tuple[Floats, float]:
    """Size of a lasso's coefficients on standardised columns; the penalty is a tenth of the one that leaves none."""
    from sklearn.linear_model import Lasso

    spread = x.std(axis=0)
    z = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    # A class is as good as its indicator here: a linear model of it names the same columns (Fisher's discriminant).
    goals = np.column_stack([y == each for each in np.unique(y)][1:]).astype(np.float64) if classify else y[:, None]
    found = np.zeros(x.shape[1])
    for goal in goals.T:
        centred = goal - goal.mean()
        strongest = float(np.abs(z.T @ centred).max()) / len(z)
        if strongest > 0:
            found = np.maximum(found, np.abs(Lasso(alpha=strongest / 10, max_iter=2000).fit(z, centred).coef_))
    return found, 0.0


def _permutation(x: Floats, y: NDArray[Any], classify: bool, seed: int) -> tuple[Floats, float]:
    """What a small forest loses on rows that it did not see, when one column of them is shuffled."""
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(x))[:_MOST_ROWS]
    outside = rows[: max(1, len(rows) // _PART)]
    inside = rows[len(outside) :] if len(rows) > 1 else rows
    kind = ExtraTreesClassifier if classify else ExtraTreesRegressor
    forest = kind(n_estimators=_TREES, min_samples_leaf=3, random_state=seed).fit(x[inside], y[inside])
    held, truth = x[outside], y[outside]
    base = float(forest.score(held, truth))
    lost = np.zeros(x.shape[1])
    for column in range(x.shape[1]):
        shuffled = held.copy()
        shuffled[:, column] = rng.permutation(held[:, column])
        lost[column] = base - float(forest.score(shuffled, truth))
    return lost, 0.0

"""Every metric as its value and what each row does to it, so that one interval fits all: rows, blocks, differences.

The influence of a row is the metric's derivative by the row's weight (the infinitesimal jackknife; Efron and Tibshirani
1993, chapter 22): the metric of a sample is its true value plus the mean influence, but for terms of order 1/n. Sums
over blocks then give the metric's variance where rows depend; for the AUC this is Obuchowski's (1997, Biometrics 53).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kubeloop.evaluation.judged import Judged
from kubeloop.learning.scores import Floats, briers, correct, log_losses, precision_at, sides

Linear = tuple[float, Floats]
"""A value and the (n,) influences of the rows; their mean is 0."""


def linear(metric: str, judged: Judged) -> Linear:
    """A metric's value and influences; for a metric that is defined on these rows."""
    truth, answers = judged.truth, judged.answers
    if metric in MEANS:
        return ratio(row_values(metric, judged))
    if metric == "rmse":
        square, given = ratio(row_values("rmse", judged))
        root = float(np.sqrt(square))
        return root, given / (2 * root) if root > 0 else given
    if metric == "r2":
        return _r2(truth, answers)
    if metric in RATIOS:
        hits = [side & called for side, called in sides(truth, answers)]
        trials = [RATIOS[metric](side, called) for side, called in sides(truth, answers)]
        parts = [ratio(h.astype(np.float64), t) for h, t in zip(hits, trials, strict=True)]
        return _mean([_f1_of_jaccard(part) for part in parts] if metric == "f1" else parts)
    k = answers.shape[1]
    area = roc_influence if metric == "roc_auc" else _pr_influence
    return _mean([area(truth == c, answers[:, c]) for c in ((1,) if k == 2 else range(k))])


MEANS = ("accuracy", "log_loss", "brier", "mae", "mape")
"""Plain means of row values."""

RATIOS: dict[str, Callable[[NDArray[np.bool_], NDArray[np.bool_]], NDArray[np.bool_]]] = {
    "precision": lambda side, called: called,
    "recall": lambda side, called: side,
    "f1": lambda side, called: side | called,
}
"""Shares of right rows (of the F1: its Jaccard share), and among which rows."""


def row_values(metric: str, judged: Judged) -> Floats:
    """(n,) the row values whose mean the metric is (of the RMSE: its square)."""
    truth, answers = judged.truth, judged.answers
    if metric == "accuracy":
        return correct(truth, answers).astype(np.float64)
    if metric == "log_loss":
        return log_losses(truth, answers)
    if metric == "brier":
        return briers(truth, answers)
    error = np.abs(truth - answers)
    if metric == "mape":
        error = error / np.abs(truth)
    return np.asarray(error**2 if metric == "rmse" else error, dtype=np.float64)


def ratio(values: Floats, among: NDArray[np.bool_] | None = None) -> Linear:
    """Mean of values among the chosen rows; other rows do nothing to it."""
    if among is None:
        mean = float(values.mean())
        return mean, values - mean
    mean = float(values[among].mean())
    return mean, np.where(among, values - mean, 0.0) / among.mean()


def _mean(parts: list[Linear]) -> Linear:
    return float(np.mean([value for value, _ in parts])), np.mean([given for _, given in parts], axis=0)


def _f1_of_jaccard(part: Linear) -> Linear:
    share, given = part
    return 2 * share / (1 + share), given * 2 / (1 + share) ** 2


def _r2(truth: Floats, values: Floats) -> Linear:
    # Centred first: sums of squares of large numbers would cancel.
    spread, error = (truth - truth.mean()) ** 2, (truth - values) ** 2
    total, left = float(spread.mean()), float(error.mean())
    return 1 - left / total, (left * spread / total - error) / total


def roc_influence(positive: NDArray[np.bool_], score: Floats) -> Linear:
    """AUC: a row's placement is the share of the other side's rows that it is in order with."""
    from scipy.stats import rankdata

    size, others = int(positive.sum()), int((~positive).sum())
    ranks, n = rankdata(score), len(score)
    placement = np.empty(n)
    placement[positive] = (ranks[positive] - rankdata(score[positive])) / others
    placement[~positive] = 1 - (ranks[~positive] - rankdata(score[~positive])) / size
    value = float(placement[positive].mean())
    return value, (placement - value) * n / np.where(positive, size, others)


def _pr_influence(positive: NDArray[np.bool_], score: Floats) -> Linear:
    """Average precision: a row counts by its own precision, and by its part in that of all rows below it."""
    n, share = len(score), float(positive.mean())
    precise = precision_at(positive, score)
    value = float(precise[positive].mean())
    order = np.argsort(score, kind="stable")
    reach = (n - np.searchsorted(score[order], score, side="left")) / n  # share of rows scored at least so
    last = np.searchsorted(score[order], score, side="right") - 1
    part = np.where(positive, 1 / reach, 0.0)[order]
    gained = (np.cumsum(part) / n)[last]
    lost = (np.cumsum(part * precise[order]) / n)[last]
    given = np.where(positive, precise - value + gained, 0.0) - lost
    return value, np.asarray(given / share, dtype=np.float64)


def placements_alike(new: Judged, old: Judged) -> bool:
    """Whether two models rank all rows alike."""
    from scipy.stats import rankdata

    return bool(np.array_equal(rankdata(new.answers, axis=0), rankdata(old.answers, axis=0)))

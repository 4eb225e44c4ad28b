"""Point values of the metrics, from positions of classes or numbers. Intervals are the evaluation room's work."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kubeloop.contract import judgement

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SMALLEST = float(np.finfo(np.float64).eps)
"""A probability below this counts as this in the log loss, as in scikit-learn: one certain error is not infinite."""


def log_losses(truth: Ints, probabilities: Floats) -> Floats:
    """(n,) natural-log losses of rows; `truth` (n,) positions, -1 (a class the model lacks) has probability 0."""
    known = truth >= 0
    given = np.where(known, probabilities[np.arange(len(truth)), np.where(known, truth, 0)], 0.0)
    return np.asarray(-np.log(np.clip(given, SMALLEST, 1.0)), dtype=np.float64)


def correct(truth: Ints, probabilities: Floats) -> NDArray[np.bool_]:
    """(n,) whether the class of the largest probability is the true one."""
    return np.asarray(probabilities.argmax(axis=1) == truth, dtype=np.bool_)


def auc(positive: NDArray[np.bool_], score: Floats) -> float:
    """Area under the ROC curve by mid-ranks (Mann-Whitney); NaN unless both kinds of rows are there."""
    from scipy.stats import rankdata

    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    ranks = rankdata(score)[positive].sum()
    return float((ranks - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def roc_auc(truth: Ints, probabilities: Floats) -> float:
    """AUC of the positive class where there are two, else the plain mean over one-against-the-rest (macro).

    NaN where a class is missing among the rows: an average over fewer classes is another number.
    """
    if probabilities.shape[1] == 2:
        return auc(truth == 1, probabilities[:, 1])
    return float(np.mean([auc(truth == k, probabilities[:, k]) for k in range(probabilities.shape[1])]))


def sides(truth: Ints, probabilities: Floats) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """(truly of the class, called so), each (n,): of the positive class where there are two, else of every class."""
    called, k = probabilities.argmax(axis=1), probabilities.shape[1]
    return [(truth == c, called == c) for c in ((1,) if k == 2 else range(k))]


def precision(truth: Ints, probabilities: Floats) -> float:
    """Share of the rows called positive that are, in a macro mean over more than two classes; NaN where none is."""
    return float(np.mean([_share(side & called, called) for side, called in sides(truth, probabilities)]))


def recall(truth: Ints, probabilities: Floats) -> float:
    """Share of the positive rows that are called so, in a macro mean over more than two classes; NaN where none is."""
    return float(np.mean([_share(side & called, side) for side, called in sides(truth, probabilities)]))


def f1(truth: Ints, probabilities: Floats) -> float:
    """2 TP / (2 TP + FP + FN), in a macro mean over more than two classes; NaN where a class is neither there nor said.

    A function of the Jaccard share J = TP / (TP + FP + FN): 2 J / (1 + J).
    """
    found = [_share(side & called, side | called) for side, called in sides(truth, probabilities)]
    return float(np.mean([2 * share / (1 + share) for share in found]))


def _share(hits: NDArray[np.bool_], trials: NDArray[np.bool_]) -> float:
    return float(hits.sum() / trials.sum()) if trials.any() else float("nan")


def average_precision(positive: NDArray[np.bool_], score: Floats) -> float:
    """Area under the precision-recall curve by steps, as in scikit-learn; NaN without a positive row."""
    if not positive.any():
        return float("nan")
    return float(precision_at(positive, score)[positive].mean())


def precision_at(positive: NDArray[np.bool_], score: Floats) -> Floats:
    """(n,) the share of positives among the rows whose score is at least this row's."""
    order = np.argsort(-score, kind="stable")
    place = np.searchsorted(-score[order], -score, side="right") - 1  # the last row of equal score
    found = np.cumsum(positive[order])[place] / (place + 1)
    return np.asarray(found, dtype=np.float64)


def pr_auc(truth: Ints, probabilities: Floats) -> float:
    """Average precision of the positive class, in a macro mean over more than two classes."""
    k = probabilities.shape[1]
    found = [average_precision(truth == c, probabilities[:, c]) for c in ((1,) if k == 2 else range(k))]
    return float(np.mean(found))


def briers(truth: Ints, probabilities: Floats) -> Floats:
    """(n,) squared errors of the probability: of the positive class (0 to 1), with more classes their sum (0 to 2)."""
    k = probabilities.shape[1]
    errors = (probabilities - (truth[:, None] == np.arange(k))) ** 2
    return np.asarray(errors[:, 1] if k == 2 else errors.sum(axis=1), dtype=np.float64)


def claims(truth: Ints, probabilities: Floats) -> tuple[Floats, Floats]:
    """(probability, came true), each (n,): of the positive class; with more than two classes, of the one answered."""
    if probabilities.shape[1] == 2:
        return probabilities[:, 1], (truth == 1).astype(np.float64)
    return probabilities.max(axis=1), correct(truth, probabilities).astype(np.float64)


BINS = 10
"""Of equally many rows each, for calibration."""


def bins_of(score: Floats) -> Ints:
    """(n,) the number of each row's bin; equal scores share one."""
    edges = np.unique(np.quantile(score, np.linspace(0, 1, BINS + 1)))
    place = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, max(len(edges) - 2, 0))
    return np.asarray(np.unique(place, return_inverse=True)[1], dtype=np.int64)


def calibration_error(truth: Ints, probabilities: Floats) -> float:
    """Root mean square gap between probability and what came true, over bins, less what chance alone makes.

    Kumar, Liang and Ma (2019, NeurIPS): the plain gap of a perfect model is far from 0 in small samples; 0 if chance
    explains all of it. NaN where a bin has a single row.
    """
    score, came = claims(truth, probabilities)
    place = bins_of(score)
    count = np.bincount(place)
    if count.min() < 2:
        return float("nan")
    gap = np.bincount(place, came - score) / count
    chance = np.bincount(place, (came - score - gap[place]) ** 2) / (count * (count - 1))
    square = float((count / count.sum() * (gap**2 - chance)).sum())
    return float(np.sqrt(max(square, 0.0)))


def r2(truth: Floats, values: Floats) -> float:
    """Coefficient of determination; NaN where the truth is constant."""
    total = float(((truth - truth.mean()) ** 2).sum()) if len(truth) else 0.0
    return 1.0 - float(((truth - values) ** 2).sum()) / total if total > 0 else float("nan")


def mape(truth: Floats, values: Floats) -> float:
    """Mean absolute error as a share of the truth (0.1 is ten per cent); NaN where a truth is 0."""
    return float((np.abs(truth - values) / np.abs(truth)).mean()) if truth.all() else float("nan")


CLASSIFICATION: dict[str, Callable[[Ints, Floats], float]] = {
    "accuracy": lambda truth, p: float(correct(truth, p).mean()),
    "brier": lambda truth, p: float(briers(truth, p).mean()),
    "calibration_error": calibration_error,
    "f1": f1,
    "log_loss": lambda truth, p: float(log_losses(truth, p).mean()),
    "pr_auc": pr_auc,
    "precision": precision,
    "recall": recall,
    "roc_auc": roc_auc,
}
REGRESSION: dict[str, Callable[[Floats, Floats], float]] = {
    "mae": lambda truth, values: float(np.abs(truth - values).mean()),
    "mape": mape,
    "r2": r2,
    "rmse": lambda truth, values: float(np.sqrt(((truth - values) ** 2).mean())),
}
RANGES: dict[str, tuple[float, float]] = {
    name: (float("-inf") if low is None else low, float("inf") if high is None else high)
    for name, (low, high) in judgement.RANGES.items()
}
"""The values that a metric can have."""

"""Curves for reports: few points, all finite."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.evaluation.metrics import Judged
from kubeloop.learning.scores import Floats

POINTS = 200
BINS = 10


def curves_of(judged: Judged, classes: Sequence[Any]) -> dict[str, Any]:
    """All curves that these rows allow.

    Returns:
        Classification: confusion; binary ones also roc (with both classes present) and calibration. Regression:
        residuals. Empty without rows.
    """
    if not len(judged):
        return {}
    if judged.regression:
        return {"residuals": residuals(judged.truth, judged.answers)}
    known = judged.rows(judged.truth >= 0)
    found: dict[str, Any] = {"confusion": confusion(known, classes)}
    if len(classes) == 2 and len(known):
        positive, score = known.truth == 1, known.answers[:, 1]
        if positive.any() and not positive.all():
            found["roc"] = roc(positive, score)
        found["calibration"] = calibration(positive, score)
    return found


def roc(positive: NDArray[np.bool_], score: Floats) -> dict[str, list[float]]:
    """fpr, tpr and threshold (row is positive from this score on), from (0, 0) to (1, 1), at most `POINTS` points.

    The first threshold is the largest score plus 1: nothing reaches it, and unlike infinity it fits in JSON.
    """
    order = np.argsort(-score, kind="stable")
    sorted_score = score[order]
    last = np.flatnonzero(np.append(np.diff(sorted_score) != 0, True))  # one point per distinct score
    tpr = np.cumsum(positive[order])[last] / positive.sum()
    fpr = np.cumsum(~positive[order])[last] / (~positive).sum()
    keep = np.unique(np.linspace(0, len(last) - 1, min(POINTS - 1, len(last))).round().astype(np.int64))
    thresholds = sorted_score[last][keep]
    return {
        "fpr": [0.0, *fpr[keep].tolist()],
        "tpr": [0.0, *tpr[keep].tolist()],
        "threshold": [float(score.max()) + 1.0, *thresholds.tolist()],
    }


def confusion(judged: Judged, classes: Sequence[Any]) -> dict[str, Any]:
    """Labels and matrix (rows are the truth, columns the answers), counts."""
    k = len(classes)
    matrix = np.zeros((k, k), dtype=np.int64)
    np.add.at(matrix, (judged.truth, judged.answers.argmax(axis=1)), 1)
    return {"labels": [str(label) for label in classes], "matrix": matrix.tolist()}


def calibration(positive: NDArray[np.bool_], score: Floats) -> list[dict[str, float]]:
    """Mean predicted and observed share in up to `BINS` bins of equally many rows; equal scores share a bin."""
    edges = np.unique(np.quantile(score, np.linspace(0, 1, BINS + 1)))
    place = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, max(len(edges) - 2, 0))
    return [
        {
            "predicted": float(score[inside].mean()),
            "observed": float(positive[inside].mean()),
            "count": int(inside.sum()),
        }
        for number in range(max(len(edges) - 1, 1))
        if (inside := place == number).any()
    ]


def residuals(truth: Floats, values: Floats) -> list[dict[str, float]]:
    """Predicted and residual (truth minus predicted) of at most `POINTS` rows, evenly over the ranked predictions."""
    order = np.argsort(values, kind="stable")
    keep = order[np.unique(np.linspace(0, len(order) - 1, min(POINTS, len(order))).round().astype(np.int64))]
    return [{"predicted": float(values[row]), "residual": float(truth[row] - values[row])} for row in keep]

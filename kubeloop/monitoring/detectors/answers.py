"""What a model answered, as columns: predictions and, once the truth is known, losses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.errors import InputError
from kubeloop.learning.inputs import category_text
from kubeloop.monitoring.reference.profile import LOSS, PREDICTION, PROBABILITY, RESIDUAL

_SUREST = 1e-6
"""Probabilities are held this far from 0 and 1, so that one sure and wrong answer has a finite loss."""


@dataclass(frozen=True)
class Answered:
    """n answers.

    Attributes:
        predictions: (n,) object: labels, or numbers in regression; None where there is none.
        probabilities: (n, k) float64 in the order of the classes, NaN rows where there are none; or None.
    """

    predictions: NDArray[Any]
    probabilities: NDArray[np.float64] | None = None


def prediction_columns(answered: Answered, task: str, classes: Sequence[Any], positive: Any) -> dict[str, NDArray[Any]]:
    """By name: the prediction, and the probability of the positive class, or the largest one where there are more."""
    if task == "regression":
        return {PREDICTION: _numbers(answered.predictions)}
    labels = np.empty(len(answered.predictions), dtype=object)
    labels[:] = [category_text(label) for label in answered.predictions]
    shown = answered.probabilities
    if shown is None:
        return {PREDICTION: labels, PROBABILITY: np.full(len(labels), np.nan)}
    of = shown[:, list(classes).index(positive)] if task == "binary" else shown.max(axis=1, initial=-np.inf)
    return {PREDICTION: labels, PROBABILITY: np.where(np.isfinite(of), of, np.nan)}


def loss_columns(
    answered: Answered, truth: NDArray[Any], task: str, classes: Sequence[Any], positive: Any
) -> dict[str, NDArray[Any]]:
    """By name: loss and residual of each row.

    Regression: absolute and signed error. Classification with probabilities: log loss, and truth (1 for the positive
    class; for a right answer where there are more classes) minus probability; without: 1 for a wrong answer, for both.

    Args:
        answered: The answers.
        truth: (n,) labels, or numbers.
        task: What the model predicts.
        classes: In the order of probabilities.
        positive: The class of interest of a binary task.

    Raises:
        InputError: There are not as many labels as answers.
    """
    if len(truth) != len(answered.predictions):
        raise InputError(
            f"{len(answered.predictions)} labels were expected, one per answer, {len(truth)} came",
            "give the label of every row of the window, and only of these",
        )
    if task == "regression":
        signed = _numbers(truth) - _numbers(answered.predictions)
        return {LOSS: np.abs(signed), RESIDUAL: signed}
    places = {category_text(label): place for place, label in enumerate(classes)}
    at = np.array([places.get(category_text(label), -1) for label in truth], dtype=np.int64)
    if answered.probabilities is None:
        said = np.array([places.get(category_text(label), -2) for label in answered.predictions], dtype=np.int64)
        wrong = np.where(said == -2, np.nan, (said != at).astype(np.float64))
        return {LOSS: wrong, RESIDUAL: wrong}
    shown = answered.probabilities
    # The truth may be a class that the model does not know: it gave it nothing.
    given = np.where(at >= 0, shown[np.arange(len(at)), np.maximum(at, 0)], 0.0 * shown[:, 0])
    with np.errstate(invalid="ignore"):
        loss = -np.log(np.clip(given, _SUREST, 1.0))
    if task == "binary":
        of = list(classes).index(positive)
        return {LOSS: loss, RESIDUAL: (at == of).astype(np.float64) - shown[:, of]}
    return {LOSS: loss, RESIDUAL: (at == shown.argmax(axis=1)).astype(np.float64) - shown.max(axis=1)}


def _numbers(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)

"""What a model answers, in the one form that gates, packages and endpoints share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.contract.target import Task

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Answers:
    """The answers to n rows, in the order of the rows.

    Attributes:
        labels: Classification: (n,) object array of the classes, in the type they have in the training data; else None.
        probabilities: Classification: (n, k) float64, columns in the order of the model's classes; else None.
        values: Regression: (n,) float64, in the unit of the target; else None.
    """

    labels: NDArray[Any] | None = None
    probabilities: NDArray[np.float64] | None = None
    values: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        found = self.values if self.values is not None else self.probabilities
        return 0 if found is None else len(found)


def class_array(classes: Sequence[Any]) -> NDArray[Any]:
    """The classes as a (k,) object array, so that an integer, a bool and a string each keep their type."""
    array = np.empty(len(classes), dtype=object)
    array[:] = list(classes)
    return array


def answer(estimator: Any, frame: "pd.DataFrame", classes: Sequence[Any], task: Task) -> Answers:
    """Ask a fitted pipeline.

    Args:
        estimator: What `training.train` fitted; a classifier was fitted on positions in `classes`, not on classes.
        frame: (n, columns) frame from `inputs.to_frame`; n may be 0.
        classes: The k classes in the model's order; ignored in regression.
        task: What the model was trained for.

    Returns:
        Answers; the label is the class of the largest probability, the first one on a tie.
    """
    if task == "regression":
        values = estimator.predict(frame) if len(frame) else np.empty(0)
        return Answers(values=np.asarray(values, dtype=np.float64).reshape(-1))
    if not len(frame):
        return Answers(labels=np.empty(0, dtype=object), probabilities=np.empty((0, len(classes))))
    probabilities = np.asarray(estimator.predict_proba(frame), dtype=np.float64)
    return Answers(labels=class_array(classes)[probabilities.argmax(axis=1)], probabilities=probabilities)

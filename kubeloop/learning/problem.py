"""What is to be learned, and fitting it on chosen rows and on nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.contract.estimator import Estimator
from kubeloop.contract.estimators import IMPORTED
from kubeloop.contract.sections import TrainSection
from kubeloop.errors import InputError
from kubeloop.learning.estimators import calibrated, make_estimator
from kubeloop.learning.inputs import InputColumn
from kubeloop.learning.preparation import transformer
from kubeloop.learning.scores import CLASSIFICATION, REGRESSION
from kubeloop.learning.targets import Label
from kubeloop.learning.user_code import UserCode

if TYPE_CHECKING:
    import pandas as pd

Rows = NDArray[np.bool_]


@dataclass(frozen=True)
class Problem:
    """Inputs, frame, and the target as numbers.

    Attributes:
        section: The contract's part.
        parameters: Of the estimator, from contract and search.
        inputs: The model's inputs.
        frame: (n, inputs) development rows as the estimator sees them.
        target: (n,) positions of classes, or numbers.
        classes: In the model's order; empty in regression.
        parts: (validation rows, training rows) of each fold, (n,) bool each.
        code: The user's own transformers, if any.
    """

    section: TrainSection
    parameters: dict[str, Any]
    inputs: list[InputColumn]
    frame: "pd.DataFrame"
    target: NDArray[Any]
    classes: list[Label]
    parts: list[tuple[Rows, Rows]]
    code: UserCode | None = None

    @property
    def regression(self) -> bool:
        """Whether the target is a number."""
        return self.section.target.task == "regression"

    @property
    def words(self) -> Estimator:
        """The contract's estimator."""
        return self.section.estimator

    def unfitted(self) -> Any:
        """The pipeline: features, selection where it is asked, estimator."""
        from sklearn.pipeline import Pipeline

        section, selection = self.section, self.section.features.selection
        further = self.code.parts([column["name"] for column in self.inputs]) if self.code else ()
        steps: list[tuple[str, Any]] = [("features", transformer(self.inputs, section, further))]
        if selection.kind != "none":
            from kubeloop.learning.transformers import KeptColumns

            kept = KeptColumns(selection.kind, selection.keep, classify=not self.regression, seed=section.seed)
            steps.append(("selection", kept))
        estimator = make_estimator(self.words, self.parameters, section.target.task, section.seed)
        return Pipeline([*steps, ("model", calibrated(estimator, self.words))])

    def with_estimator(self, words: Estimator) -> "Problem":
        """The same problem for another learner with its own parameters."""
        section = self.section.model_copy(update={"estimator": words})
        return replace(self, section=section, parameters=dict(words.parameters))

    def teachable(self, rows: Rows) -> bool:
        """Whether a learner can be fitted on these rows: there are some, and of two classes at least."""
        return bool(rows.any()) and (self.regression or len(np.unique(self.target[rows])) > 1)


def fit(problem: Problem, rows: Rows) -> Any:
    """The pipeline fitted on the chosen rows, and on nothing else.

    Raises:
        InputError: scikit-learn refuses the parameters or the data.
    """
    from sklearn.utils._param_validation import InvalidParameterError

    pipeline = problem.unfitted()
    try:
        return pipeline.fit(problem.frame[rows], problem.target[rows])
    except (InvalidParameterError, ValueError) as error:
        raise InputError(
            f"{problem.words.kind} cannot be fitted with {problem.parameters}: {error}",
            "mend estimator.parameters, or the data that the message names",
        ) from error


def answers(problem: Problem, fitted: Any, frame: "pd.DataFrame") -> NDArray[np.float64]:
    """(n,) values, or (n, k) probabilities; a class that was not in the fitted rows has 0."""
    if problem.regression:
        return np.asarray(fitted.predict(frame), dtype=np.float64).reshape(-1)
    if problem.words.kind == IMPORTED:
        return np.asarray(fitted.predict_proba(frame), dtype=np.float64)  # its own order of classes is the model's
    found = np.zeros((len(frame), len(problem.classes)))
    found[:, fitted.classes_.astype(np.int64)] = fitted.predict_proba(frame)
    return found


def metrics_of(problem: Problem) -> Mapping[str, Any]:
    """Functions of truth and answers, by metric."""
    return REGRESSION if problem.regression else CLASSIFICATION

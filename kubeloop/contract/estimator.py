"""The contract's words about the learner, and how it is held against itself."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from kubeloop.contract.base import Strict

ShortName = Literal[
    "logistic_regression",
    "linear",
    "ridge",
    "lasso",
    "elastic_net",
    "k_neighbors",
    "naive_bayes",
    "decision_tree",
    "random_forest",
    "extra_trees",
    "gradient_boosting",
    "ada_boost",
    "mlp",
    "voting",
    "stacking",
    "imported",
]
ImportPath = Annotated[str, StringConstraints(pattern=r"^sklearn\.[a-z_.]+\.[A-Z][A-Za-z]*$")]
Value = str | int | float | bool | None
_PARAMETERS = "By scikit-learn's names; they replace the defaults."


class Member(Strict):
    """One learner of a vote or a stack."""

    kind: ShortName | ImportPath = Field(description="Short name or scikit-learn import path.")
    parameters: dict[str, Value | tuple[int | float, ...]] = Field(default_factory=dict, description=_PARAMETERS)


class Estimator(Strict):
    """A learner by short name or scikit-learn import path, and its parameters in scikit-learn's words."""

    kind: ShortName | ImportPath = Field(
        description="A short name, such as logistic_regression or ridge, or a path such as "
        "sklearn.ensemble.RandomForestClassifier."
    )
    parameters: dict[str, Value | tuple[int | float, ...]] = Field(default_factory=dict, description=_PARAMETERS)
    class_weight: Literal["balanced"] | None = Field(
        None, description="balanced: every class counts the same in training, however rare. Probabilities follow it."
    )
    calibration: Literal["sigmoid", "isotonic", "temperature"] | None = Field(
        None,
        description="For classes: five learners, each with its probabilities corrected by a fifth of the training rows "
        "that it did not learn from, answer by their mean. isotonic wants a thousand rows or more.",
    )
    members: tuple[Member, ...] = Field((), description="For voting and stacking: the learners that are put together.")
    final: Member | None = Field(None, description="For stacking: the learner on top; a linear one by default.")
    file: str | None = Field(None, description="For imported: a fitted model as skops file, relative to loop.yaml.")
    digest: str | None = Field(None, description="For imported: the digest that the file must have.")
    unseen_test: bool = Field(
        False, description="For imported: you vouch that the model was not fitted on the test rows of this contract."
    )


class CrossValidation(Strict):
    """How development rows are parted for choosing and judging before the test."""

    kind: Literal["folds", "group", "time"] = Field(
        "folds",
        description="folds: as `split` parted them; group: rows of one data.group stay together; time: only the past "
        "teaches, by data.time.",
    )
    folds: int | None = Field(None, ge=2, le=20, description="How many parts, for group and time; split.folds if not.")

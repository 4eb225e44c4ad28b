"""The contract's words about metrics, slices and gates."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from kubeloop.contract.base import Name, Strict

MetricName = Literal[
    "accuracy",
    "precision",
    "recall",
    "f1",
    "roc_auc",
    "pr_auc",
    "log_loss",
    "brier",
    "calibration_error",
    "rmse",
    "mae",
    "r2",
    "mape",
]

Percent = Annotated[str, StringConstraints(pattern=r"^(100|[0-9]{1,2}(\.[0-9]{1,4})?)%$")]
"""A share of something, such as `2%`."""

METRICS_OF_TASK: dict[str, tuple[MetricName, ...]] = {
    "binary": (
        "roc_auc",
        "accuracy",
        "log_loss",
        "precision",
        "recall",
        "f1",
        "pr_auc",
        "brier",
        "calibration_error",
    ),
    "multiclass": (
        "accuracy",
        "roc_auc",
        "log_loss",
        "precision",
        "recall",
        "f1",
        "pr_auc",
        "brier",
        "calibration_error",
    ),
    "regression": ("rmse", "mae", "r2", "mape"),
}
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "calibration_error", "rmse", "mae", "mape"})
HIGHER_IS_BETTER: dict[str, bool] = {
    name: name not in LOWER_IS_BETTER for names in METRICS_OF_TASK.values() for name in names
}
RANGES: dict[str, tuple[float | None, float | None]] = {
    **dict.fromkeys(("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "calibration_error"), (0.0, 1.0)),
    "brier": (0.0, 2.0),
    **dict.fromkeys(("log_loss", "rmse", "mae", "mape"), (0.0, None)),
    "r2": (None, 1.0),
}
"""The values that a metric can have."""

DAY = "day"
"""The word of `gate.blocks` for the UTC day of data.time."""


class Threshold(Strict):
    """A bound that the whole confidence interval must keep."""

    at_least: float | None = Field(None, description="For metrics where more is better.")
    at_most: float | None = Field(None, description="For metrics where less is better.")


class Metrics(Strict):
    """What is measured on the test rows, and what it must be."""

    primary: MetricName = Field(description="The metric on which champion and challenger are compared.")
    also: tuple[MetricName, ...] = Field((), description="Further metrics to report.")
    thresholds: dict[MetricName, Threshold] = Field(
        default_factory=dict, description="By metric: the bound that its whole confidence interval must keep."
    )


class ChampionComparison(Strict):
    """Challenger against champion, paired on rows that neither has seen."""

    margin: Annotated[float, Field(ge=0)] | Percent = Field(
        "2%",
        description="How much worse on the primary metric the challenger may be: a share of the champion's value on "
        "the same rows, such as `2%`, or a number in the metric's own unit, such as 0.02.",
    )


class Gate(Strict):
    """When the gates say yes."""

    confidence: float = Field(0.95, gt=0.5, lt=1, description="Of all intervals.")
    minimum_rows: int = Field(30, ge=1, description="Fewer test rows than this: inconclusive.")
    quarantine_at_most: float = Field(0.05, ge=0, le=1, description="Share of rows that may break a row rule.")
    champion: ChampionComparison = ChampionComparison()
    blocks: str | None = Field(
        None,
        min_length=1,
        description="Rows with equal values depend on each other: a column, or `day` of data.time. Without it: "
        "data.group, else data.id where ids repeat.",
    )
    worst_slice: Threshold | None = Field(
        None, description="A bound on the primary metric that every slice must keep, the worst one too."
    )


class Slice(Threshold):
    """A part of the population that is judged on its own, on the primary metric."""

    name: Name = Field(description="Name of the slice.")
    where: str = Field(description="An expression over columns, such as `age >= 65`.")

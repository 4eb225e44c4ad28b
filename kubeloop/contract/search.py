"""The contract's words about the search for hyperparameters."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from kubeloop.contract.base import Strict
from kubeloop.contract.durations import Duration
from kubeloop.contract.estimator import ShortName, Value

GroupName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]


class Range(Strict):
    """What one parameter of the estimator may be."""

    type: Literal["double", "int", "categorical", "discrete"] = Field(
        description="double and int lie between low and high; categorical and discrete (numbers) are one of values."
    )
    low: int | float | None = Field(None, description="The least, inclusive.")
    high: int | float | None = Field(None, description="The most, inclusive.")
    step: int | float | None = Field(None, gt=0, description="Distance of neighbours; the grid needs one for a double.")
    scale: Literal["uniform", "log"] = Field("uniform", description="log: each power of ten is as likely as the next.")
    values: tuple[Value, ...] = Field((), description="For categorical and discrete.")


class EarlyStop(Strict):
    """Ends a trial whose mean over its first folds is worse than that of the trials before."""

    after_trials: int = Field(3, ge=1, description="So many trials must have finished.")
    after_folds: int = Field(2, ge=1, description="Where it is looked at, once.")


class Search(Strict):
    """A search over the estimator's parameters, on development rows alone; the metric is metrics.primary."""

    trials: int = Field(20, ge=1, le=1000, description="At most so many sets of parameters are tried.")
    algorithm: Literal[
        "random", "grid", "tpe", "multivariate-tpe", "bayesianoptimization", "cmaes", "sobol", "hyperband"
    ] = Field("tpe", description="How the next one is chosen; Katib's names.")
    settings: dict[str, str] = Field(default_factory=dict, description="Of the algorithm, as Katib has them.")
    parallel: int = Field(1, ge=1, le=100, description="So many at once; with 1, the same seed gives the same search.")
    failures: int | None = Field(5, ge=0, description="The search ends at so many failed trials.")
    goal: int | float | None = Field(None, description="Of metrics.primary; the search ends where it is reached.")
    trial_limit: Duration | None = Field(None, description="How long one trial may take: 10min.")
    early_stopping: EarlyStop | None = Field(None, description="Gives up bad trials; off without it.")
    parameters: dict[str, Range] = Field(
        default_factory=dict, description="Of estimator.kind, by scikit-learn's names."
    )
    estimators: dict[ShortName, dict[str, Range]] = Field(
        default_factory=dict, description="Further estimators to choose from, each with its own parameters."
    )
    leave_out: dict[GroupName, tuple[str, ...]] = Field(
        default_factory=dict, description="Groups of columns that may be left out together."
    )

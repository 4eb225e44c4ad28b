"""The contract's words about features."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from kubeloop.contract.base import Strict
from kubeloop.contract.durations import Duration

NumericImpute = Literal["median", "mean", "mode", "random_sample", "constant"]
Scale = Literal["standard", "robust", "none"]
Encode = Literal["one_hot", "ordinal", "target"]
DatePart = Literal[
    "year", "quarter", "month", "week", "day", "day_of_year", "weekday", "weekend", "hour", "minute", "epoch_days"
]
FeatureName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Pair = Annotated[tuple[str, ...], Field(min_length=2, max_length=2)]


class NumericFeatures(Strict):
    """Treatment of numeric columns."""

    impute: NumericImpute = Field(
        "median",
        description="What stands in for a missing number; random_sample draws, from the seed and the row itself, one "
        "of 101 quantiles of the training rows.",
    )
    fill: float = Field(0.0, description="What stands in for a missing number with `impute: constant`.")
    indicator: bool = Field(False, description="Whether a column that says `was missing` is added.")
    scale: Scale = Field(
        "standard", description="standard: mean 0 and deviation 1; robust: by median and quartiles; none: as it is."
    )


class CategoricalFeatures(Strict):
    """Treatment of categories."""

    impute: Literal["own", "mode"] = Field(
        "own", description="own: a missing category is a category; mode: it counts as the most frequent one."
    )
    encode: Encode = Field(
        "one_hot",
        description="one_hot: a column per category; ordinal: one number, for trees; target: mean of the target, "
        "cross-fitted.",
    )
    min_frequency: int | None = Field(None, ge=2, description="Rarer categories are put together.")


class ColumnFeatures(Strict):
    """Treatment of one column, where it differs from the rest; a text column with `encode` becomes a category."""

    impute: Literal[NumericImpute, "own"] | None = Field(None, description="As in numeric or categorical.")
    fill: float | None = Field(None, description="As in numeric.")
    indicator: bool | None = Field(None, description="As in numeric.")
    scale: Scale | None = Field(None, description="As in numeric.")
    encode: Encode | None = Field(None, description="As in categorical.")
    min_frequency: int | None = Field(None, ge=2, description="As in categorical.")


class Window(Strict):
    """An aggregate over the past of a row: rows of equal `by` that are strictly earlier, at most `over` ago."""

    name: FeatureName = Field(description="Name of the feature; requests to the endpoint carry it.")
    function: Literal["count", "mean", "sum", "minimum", "maximum"] = Field(description="What is computed.")
    column: str | None = Field(None, description="Numeric column that is aggregated; none for count.")
    by: tuple[str, ...] = Field((), description="Columns whose values must be equal; none: all rows.")
    over: Duration = Field(description="How far back: 90min, 12h, 7d.")


class Selection(Strict):
    """Which of the encoded features the estimator gets to see; chosen anew inside every fold."""

    kind: Literal["none", "filter", "l1", "permutation"] = Field(
        "none",
        description="filter: F test of each one; l1: size of the coefficients of a sparse linear model; permutation: "
        "loss of a small forest on rows it did not see when the feature is shuffled.",
    )
    keep: int | None = Field(None, ge=1, description="How many stay; without it those that count for anything.")


class Holidays(Strict):
    """Whether a day is a public holiday; from the library `holidays`, kept in the model as plain dates."""

    column: str = Field(description="A timestamp or date column.")
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] = Field(description="ISO code, such as US.")
    subdivision: str | None = Field(None, description="State or province, such as NY.")


class Features(Strict):
    """From columns to what the estimator sees."""

    use: tuple[str, ...] | None = Field(None, description="Columns to use; all allowed ones by default.")
    drop: tuple[str, ...] = Field((), description="Columns not to use.")
    numeric: NumericFeatures = NumericFeatures()
    categorical: CategoricalFeatures = CategoricalFeatures()
    columns: dict[str, ColumnFeatures] = Field(default_factory=dict, description="Treatment of single columns.")
    dates: dict[str, tuple[DatePart, ...]] = Field(
        default_factory=dict, description="Parts of timestamp and date columns that become features, in UTC."
    )
    holidays: Holidays | None = Field(None, description="Public holidays of a country as a feature.")
    interactions: tuple[Pair, ...] = Field(
        (), description="Pairs of columns: the product of two numbers, or the combination of two categories."
    )
    windows: tuple[Window, ...] = Field((), description="Aggregates over each row's past.")
    code: str | None = Field(
        None,
        description="A Python file, relative to loop.yaml, with `transformers(columns)`; imported in training only.",
    )
    selection: Selection = Selection()

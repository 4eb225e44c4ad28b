"""From the model's inputs to numbers: one ColumnTransformer, put together column by column as the contract says."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from kubeloop.contract.sections import TrainSection
from kubeloop.digests import document_digest
from kubeloop.learning.inputs import InputColumn

Part = tuple[str, Any, list[str]]
FORMAT = 1
"""Of the treatments: raised when the same words come to mean something else."""

_NUMBERS = ("number", "boolean")


@dataclass(frozen=True)
class Treatment:
    """What is done with one column; equal treatments are done in one part."""

    kind: str
    impute: str = ""
    fill: float = 0.0
    scale: str = "none"
    encode: str = ""
    min_frequency: int | None = None
    parts: tuple[str, ...] = ()


def treatment(section: TrainSection, column: InputColumn) -> Treatment:
    """What the contract says of one input."""
    features, kind = section.features, column["kind"]
    own = features.columns.get(column["name"])
    if kind == "timestamp":
        return Treatment(kind, scale=features.numeric.scale, parts=features.dates.get(column["name"], ()))
    if kind == "category":
        words = features.categorical
        return Treatment(
            kind,
            impute=(own and own.impute) or words.impute,
            encode=(own and own.encode) or words.encode,
            min_frequency=(own and own.min_frequency) or words.min_frequency,
        )
    numeric = features.numeric
    usual = ("mode", "none") if kind == "boolean" else (numeric.impute, numeric.scale)
    impute = (own and own.impute) or usual[0]
    fill = own.fill if own is not None and own.fill is not None else numeric.fill
    return Treatment(kind, impute, fill if impute == "constant" else 0.0, (own and own.scale) or usual[1])


def flagged(section: TrainSection, column: InputColumn) -> bool:
    """Whether a column that says `was missing` is added."""
    own = section.features.columns.get(column["name"])
    wanted = own.indicator if own is not None and own.indicator is not None else section.features.numeric.indicator
    return column["kind"] in _NUMBERS and wanted


def version_of(section: TrainSection, column: InputColumn, code: str | None) -> str:
    """12 digits that change when a feature becomes another one: its column, its treatment, its partners, its code.

    Args:
        section: The contract's part.
        column: The input.
        code: Digest of the user's own transformers.
    """
    name = column["name"]
    windows = [window.model_dump(mode="json") for window in section.features.windows if window.name == name]
    holidays = section.features.holidays
    document = {
        "format": FORMAT,
        "column": name,
        "treatment": asdict(treatment(section, column)),
        "flagged": flagged(section, column),
        "with": sorted([*pair] for pair in section.features.interactions if name in pair),
        "window": windows,
        "holidays": holidays.model_dump(mode="json") if holidays and holidays.column == name else None,
        "code": code,
    }
    return document_digest(document)[7:19]


def transformer(inputs: list[InputColumn], section: TrainSection, further: tuple[Part, ...] = ()) -> Any:
    """An unfitted ColumnTransformer.

    A missing category is a category of its own where training saw one. One that training did not see, missing or not,
    is none (one-hot: all zeros, or the group of rare ones where `min_frequency` made one; ordinal: -1; target: the
    mean of all rows).

    Args:
        inputs: The model's inputs.
        section: The contract's part.
        further: Parts that the user brought.
    """
    from sklearn.compose import ColumnTransformer

    return ColumnTransformer([*_parts(inputs, section), *further])


def _parts(inputs: list[InputColumn], section: TrainSection) -> Iterator[Part]:
    groups: dict[Treatment, list[str]] = {}
    order = {kind: place for place, kind in enumerate(("number", "boolean", "category", "timestamp"))}
    for column in sorted(inputs, key=lambda each: order[each["kind"]]):
        groups.setdefault(treatment(section, column), []).append(column["name"])
    seen: dict[str, int] = {}
    numbers = [column["name"] for column in inputs if column["kind"] in _NUMBERS]
    for how, names in groups.items():
        if how.kind == "timestamp" and not how.parts:
            continue  # its holidays alone
        seen[how.kind] = seen.get(how.kind, 0) + 1
        label = how.kind if seen[how.kind] == 1 else f"{how.kind}-{seen[how.kind]}"
        # A random draw depends on the whole row, so that equal gaps in unlike rows are filled unlike.
        others = [name for name in numbers if name not in names] if how.impute == "random_sample" else []
        yield label, _steps(how, len(names), section), names + others
    missing = [column["name"] for column in inputs if flagged(section, column)]
    if missing:
        from kubeloop.learning.transformers import MissingFlags

        yield "missing", MissingFlags(), missing
    yield from _holidays(inputs, section)
    yield from _interactions(inputs, section)


def _steps(how: Treatment, count: int, section: TrainSection) -> Any:
    from sklearn.pipeline import Pipeline

    if how.kind == "category":
        return _categories(how, section)
    steps: list[tuple[str, Any]] = []
    if how.kind == "timestamp":
        from kubeloop.learning.transformers import DateParts

        steps = [("parts", DateParts(how.parts)), ("impute", _imputer("median"))]
    elif how.impute == "random_sample":
        from kubeloop.learning.transformers import RandomSampleImputer

        steps = [("impute", RandomSampleImputer(count, section.seed))]
    else:
        steps = [("impute", _imputer(how.impute, how.fill))]
    steps += _scaler(how.scale)
    return steps[0][1] if len(steps) == 1 and how.kind == "boolean" else Pipeline(steps)


def _imputer(how: str, fill: float = 0.0) -> Any:
    from sklearn.impute import SimpleImputer

    strategy = {"mode": "most_frequent"}.get(how, how)
    value = fill if how == "constant" else None
    return SimpleImputer(strategy=strategy, fill_value=value, keep_empty_features=True)


def _scaler(how: str) -> list[tuple[str, Any]]:
    from sklearn.preprocessing import RobustScaler, StandardScaler

    return {"standard": [("scale", StandardScaler())], "robust": [("scale", RobustScaler())], "none": []}[how]


def _categories(how: Treatment, section: TrainSection) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline

    encoder = _encoder(how.encode, how.min_frequency, section)
    if how.impute == "own":
        return encoder
    # Text of its own kind where a column has no value at all: the mode of nothing is an error.
    mode = SimpleImputer(strategy="most_frequent", missing_values=None, keep_empty_features=True)
    return Pipeline([("impute", mode), ("encode", encoder)])


def _encoder(how: str, rare: int | None, section: TrainSection) -> Any:
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

    if how == "target":
        from sklearn.model_selection import KFold, StratifiedKFold

        regression = section.target.task == "regression"
        folds = (KFold if regression else StratifiedKFold)(5, shuffle=True, random_state=section.seed)
        return TargetEncoder(target_type="continuous" if regression else section.target.task, cv=folds)
    if how == "ordinal":
        return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, min_frequency=rare)
    unknown = "ignore" if rare is None else "infrequent_if_exist"
    return OneHotEncoder(handle_unknown=unknown, min_frequency=rare, sparse_output=False)


def _holidays(inputs: list[InputColumn], section: TrainSection) -> Iterator[Part]:
    words = section.features.holidays
    if words is None or words.column not in [column["name"] for column in inputs]:
        return
    from kubeloop.learning.holidays import holiday_dates
    from kubeloop.learning.transformers import DayInList

    yield "holiday", DayInList(holiday_dates(words.country, words.subdivision)), [words.column]


def _interactions(inputs: list[InputColumn], section: TrainSection) -> Iterator[Part]:
    from sklearn.pipeline import Pipeline

    kinds = {column["name"]: column["kind"] for column in inputs}
    for place, pair in enumerate(section.features.interactions, start=1):
        if not set(pair) <= kinds.keys():
            continue  # one of them is constant
        if kinds[pair[0]] == "category":
            from kubeloop.learning.transformers import JoinedCategories

            rare = section.features.categorical.min_frequency
            steps = [("join", JoinedCategories()), ("encode", _encoder("one_hot", rare, section))]
        else:
            from sklearn.preprocessing import PolynomialFeatures

            product = PolynomialFeatures(degree=(2, 2), interaction_only=True, include_bias=False)
            steps = [("impute", _imputer("median")), ("product", product)]
            steps += _scaler(section.features.numeric.scale)
        yield f"interaction-{place}", Pipeline(steps), list(pair)

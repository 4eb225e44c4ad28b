"""Fit a reference profile on training rows: bins, models of what is usual, and what chance does to windows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.contract.monitoring import Detectors
from kubeloop.errors import InputError
from kubeloop.learning.inputs import InputColumn
from kubeloop.monitoring.detectors.answers import Answered, loss_columns, prediction_columns
from kubeloop.monitoring.detectors.rows import read_rows
from kubeloop.monitoring.detectors.unusual import Unusual, fit_unusual
from kubeloop.monitoring.reference.bins import (
    Bins,
    Encoded,
    Ints,
    bin_categories,
    bin_numbers,
    encode_columns,
    row_keys,
)
from kubeloop.monitoring.reference.family import Family, fit_family
from kubeloop.monitoring.reference.null import ENOUGH, Blocks, alone, blocks_by
from kubeloop.monitoring.reference.profile import LOSS, RESIDUAL, Profile
from kubeloop.monitoring.reference.signals import Signal
from kubeloop.monitoring.reference.sites import sites_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_DRAWS = 1000
_MOST_DRAWS = 10_000


@dataclass(frozen=True)
class Model:
    """Whose windows will be judged.

    Attributes:
        name: The model.
        task: `binary`, `multiclass` or `regression`.
        classes: In the order of probabilities; empty in regression.
        positive: The class of interest of a binary task.
        schema: Its inputs.
    """

    name: str
    task: str
    classes: tuple[Any, ...]
    positive: Any
    schema: tuple[InputColumn, ...]


@dataclass(frozen=True)
class Training:
    """n training rows.

    Attributes:
        table: (n, columns).
        answered: What models answered to the rows; without it predictions are not watched.
        truth: (n,) labels or numbers; they make the reference of classes, and with `answered` that of losses.
        dependence: What makes rows depend on each other, for people, and (n,) the block of each row.
        bounds: By column: what the contract allows at least and at most.
        unseen: Whether no answer is of a model that has learned from its row; else losses are not watched, for they
            would be smaller than any to come.
        places: (n,) object, the place that each row comes from, None where it is not known; or None.
    """

    table: "pa.Table | pd.DataFrame"
    answered: Answered | None = None
    truth: NDArray[Any] | None = None
    dependence: tuple[str, Ints] | None = None
    bounds: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    unseen: bool = True
    places: NDArray[Any] | None = None


def fit_profile(model: Model, training: Training, detectors: Detectors, seed: int) -> Profile:
    """The reference profile of training rows.

    Args:
        model: Whose.
        training: The rows.
        detectors: The contract's words.
        seed: Of all that is drawn.

    Returns:
        The profile. What it cannot tell is in its notes.

    Raises:
        InputError: There are no rows, or a column is missing.
    """
    schema, answered, truth, dependence = model.schema, training.answered, training.truth, training.dependence
    rows = read_rows(training.table, schema)
    if not len(rows):
        raise InputError("no row came to fit the reference on, at least one was expected", "give the training rows")
    rng = np.random.default_rng(seed)
    blocks = alone(len(rows)) if dependence is None else blocks_by(*dependence)
    numbers = np.arange(len(rows)) if dependence is None else dependence[1]
    watched = [column for column in schema if column["name"] not in detectors.ignore]
    unusual = fit_unusual(rows.values, watched, detectors, model.task, truth, numbers, seed)
    values = dict(rows.values)
    inputs = [_bins(column, values, detectors, training.bounds.get(column["name"], (None, None))) for column in watched]
    answers = _predictions(model, answered)
    predictions = [_of_answers(key, found, detectors) for key, found in answers.items()]
    columns, values = [*inputs, *predictions], values | answers
    encoded = Encoded(
        encode_columns(columns, values),
        np.column_stack([*outside_flags(inputs, values), rows.mistyped, *unusual.flags]),
        row_keys(rows.values, len(rows)),
    )
    signals = _signals(inputs, predictions)
    signals += [Signal("mistyped", "input"), *unusual.signals, Signal("duplicates", "input")]
    sizes = _sizes(detectors)
    draws = min(_MOST_DRAWS, max(_DRAWS, round(20 / detectors.rate)))
    family = fit_family(signals, columns, encoded, sizes, blocks, draws, detectors.rate, rng)
    labels = None
    if answered is not None and truth is not None and training.unseen:
        losses = loss_columns(answered, truth, model.task, model.classes, model.positive)
        labels = _fit_labels(losses, detectors, sizes, blocks, draws, rng)
    return Profile(
        name=model.name,
        task=model.task,
        classes=model.classes,
        positive=model.positive,
        schema=schema,
        detectors=detectors,
        rows=len(rows),
        dependence=blocks.name,
        blocks=blocks.count if blocks.name else len(rows),
        inputs=family,
        labels=labels,
        outliers=unusual.outliers,
        novel=unusual.novel,
        sites=None if training.places is None else sites_of(training.places, encoded.codes),
        notes=tuple(_notes(family, labels, blocks, detectors, unusual)),
    )


def _predictions(model: Model, answered: Answered | None) -> dict[str, NDArray[Any]]:
    return {} if answered is None else prediction_columns(answered, model.task, model.classes, model.positive)


def outside_flags(columns: Sequence[Bins], values: Mapping[str, NDArray[Any]]) -> list[NDArray[np.bool_]]:
    """For each number column (n,) whether the value is outside its bounds."""
    return [column.outside(values[column.name]) for column in columns if column.edges is not None]


def _bins(
    column: InputColumn,
    values: dict[str, NDArray[Any]],
    detectors: Detectors,
    bounds: tuple[float | None, float | None],
) -> Bins:
    name, found = column["name"], values[column["name"]]
    if column["kind"] == "category":
        known = column["categories"] or []
        return bin_categories(name, found, known, "fet" if len(known) == 2 else "chi_square")
    if column["kind"] == "timestamp":
        return Bins(name, "ks", edges=np.empty(0))  # moments always move on: only their lack is told
    return bin_numbers(name, found, "fet" if column["kind"] == "boolean" else detectors.test, bounds)


def _of_answers(name: str, values: NDArray[Any], detectors: Detectors) -> Bins:
    if values.dtype != object:
        return bin_numbers(name, values, detectors.test, (None, None))
    labels = {value for value in values if value is not None}
    return bin_categories(name, values, (), "fet" if len(labels) == 2 else "chi_square")


def _signals(inputs: Sequence[Bins], predictions: Sequence[Bins]) -> list[Signal]:
    """Distributions first, of all columns, as `statistics` wants it."""
    found = [Signal("drift", "input", column.name) for column in inputs]
    found += [Signal("drift", "prediction", column.name) for column in predictions]
    found += [Signal("missing", "input", column.name) for column in inputs]
    found += [Signal("unseen", "input", column.name) for column in inputs if column.labels is not None]
    return found + [Signal("outside", "input", column.name) for column in inputs if column.edges is not None]


def _fit_labels(
    losses: Mapping[str, NDArray[Any]],
    detectors: Detectors,
    sizes: Sequence[int],
    blocks: Blocks,
    draws: int,
    rng: np.random.Generator,
) -> Family | None:
    known = np.flatnonzero(np.isfinite(losses[LOSS]))
    if not known.size:
        return None
    values = {key: found[known] for key, found in losses.items()}
    columns = [bin_numbers(key, found, detectors.test, (None, None)) for key, found in values.items()]
    encoded = encode_losses(columns, values)
    among = alone(known.size)
    if blocks.name:
        number = np.empty(len(blocks.order), dtype=np.int64)
        number[blocks.order] = np.repeat(np.arange(blocks.count), np.diff(blocks.starts))
        among = blocks_by(blocks.name, number[known])
    signals = [Signal("loss", "labels", LOSS), Signal("residual", "labels", RESIDUAL)]
    return fit_family(signals, columns, encoded, sizes, among, draws, detectors.rate, rng)


def encode_losses(columns: Sequence[Bins], values: Mapping[str, NDArray[Any]]) -> Encoded:
    """Losses as detectors see them: no flags, and no two rows are the same."""
    codes = encode_columns(columns, values)
    return Encoded(codes, np.zeros((len(codes), 0), dtype=bool), np.arange(len(codes), dtype=np.uint64))


def _sizes(detectors: Detectors) -> list[int]:
    """The full window, halves of it, and the smallest that is judged."""
    size, least = detectors.window.rows, detectors.window.minimum_rows
    found = [size >> times for times in range(size.bit_length()) if size >> times > least]
    return [*found, min(size, least)]


def _notes(family: Family, labels: Family | None, blocks: Blocks, detectors: Detectors, unusual: Unusual) -> list[str]:
    notes = list(unusual.notes)
    if not family.nulls:
        notes.append(
            f"{family.rows} training rows are too few for windows of {detectors.window.minimum_rows} rows: "
            "nothing is told"
        )
    elif family.nulls[-1].size < detectors.window.rows:
        notes.append(
            f"the training rows suffice for windows of {family.nulls[-1].size} rows, not of {detectors.window.rows}: "
            "so a window is full with these"
        )
    least = min((null.least for null in family.nulls), default=0.0)
    if family.nulls and least > detectors.rate:
        notes.append(
            f"{blocks.count} blocks ({blocks.name}) cannot show a rate of false alarms below {least:.3f}, and "
            f"{detectors.rate:g} is asked: no signal can be told; give more training rows or a higher rate"
        )
    elif family.nulls and min(null.evidence for null in family.nulls) < ENOUGH:
        upper = max(null.upper(detectors.rate) for null in family.nulls)
        notes.append(
            f"{blocks.count} blocks ({blocks.name}) are few: {detectors.rate:g} is the mean rate of false alarms over "
            f"references of so many blocks, and nine of ten of them stay below {upper:.2f}"
        )
    if labels is None:
        notes.append("no held-out answers with their truth: lost performance is not told")
    constant = [column.name for column in family.columns if column.edges is not None and not len(column.edges)]
    if constant:
        notes.append(f"too few different values in training to tell drift of: {', '.join(constant)}")
    return notes

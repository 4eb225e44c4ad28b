"""How a column is distributed in a window and in training: enough to draw it, from counts in bins, never from rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.monitoring.detectors.answers import Answered, loss_columns, prediction_columns
from kubeloop.monitoring.detectors.rows import read_rows
from kubeloop.monitoring.reference.bins import MISSING, UNSEEN, Bins, Floats, Ints, count, encode_columns
from kubeloop.monitoring.reference.family import Family
from kubeloop.monitoring.reference.fit import encode_losses
from kubeloop.monitoring.reference.profile import Profile
from kubeloop.monitoring.windows.verdict import Verdict

if TYPE_CHECKING:
    import pyarrow as pa

_DRAWN = 6
"""Columns that are drawn at most, unless more are told."""
_KNOTS = 48
_LABELS = 10


@dataclass(frozen=True)
class Shape:
    """One column.

    Attributes:
        column: Its name.
        signal: The signal of its distribution.
        told: Whether the window told it.
        effect: Its distance beyond chance.
        at: Numbers: (k,) values; empty for categories.
        labels: Categories: (k,) names, the most frequent first; the last may stand for others.
        training: Numbers: (k,) share of the training rows at or below each value; categories: share of each.
        window: Likewise, of the window's rows.
        missing: Share of rows without a value: in training, in the window.
    """

    column: str
    signal: str
    told: bool
    effect: float
    at: tuple[float, ...]
    labels: tuple[str, ...]
    training: tuple[float, ...]
    window: tuple[float, ...]
    missing: tuple[float, float]


def input_shapes(profile: Profile, table: "pa.Table", answered: Answered, verdict: Verdict) -> tuple[Shape, ...]:
    """Of inputs and predictions.

    Args:
        profile: The reference.
        table: The window's rows.
        answered: Their answers.
        verdict: Of the window; one that was not judged has no shapes.
    """
    chosen = _chosen(verdict)
    if not chosen:
        return ()
    values: dict[str, NDArray[Any]] = dict(read_rows(table, profile.schema).values)
    if any(one.group == "prediction" for one in profile.inputs.signals):
        values |= prediction_columns(answered, profile.task, profile.classes, profile.positive)
    return _shapes(profile.inputs, count(encode_columns(profile.inputs.columns, values)), chosen)


def label_shapes(profile: Profile, answered: Answered, truth: NDArray[Any], verdict: Verdict) -> tuple[Shape, ...]:
    """Of losses; the arguments are those of `input_shapes`, and (n,) the truth."""
    chosen = _chosen(verdict)
    if not chosen or profile.labels is None:
        return ()
    losses = loss_columns(answered, truth, profile.task, profile.classes, profile.positive)
    return _shapes(profile.labels, count(encode_losses(profile.labels.columns, losses).codes), chosen)


def _chosen(verdict: Verdict) -> dict[str, tuple[str, bool, float]]:
    """By column: signal, whether told, effect; what moved most comes first."""
    apart = [one for one in verdict.said if not one.answer.signal.share and np.isfinite(one.answer.statistic)]
    apart.sort(key=lambda one: (not one.told, -one.answer.effect))
    told = sum(one.told for one in apart)
    return {
        one.answer.signal.column: (one.answer.signal.name, one.told, one.answer.effect)
        for one in apart[: max(_DRAWN, told)]
    }


def _shapes(family: Family, counts: Ints, chosen: dict[str, tuple[str, bool, float]]) -> tuple[Shape, ...]:
    places = {column.name: place for place, column in enumerate(family.columns)}
    return tuple(
        _shape(family.columns[places[name]], family.bins[places[name]], counts[places[name]], *words)
        for name, words in chosen.items()
    )


def _shape(column: Bins, training: Ints, window: Ints, signal: str, told: bool, effect: float) -> Shape:
    missing = tuple(float(each[MISSING] / max(each.sum(), 1)) for each in (training, window))
    at: Sequence[float] = ()
    labels: tuple[str, ...] = ()
    if column.edges is not None:
        at, shares = _curves(column.edges, (training, window))
    else:
        labels, shares = _bars(column.labels or (), (training, window))
    return Shape(
        column.name,
        signal,
        told,
        effect,
        tuple(at),
        labels,
        tuple(shares[0].tolist()),
        tuple(shares[1].tolist()),
        (missing[0], missing[1]),
    )


def _curves(edges: Floats, both: Sequence[Ints]) -> tuple[list[float], list[Floats]]:
    """Cumulative shares at some of the edges, evenly chosen."""
    places = np.unique(np.linspace(0, max(len(edges) - 1, 0), min(_KNOTS, len(edges))).astype(np.int64))
    rising = [np.cumsum(each[:UNSEEN]) / max(int(each[:UNSEEN].sum()), 1) for each in both]
    return edges[places].tolist(), [each[places] for each in rising]


def _bars(names: Sequence[str], both: Sequence[Ints]) -> tuple[tuple[str, ...], list[Floats]]:
    """Shares of the most frequent categories, of all others, and of those that training never saw."""
    shares = [each[: UNSEEN + 1] / max(int(each[: UNSEEN + 1].sum()), 1) for each in both]
    known = min(len(names), UNSEEN)
    order = np.argsort(-np.maximum(shares[0][:known], shares[1][:known]), kind="stable")
    shown, others = order[:_LABELS], order[_LABELS:]
    labels = [names[place] for place in shown]
    parts = [each[shown] for each in shares]
    for words, places in (("all others", others), ("never seen in training", np.array([UNSEEN]))):
        if sum(float(each[places].sum()) for each in shares):
            labels.append(words)
            parts = [np.append(part, each[places].sum()) for part, each in zip(parts, shares, strict=True)]
    return tuple(labels), parts

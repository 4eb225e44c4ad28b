"""Performance on mature rows whose truth is known, with the metrics and intervals by which the gate judges."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.contract.judgement import DAY, METRICS_OF_TASK
from kubeloop.evaluation.bootstrap import Estimate
from kubeloop.evaluation.judged import Judged
from kubeloop.evaluation.metrics import DECISIONS, measure
from kubeloop.learning.inputs import category_text
from kubeloop.monitoring.labels.joining import Joined
from kubeloop.monitoring.log.windows import Window


@dataclass(frozen=True)
class Measured:
    """Metrics of a window.

    Attributes:
        rows: Rows they are of.
        metrics: By name, with intervals.
        undefined: By name: why there is none.
        unknown: Rows whose true class the model does not have; they are in no metric, and a signal of their own.
    """

    rows: int
    metrics: dict[str, Estimate] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)
    unknown: int = 0


def measured(
    joined: Joined, chosen: NDArray[np.bool_], confidence: float, seed: int, blocks: str | None = None
) -> Measured:
    """The metrics of chosen rows.

    Args:
        joined: A window with its labels.
        chosen: (n,) rows to use, such as the mature ones; those without label or answer are left out.
        confidence: Of the intervals.
        seed: Of the bootstraps.
        blocks: `day`, or a feature: rows of equal value depend on each other; None: no row on another.
    """
    found, unknown = judged_rows(joined, chosen, blocks)
    names = METRICS_OF_TASK[joined.window.model.task]
    answered = joined.window.probabilities is not None or joined.window.model.task == "regression"
    metrics: dict[str, Estimate] = {}
    undefined: dict[str, str] = {}
    for name in names:
        if not answered and name not in DECISIONS:
            undefined[name] = "no probabilities were logged"
            continue
        estimate = measure(name, found, confidence, seed)
        if isinstance(estimate, str):
            undefined[name] = estimate
        else:
            metrics[name] = estimate
    return Measured(len(found), metrics, undefined, unknown)


def judged_rows(joined: Joined, chosen: NDArray[np.bool_], blocks: str | None) -> tuple[Judged, int]:
    """Truth and answers of the chosen rows that have both, and how many have a true class the model lacks."""
    window = joined.window
    rows = chosen & joined.labelled & window.answered
    if window.model.task == "regression":
        values = [_number(value) for value in joined.values]
        answers = np.array([_number(value) for value in window.predictions])
        rows &= np.isfinite(values) & np.isfinite(answers)
        judged = Judged(np.array(values)[rows], answers[rows], True)
        unknown = 0
    else:
        truth = _positions(joined.values, window)
        answers = answered_shares(window)
        unknown = int((rows & (truth < 0)).sum())
        rows = rows & (truth >= 0) & np.isfinite(answers).all(axis=1)
        judged = Judged(truth[rows], answers[rows], False)
    return dataclasses.replace(judged, blocks=_blocks(window, rows, blocks)), unknown


def answered_shares(window: Window) -> NDArray[np.float64]:
    """(n, k) probabilities; without any, 1 for the class that was answered; NaN rows where nothing was."""
    shares = np.full((len(window), len(window.model.classes)), np.nan)
    if window.probabilities is not None:
        shares[:] = window.probabilities
    places = _positions(window.predictions, window)
    bare = np.isnan(shares).any(axis=1) & (places >= 0)
    shares[bare] = 0.0
    shares[np.flatnonzero(bare), places[bare]] = 1.0
    return shares


def _positions(values: Sequence[Any] | NDArray[Any], window: Window) -> NDArray[np.int64]:
    places = {category_text(value): place for place, value in enumerate(window.model.classes)}
    found = [-1 if value is None else places.get(category_text(value), -1) for value in values]
    return np.array(found, dtype=np.int64)


def _number(value: Any) -> float:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return float("nan")
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else float("nan")


def _blocks(window: Window, rows: NDArray[np.bool_], blocks: str | None) -> NDArray[np.int64] | None:
    if blocks == DAY:
        values: Any = window.times.astype("datetime64[D]").astype(np.int64)
    elif blocks is not None and blocks in window.features.column_names:
        values = window.features.column(blocks).to_pylist()
    else:
        return None
    import pandas as pd

    return np.asarray(pd.factorize(np.asarray(values)[rows], use_na_sentinel=True)[0], dtype=np.int64)

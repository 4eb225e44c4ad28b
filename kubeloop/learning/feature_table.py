"""What each feature is worth and costs: gain on rows that did not teach, time, gaps, drift, and what to drop."""

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.contract.judgement import HIGHER_IS_BETTER
from kubeloop.learning.cross_validation import Fold, overlap, summary
from kubeloop.learning.folds import seconds
from kubeloop.learning.inputs import InputColumn
from kubeloop.learning.preparation import version_of
from kubeloop.learning.problem import Problem, answers, metrics_of

if TYPE_CHECKING:
    import pandas as pd

Ints = NDArray[np.int64]

METHOD = (
    "gain: loss of the primary metric on a fold's unseen rows when the column is shuffled, t-interval over folds; "
    "columns that say the same share their gain, so drop one at a time (features.drop)"
)
DRIFT = 0.1
"""A largest distance of two distributions above this, and beyond chance, counts as drift."""
_LEVEL = 0.01
_GAIN_ROWS = 300
_STACKED_ROWS = 30_000
_DRIFT_ROWS = 20_000
_TIMED_ROWS = 500
_BLOCKS = 4
_MOSTLY_NULL = 0.5


def feature_table(problem: Problem, folds: list[Fold], fitted: Any, table: "pd.DataFrame") -> list[dict[str, Any]]:
    """A row per input: name, kind, version, policy, gain (or None), nulls, drift, cost_us, proposal, why.

    No model is fitted here: the folds' own pipelines answer shuffled rows.

    Args:
        problem: What was learned.
        folds: After cross-validation.
        fitted: The final pipeline, whose scoring time is measured.
        table: (n, columns) development rows, for the time column.
    """
    gains = _gains(problem, folds)
    costs = _costs(problem, fitted)
    blocks, over = _blocks(problem, table)
    code = problem.code.digest if problem.code else None
    rows = []
    for column in problem.inputs:
        name = column["name"]
        told = problem.section.data.columns.get(name)
        found: dict[str, Any] = {
            "name": name,
            "kind": column["kind"],
            "version": version_of(problem.section, column, code),
            "policy": (told.policy if told else None) or "none",
            "gain": gains.get(name),
            "nulls": float(problem.frame[name].isna().mean()),
            "drift": _drift(problem.frame[name].to_numpy(), column, blocks),
            "drift_over": over,
            "cost_us": costs.get(name),
        }
        rows.append(found | _proposal(found))
    return rows


def _gains(problem: Problem, folds: list[Fold]) -> dict[str, dict[str, Any]]:
    metric = problem.section.metrics.primary
    names = [column["name"] for column in problem.inputs]
    lost: dict[str, list[float | None]] = {name: [] for name in names}
    if metric not in metrics_of(problem):
        return {}
    for place, fold in enumerate(folds):
        found = _lost(problem, fold, metric, problem.section.seed + place) if fold.fitted is not None else {}
        for name in names:
            value = found.get(name, math.nan)
            lost[name].append(value if math.isfinite(value) else None)
    ratio = overlap(problem.parts)
    return {name: done for name in names if (done := summary(lost[name], (None, None), ratio)) is not None}


def _lost(problem: Problem, fold: Fold, metric: str, seed: int) -> dict[str, float]:
    """How much worse the metric is for each shuffled column; all shuffled frames are asked in few calls."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    rows: Ints = np.flatnonzero(fold.inside)
    if len(rows) > _GAIN_ROWS:
        rows = np.sort(rng.choice(rows, _GAIN_ROWS, replace=False))
    held, truth = problem.frame.iloc[rows].reset_index(drop=True), problem.target[rows]
    score, sign = metrics_of(problem)[metric], 1.0 if HIGHER_IS_BETTER[metric] else -1.0
    base = float(score(truth, answers(problem, fold.fitted, held)))
    names = [column["name"] for column in problem.inputs]
    at_once = max(1, _STACKED_ROWS // max(1, len(rows)))
    found: dict[str, float] = {}
    for start in range(0, len(names), at_once):
        chunk = names[start : start + at_once]
        frames = [held.assign(**{name: held[name].to_numpy()[rng.permutation(len(rows))]}) for name in chunk]
        answered = answers(problem, fold.fitted, pd.concat(frames, ignore_index=True))
        for place, name in enumerate(chunk):
            part = answered[place * len(rows) : (place + 1) * len(rows)]
            found[name] = sign * (base - float(score(truth, part)))
    return found


def _costs(problem: Problem, fitted: Any) -> dict[str, float]:
    """Microseconds a row: the time of each part of the transformer, shared among the part's columns."""
    parts = getattr(fitted, "named_steps", {}).get("features")
    costs: dict[str, float] = {}
    frame = problem.frame.iloc[:_TIMED_ROWS]
    for _, one, columns in getattr(parts, "transformers_", ()):
        if not hasattr(one, "transform") or not len(columns):
            continue
        part = frame[list(columns)]
        took = []
        for _ in range(2):
            begun = time.perf_counter()
            one.transform(part)
            took.append(time.perf_counter() - begun)
        for name in columns:
            costs[str(name)] = costs.get(str(name), 0.0) + min(took) * 1e6 / max(1, len(frame)) / len(columns)
    return {name: round(cost, 3) for name, cost in costs.items()}


def _blocks(problem: Problem, table: "pd.DataFrame") -> tuple[list[Ints], str]:
    """Rows in four spans of time where there is a time, else those of each fold."""
    time_column = problem.section.data.time
    if time_column is not None and time_column in table.columns:
        moments = seconds(table[time_column])
        order = np.argsort(moments, kind="stable")[: int(np.isfinite(moments).sum())]
        if len(order) >= _BLOCKS and moments[order[0]] < moments[order[-1]]:
            return [np.asarray(block) for block in np.array_split(order, _BLOCKS)], "time"
    return [np.flatnonzero(inside) for inside, _ in problem.parts], "folds"


def _drift(values: NDArray[Any], column: InputColumn, blocks: list[Ints]) -> float | None:
    """Share of the blocks whose values are distributed unlike those of all other blocks; None with one block."""
    if len(blocks) < 2:
        return None
    rng = np.random.default_rng(0)
    thin = [b if len(b) * len(blocks) <= _DRIFT_ROWS else rng.choice(b, _DRIFT_ROWS // len(blocks)) for b in blocks]
    codes = _codes(values, column)
    unlike = 0
    for place, block in enumerate(thin):
        others = np.concatenate([other for spot, other in enumerate(thin) if spot != place])
        unlike += _unlike(codes[block], codes[others], column["kind"] == "category", len(blocks))
    return unlike / len(blocks)


def _codes(values: NDArray[Any], column: InputColumn) -> NDArray[np.float64]:
    if column["kind"] != "category":
        return np.asarray(values, dtype=np.float64)
    places = {text: place for place, text in enumerate(column["categories"] or [])}
    return np.array([places.get(value, -1) for value in values], dtype=np.float64)


def _unlike(one: NDArray[np.float64], other: NDArray[np.float64], category: bool, tests: int) -> bool:
    """Distance above `DRIFT` and p below 0.01, shared among the tests: chi-squared, or Kolmogorov-Smirnov."""
    from scipy.stats import chi2_contingency, ks_2samp

    one, other = one[~np.isnan(one)], other[~np.isnan(other)]
    if not len(one) or not len(other):
        return len(one) != len(other)
    if not category:
        found = ks_2samp(one, other, method="asymp")
        return bool(found.statistic > DRIFT and found.pvalue < _LEVEL / tests)
    kinds = np.unique(np.concatenate([one, other]))
    counts = np.array([[np.count_nonzero(side == kind) for kind in kinds] for side in (one, other)])
    shares = counts / counts.sum(axis=1, keepdims=True)
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    return len(kinds) > 1 and distance > DRIFT and float(chi2_contingency(counts).pvalue) < _LEVEL / tests


def _proposal(found: dict[str, Any]) -> dict[str, str]:
    """`keep`, `watch` or `drop`, and why."""
    gain, drift = found["gain"], found["drift"]
    if gain is None:
        return {"proposal": "watch", "why": "its gain could not be measured"}
    useful = gain["low"] is not None and gain["low"] > 0
    if gain["mean"] <= 0 and not useful:
        return {"proposal": "drop", "why": "shuffling it costs nothing"}
    if found["nulls"] > _MOSTLY_NULL and not useful:
        return {"proposal": "drop", "why": f"missing in {found['nulls']:.0%} of the rows, and no sure gain"}
    if drift:
        return {"proposal": "watch", "why": f"drifts over {found['drift_over']} in {drift:.0%} of the parts"}
    if not useful:
        return {"proposal": "watch", "why": "its gain may be chance"}
    return {"proposal": "keep", "why": "a sure gain"}

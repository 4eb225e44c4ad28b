"""Cross-validation: scores with intervals, the linear rival beside them, the gap from training to validation."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.contract.estimator import Estimator
from kubeloop.contract.estimators import LINEAR, import_path
from kubeloop.contract.judgement import HIGHER_IS_BETTER, METRICS_OF_TASK
from kubeloop.learning.estimators import rival_of
from kubeloop.learning.problem import Problem, Rows, answers, fit, metrics_of
from kubeloop.learning.scores import RANGES

CONFIDENCE = 0.95
METHOD = "t-interval over folds, widened for shared training rows (Nadeau and Bengio 2003)"
WIDE = 0.1
"""A gap of a tenth (of a metric from 0 to 1, or of the validation error) is wide, if the folds agree on it."""
RIVAL_ROWS = 20_000
"""As many rows teach the rival in a fold at most: a line learns little from more."""
_GAP_ROWS = 2_000
_UNIT = ("accuracy", "f1", "pr_auc", "precision", "r2", "recall", "roc_auc")


@dataclass(frozen=True)
class Fold:
    """One fold after fitting; `fitted` is None where its training rows allowed none."""

    fitted: Any
    inside: Rows
    outside: Rows


def fit_folds(problem: Problem) -> list[Fold]:
    """A pipeline per fold, fitted on the fold's training rows alone."""
    return [
        Fold(fit(problem, outside) if problem.teachable(outside) else None, inside, outside)
        for inside, outside in problem.parts
    ]


def held_out(problem: Problem, folds: list[Fold]) -> NDArray[np.float64]:
    """What the pipeline of each fold answers to the fold's validation rows, which it has not learned from.

    Returns:
        (n,) values, or (n, k) probabilities; NaN for rows that no fitted fold validates.
    """
    shape = (len(problem.frame),) if problem.regression else (len(problem.frame), len(problem.classes))
    found = np.full(shape, np.nan)
    for fold in folds:
        if fold.fitted is not None and fold.inside.any():
            found[fold.inside] = answers(problem, fold.fitted, problem.frame[fold.inside])
    return found


def cross_validate(
    problem: Problem, folds: list[Fold], held: NDArray[np.float64] | None = None
) -> dict[str, dict[str, Any]]:
    """Metrics over the folds, each fold scored by a pipeline that saw only others.

    Args:
        problem: What is learned.
        folds: Fitted.
        held: From `held_out`, where it is there already.

    Returns:
        metric -> mean, low, high, folds. A fold in which a metric is undefined (a class missing) is None in `folds` and
        left out of the mean; a metric that is undefined in all folds is left out. Low and high are None for one fold.
    """
    metrics, asked = metrics_of(problem), problem.section.metrics
    fitting = METRICS_OF_TASK[problem.section.target.task]
    wanted = [name for name in dict.fromkeys([asked.primary, *asked.also]) if name in fitting and name in metrics]
    scores: dict[str, list[float | None]] = {name: [] for name in wanted}
    held = held_out(problem, folds) if held is None else held
    for fold in folds:
        for name in wanted:
            known = fold.fitted is not None
            value = float(metrics[name](problem.target[fold.inside], held[fold.inside])) if known else math.nan
            scores[name].append(value if math.isfinite(value) else None)
    ratio = overlap(problem.parts)
    return {name: done for name in wanted if (done := summary(scores[name], RANGES[name], ratio)) is not None}


def overlap(parts: list[tuple[Rows, Rows]]) -> float:
    """Mean of validation rows over training rows, of the folds that have both."""
    found = [inside.sum() / outside.sum() for inside, outside in parts if outside.any()]
    return float(np.mean(found)) if found else 1.0


def summary(
    folds: list[float | None], span: tuple[float | None, float | None], ratio: float | None = None
) -> dict[str, Any] | None:
    """Mean of fold scores with a t-interval, cut to the values that the metric can have; None without a defined fold.

    Training sets of k folds overlap, so the plain s/sqrt(k) is too small. Nadeau and Bengio (2003, Machine Learning 52)
    put the variance at s^2 (1/k + n_test/n_train), which is s^2 (1/k + 1/(k-1)) for plain folds.

    Args:
        folds: Scores, None where undefined.
        span: The metric's range; None for an open end.
        ratio: n_test/n_train; that of plain folds if not given.
    """
    from scipy.stats import t

    known = np.array([value for value in folds if value is not None])
    if not known.size:
        return None
    mean, low, high = float(known.mean()), None, None
    if known.size > 1:
        k = known.size
        shared = 1 / (k - 1) if ratio is None else ratio
        half = float(t.ppf((1 + CONFIDENCE) / 2, k - 1) * known.std(ddof=1) * math.sqrt(1 / k + shared))
        low = mean - half if span[0] is None else max(mean - half, span[0])
        high = mean + half if span[1] is None else min(mean + half, span[1])
    return {"mean": mean, "low": low, "high": high, "folds": folds}


def rival_facts(problem: Problem, cv: dict[str, dict[str, Any]], seed: int) -> dict[str, Any]:
    """The linear rival on the same folds and features, and the simplest learner within one standard error.

    Args:
        problem: The contract's.
        cv: Its scores.
        seed: Draws the rows where there are more than `RIVAL_ROWS`.

    Returns:
        rival: kind, cv, rows (most that taught it in a fold), note; simplest: kind, why.
    """
    task, primary = problem.section.target.task, problem.section.metrics.primary
    kind = rival_of(task)
    own = problem.words.kind
    if import_path(own, task) in LINEAR:
        why = f"{own} is a linear learner itself"
        return {"rival": {"kind": own, "cv": cv, "note": why}, "simplest": {"kind": own, "why": why}}
    rival = problem.with_estimator(Estimator(kind=kind))
    thinned = Problem(**(rival.__dict__ | {"parts": [_thin(part, seed) for part in problem.parts]}))
    found = cross_validate(thinned, fit_folds(thinned))
    most = max((int(outside.sum()) for _, outside in thinned.parts), default=0)
    facts = {"kind": kind, "cv": found, "rows": most, "note": "default parameters, same features and folds"}
    return {"rival": facts, "simplest": _simplest(own, cv.get(primary), kind, found.get(primary), primary)}


def _thin(part: tuple[Rows, Rows], seed: int) -> tuple[Rows, Rows]:
    inside, outside = part
    rows = np.flatnonzero(outside)
    if len(rows) <= RIVAL_ROWS:
        return part
    kept = np.zeros_like(outside)
    kept[np.random.default_rng(seed).choice(rows, RIVAL_ROWS, replace=False)] = True
    return inside, kept


def _simplest(
    own: str, ours: dict[str, Any] | None, kind: str, theirs: dict[str, Any] | None, metric: str
) -> dict[str, Any]:
    """The rule of one standard error (Breiman et al. 1984): the simplest whose mean is that near to the best."""
    if ours is None or theirs is None:
        return {"kind": own, "why": f"{metric} cannot be compared on these folds"}
    sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
    best = ours if sign * ours["mean"] >= sign * theirs["mean"] else theirs
    known = [value for value in best["folds"] if value is not None]
    error = float(np.std(known, ddof=1) / math.sqrt(len(known))) if len(known) > 1 else 0.0
    lead = sign * (best["mean"] - theirs["mean"])
    shown = f"{metric} {theirs['mean']:.4g} of {kind} against {ours['mean']:.4g}, one standard error is {error:.2g}"
    if lead <= error:
        return {"kind": kind, "why": f"as good within one standard error: {shown}"}
    return {"kind": own, "why": f"better by more than one standard error: {shown}"}


def gap_facts(problem: Problem, folds: list[Fold], cv: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """Primary metric on the rows that taught, less that on those that did not.

    Returns:
        metric, training, validation, difference (how much better in training), low, high, verdict `small` or `wide`,
        reason; None where it cannot be computed.
    """
    metric = problem.section.metrics.primary
    if metric not in cv or metric not in metrics_of(problem):
        return None
    sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
    inside: list[float] = []
    differences: list[float | None] = []
    for fold, validation in zip(folds, cv[metric]["folds"], strict=True):
        training = math.nan if validation is None else _on_training(problem, fold, metric)
        known = math.isfinite(training)
        differences.append(sign * (training - validation) if known and validation is not None else None)
        inside += [training] if known else []
    found = summary(differences, (None, None), overlap(problem.parts))
    if found is None:
        return None
    validation_mean = cv[metric]["mean"]
    bound = WIDE if metric in _UNIT else WIDE * abs(validation_mean)
    sure = found["low"] is None or found["low"] > 0
    wide = found["mean"] > bound and sure
    return {
        "metric": metric,
        "training": float(np.mean(inside)),
        "validation": validation_mean,
        "difference": found["mean"],
        "low": found["low"],
        "high": found["high"],
        "verdict": "wide" if wide else "small",
        "reason": f"{metric} is {np.mean(inside):.3g} on rows that taught and {validation_mean:.3g} on rows that did "
        f"not; more than {bound:.2g} apart in every likely case is wide",
    }


def _on_training(problem: Problem, fold: Fold, metric: str) -> float:
    rows: NDArray[np.int64] = np.flatnonzero(fold.outside)
    if len(rows) > _GAP_ROWS:
        rows = np.sort(np.random.default_rng(problem.section.seed).choice(rows, _GAP_ROWS, replace=False))
    found = answers(problem, fold.fitted, problem.frame.iloc[rows])
    return float(metrics_of(problem)[metric](problem.target[rows], found))

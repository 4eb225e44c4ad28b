"""What the challenger is held against: a dummy that ignores the inputs, and the champion."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.errors import KubeloopError
from kubeloop.evaluation.baseline import Baseline
from kubeloop.evaluation.bootstrap import Estimate, studentized
from kubeloop.evaluation.fair_rows import unseen
from kubeloop.evaluation.gate import Rival
from kubeloop.evaluation.influence import linear, ratio
from kubeloop.evaluation.judged import Judged, block_totals
from kubeloop.evaluation.metrics import compare, point
from kubeloop.learning.answers import Answers
from kubeloop.learning.inputs import category_text
from kubeloop.learning.scores import sides

if TYPE_CHECKING:
    import pandas as pd

Setting = tuple[float, int]
"""Confidence and seed."""


def not_finite(answers: NDArray[np.float64]) -> int:
    """Rows whose answer is not finite."""
    finite = np.isfinite(answers)
    return int((~(finite if finite.ndim == 1 else finite.all(axis=1))).sum())


def dummy_of(judged: Judged, known: Mapping[str, Any]) -> Judged:
    """What a model without inputs answers to the same rows: the class shares, or the mean, of the training rows."""
    n = len(judged)
    if judged.regression:
        return judged.answered(np.full(n, float(known["mean"])))
    return judged.answered(np.tile(np.asarray(known["shares"], dtype=np.float64), (n, 1)))


def against_dummy(
    metric: str, judged: Judged, known: Mapping[str, Any], own: Mapping[str, Estimate], setting: Setting
) -> Rival:
    """Challenger minus dummy.

    A constant has an AUC of exactly 0.5 whatever the rows, and a macro precision of 1/k on average. Calling every row
    positive is what a dummy does best for the precision and the F1 of one class; for its recall that would be
    unbeatable, so there the dummy calls as many rows positive as the challenger, blindly.

    Args:
        metric: The primary one.
        judged: The test rows with the challenger's answers.
        known: `dummy` of the model: `shares` of the classes, or the `mean`.
        own: The challenger's estimates.
        setting: Confidence and seed.
    """
    n = len(judged)
    k = 0 if judged.regression else judged.answers.shape[1]
    fixed = {"roc_auc": 0.5} | ({"precision": 1 / k} if k > 2 else {})
    if metric in fixed and metric in own:
        return Rival(_lifted(own[metric], fixed[metric]), rows=n)
    if metric == "recall" and k == 2 and metric in own:
        blind = _against_blind_recall(judged, setting)
        return Rival(blind, rows=n) if blind.low < blind.high else Rival(None, "these rows show no variance", n)
    rival = dummy_of(judged, known)
    if metric in ("precision", "f1") and k == 2:
        rival = judged.answered(np.tile([0.0, 1.0], (n, 1)))
    found = compare(metric, judged, rival, setting[0])
    return Rival(None, found, n) if isinstance(found, str) else Rival(found, rows=n)


def _lifted(found: Estimate, floor: float) -> Estimate:
    ends = {end: getattr(found, end) - floor for end in ("value", "low", "high")}
    return dataclasses.replace(found, **ends)


def _against_blind_recall(judged: Judged, setting: Setting) -> Estimate:
    """Recall less the share of rows called positive."""
    confidence, seed = setting
    ((_, called),) = sides(judged.truth, judged.answers)
    (own, given), (blind, other) = linear("recall", judged), ratio(called.astype(np.float64))
    found = studentized(own - blind + block_totals(given - other, judged.blocks), seed, confidence)
    return dataclasses.replace(found, value=own - blind, n=len(judged))


@dataclasses.dataclass(frozen=True)
class Challenge:
    """What a comparison with the champion needs.

    Attributes:
        metric: The primary one.
        judged: The test rows with the challenger's answers.
        table: The same rows.
        path: Where they lie.
        model: The challenger's description.
    """

    metric: str
    judged: Judged
    table: "pd.DataFrame"
    path: Path
    model: Mapping[str, Any]


def against_champion(case: Challenge, baseline: Baseline, setting: Setting) -> Rival:
    """Challenger minus champion, paired on the rows that neither model has seen."""
    mask, why = unseen(case.model["training_rows"], baseline.training_rows, case.path, len(case.judged))
    if mask is None:
        return Rival(None, why)
    if baseline.predict is None:
        return Rival(None, "the champion cannot answer")
    fair = case.judged.rows(mask)
    try:
        answers = baseline.predict(case.table[mask].reset_index(drop=True))
    except KubeloopError as error:
        return Rival(None, f"the champion cannot answer these rows: {error.problem}")
    theirs = answers.values if fair.regression else _aligned(answers, baseline, case.model["classes"])
    if theirs is None or theirs.shape != fair.answers.shape:
        return Rival(None, "the champion answers another question: its classes or its task differ")
    broken = not_finite(theirs)
    if broken:
        return Rival(None, f"{broken} of {len(fair)} of the champion's answers are not finite")
    rival = fair.answered(theirs)
    found = compare(case.metric, fair, rival, setting[0])
    if isinstance(found, str):
        return Rival(None, f"on {len(fair):,} rows that neither model has seen, {found}")
    return Rival(found, rows=len(fair), value=point(case.metric, rival))


def _aligned(answers: Answers, baseline: Baseline, classes: list[Any]) -> NDArray[np.float64] | None:
    """The champion's probabilities in the order of the challenger's classes; None if the classes differ."""
    if answers.probabilities is None or baseline.classes is None:
        return answers.probabilities
    theirs = [category_text(label) for label in baseline.classes]
    ours = [category_text(label) for label in classes]
    if sorted(map(str, theirs)) != sorted(map(str, ours)):
        return None
    return answers.probabilities[:, [theirs.index(label) for label in ours]]

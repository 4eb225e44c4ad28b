"""Metrics with intervals, one model at a time or two models paired on the same rows.

Which method, and the share of 95% intervals that held the truth in 500 simulated test sets of 100 to 400 rows; 0.93 to
0.97 is what chance makes of 0.95 in 500.

Rows alone. accuracy; precision, recall and F1 of one class: exact (Clopper and Pearson 1934; the F1 by its Jaccard
share), 0.96 to 0.98. log_loss, brier, mae, rmse, mape; macro means over classes: bootstrap-t of row values or
influences, 0.93 to 0.97. roc_auc: DeLong on the logit scale, 0.94 to 0.98. pr_auc: bootstrap-t on the logit scale
around a centre without bias, 0.93 to 0.97; a plain t held 0.89 to 0.94. r2: percentile bootstrap, 0.93 to 0.96.
calibration_error: noncentral chi-squared, 0.93 to 0.97.

Blocks (8, 20, 40, 60 of them). Shares: Korn and Graubard (1998), 0.95 to 0.97. roc_auc: Obuchowski (1997), 0.94 to
0.95. All others: bootstrap-t over the sums of influences in blocks, 0.93 to 0.97.

Differences of two models on the same rows. Of 1,500 to 2,000 pairs of equal models (60, 150 or 400 rows; 8, 20, 30 or
60 blocks) 1.3 to 3.2% were called better, 2.5% being stated; the interval held the difference of unequal models in 93
to 97%. Bonett and Price (2012) for accuracy and recall, the like for precision and F1, t for all others.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.contract.judgement import HIGHER_IS_BETTER
from kubeloop.evaluation.areas import both_separated, pr_area, roc_area
from kubeloop.evaluation.bootstrap import Estimate, Statistic, bootstrap, studentized
from kubeloop.evaluation.calibration import calibration_estimate
from kubeloop.evaluation.influence import RATIOS, linear, row_values
from kubeloop.evaluation.judged import Judged, block_totals
from kubeloop.evaluation.shares import effective_rows, paired_shares, share
from kubeloop.learning.scores import CLASSIFICATION, REGRESSION, Floats, bins_of, claims, correct, sides

__all__ = [
    "Judged",
    "as_fact",
    "compare",
    "estimate",
    "improvement",
    "measure",
    "point",
    "undefined",
    "undefined_difference",
]

LOSSES = ("log_loss", "brier", "mae", "mape", "rmse")
DECISIONS = ("accuracy", *RATIOS)
"""Metrics of the class that is answered: few rows tell two models apart."""


_NO_WIDTH = "these rows show no variance, which tells nothing of how it varies"


def undefined(metric: str, judged: Judged) -> str | None:
    """Why a metric has no value, or no honest interval, on these rows; None if it has one."""
    if not len(judged):
        return "there is no row"
    if judged.blocks is not None and judged.units < 2:
        return "all rows are of one block, which has no interval"
    if metric == "accuracy":
        return None
    if len(judged) < 2:
        return "one row has no interval"
    return _of_regression(metric, judged) if judged.regression else _of_classes(metric, judged)


def _of_regression(metric: str, judged: Judged) -> str | None:
    with np.errstate(over="ignore", invalid="ignore"):
        spread = float(judged.truth.var())
    if not math.isfinite(spread):
        return "the target is too large for a computer's numbers"
    if metric == "r2" and spread == 0:
        return "the target is constant in the test rows"
    if metric == "mape" and (zeros := int((judged.truth == 0).sum())):
        return f"the target is 0 in {zeros} rows, of which no error is a share"
    return _no_spread("mae" if metric == "r2" else metric, judged)


def _no_spread(metric: str, judged: Judged) -> str | None:
    with np.errstate(over="ignore", invalid="ignore"):
        values = row_values(metric, judged)
        if not math.isfinite(float((values**2).sum())):
            return "the errors are too large for a computer's numbers"
    return "all rows have the same error, which tells nothing of how it varies" if np.ptp(values) == 0 else None


def _of_classes(metric: str, judged: Judged) -> str | None:
    k, present = judged.answers.shape[1], set(np.unique(judged.truth).tolist())
    if metric in ("roc_auc", "pr_auc"):
        if len(present) < 2:
            return "the test rows have a single class"
        absent = len(set(range(k)) - present)
        return f"{absent} of {k} classes have no test row" if k > 2 and absent else None
    if metric in RATIOS:
        none = [not RATIOS[metric](side, called).any() for side, called in sides(judged.truth, judged.answers)]
        said = {"precision": "answered in no row", "recall": "true in no row", "f1": "neither true nor answered"}[
            metric
        ]
        which = "the positive class is" if k == 2 else f"{sum(none)} of {k} classes are"
        return f"{which} {said}" if any(none) else None
    if metric == "calibration_error":
        count = np.bincount(bins_of(claims(judged.truth, judged.answers)[0]))
        if count.min() < 2:
            return "a bin of equal probabilities has a single row"
        score, came = claims(judged.truth, judged.answers)
        return "all rows have the same error" if np.ptp(came - score) == 0 else None
    return _no_spread(metric, judged)


def undefined_difference(metric: str, new: Judged, old: Judged) -> str | None:
    """Why the difference of two models on the same rows has no honest interval; None if it has one."""
    for judged in (new, old):
        why = undefined(metric, judged)
        # A model that errs alike in every row can still be compared with one that does not.
        if why and not why.startswith("all rows have the same error"):
            return why
    if metric == "calibration_error":
        return "a calibration error is no ground to choose by"
    if metric not in LOSSES or np.array_equal(new.answers, old.answers):
        return None
    same = float(np.ptp(row_values(metric, new) - row_values(metric, old))) == 0
    return "both differ by the same in all rows, which tells nothing of how it varies" if same else None


def measure(metric: str, judged: Judged, confidence: float, seed: int) -> Estimate | str:
    """A metric with an honest interval, or why it has none: an interval of no width only says that few rows vary."""
    why = undefined(metric, judged)
    if why:
        return why
    found = estimate(metric, judged, confidence, seed)
    return found if found.low < found.high and found.finite else _NO_WIDTH


def compare(metric: str, new: Judged, old: Judged, confidence: float) -> Estimate | str:
    """`improvement` with an honest interval, or why it has none; models that rank alike may differ by 0 exactly."""
    why = undefined_difference(metric, new, old)
    if why:
        return why
    found = improvement(metric, new, old, confidence)
    alike = found.value == found.low == found.high == 0
    return found if found.finite and (alike or found.low < found.high) else _NO_WIDTH


def estimate(metric: str, judged: Judged, confidence: float, seed: int) -> Estimate:
    """A metric with its interval.

    Args:
        metric: One for which `undefined` is None.
        judged: The rows.
        confidence: Such as 0.95.
        seed: Of the bootstrap.
    """
    if metric == "accuracy":
        right = correct(judged.truth, judged.answers)
        return share(right, np.ones(len(right), dtype=bool), judged.blocks, confidence)
    if metric in ("roc_auc", "pr_auc"):
        return roc_area(judged, confidence) if metric == "roc_auc" else pr_area(judged, confidence, seed)
    if metric == "calibration_error":
        return calibration_estimate(judged, confidence)
    if metric in RATIOS and judged.answers.shape[1] == 2:
        return _decided(metric, judged, confidence)
    if metric == "r2" and judged.blocks is None:
        return bootstrap(_r2_statistic(judged), len(judged), seed, confidence)
    if metric == "rmse":
        square = row_values("rmse", judged)
        found = _studentized(float(square.mean()), square - square.mean(), judged, seed, confidence)
        value, low, high = (math.sqrt(max(end, 0.0)) for end in (found.value, found.low, found.high))
        return Estimate(value, low, high, found.method, found.n)
    found = _studentized(*linear(metric, judged), judged, seed, confidence)
    floor, top = (-math.inf, 1.0) if metric == "r2" else (0.0, 1.0 if metric in DECISIONS else math.inf)
    return Estimate(found.value, max(found.low, floor), min(found.high, top), found.method, found.n)


def _decided(metric: str, judged: Judged, confidence: float) -> Estimate:
    """Precision, recall or F1 of the positive class: an exact share among the rows that count."""
    ((side, called),) = sides(judged.truth, judged.answers)
    found = share(side & called, RATIOS[metric](side, called), judged.blocks, confidence)
    ends = (found.value, found.low, found.high)
    value, low, high = (2 * end / (1 + end) for end in ends) if metric == "f1" else ends
    return Estimate(value, low, high, found.method, len(judged))


def _studentized(value: float, given: Floats, judged: Judged, seed: int, confidence: float) -> Estimate:
    """Bootstrap-t over rows or blocks, of the influences."""
    found = studentized(value + block_totals(given, judged.blocks), seed, confidence)
    method = found.method if judged.blocks is None else f"{found.method} of {judged.units} blocks"
    return Estimate(value, found.low, found.high, method, len(judged))


def improvement(metric: str, new: Judged, old: Judged, confidence: float) -> Estimate:
    """How much better `new` is than `old` on the same rows; positive is better, whatever the metric's direction.

    Identical answers differ by exactly 0, with an interval of no width: they cannot differ on any other rows either.
    Shares of decisions: see `_decisions_apart`. All others: t over the differences of the influences of rows, or of
    blocks; for the AUC that is the paired test of DeLong (1988), in blocks of Obuchowski (1997). Two models that are
    equally good differ symmetrically, which is what t asks for however heavy the tails; a bootstrap-t takes its tails
    from the sample, and called one of such models better 8% of the time where 20 blocks had heavy-tailed errors.

    Args:
        metric: One for which `undefined_difference` is None.
        new: The challenger's answers.
        old: The rival's.
        confidence: Such as 0.95.
    """
    n = len(new)
    if np.array_equal(new.answers, old.answers):
        return Estimate(0.0, 0.0, 0.0, "identical answers", n)
    if metric in DECISIONS:
        return _decisions_apart(metric, new, old, confidence)
    value, given = _apart(metric, new, old)
    totals = block_totals(given, new.blocks)
    half = _t(totals, confidence) * float(totals.std(ddof=1)) / math.sqrt(len(totals))
    of = "rows" if new.blocks is None else f"{new.units} blocks"
    found = Estimate(value, value - half, value + half, f"paired t over the influences of {of}", n)
    return both_separated(found, new, old, confidence) if metric in ("roc_auc", "pr_auc") else found


def _apart(metric: str, new: Judged, old: Judged) -> tuple[float, Floats]:
    sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
    (first, one), (second, other) = linear(metric, new), linear(metric, old)
    return sign * (first - second), sign * (one - other)


def _decisions_apart(metric: str, new: Judged, old: Judged, confidence: float) -> Estimate:
    """Differences of accuracy, precision, recall and F1.

    Models that decide alike in these rows may decide otherwise elsewhere, where a bootstrap shrinks to nothing. Bonett
    and Price add one row that speaks for either model; here too, weighted in blocks by the design effect.
    """
    if new.blocks is None and metric in ("accuracy", "recall"):
        among = np.ones(len(new), dtype=bool)
        if metric == "recall" and new.answers.shape[1] == 2:
            among = new.truth == 1
        if metric == "accuracy" or new.answers.shape[1] == 2:
            right, other = (correct(each.truth, each.answers)[among] for each in (new, old))
            found = paired_shares(right, other, confidence)
            return Estimate(found.value, found.low, found.high, found.method, len(new))
    return _adjusted(metric, new, old, confidence)


def _adjusted(metric: str, new: Judged, old: Judged, confidence: float) -> Estimate:
    value, given = _apart(metric, new, old)
    totals = block_totals(given, new.blocks)
    units, n = len(totals), len(new)
    weight = 1.0
    if new.blocks is not None:
        right = correct(new.truth, new.answers)
        weight = n / effective_rows(right, np.ones(n, dtype=bool), new.blocks, confidence)
    # What one more row does to the metric, squared, once for either model.
    one = float(np.mean([_largest(metric, new), _largest(metric, old)])) ** 2
    error = math.sqrt(float(totals.var(ddof=1)) / units + 2 * weight * one / n**2)
    half = _t(totals, confidence) * error
    method = "paired influences, one row added for either"
    return Estimate(value, max(-1.0, value - half), min(1.0, value + half), method, n)


def _t(totals: Floats, confidence: float) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + confidence) / 2, len(totals) - 1))


def _largest(metric: str, judged: Judged) -> float:
    """How much one row more or less can do to a metric of decisions, times n."""
    if metric == "accuracy":
        return 1.0
    trials = [float(RATIOS[metric](side, called).mean()) for side, called in sides(judged.truth, judged.answers)]
    return float(np.mean([1 / trial for trial in trials]))


def _r2_statistic(judged: Judged) -> Statistic:
    """As a function of many resamples at once."""
    # Centred first: sums of squares of large numbers would cancel.
    centred = judged.truth - judged.truth.mean()
    squared, error = centred**2, (judged.truth - judged.answers) ** 2

    def of(rows: NDArray[np.int64]) -> Floats:
        total = squared[rows].mean(axis=1) - centred[rows].mean(axis=1) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(1 - error[rows].mean(axis=1) / total, dtype=np.float64)

    return of


def point(metric: str, judged: Judged) -> float:
    """The value alone; NaN where the metric has none."""
    found: Mapping[str, Any] = REGRESSION if judged.regression else CLASSIFICATION
    return float(found[metric](judged.truth, judged.answers))


def as_fact(found: Estimate) -> Mapping[str, Any]:
    """An estimate as JSON types."""
    return {"value": found.value, "low": found.low, "high": found.high, "method": found.method, "n": found.n}

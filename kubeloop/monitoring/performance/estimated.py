"""Performance where no truth is known yet, estimated from the model's own confidence.

Where probabilities are calibrated, a row that was answered with 0.8 is right in 8 of 10 cases: labels are drawn from
the probabilities, many times, and each draw gives every metric (the idea of confidence-based performance estimation,
CBPE; Garg et al. 2022, arXiv:2201.04234, on when such estimates can and cannot work). The interval is where the metric
of these very rows would fall, by chance of their labels alone.

Assumed, and told with every number: the probabilities are calibrated on these rows. A changed relation of inputs to
truth (concept drift) breaks that, and no estimate without labels can see it. How well calibrated the model was on the
mature rows whose truth is known stands beside it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kubeloop.contract.judgement import METRICS_OF_TASK
from kubeloop.evaluation.bootstrap import Estimate
from kubeloop.evaluation.judged import Judged
from kubeloop.evaluation.metrics import measure, point
from kubeloop.monitoring.labels.joining import Joined
from kubeloop.monitoring.performance.measured import judged_rows

DRAWS = 200
"""Draws of the labels: an end of a 95% interval is then known to about a tenth of its half width."""

ROWS = 20_000
"""Rows that are drawn for at most; of more, a sample tells the same."""

ASSUMES = (
    "the probabilities are calibrated on these rows; a changed relation between inputs and truth breaks that, "
    "and cannot be seen without labels"
)


@dataclass(frozen=True)
class Estimated:
    """Metrics of rows without truth.

    Attributes:
        rows: Rows they are of.
        metrics: By name, with intervals.
        undefined: By name: why there is none.
        calibration: Calibration error on the mature rows with a label, or why there is none.
        assumes: What has to hold for any of it.
    """

    rows: int
    metrics: dict[str, Estimate]
    undefined: dict[str, str]
    calibration: Estimate | str
    assumes: str = ASSUMES


def estimated(joined: Joined, mature: NDArray[np.bool_], confidence: float, seed: int) -> Estimated:
    """Estimate the metrics of the answered rows whose truth is not known or not mature.

    Args:
        joined: A window with its labels.
        mature: (n,) the mature rows.
        confidence: Of the intervals.
        seed: Of the draws.
    """
    window = joined.window
    names = METRICS_OF_TASK[window.model.task]
    if window.model.task == "regression" or window.probabilities is None:
        why = "an estimate without labels needs probabilities; none were logged"
        return Estimated(0, {}, dict.fromkeys(names, why), why)
    known, _ = judged_rows(joined, mature, None)
    calibration = measure("calibration_error", known, confidence, seed)
    gap = window.answered & ~(mature & joined.labelled) & np.isfinite(window.probabilities).all(axis=1)
    shares = window.probabilities[gap]
    if not len(shares):
        return Estimated(0, {}, dict.fromkeys(names, "there is no row without a label"), calibration)
    draws = _draws(shares, seed)
    metrics: dict[str, Estimate] = {}
    undefined: dict[str, str] = {}
    for name in names:
        # Whether it is calibrated is what is assumed.
        if name == "calibration_error":
            continue
        values = np.array([point(name, judged) for judged in draws])
        if not np.isfinite(values).all():
            undefined[name] = "it has no value in some draws of the labels"
            continue
        low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
        method = f"{DRAWS} draws of the labels from the probabilities"
        metrics[name] = Estimate(float(values.mean()), float(low), float(high), method, len(shares))
    return Estimated(len(shares), metrics, undefined, calibration)


def _draws(shares: NDArray[np.float64], seed: int) -> list[Judged]:
    rng = np.random.default_rng(seed)
    if len(shares) > ROWS:
        shares = shares[np.sort(rng.choice(len(shares), ROWS, replace=False))]
    steps = np.cumsum(shares, axis=1)
    steps /= steps[:, -1:]
    found = []
    for _ in range(DRAWS):
        truth = (rng.random((len(shares), 1)) > steps).sum(axis=1)
        found.append(Judged(truth.astype(np.int64), shares, False))
    return found

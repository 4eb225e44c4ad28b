"""500 simulated data sets: intervals hold the truth as often as they say, equal models are called better as seldom.

Exact intervals (of shares) may hold it more often; all others must be within the binomial bounds on both sides. The
bounds are those that chance leaves once in a thousand times: 458 to 489 of 500 intervals, for 24 of them are tried.
"""

import dataclasses

import numpy as np
import pytest
from scipy.stats import binom

from kubeloop.evaluation.judged import Judged
from kubeloop.evaluation.metrics import estimate, improvement, undefined, undefined_difference
from kubeloop.learning.scores import CLASSIFICATION, REGRESSION

BINARY = ("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "log_loss", "brier")
REGRESSIONS = ("rmse", "mae", "r2", "mape")


def binary(rng, n, blocks=None):
    """Two models of one kind; in blocks, rows share a part of their truth and of both models' errors."""
    place = None if blocks is None else np.arange(n) % blocks
    shared = np.zeros(n) if place is None else rng.normal(size=blocks)[place]
    signal = rng.normal(size=n)
    truth = (rng.random(n) < 1 / (1 + np.exp(-(1.2 * signal + 0.8 * shared - 0.6)))).astype(np.int64)
    found = []
    for _ in range(2):
        p = 1 / (1 + np.exp(-(1.5 * signal + 0.3 * shared + 0.6 * rng.normal(size=n) - 0.6)))
        found.append(Judged(truth, np.column_stack([1 - p, p]), False, place))
    return found


def regression(rng, n, blocks=None):
    """Skewed errors."""
    place = None if blocks is None else np.arange(n) % blocks
    shared = np.zeros(n) if place is None else rng.normal(size=blocks)[place]
    truth = 12 + 2 * rng.normal(size=n) + shared
    errors = [0.7 * shared + rng.normal(size=n) + rng.gamma(0.5, 1, size=n) for _ in range(2)]
    return [Judged(truth, truth + error, True, place) for error in errors]


def true_values(make, metrics, blocks, n):
    """By 400,000 rows."""
    rows = 400_000
    judged = make(np.random.default_rng(987), rows, None if blocks is None else blocks * rows // n)[0]
    points = REGRESSION if judged.regression else CLASSIFICATION
    return {metric: points[metric](judged.truth, judged.answers) for metric in metrics}


def held(make, metrics, n, blocks=None, samples=500):
    """metric -> (data sets whose 95% interval held the truth, wrong `better`, wrong `worse`)."""
    truth = true_values(make, metrics, blocks, n)
    counts = {metric: np.zeros(3, dtype=int) for metric in metrics}
    for sample in range(samples):
        one, other = make(np.random.default_rng(sample), n, blocks)
        for metric in metrics:
            assert undefined(metric, one) is None
            found = estimate(metric, one, 0.95, sample)
            counts[metric][0] += found.low <= truth[metric] <= found.high
            assert undefined_difference(metric, one, other) is None
            apart = improvement(metric, one, other, 0.95, sample)
            counts[metric] += (0, apart.low > 0, apart.high < 0)
    return counts


def bounds(samples, share, chance=1e-3):
    """What a count of that true share may be by chance, but for one time in a thousand."""
    return int(binom.ppf(chance / 2, samples, share)), int(binom.ppf(1 - chance / 2, samples, share))


EXACT = ("accuracy", "precision", "recall", "f1")
CASES = [
    ("rows, decisions", binary, BINARY[:4], 100, None),
    ("rows, areas", binary, BINARY[4:6], 100, None),
    ("rows, losses", binary, BINARY[6:], 100, None),
    ("rows, numbers", regression, REGRESSIONS, 150, None),
    ("blocks, classes", binary, BINARY, 300, 30),
    ("blocks, numbers", regression, REGRESSIONS, 300, 30),
]


def prove(make, metrics, n, blocks, samples):
    lowest, highest = bounds(samples, 0.95)
    most = bounds(samples, 0.025)[1]
    for metric, (inside, better, worse) in held(make, metrics, n, blocks, samples).items():
        top = samples if metric in EXACT else highest
        assert lowest <= inside <= top, f"{metric}: {inside} of {samples} intervals held the truth"
        assert better <= most, f"{metric}: {better} of {samples} equal models were called better"
        assert worse <= most, f"{metric}: {worse} of {samples} equal models were called worse"


@pytest.mark.parametrize(("make", "metrics", "n", "blocks"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_coverage_and_wrong_verdicts_over_500_data_sets(make, metrics, n, blocks):
    prove(make, metrics, n, blocks, 500)


@pytest.mark.bench
@pytest.mark.parametrize("n", [60, 400])
@pytest.mark.parametrize(("make", "metrics"), [(binary, BINARY), (regression, REGRESSIONS)])
@pytest.mark.parametrize("blocks", [None, 20])
def test_coverage_over_2000_data_sets(make, metrics, n, blocks):
    for metric, (inside, better, worse) in held(make, metrics, n, blocks, 2000).items():
        print(f"{make.__name__} n={n} blocks={blocks} {metric}: {inside / 20:.1f}% held, {better / 20:.1f}% better")
        assert inside >= 0.92 * 2000
        assert max(better, worse) <= 0.035 * 2000


def test_rows_that_depend_have_too_narrow_intervals_where_nobody_says_so():
    """Why blocks exist: the same data, with and without their word."""
    truth, inside = true_values(regression, ["mae"], 20, 400)["mae"], {True: 0, False: 0}
    for sample in range(200):
        judged = regression(np.random.default_rng(sample), 400, 20)[0]
        for said in inside:
            known = judged if said else dataclasses.replace(judged, blocks=None)
            found = estimate("mae", known, 0.95, sample)
            inside[said] += found.low <= truth <= found.high
    assert inside[True] >= bounds(200, 0.95)[0] > inside[False]

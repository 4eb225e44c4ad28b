"""500 simulated data sets: intervals hold the truth as often as they say, equal models are called better as seldom.

Exact intervals (of shares) may hold it more often; all others must be within the binomial bounds on both sides. The
bounds are those that chance leaves once in a thousand times: 458 to 489 of 500 intervals, at most 25 of 500 verdicts.
"""

import dataclasses

import numpy as np
import pytest
from scipy.stats import binom

from kubeloop.evaluation import bootstrap
from kubeloop.evaluation.judged import Judged
from kubeloop.evaluation.metrics import estimate, improvement, undefined, undefined_difference
from kubeloop.learning.scores import CLASSIFICATION, REGRESSION

BINARY = ("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "log_loss", "brier")
CLAIMS = (*BINARY, "calibration_error")  # which has no difference of two models
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


def bad_days(rng, n, blocks):
    """Each model has its own few blocks in which it errs badly: heavy tails, where bootstraps of few blocks fail."""
    place = np.arange(n) % blocks
    truth = 12 + 2 * rng.normal(size=n)
    errors = [rng.gamma(0.5, 1, size=blocks)[place] + rng.normal(size=n) for _ in range(2)]
    return [Judged(truth, truth + error, True, place) for error in errors]


def true_values(make, metrics, blocks, n):
    """By 400,000 rows."""
    rows = 400_000
    judged = make(np.random.default_rng(987), rows, None if blocks is None else blocks * rows // n)[0]
    points = REGRESSION if judged.regression else CLASSIFICATION
    return {metric: points[metric](judged.truth, judged.answers) for metric in metrics}


def held(make, metrics, n, blocks=None, samples=500):
    """metric -> data sets whose 95% interval held the truth."""
    truth = true_values(make, metrics, blocks, n)
    counts = dict.fromkeys(metrics, 0)
    for sample in range(samples):
        one = make(np.random.default_rng(sample), n, blocks)[0]
        for metric in metrics:
            assert undefined(metric, one) is None
            found = estimate(metric, one, 0.95, sample)
            counts[metric] += found.low <= truth[metric] <= found.high
    return counts


def called(make, metrics, n, blocks=None, samples=500):
    """metric -> data sets in which one of two equal models was called (better, worse) than the other."""
    counts = {metric: np.zeros(2, dtype=int) for metric in metrics}
    for sample in range(samples):
        one, other = make(np.random.default_rng(sample), n, blocks)
        for metric in metrics:
            assert undefined_difference(metric, one, other) is None
            apart = improvement(metric, one, other, 0.95)
            counts[metric] += (apart.low > 0, apart.high < 0)
    return counts


def bounds(samples, share, chance=1e-3):
    """What a count of that true share may be by chance, but for one time in a thousand."""
    return int(binom.ppf(chance / 2, samples, share)), int(binom.ppf(1 - chance / 2, samples, share))


EXACT = ("accuracy", "precision", "recall", "f1")
ALONE = [
    ("rows, classes", binary, CLAIMS, 100, None),
    ("rows, numbers", regression, REGRESSIONS, 150, None),
    ("blocks, classes", binary, BINARY, 300, 30),
    ("blocks, numbers", regression, REGRESSIONS, 300, 30),
]
PAIRED = [
    ("rows, classes", binary, BINARY, 100, None),
    ("rows, numbers", regression, REGRESSIONS, 100, None),
    *((f"{blocks} blocks, classes", binary, ("accuracy", "roc_auc"), 300, blocks) for blocks in (20, 30, 60)),
    *((f"{blocks} blocks, numbers", regression, ("rmse", "mae"), 300, blocks) for blocks in (20, 30, 60)),
    *((f"{blocks} blocks, bad days", bad_days, ("rmse", "mae"), 300, blocks) for blocks in (20, 30, 60)),
]


@pytest.mark.parametrize(("make", "metrics", "n", "blocks"), [case[1:] for case in ALONE], ids=[c[0] for c in ALONE])
def test_intervals_hold_the_truth_over_500_data_sets(make, metrics, n, blocks, monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 800)  # fewer make an interval a little worse, never better
    lowest, highest = bounds(500, 0.95)
    for metric, inside in held(make, metrics, n, blocks).items():
        top = 500 if metric in EXACT else highest
        assert lowest <= inside <= top, f"{metric}: {inside} of 500 intervals held the truth"


@pytest.mark.parametrize(("make", "metrics", "n", "blocks"), [case[1:] for case in PAIRED], ids=[c[0] for c in PAIRED])
def test_equal_models_are_called_better_as_seldom_as_stated_over_500_data_sets(make, metrics, n, blocks):
    most = bounds(500, 0.025)[1]
    for metric, (better, worse) in called(make, metrics, n, blocks, 500).items():
        assert max(better, worse) <= most, f"{metric}: {better} of 500 equal models were called better, {worse} worse"


@pytest.mark.parametrize("blocks", [20, 60])
def test_a_model_that_is_better_is_found_in_few_blocks(blocks):
    """Caution alone would be easy: errors a quarter smaller in all blocks are seen in nearly every data set."""
    found = 0
    for sample in range(100):
        one, other = regression(np.random.default_rng(sample), 600, blocks)
        better = dataclasses.replace(one, answers=one.truth + 0.75 * (one.answers - one.truth))
        found += improvement("rmse", better, other, 0.95).low > 0
    assert found >= 95


@pytest.mark.bench
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("n", [60, 400])
@pytest.mark.parametrize(("make", "metrics"), [(binary, BINARY), (regression, REGRESSIONS)])
@pytest.mark.parametrize("blocks", [None, 20])
def test_coverage_over_2000_data_sets(make, metrics, n, blocks):
    wrong = called(make, metrics, n, blocks, 2000)
    for metric, inside in held(make, CLAIMS if metrics is BINARY else metrics, n, blocks, 2000).items():
        better, worse = wrong.get(metric, (0, 0))
        print(f"{make.__name__} n={n} blocks={blocks} {metric}: {inside / 20:.1f}% held, {better / 20:.1f}% better")
        assert inside >= 0.92 * 2000
        assert max(better, worse) <= 0.035 * 2000


def test_rows_that_depend_have_too_narrow_intervals_where_nobody_says_so(monkeypatch):
    """Why blocks exist: the same data, with and without their word."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 500)
    truth, inside = true_values(regression, ["mae"], 20, 400)["mae"], {True: 0, False: 0}
    for sample in range(200):
        judged = regression(np.random.default_rng(sample), 400, 20)[0]
        for said in inside:
            known = judged if said else dataclasses.replace(judged, blocks=None)
            found = estimate("mae", known, 0.95, sample)
            inside[said] += found.low <= truth <= found.high
    assert inside[True] >= bounds(200, 0.95)[0] > inside[False]

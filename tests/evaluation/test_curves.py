import json

import numpy as np

from kubeloop.evaluation.curves import calibration, curves_of, residuals, roc
from kubeloop.evaluation.metrics import Judged


def test_roc_runs_from_corner_to_corner_in_few_finite_points():
    rng = np.random.default_rng(0)
    positive, score = rng.random(5000) < 0.4, rng.random(5000)
    curve = roc(positive, score)
    assert len(curve["fpr"]) == len(curve["tpr"]) == len(curve["threshold"]) <= 200
    assert (curve["fpr"][0], curve["tpr"][0], curve["fpr"][-1], curve["tpr"][-1]) == (0, 0, 1, 1)
    assert np.all(np.diff(curve["fpr"]) >= 0)
    assert np.all(np.diff(curve["tpr"]) >= 0)
    assert np.all(np.diff(curve["threshold"]) < 0)
    json.dumps(curve, allow_nan=False)


def test_roc_of_few_rows_agrees_with_scikit_learn():
    from sklearn.metrics import roc_curve

    positive, score = np.array([0, 0, 1, 1, 1], dtype=bool), np.array([0.1, 0.4, 0.4, 0.8, 0.9])
    fpr, tpr, threshold = roc_curve(positive, score, drop_intermediate=False)
    curve = roc(positive, score)
    assert curve["fpr"] == fpr.tolist()
    assert curve["tpr"] == tpr.tolist()
    assert curve["threshold"][1:] == threshold[1:].tolist()


def test_calibration_has_ten_bins_of_equally_many_rows():
    rng = np.random.default_rng(0)
    score = rng.random(1000)
    bins = calibration(rng.random(1000) < score, score)
    assert [part["count"] for part in bins] == [100] * 10
    assert all(abs(part["predicted"] - part["observed"]) < 0.2 for part in bins)


def test_calibration_of_one_constant_score_is_one_bin():
    assert calibration(np.array([True, False]), np.array([0.5, 0.5])) == [
        {"predicted": 0.5, "observed": 0.5, "count": 2}
    ]


def test_residuals_are_thinned_over_the_whole_range():
    values = np.arange(1000.0)
    found = residuals(values + 1, values)
    assert len(found) == 200
    assert (found[0]["predicted"], found[-1]["predicted"]) == (0.0, 999.0)
    assert {part["residual"] for part in found} == {1.0}


def test_no_rows_have_no_curves():
    assert curves_of(Judged(np.empty(0), np.empty(0), True), []) == {}

import time

import numpy as np
import pytest

from kubeloop.evaluation.metrics import Judged, estimate, improvement, paired_shares, point, undefined


def binary(truth, score):
    score = np.asarray(score, dtype=float)
    return Judged(np.asarray(truth), np.column_stack([1 - score, score]), False)


def separated(n, gap, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 2
    score = 1 / (1 + np.exp(-(rng.normal(size=n) + gap * (truth - 0.5))))
    return binary(truth, score)


def test_five_rows_have_the_exact_interval_of_the_textbook():
    found = estimate("accuracy", binary([1, 0, 1, 0, 1], [1, 0, 1, 1, 1]), 0.95, 0)
    assert found.value == 0.8
    assert round(found.low, 2) == 0.28
    assert round(found.high, 2) == 0.99
    assert found.n == 5


@pytest.mark.parametrize(("truth", "low", "high"), [([1] * 10, 0.6915, 1.0), ([0] * 10, 0.0, 0.3085)])
def test_all_right_and_all_wrong_have_one_open_end(truth, low, high):
    found = estimate("accuracy", binary(truth, [0.9] * 10), 0.95, 0)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc", "log_loss"])
def test_classification_agrees_with_scikit_learn(metric):
    from sklearn import metrics

    judged = separated(500, 1.0)
    score = judged.answers[:, 1].round(1)  # with ties
    judged = binary(judged.truth, np.clip(score, 0.05, 0.95))
    expected = {
        "accuracy": metrics.accuracy_score(judged.truth, judged.answers.argmax(1)),
        "roc_auc": metrics.roc_auc_score(judged.truth, judged.answers[:, 1]),
        "log_loss": metrics.log_loss(judged.truth, judged.answers),
    }[metric]
    found = estimate(metric, judged, 0.95, 0)
    assert found.value == pytest.approx(expected)
    assert point(metric, judged) == pytest.approx(expected)
    assert found.low < expected < found.high


def test_multiclass_auc_is_the_plain_mean_over_one_against_the_rest():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 300)
    answers = rng.dirichlet([1, 1, 1], 300)
    expected = roc_auc_score(truth, answers, multi_class="ovr", average="macro")
    judged = Judged(truth, answers, False)
    assert estimate("roc_auc", judged, 0.95, 0).value == pytest.approx(expected)
    assert point("roc_auc", judged) == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["rmse", "mae", "r2"])
def test_regression_agrees_with_scikit_learn(metric):
    from sklearn import metrics

    rng = np.random.default_rng(0)
    truth = 1e6 + rng.normal(size=300)  # far from zero: sums of squares would cancel
    values = truth + rng.normal(size=300) / 2
    expected = {
        "rmse": metrics.root_mean_squared_error(truth, values),
        "mae": metrics.mean_absolute_error(truth, values),
        "r2": metrics.r2_score(truth, values),
    }[metric]
    found = estimate(metric, Judged(truth, values, True), 0.95, 0)
    assert found.value == pytest.approx(expected)
    assert found.low < expected < found.high


def test_the_same_seed_gives_the_same_interval():
    judged = separated(100, 1.0)
    assert estimate("log_loss", judged, 0.95, 4) == estimate("log_loss", judged, 0.95, 4)
    assert estimate("log_loss", judged, 0.95, 4) != estimate("log_loss", judged, 0.95, 5)


def test_complete_separation_of_a_few_rows_is_no_certainty():
    found = estimate("roc_auc", binary([0] * 5 + [1] * 5, np.linspace(0.1, 0.9, 10)), 0.95, 0)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 5))
    assert found.method == "bound for complete separation"


def test_two_models_that_both_separate_a_few_rows_may_still_differ():
    truth = [0] * 5 + [1] * 5
    first, second = (
        binary(truth, np.linspace(0.1, 0.9, 10)),
        binary(truth, [*np.linspace(0.4, 0.1, 5), *np.linspace(0.6, 0.9, 5)]),
    )
    found = improvement("roc_auc", first, second, 0.95)
    assert found.value == 0
    assert found.low < -0.4


def test_models_that_rank_alike_have_an_auc_that_differs_by_exactly_nothing():
    judged = separated(60, 1.0)
    other = binary(judged.truth, judged.answers[:, 1] ** 2)
    found = improvement("roc_auc", judged, other, 0.95)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc", "log_loss"])
def test_identical_answers_differ_by_exactly_nothing(metric):
    judged = separated(50, 1.0)
    found = improvement(metric, judged, separated(50, 1.0), 0.95)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc", "log_loss"])
def test_improvement_is_positive_when_the_new_model_is_better(metric):
    good, bad = separated(600, 3.0), separated(600, 0.3, seed=1)
    assert improvement(metric, good, bad, 0.95).low > 0
    assert improvement(metric, bad, good, 0.95).high < 0


@pytest.mark.parametrize("metric", ["rmse", "mae", "r2"])
def test_improvement_in_regression_is_positive_when_the_error_is_smaller(metric):
    rng = np.random.default_rng(0)
    truth, noise = rng.normal(size=300), rng.normal(size=300)
    good, bad = Judged(truth, truth + noise / 10, True), Judged(truth, truth + noise, True)
    assert improvement(metric, good, bad, 0.95).low > 0
    assert improvement(metric, bad, good, 0.95).high < 0


def test_no_disagreement_on_few_rows_is_no_proof_of_equality():
    same = np.ones(30, dtype=bool)
    found = paired_shares(same, same, 0.95)
    assert found.value == 0
    assert found.low < -0.05 < 0.05 < found.high


@pytest.mark.parametrize(
    ("metric", "judged", "why"),
    [
        ("roc_auc", binary([1, 1], [0.1, 0.9]), "single class"),
        ("roc_auc", Judged(np.array([0, 1]), np.full((2, 3), 1 / 3), False), "1 of 3 classes"),
        ("r2", Judged(np.ones(3), np.ones(3), True), "constant"),
        ("accuracy", binary([], []), "no row"),
    ],
)
def test_a_metric_without_a_value_says_why(metric, judged, why):
    assert why in undefined(metric, judged)


def test_a_class_the_model_does_not_know_is_an_error_and_no_crash():
    judged = Judged(np.array([0, 1, -1]), np.array([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]]), False)
    assert point("accuracy", judged) == pytest.approx(2 / 3)
    assert point("log_loss", judged) > 10


def test_two_thousand_resamples_of_ten_thousand_rows_are_fast():
    judged = separated(10_000, 1.0)
    started = time.process_time()
    estimate("log_loss", judged, 0.95, 0)
    improvement("roc_auc", judged, separated(10_000, 0.8, seed=1), 0.95)
    assert time.process_time() - started < 4


def test_very_few_rows_have_a_wide_interval_and_no_false_certainty():
    found = estimate("mae", Judged(np.zeros(2), np.array([1.0, 3.0]), True), 0.95, 0)
    assert found.low == 0
    assert found.high > 10


def test_one_row_has_no_interval_but_for_the_accuracy():
    one = Judged(np.zeros(1), np.ones(1), True)
    assert undefined("rmse", one) == "one row has no interval"
    found = estimate("accuracy", binary([1], [0.9]), 0.95, 0)
    assert (round(found.low, 3), found.high) == (0.025, 1.0)

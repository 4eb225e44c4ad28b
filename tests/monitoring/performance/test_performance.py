"""Performance over what is mature, and an estimate for the rest whose stated chance is kept."""

import datetime as dt
import json
from collections import Counter

import numpy as np
import pyarrow as pa

from kubeloop.evaluation.judged import Judged
from kubeloop.evaluation.metrics import measure, point
from kubeloop.learning.scores import Floats, Ints
from kubeloop.monitoring.labels.joining import Joined
from kubeloop.monitoring.log.models import LoggedColumn, LoggedModel
from kubeloop.monitoring.log.windows import Window, WindowKey
from kubeloop.monitoring.performance.coverage import coverage_of, mature_rows
from kubeloop.monitoring.performance.estimated import estimated
from kubeloop.monitoring.performance.measured import measured

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
MODEL = LoggedModel(
    version="1", task="binary", columns=(LoggedColumn(name="x", kind="number"),), classes=("no", "yes"), positive="yes"
)


def case(ages: list[float], labels: list[object], shares: Floats, model: LoggedModel = MODEL) -> Joined:
    """Rows of some age in days at NOW; a label arrived half a day after its prediction."""
    n = len(ages)
    ago = np.array([int(age * 86_400e6) for age in ages], dtype="m8[us]")
    times = np.datetime64("2026-03-01", "us") - ago
    answers = np.array(["no", "yes"], dtype=object)[shares.argmax(axis=1)]
    window = Window(
        key=WindowKey("default", "m"),
        model=model,
        features=pa.table({"x": np.zeros(n)}),
        predictions=answers,
        probabilities=shares,
        event_ids=np.array([str(row) for row in range(n)], dtype=object),
        rows=np.zeros(n, dtype=np.int64),
        times=times,
        versions=np.full(n, "1", dtype=object),
        answered=np.ones(n, dtype=np.bool_),
        skipped={},
    )
    values = np.empty(n, dtype=object)
    values[:] = labels
    there = np.array([label is not None for label in labels])
    arrived = np.where(there, times + np.timedelta64(12, "h"), np.datetime64("NaT", "us"))
    return Joined(window, values, arrived, np.zeros(n, dtype=np.bool_))


def drawn(rng: np.random.Generator, n: int) -> tuple[Floats, Ints]:
    """Calibrated probabilities and truths."""
    positive = rng.beta(2, 3, n)
    return np.column_stack([1 - positive, positive]), (rng.random(n) < positive).astype(np.int64)


def test_only_what_is_mature_counts() -> None:
    shares, truth = drawn(np.random.default_rng(1), 300)
    labels: list[object] = [MODEL.classes[place] for place in truth]
    # The newest 100 rows have labels already, and all of them say yes: what comes early is no fair sample.
    labels[200:] = ["yes"] * 100
    labels[150:200] = [None] * 50
    joined = case([40.0] * 200 + [2.0] * 100, labels, shares)
    mature = mature_rows(joined, 30 * DAY, NOW)
    found = coverage_of(joined, 30 * DAY, NOW)
    assert (found.rows, found.mature, found.labelled, found.early, found.share) == (300, 200, 150, 100, 0.75)
    assert found.lag_s == (43_200.0, 43_200.0, 43_200.0)
    said = measured(joined, mature, 0.95, 7)
    assert said.rows == 150
    assert said.metrics["roc_auc"] == measure("roc_auc", Judged(truth[:150], shares[:150], False), 0.95, 7)


def test_a_class_that_the_model_does_not_have_is_told_and_not_averaged() -> None:
    shares, truth = drawn(np.random.default_rng(2), 60)
    labels: list[object] = [MODEL.classes[place] for place in truth]
    labels[:5] = ["perhaps"] * 5
    joined = case([40.0] * 60, labels, shares)
    said = measured(joined, mature_rows(joined, 30 * DAY, NOW), 0.95, 7)
    assert (said.rows, said.unknown) == (55, 5)


def test_nothing_mature_and_nothing_at_all() -> None:
    shares, _ = drawn(np.random.default_rng(3), 10)
    for ages in ([1.0] * 10, []):
        joined = case(ages, [None] * len(ages), shares[: len(ages)])
        mature = mature_rows(joined, 30 * DAY, NOW)
        found = coverage_of(joined, 30 * DAY, NOW)
        assert (found.mature, found.share, found.lag_s) == (0, None, None)
        said = measured(joined, mature, 0.95, 7)
        assert (said.metrics, set(said.undefined.values())) == ({}, {"there is no row"})
        guess = estimated(joined, mature, 0.95, 7)
        assert guess.rows == len(ages)
        assert guess.calibration == "there is no row"
        json.dumps(guess.undefined)


def test_regression_is_measured_and_not_guessed() -> None:
    model = LoggedModel(version="1", task="regression", columns=(LoggedColumn(name="x", kind="number"),))
    rng = np.random.default_rng(4)
    truth = rng.normal(10, 3, 80)
    joined = case([40.0] * 80, [*truth[:70], *[None] * 10], np.zeros((80, 2)), model)
    joined.window.predictions[:] = truth + rng.normal(0, 1, 80)
    object.__setattr__(joined.window, "probabilities", None)
    mature = mature_rows(joined, 30 * DAY, NOW)
    said = measured(joined, mature, 0.95, 7)
    assert said.metrics["rmse"].low < 1.0 < said.metrics["rmse"].high
    guess = estimated(joined, mature, 0.95, 7)
    assert guess.metrics == {}
    assert "needs probabilities" in guess.undefined["rmse"]


def test_the_estimates_intervals_hold_the_metrics_as_often_as_they_say() -> None:
    """Of 40 windows of a calibrated model 95% should hold; fewer than 34 come by chance in 1 of 300 such tests."""
    held: Counter[str] = Counter()
    for window in range(40):
        shares, truth = drawn(np.random.default_rng(window), 100)
        joined = case([1.0] * 100, [None] * 100, shares)
        for name, guess in estimated(joined, np.zeros(100, dtype=np.bool_), 0.95, window).metrics.items():
            held[name] += guess.low <= point(name, Judged(truth, shares, False)) <= guess.high
    assert set(held) == {"roc_auc", "accuracy", "log_loss", "precision", "recall", "f1", "pr_auc", "brier"}
    assert min(held.values()) >= 34, held


def test_an_estimate_cannot_see_a_changed_relation_and_the_calibration_beside_it_can() -> None:
    shares, truth = drawn(np.random.default_rng(5), 600)
    labels: list[object] = [MODEL.classes[1 - place] for place in truth[:300]]  # turned round
    joined = case([40.0] * 300 + [1.0] * 300, labels + [None] * 300, shares)
    mature = mature_rows(joined, 30 * DAY, NOW)
    guess = estimated(joined, mature, 0.95, 7)
    assert guess.metrics["roc_auc"].value > 0.7
    assert measured(joined, mature, 0.95, 7).metrics["roc_auc"].high < 0.4
    assert not isinstance(guess.calibration, str)
    assert guess.calibration.low > 0.1
    assert "calibrated" in guess.assumes

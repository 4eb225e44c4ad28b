"""Nothing passes on missing evidence: degenerate inputs of every kind, through metrics, comparisons and the gate."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kubeloop.contract.judgement import METRICS_OF_TASK, Gate, Metrics, Slice
from kubeloop.evaluation.bootstrap import Estimate
from kubeloop.evaluation.gate import Evidence, Rival, judge, readable
from kubeloop.evaluation.judged import Judged
from kubeloop.evaluation.metrics import compare, measure
from kubeloop.evaluation.rivals import against_dummy
from kubeloop.evaluation.slices import SliceEstimate

SIZES = (1, 2, 3, 5, 40)
TRUTHS = {
    "one class": lambda n, rng: np.zeros(n, dtype=np.int64),
    "other class": lambda n, rng: np.ones(n, dtype=np.int64),
    "unknown class": lambda n, rng: np.full(n, -1),
    "one positive": lambda n, rng: np.eye(1, n, dtype=np.int64)[0],
    "both": lambda n, rng: np.arange(n) % 2,
}
SCORES = {
    "constant": lambda n, truth, rng: np.full(n, 0.5),
    "certain": lambda n, truth, rng: np.ones(n),
    "ties": lambda n, truth, rng: rng.choice([0.2, 0.8], n),
    "perfect": lambda n, truth, rng: np.clip(truth, 0, 1).astype(float),
    "opposite": lambda n, truth, rng: 1.0 - np.clip(truth, 0, 1),
    "noise": lambda n, truth, rng: rng.random(n),
}
NUMBERS = {
    "all equal": lambda n, rng: np.full(n, 3.0),
    "all zero": lambda n, rng: np.zeros(n),
    "huge": lambda n, rng: rng.normal(size=n) * 1e200,
    "tiny": lambda n, rng: rng.normal(size=n) * 1e-200,
    "one far off": lambda n, rng: np.append(np.zeros(n - 1), 1e12),
    "plain": lambda n, rng: rng.normal(size=n),
}
BLOCKS: dict[str, Callable[[int], Any]] = {
    "rows": lambda n: None,
    "one block": lambda n: np.zeros(n, dtype=np.int64),
    "two blocks": lambda n: np.arange(n) % 2,
    "a block each": np.arange,
}


def classes():
    for n, truth, score, blocks in itertools.product(SIZES, TRUTHS, SCORES, BLOCKS):
        rng = np.random.default_rng(n)
        known = TRUTHS[truth](n, rng)
        p = SCORES[score](n, known, rng)
        yield f"{n} {truth} {score} {blocks}", Judged(known, np.column_stack([1 - p, p]), False, BLOCKS[blocks](n))


def numbers():
    for n, truth, answers, blocks in itertools.product(SIZES, NUMBERS, NUMBERS, BLOCKS):
        known, given = (NUMBERS[name](n, np.random.default_rng(seed)) for seed, name in ((n, truth), (n + 1, answers)))
        yield f"{n} {truth} {answers} {blocks}", Judged(known, given, True, BLOCKS[blocks](n))


def multiclass():
    for n, seed, blocks in itertools.product(SIZES, range(4), BLOCKS):
        rng = np.random.default_rng(seed)
        answers = rng.dirichlet([0.3, 0.3, 0.3], n) if seed else np.full((n, 3), 1 / 3)
        yield f"{n} {seed} {blocks}", Judged(rng.integers(0, seed + 1, n) % 3, answers, False, BLOCKS[blocks](n))


CASES = {"binary": classes, "multiclass": multiclass, "regression": numbers}


def cases(task):
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        yield from CASES[task]()


def honest(found, name):
    """An interval around its value that is finite, and of no width only where answers are identical."""
    assert all(map(math.isfinite, (found.value, found.low, found.high))), (name, found)
    assert found.low < found.high, (name, found)
    slack = 1e-9 * max(abs(found.low), abs(found.high))
    assert found.low - slack <= found.value <= found.high + slack, (name, found)


@pytest.mark.parametrize("task", CASES)
def test_a_metric_has_an_honest_interval_or_says_why_it_has_none(task):
    for name, judged in cases(task):
        for metric in METRICS_OF_TASK[task]:
            found = measure(metric, judged, 0.95, 0)
            if isinstance(found, str):
                assert found
            else:
                honest(found, f"{metric}: {name}")


@pytest.mark.parametrize("task", CASES)
def test_no_degenerate_rows_prove_a_model_better_than_the_dummy_where_it_is_not(task):
    """Constant answers never beat the dummy that answers the same constant, whatever the rows and the metric."""
    for name, judged in cases(task):
        constant = judged.answers[:1].repeat(len(judged), axis=0)
        known = {"mean": float(constant[0])} if judged.regression else {"shares": constant[0].tolist()}
        blind = judged.answered(constant)
        for metric in METRICS_OF_TASK[task]:
            if metric == "calibration_error":
                continue
            found = measure(metric, blind, 0.95, 0)
            own: dict[str, Estimate] = {} if isinstance(found, str) else {metric: found}
            rival = against_dummy(metric, blind, known, own, (0.95, 0))
            better = rival.improvement is not None and rival.improvement.low > 0
            assert not better, (metric, name, rival)


@pytest.mark.parametrize("task", CASES)
def test_a_difference_is_honest_or_says_why_not(task):
    for name, judged in cases(task):
        other = judged.answered(judged.answers[::-1].copy())
        for metric in METRICS_OF_TASK[task]:
            found = compare(metric, judged, other, 0.95)
            if isinstance(found, str):
                assert found
            elif not found.value == found.low == found.high == 0:
                honest(found, f"{metric}: {name}")


BAD = (math.nan, math.inf, -math.inf)
GOOD = Estimate(0.8, 0.75, 0.85, "made up", 200)


def broken():
    """Estimates of which at least one number is no number."""
    for value, low, high in itertools.product((0.8, *BAD), repeat=3):
        found = Estimate(value, low, high, "made up", 200)
        if not (math.isfinite(low) and math.isfinite(high)):
            yield found


def test_no_broken_estimate_keeps_a_bound_from_both_sides_or_beats_a_rival():
    bound = {"at_least": 0.7, "at_most": 0.9}
    metrics = Metrics.model_validate({"primary": "roc_auc", "thresholds": {"accuracy": bound}})
    for found in broken():
        seen = Evidence(200, estimates={"roc_auc": GOOD, "accuracy": found}, dummy=Rival(found))
        verdicts = {check.name: check.verdict for check in judge(metrics, Gate(), seen).checks}
        assert verdicts["threshold:accuracy"] != "pass", found
        if math.isnan(found.low) or found.low == -math.inf:
            assert verdicts["dummy"] != "pass", found


def test_a_gate_with_less_evidence_never_says_more():
    """Take any part of a passing evidence away: it no longer passes."""
    metrics = Metrics.model_validate({"primary": "roc_auc", "thresholds": {"roc_auc": {"at_least": 0.7}}})
    gate = Gate.model_validate({"worst_slice": {"at_least": 0.6}})
    part = SliceEstimate(Slice(name="old", where="age > 60", at_least=0.6), 60, GOOD, GOOD)
    full: dict[str, Any] = {
        "rows": 200,
        "estimates": {"roc_auc": GOOD},
        "slices": [part],
        "dummy": Rival(Estimate(0.3, 0.2, 0.4, "made up", 200)),
        "champion": Rival(Estimate(0.01, -0.01, 0.03, "made up", 200), value=1.0),
        "status": "champion",
    }
    assert judge(metrics, gate, Evidence(**full)).verdict == "pass"
    less: dict[str, Any] = {
        "rows": 0,
        "estimates": {},
        "slices": [],
        "dummy": Rival(None),
        "champion": None,
        "status": "unavailable",
    }
    for word, nothing in less.items():
        assert judge(metrics, gate, Evidence(**{**full, word: nothing})).verdict != "pass", word


@pytest.mark.parametrize(
    ("value", "words"),
    [(23_412.3, "23,400"), (0.8, "0.8"), (999.6, "1,000"), (1_234_567.0, "1,230,000"), (-4321.0, "-4,320"), (0.0, "0")],
)
def test_numbers_are_written_for_people(value, words):
    assert readable(value) == words

"""Slices and KPIs at the gate: each passes, fails, and cannot tell."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from kubeloop.contract.business import Kpi
from kubeloop.contract.judgement import Gate, Metrics, Slice
from kubeloop.evaluation.bootstrap import Estimate
from kubeloop.evaluation.gate import Evidence, Rival, judge
from kubeloop.evaluation.judged import Judged
from kubeloop.evaluation.kpis import KpiEstimate
from kubeloop.evaluation.slices import SliceEstimate, slice_estimates, worst

METRICS = Metrics(primary="roc_auc")
KPI = Kpi(name="cost", expression="abs(prediction - label)", owner="ops", at_most=0.2)


def number(low, high, n=100):
    return Estimate((low + high) / 2, low, high, "made up", n)


def part(name, found, wide=None, rows=100, **bound):
    return SliceEstimate(Slice(name=name, where="age > 1", **bound), rows, found, wide or found, "one class")


def checks(gate=None, **more):
    good: dict[str, Any] = {"rows": 200, "estimates": {"roc_auc": number(0.8, 0.9)}, "dummy": Rival(number(0.2, 0.3))}
    decision = judge(METRICS, Gate.model_validate(gate or {}), Evidence(**(good | more)))
    return decision, {check.name: check for check in decision.checks}


@pytest.mark.parametrize(
    ("seen", "verdict", "reason"),
    [
        (part("old", number(0.75, 0.8), at_least=0.7), "pass", "roc_auc in the slice old is asked to be at least 0.7"),
        (part("old", number(0.65, 0.8), at_least=0.7), "inconclusive", "crosses the bound"),
        (part("old", number(0.5, 0.6), at_least=0.7), "fail", "all of the interval is outside"),
        (part("old", number(0.5, 0.6), number(0.4, 0.75), at_least=0.7), "inconclusive", "many slices that may be"),
        (part("old", number(0.75, 0.8), rows=29, at_least=0.7), "inconclusive", "29 rows are fewer than the 30"),
        (part("old", None, rows=0, at_least=0.7), "inconclusive", "its 0 rows are fewer"),
        (part("old", None, at_least=0.7), "inconclusive", "but one class"),
        (part("old", number(float("nan"), 0.8), at_least=0.7), "inconclusive", "not finite"),
    ],
)
def test_a_slice_against_its_own_bound(seen, verdict, reason):
    decision, found = checks(slices=[seen])
    assert found["slice:old"].verdict == decision.verdict == verdict
    assert reason in found["slice:old"].reason


def test_a_slice_without_a_bound_is_only_shown():
    _, found = checks(slices=[part("old", number(0.1, 0.2))])
    assert "slice:old" not in found


@pytest.mark.parametrize(
    ("slices", "verdict", "reason"),
    [
        ([part("a", number(0.7, 0.8)), part("b", number(0.65, 0.9))], "pass", "the worst, a, is 0.75 (0.7 to 0.8"),
        ([part("a", number(0.7, 0.8)), part("b", number(0.4, 0.5))], "fail", "in the slice b"),
        (
            [part("a", number(0.5, 0.8)), part("b", number(0.4, 0.5)), part("c", number(0.4, 0.5))],
            "fail",
            "in the slice b is asked to be at least 0.6, it is 0.45 (0.4 to 0.5, 100 rows): all of the interval is "
            "outside (and 1 more slices)",
        ),
        ([part("a", number(0.7, 0.8)), part("b", number(0.5, 0.9))], "inconclusive", "in the slice b"),
        ([part("a", number(0.7, 0.8)), part("b", None, rows=3)], "inconclusive", "3 rows are fewer"),
        ([], "inconclusive", "there is no slice"),
    ],
)
def test_the_worst_slice(slices, verdict, reason):
    decision, found = checks({"worst_slice": {"at_least": 0.6}}, slices=slices)
    assert found["worst_slice"].verdict == decision.verdict == verdict
    assert reason in found["worst_slice"].reason


@pytest.mark.parametrize(
    ("seen", "verdict", "reason"),
    [
        (number(0.1, 0.19), "pass", "the KPI cost is asked to be at most 0.2, it is 0.145 (0.1 to 0.19, 100 rows)"),
        (number(0.1, 0.3), "inconclusive", "crosses the bound"),
        (number(0.21, 0.3), "fail", "all of the interval is outside"),
        (number(0.1, float("inf")), "inconclusive", "not finite"),
        (None, "inconclusive", "but it has no finite value"),
    ],
)
def test_a_kpi_against_its_bound(seen, verdict, reason):
    decision, found = checks(kpis=[KpiEstimate(KPI, seen, "it has no finite value")])
    assert found["kpi:cost"].verdict == decision.verdict == verdict
    assert reason in found["kpi:cost"].reason


def test_a_kpi_without_a_bound_is_only_shown():
    _, found = checks(kpis=[KpiEstimate(KPI.model_copy(update={"at_most": None}), None, "nothing")])
    assert "kpi:cost" not in found


def test_large_numbers_are_written_for_people():
    metrics = Metrics.model_validate({"primary": "rmse", "thresholds": {"rmse": {"at_most": 1_250_000}}})
    seen = Evidence(900, estimates={"rmse": Estimate(23_412.0, 22_040.0, 24_777.0, "made up", 1200)})
    check = next(each for each in judge(metrics, Gate(), seen).checks if each.name == "threshold:rmse")
    assert check.reason == "rmse is asked to be at most 1,250,000, it is 23,400 (22,000 to 24,800, 1,200 rows)"


def test_the_worst_slice_is_the_lowest_or_the_highest():
    found = [part("a", number(0.7, 0.8)), part("b", None), part("c", number(0.5, 0.6))]
    assert worst(found, True).part.name == "c"
    assert worst(found, False).part.name == "a"
    assert worst([part("b", None)], True) is None


def test_many_equally_good_slices_seldom_refuse_a_good_model():
    """20 slices, all exactly at their bound: one of them refuses in 2.5% of the test sets at most, not in 40%."""
    slices = [Slice(name=f"s{number}", where=f"part = {number}", at_least=0.8) for number in range(20)]
    refused = plain = 0
    for sample in range(60):
        rng = np.random.default_rng(sample)
        n = 2000
        truth, right = rng.integers(0, 2, n), rng.random(n) < 0.8
        answers = np.eye(2)[np.where(right, truth, 1 - truth)]
        table = pd.DataFrame({"part": np.arange(n) % 20})
        found = slice_estimates(slices, table, Judged(truth, answers, False), "accuracy", 30, (0.95, 0))
        seen = Evidence(n, estimates={}, slices=found)
        verdicts = [each.verdict for each in judge(METRICS, Gate(), seen).checks if each.name.startswith("slice:")]
        refused += "fail" in verdicts
        plain += any(each.found.high < 0.8 for each in found)
    assert refused <= 6
    assert plain > 10

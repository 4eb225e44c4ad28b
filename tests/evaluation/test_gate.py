"""Every outcome of the gate: what passes, what fails, what it cannot tell."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from kubeloop.contract.judgement import Gate, Metrics
from kubeloop.evaluation.bootstrap import Estimate
from kubeloop.evaluation.gate import Evidence, Rival, judge

METRICS = Metrics.model_validate(
    {"primary": "roc_auc", "thresholds": {"accuracy": {"at_least": 0.7}, "log_loss": {"at_most": 0.6}}}
)


def number(low, high, n=100):
    return Estimate((low + high) / 2, low, high, "made up", n)


def evidence(**more):
    good: dict[str, Any] = {
        "rows": 100,
        "estimates": {"roc_auc": number(0.8, 0.9), "accuracy": number(0.75, 0.85), "log_loss": number(0.3, 0.5)},
        "dummy": Rival(number(0.3, 0.4), rows=100),
        "status": "champion",
        "champion": Rival(number(-0.01, 0.03), rows=100, value=1.0),
        "detail": "champion abc",
    }
    return Evidence(**(good | more))


def verdict_of(decision, name):
    return next(check.verdict for check in decision.checks if check.name == name)


def estimates(**changed):
    return {**evidence().estimates, **changed}


def test_a_good_model_passes_and_says_why():
    decision = judge(METRICS, Gate(), evidence())
    assert (decision.gate, decision.verdict, decision.baseline) == ("model", "pass", "champion")
    assert [check.name for check in decision.checks] == [
        "rows", "finite", "threshold:accuracy", "threshold:log_loss", "dummy", "champion",
    ]  # fmt: skip


def rival(low, high, n=100):
    return {"champion": Rival(number(low, high, n=n), rows=n, value=1.0)}


@pytest.mark.parametrize(
    ("name", "change", "verdict", "reason"),
    [
        ("rows", {"rows": 29}, "inconclusive", "29 test rows, at least 30"),
        ("rows", {"rows": 0, "estimates": {}}, "inconclusive", "no test row"),
        ("finite", {"not_finite": 3, "estimates": {}}, "fail", "3 of 100 answers are not finite"),
        ("target", {"target_problem": "all test rows are of one class, 1"}, "inconclusive", "one class"),
        ("threshold:accuracy", {"estimates": estimates(accuracy=number(0.5, 0.69))}, "fail", "all of the interval"),
        ("threshold:accuracy", {"estimates": estimates(accuracy=number(0.6, 0.8))}, "inconclusive", "crosses"),
        ("threshold:accuracy", {"estimates": estimates(accuracy=number(0.7, 0.8))}, "pass", "at least 0.7"),
        ("threshold:log_loss", {"estimates": estimates(log_loss=number(0.61, 0.8))}, "fail", "at most 0.6"),
        ("threshold:log_loss", {"estimates": estimates(log_loss=number(0.5, 0.8))}, "inconclusive", "crosses"),
        (
            "threshold:accuracy",
            {"estimates": {}, "undefined": {"accuracy": "there is no row"}},
            "inconclusive",
            "there is no row",
        ),
        ("flipped", {"estimates": estimates(roc_auc=number(0.1, 0.4))}, "fail", "target or its positive class may be"),
        ("dummy", {"dummy": Rival(number(-0.1, 0.2))}, "inconclusive", "not surely better"),
        ("dummy", {"dummy": Rival(number(-0.2, -0.1))}, "fail", "not better than a dummy"),
        ("dummy", {"dummy": Rival(number(0, 0))}, "fail", "not better than a dummy"),
        ("dummy", {"dummy": Rival(None, "a single class")}, "inconclusive", "a single class"),
        (
            "champion",
            rival(-0.2, -0.03),
            "fail",
            "worse than the champion by more than 0.02",
        ),
        ("champion", rival(-0.1, 0.1), "inconclusive", "not surely as good"),
        (
            "champion",
            rival(-0.02, 0.1),
            "pass",
            "not worse than the champion by more than 0.02",
        ),
        ("champion", rival(0.1, 0.2), "pass", "better than the champion: improvement"),
        ("champion", rival(0, 0), "pass", "not worse than"),
        ("champion", {"champion": Rival(number(0.1, 0.2))}, "inconclusive", "which is not known"),
        (
            "champion",
            rival(0.1, 0.2, n=20),
            "inconclusive",
            "20 rows that neither",
        ),
        ("champion", {"champion": Rival(None, "no unseen row")}, "inconclusive", "no unseen row"),
        ("champion", {"status": "none_yet", "champion": None, "detail": "no champion yet"}, "pass", "no champion yet"),
        ("champion", {"status": "unavailable", "champion": None, "detail": "db is down"}, "inconclusive", "db is down"),
        ("champion", {"champion": None}, "inconclusive", "cannot be asked"),
    ],
)
def test_each_check_alone_decides(name, change, verdict, reason):
    decision = judge(METRICS, Gate(), evidence(**change))
    check = next(check for check in decision.checks if check.name == name)
    assert check.verdict == verdict
    assert reason in check.reason
    assert decision.verdict == verdict


def test_a_flip_is_not_said_where_the_interval_reaches_one_half():
    decision = judge(METRICS, Gate(), evidence(estimates=estimates(roc_auc=number(0.3, 0.5))))
    assert "flipped" not in {check.name for check in decision.checks}


def test_a_threshold_with_both_ends():
    both = Metrics.model_validate({"primary": "roc_auc", "thresholds": {"roc_auc": {"at_least": 0.6, "at_most": 0.85}}})
    wanted = {(0.7, 0.8): "pass", (0.7, 0.9): "inconclusive", (0.86, 0.9): "fail", (0.1, 0.5): "fail"}
    for (low, high), verdict in wanted.items():
        decision = judge(both, Gate(), evidence(estimates={"roc_auc": number(low, high)}))
        assert verdict_of(decision, "threshold:roc_auc") == verdict


def test_unavailable_never_passes_even_if_all_else_does():
    decision = judge(METRICS, Gate(), evidence(status="unavailable", champion=None))
    assert decision.verdict == "inconclusive"
    assert decision.baseline == "unavailable"


def test_the_margin_of_the_contract_is_used():
    close = evidence(champion=Rival(number(-0.04, 0.01), rows=100, value=1.0))
    assert judge(METRICS, Gate(), close).verdict == "inconclusive"
    assert judge(METRICS, Gate.model_validate({"champion": {"margin": 0.05}}), close).verdict == "pass"


def test_a_margin_in_percent_is_a_share_of_what_the_champion_has():
    """An rmse in dollars: 2% of 25,000 are 500, whatever 0.02 would be."""
    gate, metrics = Gate.model_validate({"champion": {"margin": "2%"}}), Metrics(primary="rmse")
    for low, verdict in ((-499, "pass"), (-501, "inconclusive")):
        seen = evidence(champion=Rival(number(low, 300), rows=100, value=25_000.0))
        check = next(check for check in judge(metrics, gate, seen).checks if check.name == "champion")
        assert check.verdict == verdict
        assert check.evidence["margin"] == 500
        assert "by more than 500 (gate.champion.margin: 2% of its 25,000)" in check.reason


@pytest.mark.parametrize("margin", ["2", "2 %", "-2%", "101%", "%", -0.1, True])
def test_a_margin_is_a_share_or_a_number_of_at_least_0(margin):
    with pytest.raises(ValidationError):
        Gate.model_validate_json(json.dumps({"champion": {"margin": margin}}), strict=True)

"""What the business watches, from expressions to intervals."""

import numpy as np
import pandas as pd
import pytest

from kubeloop.contract.business import Kpi
from kubeloop.errors import InputError
from kubeloop.evaluation.bootstrap import Estimate
from kubeloop.evaluation.judged import Judged
from kubeloop.evaluation.kpis import kpi_estimates, kpi_facts
from kubeloop.evaluation.metrics import measure

N = 200
RNG = np.random.default_rng(3)
TRUTH = (RNG.random(N) < 0.4).astype(int)
SCORE = np.clip(0.25 + 0.5 * TRUTH + RNG.normal(size=N) / 5, 0.01, 0.99)
JUDGED = Judged(TRUTH, np.column_stack([1 - SCORE, SCORE]), False)
ROWS = pd.DataFrame({"amount": RNG.gamma(2, 50, N), "label": TRUTH, "prediction": (SCORE > 0.5).astype(int)})
SETTING = (0.95, 0)


def found(expression, judged=JUDGED, rows=ROWS):
    kpi = Kpi(name="it", expression=expression, owner="ops", at_most=1)
    return kpi_estimates([kpi], rows, judged, SETTING)[0]


def measured(metric: str) -> Estimate:
    found = measure(metric, JUDGED, *SETTING)
    assert isinstance(found, Estimate), found
    return found


def test_a_condition_is_a_share_with_its_exact_interval():
    wrong = found("prediction <> label").found
    right = measured("accuracy")
    assert wrong.value == pytest.approx(1 - right.value)
    assert (wrong.low, wrong.high) == (pytest.approx(1 - right.high), pytest.approx(1 - right.low))


def test_two_values_are_a_share_between_them():
    plain = found("prediction <> label").found
    costly = found("case when prediction <> label then 250 else 50 end").found
    assert costly.value == pytest.approx(50 + 200 * plain.value)
    assert (costly.low, costly.high) == (pytest.approx(50 + 200 * plain.low), pytest.approx(50 + 200 * plain.high))


def test_row_values_are_averaged_and_unknown_ones_are_left_out():
    cost = found("case when prediction <> label then amount else 0 end").found
    values = np.where(ROWS["prediction"] != ROWS["label"], ROWS["amount"], 0)
    assert cost.value == pytest.approx(values.mean())
    assert cost.low < cost.value < cost.high
    called = found("case when prediction = 1 then label end").found
    precision = measured("precision")
    assert called.n == int(ROWS["prediction"].sum())
    assert (called.value, called.low, called.high) == pytest.approx((precision.value, precision.low, precision.high))


def test_a_metric_by_its_name_keeps_its_interval():
    one = measured("accuracy")
    twice = found("accuracy * 2").found
    assert (twice.value, twice.low, twice.high) == pytest.approx((2 * one.value, 2 * one.low, 2 * one.high))
    turned = found("1 - accuracy").found
    assert (turned.low, turned.high) == pytest.approx((1 - one.high, 1 - one.low))


def test_several_metrics_have_a_wider_interval_each():
    both = found("(precision + recall) / 2").found
    alone = [measured(name) for name in ("precision", "recall")]
    assert both.low < sum(each.low for each in alone) / 2
    assert both.high > sum(each.high for each in alone) / 2


def test_metrics_among_row_values_bring_their_own_uncertainty():
    rows_alone = found("amount").found
    both = found("amount * (1 - accuracy)").found
    share = 1 - measured("accuracy").value
    assert both.value == pytest.approx(rows_alone.value * share)
    assert (both.high - both.low) / both.value > 1.5 * (rows_alone.high - rows_alone.low) / rows_alone.value


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("3", "a constant"),
        ("amount * 0", "0 in every row"),
        ("amount / 0", "no finite value"),
        ("case when amount < 0 then 1.5 end", "no finite value in any row"),
        ("amount * calibration_error", "no interval is known"),
    ],
)
def test_a_kpi_without_an_honest_interval_says_why(expression, why):
    each = found(expression)
    assert each.found is None
    assert why in each.why


def test_a_kpi_of_a_metric_without_a_value_says_whose():
    one_class = Judged(np.zeros(N, dtype=int), JUDGED.answers, False)
    assert found("roc_auc", one_class).why == "roc_auc has no value: the test rows have a single class"


def test_all_rows_in_one_block_and_nothing_to_average_by():
    one = Judged(TRUTH, JUDGED.answers, False, np.zeros(N, dtype=int))
    assert "one block" in found("amount", one).why


def test_blocks_widen_a_kpi():
    twice = np.repeat(np.arange(N), 2)
    double = Judged(TRUTH[twice], JUDGED.answers[twice], False, twice)
    known, once = found("amount", double, ROWS.iloc[twice].reset_index(drop=True)).found, found("amount").found
    assert known.high - known.low == pytest.approx(once.high - once.low, rel=0.1)


@pytest.mark.parametrize("expression", ["amount > 'much'", "prediction + town"])
def test_an_expression_that_does_not_fit_is_the_users_to_mend(expression):
    with pytest.raises(InputError, match="KPI 'it'"):
        found(expression)


def test_the_words_of_the_gate_win_over_columns_of_the_same_name():
    rows = ROWS.assign(accuracy=0.0)
    assert found("accuracy", rows=rows).found.value == measured("accuracy").value


def test_facts_say_what_was_asked_and_seen():
    kpi = Kpi(name="it", expression="amount", owner="ops", at_most=200)
    (fact,) = kpi_facts(kpi_estimates([kpi], ROWS, JUDGED, SETTING))
    assert fact.keys() >= {"name", "expression", "owner", "sla", "at_least", "at_most", "value", "low", "high"}
    assert fact["reason"] == ""

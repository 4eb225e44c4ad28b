import datetime as dt

import pytest

from kubeloop.reports import facts, words
from kubeloop.reports.look import ticked
from kubeloop.reports.strips import Points, scale_of, strip


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.9137, "0.914"),
        (0.0, "0.000"),
        (-0.0, "0.000"),
        (4e-12, "4.0e\N{MINUS SIGN}12"),
        (-0.338, "\N{MINUS SIGN}0.338"),
        (23410.7, "23,411"),
        (123.456, "123.5"),
        (303, "303"),
        (2930, "2,930"),
        (True, "yes"),
        (None, "none"),
        ("thal", "thal"),
        ([1, "a"], "1, a"),
        ({"low": 0.5}, "low 0.500"),
    ],
)
def test_shown(value, expected):
    assert facts.shown(value) == expected


def test_settings_and_bounds_keep_their_digits():
    assert facts.bare(0.0001) == "0.0001"
    assert facts.bare(1000) == "1000"
    assert facts.asked(30000.0) == "30,000"
    assert facts.asked(0.8) == "0.8"


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0, "0%"), (1, "100%"), (0.05, "5%"), (0.203, "20.3%"), (0.0001, "< 0.1%"), (0.99999, "> 99.9%")],
)
def test_percent_never_rounds_something_to_nothing(share, expected):
    assert facts.percent(share) == expected


def test_readers_take_no_other_shape():
    assert facts.number(True) is None
    assert facts.number("7") is None
    assert facts.number(float("nan")) is None
    assert facts.count(3.0) == 3
    assert facts.count(-1) is None
    assert facts.count(2.5) is None
    assert facts.items("abc") == []
    assert facts.mapping([1]) == {}
    assert facts.numbers([1, "x"]) == []
    assert facts.text("  ") is None
    assert facts.text({"a": 1}) is None


def test_times():
    east = dt.timezone(dt.timedelta(hours=2))
    assert facts.moment(dt.datetime(2026, 11, 21, 1, 2, 3, tzinfo=east)) == "20 Nov 2026, 23:02:03 UTC"
    assert facts.duration(4.04) == "4.0 s"
    assert facts.duration(61) == "1 min 1 s"
    assert facts.duration(3700) == "1 h 1 min"


def test_sentences():
    assert facts.sentence("the gate said no") == "The gate said no."
    assert facts.sentence("roc_auc is low") == "roc_auc is low."
    assert facts.sentence("rmse is high!") == "rmse is high!"
    assert facts.sentence("") == ""
    assert facts.halves("One thing. And another") == ("One thing.", "And another.")
    assert facts.halves("One thing") == ("One thing", "")


def test_backticks_become_code_and_nothing_else_does():
    assert str(ticked("run `kubeloop run` <b>")) == "run <code>kubeloop run</code> &lt;b&gt;"
    assert str(ticked("a ` alone")) == "a ` alone"
    assert str(ticked("`<i>`")) == "<code>&lt;i&gt;</code>"


def test_names_of_checks():
    assert words.check("threshold:roc_auc") == "Threshold, ROC AUC"
    assert words.check("rule:trestbps:maximum") == "Rule, trestbps maximum"
    assert words.check("rows_left") == "Rows left"
    assert words.gate("fairness") == "fairness gate"


def test_strip_places_everything_in_order():
    points = Points("ROC AUC", 0.9, 0.85, 0.95, at_least=0.8, dummy=0.5)
    found = strip(points, scale_of(points.all(), (0.0, 1.0)))
    assert found is not None
    assert 0 < found.dummy < found.bound < found.whisker[0] < found.dot < found.whisker[1] < 100
    assert found.out == (0.0, found.bound)
    assert "required at least 0.800" in found.label
    below = strip(Points("RMSE", 2.0, at_most=3.0), scale_of([2.0, 3.0], (0.0, None)))
    assert below is not None
    assert below.out is not None
    assert below.out[0] == below.bound
    assert below.whisker is None


def test_scales_stay_in_the_natural_range_and_never_collapse():
    assert scale_of([]) is None
    one = scale_of([1.0], (0.0, 1.0))
    assert one is not None
    assert (one.high, one.low < 1.0) == (1.0, True)
    zero = scale_of([0.0], (0.0, None))
    assert zero is not None
    assert zero.low < zero.high
    assert strip(Points("R2", None), zero) is None

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kubeloop.learning.answers import answer
from kubeloop.learning.estimator_file import estimator_bytes, read_estimator, read_estimator_bytes
from kubeloop.learning.inputs import InputColumn, to_frame
from kubeloop.learning.training import train
from kubeloop.learning.transformers import (
    DateParts,
    DayInList,
    JoinedCategories,
    KeptColumns,
    MissingFlags,
    RandomSampleImputer,
)


def trained(section, frame, table, tmp_path):
    out = tmp_path / "model"
    facts = train(section, {}, table(frame), out)
    return facts, json.loads((out / "model.json").read_text()), read_estimator(out / "estimator.skops")


def seconds(*texts):
    return np.array([[pd.Timestamp(text).timestamp()] for text in texts])


def test_date_parts_are_those_of_pandas():
    moments = pd.Series(pd.date_range("1969-12-25", "2031-01-05", freq="31h", tz="UTC"))
    parts = ("year", "quarter", "month", "week", "day", "day_of_year", "weekday", "weekend", "hour", "minute")
    found = DateParts(parts).fit_transform((moments.astype("int64") / 1e9).to_numpy()[:, None])
    at = moments.dt
    wanted = [at.year, at.quarter, at.month, at.isocalendar().week, at.day, at.dayofyear, at.weekday]
    wanted += [at.weekday >= 5, at.hour, at.minute]
    assert np.array_equal(found, np.column_stack([each.astype(float) for each in wanted]))
    assert np.isnan(DateParts(("hour",)).fit_transform(np.array([[np.nan]]))).all()


def test_a_listed_day_is_found_and_a_missing_one_is_none():
    days = np.array([19723], dtype=np.int64)  # 2024-01-01
    x = np.vstack([seconds("2024-01-01T23:59Z", "2024-01-02T00:00Z"), [[np.nan]]])
    assert DayInList(days).fit_transform(x).tolist() == [[1.0], [0.0], [0.0]]


def test_joined_categories_keep_unlike_pairs_apart():
    x = np.array([["a|", "b"], ["a", "|b"], [None, "b"], ["", "b"], ["a", "|b"]], dtype=object)
    found = JoinedCategories().fit_transform(x)[:, 0].tolist()
    assert len(set(found)) == 4
    assert found[1] == found[4]


def test_a_random_draw_follows_the_row_and_looks_like_the_training_rows():
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.exponential(size=2000), rng.normal(size=2000)])
    gaps = rng.random(2000) < 0.4
    x[gaps, 0] = np.nan
    imputer = RandomSampleImputer(1, seed=5).fit(x)
    filled = imputer.transform(x)
    assert filled.shape == (2000, 1)
    known = x[~gaps, 0]
    assert abs(np.median(filled[gaps]) - np.median(known)) < 0.1
    assert abs(filled[gaps].std() - known.std()) < 0.2
    one_by_one = np.vstack([imputer.transform(x[row : row + 1]) for row in range(50)])
    assert np.array_equal(one_by_one, filled[:50])
    assert imputer.quantiles_.size == 101  # no row is kept
    assert not np.array_equal(RandomSampleImputer(1, seed=6).fit(x).transform(x), filled)
    assert RandomSampleImputer(1).fit(np.array([[np.nan]])).transform(np.array([[np.nan]])).tolist() == [[0.0]]


@pytest.mark.parametrize("kind", ["filter", "l1", "permutation"])
@pytest.mark.parametrize("classify", [True, False])
def test_selection_keeps_what_counts(kind, classify):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 12))
    signal = x[:, 3] * 2 - x[:, 7] * 2
    y = (signal > 0).astype(int) if classify else signal
    kept = KeptColumns(kind, 2, classify=classify, seed=1).fit(x, y)
    assert kept.kept_.tolist() == [3, 7]
    assert {3, 7} <= set(KeptColumns(kind, classify=classify).fit(x, y).kept_.tolist())
    assert kept.transform(x).shape == (300, 2)
    assert KeptColumns(kind, 1, classify=classify).fit(np.zeros((20, 3)), np.arange(20) % 2).kept_.tolist() == [0]


def test_our_transformers_come_back_from_a_file():
    from sklearn.pipeline import make_pipeline

    x = np.array([[np.nan, 1.0], [2.0, 3.0], [4.0, np.nan]] * 10)
    y = np.arange(30) % 2
    texts = np.array([["a", None], ["b", "c"]] * 15, dtype=object)
    for one, values in (
        (DateParts(("hour",)), x),
        (DayInList(np.array([3], dtype=np.int64)), x),
        (MissingFlags(), x),
        (RandomSampleImputer(1, 3), x),
        (make_pipeline(RandomSampleImputer(2), KeptColumns("filter", 1)), x),
        (JoinedCategories(), texts),
    ):
        fitted = one.fit(values, y)
        content = estimator_bytes(fitted)
        back = read_estimator_bytes(content)
        np.testing.assert_array_equal(back.transform(values), fitted.transform(values))
        assert estimator_bytes(back) == content


FEATURES = [
    {"numeric": {"impute": "random_sample", "indicator": True, "scale": "robust"}},
    {"numeric": {"impute": "constant", "fill": -9.0, "scale": "none"}},
    {"numeric": {"impute": "mean"}, "categorical": {"impute": "mode", "encode": "ordinal"}},
    {"categorical": {"encode": "target"}},
    {"columns": {"dose": {"impute": "mode", "indicator": True}, "ward": {"encode": "target"}}},
    {"columns": {"note": {"encode": "ordinal"}}},
    {"dates": {"seen": ["hour", "weekday", "month"]}},
    {"interactions": [["age", "dose"], ["ward", "unit2"]]},
    {"selection": {"kind": "filter", "keep": 3}},
    {"selection": {"kind": "l1"}},
    {"selection": {"kind": "permutation", "keep": 3}},
]


@pytest.fixture
def more_rows(make_rows):
    frame = make_rows(150)
    rng = np.random.default_rng(5)
    frame["seen"] = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 9000, 150), unit="h")
    frame["note"] = rng.choice(["early", "late", None], 150)
    frame["unit"] = rng.choice(["mg", "g"], 150)
    return frame


@pytest.mark.parametrize("words", FEATURES, ids=lambda words: json.dumps(words)[:40])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_every_treatment_is_trained_kept_and_asked(words, task, make_section, more_rows, table, tmp_path):
    words = json.loads(json.dumps(words).replace("unit2", "unit"))
    change = {"features": words}
    if task == "regression":
        change |= {"target": {"column": "bill", "task": "regression"}, "estimator": {"kind": "ridge"}}
        change |= {"metrics": {"primary": "rmse"}}
    facts, model, estimator = trained(make_section(**change), more_rows, table, tmp_path)
    frame = to_frame(more_rows, model["schema"])
    whole = answer(estimator, frame, model["classes"], task)
    values = whole.probabilities if task == "binary" else whole.values
    assert np.isfinite(values).all()
    # A row alone is answered as among others, so golden requests can be replayed one by one.
    for row in (0, 17, 23):
        one = answer(estimator, frame.iloc[[row]], model["classes"], task)
        alone = one.probabilities if task == "binary" else one.values
        np.testing.assert_allclose(alone[0], values[row], rtol=1e-12)
    nothing = to_frame([[None] * len(model["schema"])], model["schema"])
    assert np.isfinite(estimator.predict(nothing).astype(float)).all()
    table_ = {each["name"]: each for each in facts["feature_table"]}
    assert list(table_) == facts["features"]
    json.dumps(facts, allow_nan=False)


def test_a_moment_is_an_input_as_text_number_or_timestamp(make_section, more_rows, table, tmp_path):
    _, model, _ = trained(make_section(features={"dates": {"seen": ["hour"]}}), more_rows, table, tmp_path)
    column = next(each for each in model["schema"] if each["name"] == "seen")
    assert column["kind"] == "timestamp"
    forms: list[Any] = [
        "2024-01-02T05:00:00Z",
        "2024-01-02T06:00:00+01:00",
        "2024-01-02 05:00",
        1704171600,
        pd.Timestamp(1704171600, unit="s"),
    ]
    rows: list[list[Any]] = [[form] for form in forms]
    found = to_frame(rows, [column])["seen"].tolist()
    assert found == [1704171600.0] * 5
    rows = [["2024-01-02"], [None]]
    assert to_frame(rows, [column])["seen"].isna().tolist() == [False, True]


@pytest.mark.parametrize("value", ["yesterday", True, 1e300, ["2024-01-01"], "2024-13-01"])
def test_what_is_no_moment_is_refused(value):
    column = InputColumn(name="seen", kind="timestamp", categories=None, minimum=0, maximum=1, nullable=True)
    from kubeloop.errors import InputError

    with pytest.raises(InputError, match="column 'seen', row 1: a moment was expected") as caught:
        to_frame([[value]], [column])
    assert "2027-01-31T12:00:00Z" in caught.value.fix


def test_target_encoding_is_cross_fitted(make_section, make_rows, table, tmp_path):
    """A category of its own in every row tells nothing: encoded from its own row's target, it would tell all."""
    rows = make_rows()
    rng = np.random.default_rng(0)
    rows["ward"] = [f"w{place}" for place in rng.permutation(len(rows)) // 2]
    rows["ill"] = rng.choice(["no", "yes"], len(rows))
    words = {"use": ["ward", "smoker"], "categorical": {"encode": "target"}}
    facts, _, _ = trained(make_section(features=words), rows, table, tmp_path)
    assert facts["cv"]["roc_auc"]["low"] < 0.6
    assert facts["gap"]["training"] < 0.75


def test_a_version_changes_with_the_treatment_and_with_nothing_else(make_section, make_rows, table, tmp_path):
    def versions(**change):
        facts = train(make_section(**change), {}, table(make_rows(60)), tmp_path / "model")
        return {each["name"]: each["version"] for each in facts["feature_table"]}

    base = versions()
    assert versions(estimator={"kind": "naive_bayes"}, seed=8) == base
    other = versions(features={"columns": {"dose": {"scale": "robust"}}})
    assert [name for name in base if base[name] != other[name]] == ["dose"]
    pair = versions(features={"interactions": [["age", "dose"]]})
    assert [name for name in base if base[name] != pair[name]] == ["age", "dose"]


def test_a_window_is_an_input_that_every_request_carries(make_section, make_rows, table, tmp_path):
    from kubeloop.errors import InputError, PermanentError

    windows = [{"name": "visits", "function": "count", "by": ["ward"], "over": "7d"}]
    section = make_section(features={"windows": windows})
    rows = make_rows(80).assign(visits=np.arange(80.0) % 7)
    facts, model, _ = trained(section, rows, table, tmp_path)
    assert facts["features"][-1] == "visits"
    with pytest.raises(InputError, match="no column 'visits'"):
        to_frame([{"age": 1, "dose": 1, "ward": "1", "smoker": True}], model["schema"])
    with pytest.raises(PermanentError, match="no column 'visits' for the window"):
        train(section, {}, table(make_rows(80)), tmp_path / "model")

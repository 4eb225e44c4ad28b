"""Folds by group and time, the rival, the gap, the feature table; and that nothing learns from held-out rows."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kubeloop.errors import InputError
from kubeloop.learning.folds import parts
from kubeloop.learning.training import problem_of, train


def facts_of(section, frame, table, tmp_path):
    return train(section, {}, table(frame), tmp_path / "model")


def with_data(section, **change):
    return section.model_copy(update={"data": section.data.model_copy(update=change)})


def test_groups_stay_together(make_section, make_rows):
    rows = make_rows()
    section = with_data(make_section(), group="note")
    section = section.model_copy(
        update={"cross_validation": section.cross_validation.model_copy(update={"kind": "group", "folds": 4})}
    )
    rows["note"] = [None if row % 40 == 0 else f"n{row // 7}" for row in range(len(rows))]
    found = parts(section, rows)
    assert len(found) == 4
    times: Any = sum(inside.astype(int) for inside, _ in found)
    assert (times == 1).all()
    for inside, outside in found:
        assert not set(rows["note"][inside].dropna()) & set(rows["note"][outside].dropna())
        assert 45 < inside.sum() < 75
    with pytest.raises(InputError, match="4 folds by group were asked for, the development rows have 1 groups"):
        parts(section, rows.assign(note="one"))


@pytest.mark.parametrize("spread", ["even", "bunched", "one moment holds most"])
def test_only_the_past_teaches(make_section, make_rows, spread):
    rows = make_rows()
    rng = np.random.default_rng(0)
    hours = {
        "even": rng.integers(0, 500, 240),
        "bunched": np.r_[np.arange(5), np.full(235, 9)],
        "one moment holds most": np.r_[np.zeros(230, int), np.arange(10)],
    }[spread]
    rows["seen"] = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(rng.permutation(hours), unit="h")
    section = make_section(cross_validation={"kind": "time", "folds": 4})
    found = parts(section, rows)
    assert len(found) == 4
    for inside, outside in found:
        assert inside.any()
        assert outside.any()
        assert rows["seen"][outside].max() < rows["seen"][inside].min()
    assert sum(inside.sum() for inside, _ in found) + found[0][1].sum() == 240
    with pytest.raises(InputError, match="4 folds by time need 5 different moments, the development rows have 1"):
        parts(section, rows.assign(seen=pd.Timestamp("2024-01-01", tz="UTC")))


def test_training_by_time_and_group_gives_facts(make_section, make_rows, table, tmp_path):
    rows = make_rows()
    rows["seen"] = pd.date_range("2024-01-01", periods=240, freq="h", tz="UTC")
    facts = facts_of(make_section(cross_validation={"kind": "time"}), rows, table, tmp_path)
    assert facts["cv_kind"] == "time"
    assert len(facts["cv"]["roc_auc"]["folds"]) == 5
    assert {each["drift_over"] for each in facts["feature_table"]} == {"time"}


def test_a_linear_rival_stands_beside_and_the_simplest_is_named(make_section, make_rows, table, tmp_path):
    forest = {"kind": "random_forest", "parameters": {"n_estimators": 20}}
    facts = facts_of(make_section(estimator=forest), make_rows(), table, tmp_path)
    assert facts["rival"]["kind"] == "logistic_regression"
    assert facts["rival"]["cv"]["roc_auc"]["mean"] > 0.7
    assert facts["simplest"]["kind"] == "logistic_regression"  # the data is linear
    assert "one standard error" in facts["simplest"]["why"]
    linear = facts_of(make_section(), make_rows(), table, tmp_path)
    assert linear["simplest"]["kind"] == "logistic_regression"
    assert linear["rival"]["note"] == "logistic_regression is a linear learner itself"


def test_what_a_line_cannot_see_is_left_to_trees(make_section, make_rows, table, tmp_path):
    rows = make_rows()
    rows["ill"] = np.where((rows["age"] > 55) ^ (rows["dose"].fillna(0) > 0), "yes", "no")
    tree = {"kind": "gradient_boosting", "parameters": {"max_iter": 30}}
    facts = facts_of(make_section(estimator=tree), rows, table, tmp_path)
    assert facts["simplest"]["kind"] == "gradient_boosting"
    assert "better by more than one standard error" in facts["simplest"]["why"]


def test_a_wide_gap_is_warned_of_and_a_small_one_is_not(make_section, make_rows, table, tmp_path):
    rows = make_rows()
    rows["ill"] = np.random.default_rng(1).choice(["no", "yes"], len(rows))
    facts = facts_of(make_section(estimator={"kind": "decision_tree"}), rows, table, tmp_path)
    assert facts["gap"]["verdict"] == "wide"
    assert facts["gap"]["training"] > 0.95
    assert any("gap between training and validation is wide" in text for text in facts["warnings"])
    calm = facts_of(make_section(), make_rows(), table, tmp_path)
    assert calm["gap"]["verdict"] == "small"
    assert not any("gap" in text for text in calm["warnings"])


def test_neighbours_are_said_to_keep_rows(make_section, make_rows, table, tmp_path):
    facts = facts_of(make_section(estimator={"kind": "k_neighbors"}), make_rows(60), table, tmp_path)
    assert any("keep every training row" in text for text in facts["warnings"])


def test_the_feature_table_tells_worth_gaps_and_drift(make_section, make_rows, table, tmp_path):
    rows = make_rows(400)
    rows["seen"] = pd.date_range("2024-01-01", periods=400, freq="h", tz="UTC")
    rows["dose"] = rows["dose"].where(rows.index % 3 == 0)  # mostly missing
    rows["smoker"] = rows.index >= 200  # changes half-way
    facts = facts_of(make_section(), rows, table, tmp_path)
    found = {each["name"]: each for each in facts["feature_table"]}
    assert list(found) == facts["features"]
    assert found["age"]["proposal"] == "keep"
    assert found["age"]["gain"]["low"] > 0
    assert len(found["age"]["gain"]["folds"]) == 5
    assert found["age"]["policy"] == "none"
    assert found["dose"]["nulls"] == pytest.approx(2 / 3, abs=0.05)
    assert found["smoker"]["drift"] == 1.0
    assert found["age"]["drift"] == 0.0
    assert found["smoker"]["proposal"] in ("watch", "drop")
    assert all(each["cost_us"] > 0 for each in found.values())
    assert facts["gain_method"].startswith("gain: ")
    json.dumps(facts, allow_nan=False)


def test_a_feature_of_noise_is_seldom_kept(make_section, make_rows, table, tmp_path):
    kept = 0
    for seed in range(6):
        rows = make_rows(seed=seed)
        facts = facts_of(
            make_section(), rows.assign(dose=np.random.default_rng(seed).normal(size=240)), table, tmp_path
        )
        found = {each["name"]: each["proposal"] for each in facts["feature_table"]}
        kept += found["smoker"] == "keep"
        assert found["age"] == "keep"
    assert kept <= 1


def test_nothing_is_fitted_on_the_rows_of_its_own_fold(make_section, make_rows, monkeypatch):
    """Every row carries its number; each step of each fold's pipeline is watched while it is fitted."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import TargetEncoder

    from kubeloop.learning.cross_validation import fit_folds

    rows = make_rows()
    rows["dose"] = np.arange(240.0) + 0.5
    rows["ward"] = [f"w{row}" for row in range(240)]
    features = {"use": ["dose", "ward"], "categorical": {"encode": "target"}, "numeric": {"scale": "none"}}
    problem, _ = problem_of(make_section(features=features | {"selection": {"kind": "filter"}}), {}, rows)
    numbers, words, sizes = [], [], []

    def watch(kind, method, note):
        whole = getattr(kind, method)

        def watched(self, x, *rest, **more):
            note(x)
            return whole(self, x, *rest, **more)

        monkeypatch.setattr(kind, method, watched)

    watch(SimpleImputer, "fit", lambda x: numbers.append({float(v) for v in np.asarray(x, float)[:, 0]}))
    watch(TargetEncoder, "fit_transform", lambda x: words.append(set(np.asarray(x, object)[:, 0])))
    watch(LogisticRegression, "fit", lambda x: sizes.append(len(x)))
    folds = fit_folds(problem)
    assert len(numbers) == len(words) == len(sizes) == 5
    for fold, seen, told, size in zip(folds, numbers, words, sizes, strict=True):
        assert seen == set(rows["dose"][fold.outside])
        assert told == set(rows["ward"][fold.outside])
        assert size == fold.outside.sum()
        assert not seen & set(rows["dose"][fold.inside])


def test_selection_inside_the_folds_finds_nothing_in_noise(make_section, make_rows, table, tmp_path):
    """Chosen on all rows, the best of 60 columns of noise would look good on the folds."""
    rng = np.random.default_rng(7)
    columns = {f"n{place}": {"type": "number"} for place in range(60)} | {"ill": {"type": "category"}}
    rows = pd.DataFrame({name: rng.normal(size=100) for name in columns if name != "ill"})
    rows = rows.assign(ill=rng.choice(["no", "yes"], 100), _fold=np.arange(100) % 5)
    data = {"sources": [{"name": "main", "path": "x.csv"}], "columns": columns}
    features = {"selection": {"kind": "filter", "keep": 3}}
    facts = facts_of(make_section(data=data, features=features), rows, table, tmp_path)
    assert facts["cv"]["roc_auc"]["low"] < 0.5 < facts["cv"]["roc_auc"]["high"] + 0.05
    assert facts["cv"]["roc_auc"]["mean"] < 0.62

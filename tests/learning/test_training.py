import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kubeloop.errors import InputError, PermanentError
from kubeloop.learning.answers import answer
from kubeloop.learning.cross_validation import summary
from kubeloop.learning.estimator_file import read_estimator
from kubeloop.learning.inputs import to_frame
from kubeloop.learning.training import train

TRAIN = """
import sys
from pathlib import Path
from kubeloop.contract.sections import TrainSection
from kubeloop.learning.training import train
for section in sorted(Path(sys.argv[1]).glob("*.json")):
    words = TrainSection.model_validate_json(section.read_text())
    train(words, {}, Path(sys.argv[2]), Path(sys.argv[3]) / section.stem)
"""


def trained(section, frame, table, tmp_path, parameters=None):
    out = tmp_path / "model"
    facts = train(section, parameters or {}, table(frame), out)
    return facts, json.loads((out / "model.json").read_text()), read_estimator(out / "estimator.skops")


def test_what_may_not_be_a_feature_is_none_and_the_reason_is_said(make_section, make_rows, table, tmp_path):
    facts, model, _ = trained(make_section(features={"drop": ["bill"]}), make_rows(), table, tmp_path)
    assert facts["features"] == ["age", "dose", "ward", "smoker"]
    assert facts["excluded"] == {
        "key": "an id column",
        "note": "type text is not used as a feature",
        "seen": "the time column",
        "secret": "policy deny",
        "mail": "policy pii",
        "origin": "policy audit_only",
        "bill": "known only after the decision",
        "ill": "the target",
        "unit": "constant in the development rows",
    }
    assert "a@example.org" not in json.dumps(model)


def test_the_model_file_says_all_that_serving_needs(make_section, make_rows, table, tmp_path):
    rows = make_rows()
    facts, model, estimator = trained(make_section(), rows, table, tmp_path)
    assert model["classes"] == ["no", "yes"]
    assert model["positive"] == "yes"
    assert model["task"] == "binary"
    assert model["schema"][0] == {
        "name": "age", "kind": "number", "categories": None, "minimum": 0.0, "maximum": 120.0, "nullable": True,
    }  # fmt: skip
    assert model["schema"][2]["categories"] == ["1", "north", "south"]
    assert model["features_out"] == 2 + 1 + 4  # two numbers, one boolean, three wards and the missing one
    assert model["training_rows"] == {
        "kind": "hash", "seed": 7, "test_share": 0.2, "id": ["key"], "key": ["key"], "rows": 240,
    }  # fmt: skip
    assert model["dummy"]["shares"] == pytest.approx([(rows.ill == "no").mean(), (rows.ill == "yes").mean()])
    answers = answer(estimator, to_frame(rows, model["schema"]), model["classes"], "binary")
    assert set(answers.labels) <= {"no", "yes"}
    assert answers.probabilities.shape == (240, 2)
    assert facts["cv"]["roc_auc"]["low"] < facts["cv"]["roc_auc"]["mean"] < facts["cv"]["roc_auc"]["high"]
    assert len(facts["cv"]["roc_auc"]["folds"]) == 5
    assert facts["cv"]["roc_auc"]["mean"] > 0.7


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
def test_calibration_makes_weighed_probabilities_true_again(method, make_section, make_rows, table, tmp_path):
    """Every class counts the same in training, however rare; calibrated, the rare one is said as often as it comes."""
    rows = make_rows(1500)
    rows = rows[(rows["ill"] == "no") | (np.arange(1500) % 6 == 0)].reset_index(drop=True)
    rate = float((rows["ill"] == "yes").mean())
    said = {}
    for calibration in (None, method):
        words = {"kind": "logistic_regression", "class_weight": "balanced", "calibration": calibration}
        section = make_section(estimator=words, metrics={"primary": "log_loss", "also": ["calibration_error"]})
        facts, _, estimator = trained(section, rows, table, tmp_path)
        model = json.loads((tmp_path / "model" / "model.json").read_text())
        answers = answer(estimator, to_frame(rows, model["schema"]), model["classes"], "binary")
        said[calibration] = float(answers.probabilities[:, 1].mean()), facts["cv"]["calibration_error"]["mean"]
    assert rate < 0.25
    assert said[None][0] > rate + 0.1
    if method == "temperature":  # one factor for both classes cannot shift them
        assert said[method][1] < said[None][1]
    else:
        assert said[method][0] == pytest.approx(rate, abs=0.02)
        assert said[method][1] < said[None][1] / 2


def test_missing_and_unseen_values_are_answered(make_section, make_rows, table, tmp_path):
    for encode in ("one_hot", "ordinal"):
        section = make_section(features={"categorical": {"encode": encode}})
        _, model, estimator = trained(section, make_rows(), table, tmp_path)
        rows: list[list[Any]] = [[None, None, None, None], [50, 0.5, "never seen", True]]
        frame = to_frame(rows, model["schema"])
        assert np.isfinite(answer(estimator, frame, model["classes"], "binary").probabilities).all()


def test_ordinal_missing_is_a_place_of_its_own_where_training_saw_one(make_section, make_rows, table, tmp_path):
    section = make_section(features={"categorical": {"encode": "ordinal"}})
    _, model, estimator = trained(section, make_rows(), table, tmp_path)
    rows: list[list[Any]] = [[50, 0.5, None, True], [50, 0.5, "never seen", True], [50, 0.5, "1", True]]
    frame = to_frame(rows, model["schema"])
    assert estimator[:-1].transform(frame)[:, -1].tolist() == [3, -1, 0]


def test_rare_categories_are_put_together(make_section, make_rows, table, tmp_path):
    rows = make_rows()
    rows.loc[5, "ward"] = "rare"
    section = make_section(features={"categorical": {"min_frequency": 10}})
    _, model, _ = trained(section, rows, table, tmp_path)
    assert model["features_out"] == 2 + 1 + 5  # three wards, the missing one, and one place for rare ones
    assert "rare" in model["schema"][2]["categories"]


def test_two_processes_write_the_same_bytes(make_section, make_rows, table, tmp_path):
    folder = table(make_rows(120))
    sections = tmp_path / "sections"
    sections.mkdir()
    for kind, parameters in (("logistic_regression", {}), ("gradient_boosting", {"max_iter": 5})):
        words = make_section(estimator={"kind": kind, "parameters": parameters})
        (sections / f"{kind}.json").write_text(words.model_dump_json())
    outs = []
    for number in ("1", "2"):
        out = tmp_path / f"dir{number}" / "out"
        env = {**os.environ, "PYTHONHASHSEED": number, "OMP_NUM_THREADS": number, "OPENBLAS_NUM_THREADS": number}
        command = [sys.executable, "-c", TRAIN, str(sections), str(folder), str(out)]
        subprocess.run(command, env=env, cwd=tmp_path, check=True, capture_output=True)
        files = [path for path in out.rglob("*") if path.is_file()]
        outs.append({str(path.relative_to(out)): path.read_bytes() for path in files})
    assert outs[0] == outs[1]
    assert sorted(outs[0]) == [
        f"{kind}/{file}"
        for kind in ("gradient_boosting", "logistic_regression")
        for file in ("estimator.skops", "held_out.npy", "model.json")
    ]


def test_regression_trains_and_answers_in_the_unit_of_the_target(make_section, make_rows, table, tmp_path):
    rows = make_rows()
    rows["bill"] = 100 + 3 * rows["age"]
    section = make_section(
        target={"column": "bill", "task": "regression"},
        estimator={"kind": "ridge"},
        metrics={"primary": "rmse", "also": ["r2", "mae"]},
    )
    facts, model, estimator = trained(section, rows, table, tmp_path)
    assert model["classes"] == []
    assert model["dummy"] == {"mean": pytest.approx(rows.bill.mean())}
    values = answer(estimator, to_frame(rows, model["schema"]), [], "regression").values
    assert np.abs(values - rows.bill).max() < 5
    assert facts["cv"]["r2"]["mean"] > 0.99


def test_multiclass_keeps_the_type_of_its_classes(make_section, make_rows, table, tmp_path):
    rows = make_rows()
    rows["age"] = rows["age"] // 30
    section = make_section(target={"column": "age", "task": "multiclass"}, metrics={"primary": "accuracy"})
    _, model, estimator = trained(section, rows, table, tmp_path)
    assert model["classes"] == [0, 1, 2]
    answers = answer(estimator, to_frame(rows, model["schema"]), model["classes"], "multiclass")
    assert {type(label) for label in answers.labels} == {int}


def test_the_positive_class_is_the_last_one(make_section, make_rows, table, tmp_path):
    target = {"column": "ill", "task": "binary", "positive": "no"}
    _, model, _ = trained(make_section(target=target), make_rows(), table, tmp_path)
    assert model["classes"] == ["yes", "no"]


def test_columns_a_derived_target_is_made_of_are_no_features(make_section, make_rows, table, tmp_path):
    rows = make_rows().assign(late=lambda frame: frame["age"] > 55)
    section = make_section(target={"expression": "age > 55", "name": "late", "task": "binary", "positive": True})
    facts, model, _ = trained(section, rows, table, tmp_path)
    assert facts["excluded"]["age"] == "the target is derived from it"
    assert model["classes"] == [False, True]


def test_nothing_is_fitted_outside_the_training_rows(make_section, make_rows, table, tmp_path):
    """The scaler and the imputer of a fold must not know the fold: a monstrous value there moves only that fold."""
    rows = make_rows()
    base, _, _ = trained(make_section(), rows, table, tmp_path)
    shifted = rows.copy()
    shifted.loc[shifted["_fold"] == 0, "dose"] = 1e6
    moved, _, _ = trained(make_section(), shifted, table, tmp_path)
    assert moved["cv"]["log_loss"]["folds"][0] != base["cv"]["log_loss"]["folds"][0]
    noise = rows.copy()
    noise.loc[noise["_fold"] == 0, "ill"] = np.random.default_rng(0).choice(["no", "yes"], 48)
    blind, _, _ = trained(make_section(), noise, table, tmp_path)
    assert blind["cv"]["roc_auc"]["folds"][0] < 0.75


def test_pure_noise_scores_no_better_than_chance(make_section, make_rows, table, tmp_path):
    rows = make_rows()
    rows["ill"] = np.random.default_rng(1).choice(["no", "yes"], len(rows))
    facts, _, _ = trained(make_section(), rows, table, tmp_path)
    assert facts["cv"]["roc_auc"]["low"] < 0.5 < facts["cv"]["roc_auc"]["high"]


def test_the_interval_over_folds_is_wider_than_the_naive_one():
    found = summary([0.8, 0.9, None, 0.7, 0.8], (0, 2))
    assert found["mean"] == pytest.approx(0.8)
    naive = 3.182446 * np.std([0.8, 0.9, 0.7, 0.8], ddof=1) / 2
    assert found["high"] - found["mean"] == pytest.approx(naive * np.sqrt(1 + 4 / 3), rel=1e-5)
    assert summary([0.5], (0, 1)) == {"mean": 0.5, "low": None, "high": None, "folds": [0.5]}
    assert summary([None], (0, 1)) is None
    assert summary([0.9, 1.0], (0, 1))["high"] == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"estimator": {"kind": "logistic_regression", "parameters": {"c": 1.0, "max_itr": 5}}}, "no parameter 'c'"),
        ({"estimator": {"kind": "logistic_regression", "parameters": {"max_itr": 5}}}, "did you mean 'max_iter'"),
        ({"estimator": {"kind": "logistic_regression", "parameters": {"C": -1.0}}}, "'C' parameter"),
        ({"estimator": {"kind": "logistic_regression", "parameters": {"n_jobs": 4}}}, "'n_jobs', which is not yours"),
        ({"estimator": {"kind": "ridge"}}, "'ridge' does not fit a binary target"),
        ({"features": {"use": ["agee"]}}, "features.use names 'agee', .* did you mean 'age'"),
        ({"features": {"use": ["bill"]}}, "'bill', which may not be a feature: known only after"),
        ({"features": {"use": ["unit"]}}, "no feature is left"),
        ({"target": {"column": "ill", "task": "binary", "positive": "yess"}}, "'yess', .* did you mean 'yes'"),
        ({"target": {"column": "age", "task": "binary"}}, "of a binary task has .* classes"),
        ({"target": {"column": "unit", "task": "binary"}}, "has one class in the development rows: 'mg'"),
        (
            {"target": {"column": "note", "task": "regression"}, "estimator": {"kind": "ridge"}},
            "no finite number in 240",
        ),
        ({"target": {"column": "gone", "task": "binary"}}, "target 'gone' is not in the table"),
    ],
)
def test_what_cannot_be_trained_is_the_users_to_mend(make_section, make_rows, table, tmp_path, change, problem):
    with pytest.raises(InputError, match=problem):
        train(make_section(**change), {}, table(make_rows()), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_constant_missing_and_absent_columns(make_section, make_rows, table, tmp_path):
    rows = make_rows()
    regression = make_section(target={"column": "bill", "task": "regression"}, estimator={"kind": "ridge"})
    with pytest.raises(InputError, match="'bill' is constant"):
        train(regression, {}, table(rows.assign(bill=1.0)), tmp_path / "model")
    with pytest.raises(InputError, match="the target is missing in row 4"):
        train(make_section(), {}, table(rows.assign(ill=rows["ill"].where(rows.index != 3))), tmp_path / "model")
    with pytest.raises(InputError, match="column 'dose' of the contract is not in the table"):
        train(make_section(), {}, table(rows.drop(columns="dose")), tmp_path / "model")
    with pytest.raises(InputError, match="at least 2 are needed"):
        train(make_section(), {}, table(rows.iloc[:1]), tmp_path / "model")
    with pytest.raises(PermanentError, match="_fold"):
        train(make_section(), {}, table(rows.drop(columns="_fold")), tmp_path / "model")


def test_parameters_from_the_search_replace_those_of_the_contract(make_section, make_rows, table, tmp_path):
    section = make_section(estimator={"kind": "logistic_regression", "parameters": {"C": 1.0, "max_iter": 500}})
    facts, _, estimator = trained(section, make_rows(), table, tmp_path, {"C": 0.25})
    assert facts["parameters"] == {"C": 0.25, "max_iter": 500}
    assert estimator[-1].C == 0.25


def test_what_scikit_learn_warns_of_is_in_the_facts(make_section, make_rows, table, tmp_path):
    section = make_section(estimator={"kind": "logistic_regression", "parameters": {"max_iter": 1}})
    facts, _, _ = trained(section, make_rows(), table, tmp_path)
    assert any("converge" in text for text in facts["warnings"])


def test_without_an_id_the_columns_name_the_training_rows(make_section, make_rows, table, tmp_path):
    section = make_section()
    section = section.model_copy(update={"data": section.data.model_copy(update={"id": ()})})
    _, model, _ = trained(section, make_rows(), table, tmp_path)
    assert "ward" in model["training_rows"]["key"]
    assert not {"_fold", "ill"} & set(model["training_rows"]["key"])


def test_a_class_that_a_fold_has_alone_does_not_stop_the_training(make_section, make_rows, table, tmp_path):
    rows = make_rows()
    rows["ward"] = rows["ward"].fillna("1")
    rows.loc[rows["_fold"] == 2, "ward"] = "only here"
    section = make_section(
        target={"column": "ward", "task": "multiclass"}, metrics={"primary": "accuracy", "also": ["log_loss"]}
    )
    facts, _, _ = trained(section, rows, table, tmp_path)
    assert facts["cv"]["accuracy"]["folds"][2] == 0.0


def test_importing_the_room_is_cheap():
    code = "import sys; import kubeloop.learning.training; print('sklearn' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.split() == ["False", "False"]


def test_a_boolean_with_missing_values_is_a_feature(make_section, make_rows, table, tmp_path):
    rows = make_rows()
    rows["smoker"] = pd.array(rows["smoker"].where(rows.index % 7 != 0, None), dtype="boolean")
    facts, _, _ = trained(make_section(), rows, table, tmp_path)
    assert "smoker" in facts["features"]

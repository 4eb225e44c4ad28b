"""Real tables, real models, real champions through the whole evaluation."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kubeloop.contract import Contract, sections_of
from kubeloop.contract.judgement import METRICS_OF_TASK
from kubeloop.data.tables import write_table
from kubeloop.errors import InputError, IntegrityError, PermanentError
from kubeloop.evaluation.baseline import Baseline
from kubeloop.evaluation.evaluate import evaluate
from kubeloop.learning.answers import Answers, answer
from kubeloop.learning.estimator_file import read_estimator
from kubeloop.learning.inputs import to_frame
from kubeloop.learning.training import train

NONE_YET = Baseline("none_yet", None, None, None, "ward has no champion yet")


def contract(**more):
    document = {
        "kubeloop": 1,
        "name": "ward",
        "data": {
            "sources": [{"name": "main", "path": "x.csv"}],
            "id": ["key"],
            "columns": {
                "key": {"type": "integer"},
                "age": {"type": "number"},
                "dose": {"type": "number"},
                "ward": {"type": "category"},
                "ill": {"type": "boolean"},
            },
        },
        "target": {"column": "ill", "task": "binary"},
        "estimator": {"kind": "logistic_regression"},
        "metrics": {"primary": "roc_auc", "thresholds": {"roc_auc": {"at_least": 0.7}}},
        "gate": {"champion": {"margin": 0.02}},
    }
    return sections_of(Contract.model_validate(document | more))


def rows(n, seed, strength=3.0):
    rng = np.random.default_rng(seed)
    age, dose = rng.normal(size=n), rng.normal(size=n)
    ill = rng.random(n) < 1 / (1 + np.exp(-strength * (age + dose)))
    ward = rng.choice(["north", "south"], n)
    return pd.DataFrame({"key": np.arange(n) + seed * 10_000, "age": age, "dose": dose, "ward": ward, "ill": ill})


def written(frame, folder):
    write_table(pa.Table.from_pandas(frame, preserve_index=False), folder)
    return folder


def fitted(frame, folder, sections=None):
    """A trained model in `folder`."""
    development = written(frame.assign(_fold=np.arange(len(frame)) % 3), folder / "development")
    train((sections or contract()).train, {}, development, folder / "model")
    return folder / "model"


def as_champion(model, **more):
    """What the registry makes of a package."""
    described = json.loads((model / "model.json").read_text())
    estimator = read_estimator(model / "estimator.skops")

    def predict(frame):
        return answer(estimator, to_frame(frame, described["schema"]), described["classes"], described["task"])

    fields: dict[str, Any] = {
        "status": "champion",
        "predict": predict,
        "detail": "champion aaa",
        "training_rows": described["training_rows"],
        "digest": "sha256-" + "a" * 64,
        "classes": described["classes"],
    }
    return Baseline(**(fields | more))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return fitted(rows(400, 1), tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def blunt(tmp_path_factory):
    """A model that learned from half-shuffled labels and one column."""
    frame = rows(400, 1).assign(dose=0.0)
    frame["dose"] = np.random.default_rng(5).normal(size=400)
    return fitted(frame, tmp_path_factory.mktemp("blunt"))


@pytest.fixture(scope="module")
def test_rows(tmp_path_factory):
    return written(rows(300, 2), tmp_path_factory.mktemp("test") / "test")


def check(result, name):
    return next(found for found in result.decision.checks if found.name == name)


def test_a_first_good_model_passes(good, test_rows):
    result = evaluate(contract().evaluate, good, test_rows, NONE_YET)
    assert result.decision.verdict == "pass"
    assert result.decision.baseline == "none_yet"
    assert check(result, "champion").reason == "nothing to compare with: ward has no champion yet"
    assert set(result.metrics) == set(METRICS_OF_TASK["binary"])
    json.dumps(result.facts, allow_nan=False)
    assert result.facts["dummy"]["values"]["roc_auc"] == 0.5
    assert result.facts["champion"] is None


def test_a_threshold_out_of_reach_fails(good, test_rows):
    metrics = {"primary": "roc_auc", "thresholds": {"accuracy": {"at_least": 0.999}}}
    assert evaluate(contract(metrics=metrics).evaluate, good, test_rows, NONE_YET).decision.verdict == "fail"


def test_a_model_against_itself_differs_by_nothing_and_passes(good, test_rows):
    result = evaluate(contract().evaluate, good, test_rows, as_champion(good))
    assert result.facts["champion"]["difference"]["value"] == 0
    assert result.decision.verdict == "pass"


def test_a_clearly_better_challenger_wins(good, blunt, test_rows):
    """The tale of the gate that read the challenger's numbers for both: there nobody could ever win."""
    result = evaluate(contract().evaluate, good, test_rows, as_champion(blunt))
    assert check(result, "champion").verdict == "pass"
    assert result.facts["champion"]["difference"]["low"] > 0


def test_a_clearly_worse_challenger_fails(good, blunt, test_rows):
    """The tale of the evaluation that compared a model with itself: there everybody passed."""
    metrics = {"primary": "roc_auc"}
    result = evaluate(contract(metrics=metrics).evaluate, blunt, test_rows, as_champion(good))
    assert check(result, "champion").verdict == "fail"
    assert result.decision.verdict == "fail"
    assert "worse than the champion" in check(result, "champion").reason


def test_the_champion_is_asked_on_these_rows_and_not_remembered(good, test_rows):
    """The tale of stored metrics from another test set: the champion has to answer the very same rows."""
    asked = []
    champion = as_champion(good)

    def predict(frame):
        asked.append(len(frame))
        return champion.predict(frame)

    evaluate(contract().evaluate, good, test_rows, as_champion(good, predict=predict))
    assert asked == [300]


def test_an_unavailable_baseline_blocks(good, test_rows):
    result = evaluate(contract().evaluate, good, test_rows, Baseline("unavailable", None, None, None, "db is down"))
    assert result.decision.verdict == "inconclusive"
    assert "db is down" in check(result, "champion").reason


def test_a_champion_that_cannot_answer_blocks(good, test_rows):
    def broken(frame):
        raise PermanentError("the package is gone", "fetch it")

    result = evaluate(contract().evaluate, good, test_rows, as_champion(good, predict=broken))
    assert result.decision.verdict == "inconclusive"
    assert "the package is gone" in check(result, "champion").reason


def test_a_champion_that_answers_nan_blocks(good, test_rows):
    def lost(frame):
        return Answers(probabilities=np.full((len(frame), 2), np.nan))

    result = evaluate(contract().evaluate, good, test_rows, as_champion(good, predict=lost))
    assert "300 of 300 of the champion's answers are not finite" in check(result, "champion").reason
    assert result.decision.verdict == "inconclusive"


def test_a_champion_of_other_classes_blocks_and_one_of_another_order_is_aligned(good, test_rows):
    other = as_champion(good, classes=["no", "yes"])
    assert "another question" in check(evaluate(contract().evaluate, good, test_rows, other), "champion").reason
    champion = as_champion(good)

    def turned(frame):
        return Answers(probabilities=champion.predict(frame).probabilities[:, ::-1])

    result = evaluate(contract().evaluate, good, test_rows, as_champion(good, predict=turned, classes=[True, False]))
    assert result.facts["champion"]["difference"]["value"] == 0


def test_rows_that_the_champion_may_have_seen_are_not_used(good, test_rows):
    described = json.loads((good / "model.json").read_text())["training_rows"]
    other_salt = described | {"seed": 99, "test_share": 0.3}
    result = evaluate(contract().evaluate, good, test_rows, as_champion(good, training_rows=other_salt))
    assert 60 <= result.facts["champion"]["rows"] <= 120
    nothing_held_out = described | {"seed": 99, "test_share": 0.0}
    result = evaluate(contract().evaluate, good, test_rows, as_champion(good, training_rows=nothing_held_out))
    assert "may have been trained on every one" in check(result, "champion").reason
    assert result.decision.verdict == "inconclusive"


@pytest.mark.parametrize(
    ("training_rows", "why"),
    [
        (None, "does not say which rows"),
        ({"kind": "imported"}, "cannot be told which rows"),
        ({"kind": "time", "until": "2024"}, "cannot be read (KeyError)"),
        ({"kind": "time", "column": "age", "until": "soon"}, "cannot be read (ValueError)"),
        ({"kind": "hash", "seed": 1, "test_share": 0.2, "key": ["gone"]}, "the test rows do not have gone: what"),
    ],
)
def test_a_champion_whose_rows_are_unknown_blocks(good, test_rows, training_rows, why):
    result = evaluate(contract().evaluate, good, test_rows, as_champion(good, training_rows=training_rows))
    assert why in check(result, "champion").reason
    assert result.decision.verdict == "inconclusive"


def test_too_few_unseen_rows_block(good, tmp_path):
    few = written(rows(20, 3), tmp_path / "test")
    result = evaluate(contract().evaluate, good, few, as_champion(good))
    assert check(result, "rows").verdict == "inconclusive"
    assert check(result, "champion").verdict == "inconclusive"


def test_no_test_row_is_inconclusive(good, tmp_path):
    result = evaluate(contract().evaluate, good, written(rows(5, 3).iloc[:0], tmp_path / "test"), NONE_YET)
    assert result.decision.verdict == "inconclusive"
    assert "no test row" in check(result, "rows").reason
    assert result.metrics == {}


def test_one_class_among_the_test_rows_is_inconclusive(good, tmp_path):
    result = evaluate(contract().evaluate, good, written(rows(60, 3).assign(ill=True), tmp_path / "test"), NONE_YET)
    assert result.decision.verdict == "inconclusive"
    assert check(result, "target").reason == "all test rows are of one class, True"
    assert "single class" in check(result, "threshold:roc_auc").reason
    assert "roc" not in result.curves


def test_a_class_that_the_model_never_saw_is_inconclusive(tmp_path):
    sections = contract(target={"column": "ward", "task": "binary"}, metrics={"primary": "accuracy"})
    model = fitted(rows(200, 1), tmp_path, sections)
    frame = rows(100, 2)
    frame.loc[:4, "ward"] = "east"
    result = evaluate(sections.evaluate, model, written(frame, tmp_path / "test"), NONE_YET)
    assert "5 test rows are of a class that the model has never seen" in check(result, "target").reason


def test_answers_that_are_no_numbers_fail_with_their_count(tmp_path, test_rows):
    from kubeloop.learning.estimator_file import write_estimator

    model = fitted(rows(400, 1), tmp_path)
    estimator = read_estimator(model / "estimator.skops")
    estimator[-1].coef_ = np.full_like(estimator[-1].coef_, np.nan)
    write_estimator(estimator, model / "estimator.skops")
    result = evaluate(contract().evaluate, model, test_rows, as_champion(tmp_path / "model"))
    assert result.decision.verdict == "fail"
    assert "300 of 300 answers are not finite" in check(result, "finite").reason
    json.dumps(result.facts, allow_nan=False)


def test_a_flipped_target_is_named(good, tmp_path):
    frame = rows(300, 2)
    frame["ill"] = ~frame["ill"]
    result = evaluate(contract().evaluate, good, written(frame, tmp_path / "test"), NONE_YET)
    assert check(result, "flipped").verdict == "fail"
    assert "flipped" in check(result, "flipped").reason


def test_a_model_of_noise_does_not_beat_the_dummy(tmp_path, test_rows):
    frame = rows(400, 1)
    frame["ill"] = np.random.default_rng(0).random(400) < 0.5
    model = fitted(frame, tmp_path)
    shuffled = rows(300, 2)
    shuffled["ill"] = np.random.default_rng(1).random(300) < 0.5
    sections = contract(metrics={"primary": "accuracy"})
    result = evaluate(sections.evaluate, model, written(shuffled, tmp_path / "test"), NONE_YET)
    assert check(result, "dummy").verdict != "pass"
    assert result.decision.verdict != "pass"


def test_five_rows_of_the_issue(tmp_path):
    """Truth 1,0,1,0,1; a model that says 1,0,1,1,1 has 0.80 (0.28 to 0.99), always-1 has 0.60: nothing is proven."""
    sections = contract(metrics={"primary": "accuracy", "thresholds": {"accuracy": {"at_least": 0.7}}})
    frame = rows(400, 1)
    frame["ill"] = frame["age"] + 0.2 > 0
    model = fitted(frame, tmp_path, sections)
    five = frame.iloc[:5].assign(age=[3.0, -3, 3, 3, 3], dose=0.0, ill=[True, False, True, False, True])
    result = evaluate(sections.evaluate, model, written(five, tmp_path / "test"), NONE_YET)
    found = result.metrics["accuracy"]
    assert (found.value, round(found.low, 2), round(found.high, 2)) == (0.8, 0.28, 0.99)
    assert result.facts["dummy"]["values"]["accuracy"] == 0.6
    assert check(result, "threshold:accuracy").verdict == "inconclusive"
    assert check(result, "dummy").verdict == "inconclusive"
    assert result.decision.verdict == "inconclusive"


def test_regression_passes_against_the_mean_and_draws_residuals(tmp_path):
    sections = contract(
        target={"column": "dose", "task": "regression"},
        estimator={"kind": "ridge"},
        metrics={"primary": "rmse", "thresholds": {"r2": {"at_least": 0.5}}},
    )
    frame, fresh = rows(300, 1), rows(200, 2)
    frame["dose"] = 2 * frame["age"] + frame["dose"] / 5
    fresh["dose"] = 2 * fresh["age"] + fresh["dose"] / 5
    model = fitted(frame, tmp_path, sections)
    test = written(fresh, tmp_path / "test")
    result = evaluate(sections.evaluate, model, test, as_champion(model))
    assert result.decision.verdict == "pass"
    assert {"rmse", "mae", "r2"} <= set(result.metrics)
    assert len(result.curves["residuals"]) == 200
    assert result.facts["dummy"]["difference"]["low"] > 0


def test_multiclass_is_measured_against_the_class_shares(tmp_path):
    sections = contract(
        target={"column": "ward", "task": "multiclass"}, metrics={"primary": "accuracy", "also": ["roc_auc"]}
    )
    frame, fresh = rows(400, 1), rows(200, 2)
    for part in (frame, fresh):
        part["ward"] = pd.cut(part["age"], [-9, -0.5, 0.5, 9], labels=["low", "mid", "top"]).astype(str)
    model = fitted(frame, tmp_path, sections)
    result = evaluate(sections.evaluate, model, written(fresh, tmp_path / "test"), NONE_YET)
    assert result.decision.verdict == "pass"
    assert result.curves["confusion"]["labels"] == ["low", "mid", "top"]
    assert sum(map(sum, result.curves["confusion"]["matrix"])) == 200
    assert "roc" not in result.curves


def test_slices_have_intervals_and_warn_of_few_rows(good, test_rows):
    slices = [
        {"name": "north", "where": "ward = 'north'"},
        {"name": "few", "where": "age > 2"},
        {"name": "none", "where": "age > 99"},
    ]
    facts = evaluate(contract(slices=slices).evaluate, good, test_rows, NONE_YET).facts["slices"]
    north, few, none = facts
    assert north["n"] == int((rows(300, 2)["ward"] == "north").sum())
    assert north["low"] < north["value"] < north["high"]
    assert north["warning"] == ""
    assert few["n"] < 30
    assert few["warning"]
    assert none["value"] is None
    assert none["warning"] == "there is no row"


def test_a_slice_that_does_not_fit_the_table_is_the_users_to_mend(good, test_rows):
    for where in ("agee > 1", "age >", "read_text('/etc/hostname') = ''"):
        sections = contract(slices=[{"name": "odd", "where": where}])
        with pytest.raises(InputError, match="slice 'odd'"):
            evaluate(sections.evaluate, good, test_rows, NONE_YET)


def test_test_rows_without_a_column_of_the_model_are_refused(good, tmp_path):
    with pytest.raises(InputError, match="column 'age' is missing"):
        evaluate(contract().evaluate, good, written(rows(50, 2).drop(columns="age"), tmp_path / "test"), NONE_YET)


def test_a_model_without_its_description_is_refused(tmp_path, test_rows):
    with pytest.raises(IntegrityError, match=r"model\.json"):
        evaluate(contract().evaluate, tmp_path, test_rows, NONE_YET)


def test_the_same_input_gives_the_same_facts(good, test_rows):
    first, second = (evaluate(contract().evaluate, good, test_rows, as_champion(good)).facts for _ in range(2))
    assert json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


def test_kpis_blocks_and_readings_are_judged_and_told(good, test_rows):
    kpis = [
        {"name": "missed", "expression": "ill and not prediction", "owner": "ward", "at_most": 0.5},
        {"name": "dearer", "expression": "abs(dose)", "owner": "ward", "at_least": 100},
    ]
    business = {"problem": "why", "outcome": "what", "owner": "ward", "kpis": kpis}
    sections = contract(business=business, gate={"blocks": "age", "worst_slice": {"at_least": 0.6}}, slices=[
        {"name": "north", "where": "ward = 'north'"}, {"name": "south", "where": "ward = 'south'"},
    ])  # fmt: skip
    result = evaluate(sections.evaluate, good, test_rows, NONE_YET, readings=4)
    assert check(result, "kpi:missed").verdict == "pass"
    assert check(result, "kpi:dearer").verdict == "fail"
    assert check(result, "worst_slice").verdict == "pass"
    facts = result.facts
    assert facts["readings"] == 4
    assert facts["confidence"] == 0.95
    assert facts["blocks"] == {"by": "age", "count": 300}
    assert facts["worst_slice"] in ("north", "south")
    assert [each["name"] for each in facts["kpis"]] == ["missed", "dearer"]
    assert facts["kpis"][0]["low"] < facts["kpis"][0]["value"] < facts["kpis"][0]["high"]
    json.dumps(facts, allow_nan=False)


def test_a_kpi_that_does_not_fit_the_table_is_the_users_to_mend(good, test_rows):
    business = {"problem": "why", "outcome": "what", "owner": "ward"}
    sections = contract(business=business | {"kpis": [{"name": "odd", "expression": "agee", "owner": "ward"}]})
    with pytest.raises(InputError, match="KPI 'odd'"):
        evaluate(sections.evaluate, good, test_rows, NONE_YET)


def test_regression_kpis_are_in_the_unit_of_the_target(tmp_path):
    kpis = [{"name": "off", "expression": "abs(prediction - label)", "owner": "ward", "at_most": 9.0}]
    sections = contract(
        target={"column": "dose", "task": "regression"},
        estimator={"kind": "ridge"},
        metrics={"primary": "mae"},
        business={"problem": "why", "outcome": "what", "owner": "ward", "kpis": kpis},
    )
    model = fitted(rows(300, 1), tmp_path, sections)
    result = evaluate(sections.evaluate, model, written(rows(200, 2), tmp_path / "test"), NONE_YET)
    (found,) = result.facts["kpis"]
    assert found["value"] == pytest.approx(result.metrics["mae"].value)
    assert (found["low"], found["high"]) == pytest.approx((result.metrics["mae"].low, result.metrics["mae"].high))

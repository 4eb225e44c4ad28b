"""A contract's search: on development rows alone, led by the champion, its best handed to the training."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from kubeloop.contract import Contract, sections_of
from kubeloop.contract.check import check
from kubeloop.contract.sections import Sections
from kubeloop.data.tables import read_facts, read_frame, write_table
from kubeloop.errors import InputError, IntegrityError, PermanentError
from kubeloop.experiments import tuning
from kubeloop.experiments.contracted import assignment_of, choice_of, search_of
from kubeloop.experiments.katib import from_experiment, to_experiment
from kubeloop.experiments.trial import order_of, run_trial, write_order
from kubeloop.learning.choice import chosen
from kubeloop.site import laptop

SEARCH: dict[str, Any] = {
    "trials": 3,
    "algorithm": "random",
    "parameters": {"C": {"type": "double", "low": 0.01, "high": 10, "scale": "log"}},
}
WIDE: dict[str, Any] = {
    "parameters": SEARCH["parameters"],
    "estimators": {
        "decision_tree": {
            "max_depth": {"type": "int", "low": 1, "high": 6},
            "criterion": {"type": "categorical", "values": ["gini", "entropy"]},
        }
    },
    "leave_out": {"noise": ["junk"]},
}


def contract(search: dict[str, Any] | None, **more: Any) -> Contract:
    columns = {"dose": {"type": "number"}, "junk": {"type": "number"}, "ill": {"type": "category"}}
    document: dict[str, Any] = {
        "kubeloop": 1,
        "name": "ward",
        "data": {"sources": [{"name": "main", "path": "x.csv"}], "columns": columns},
        "target": {"column": "ill", "task": "binary", "positive": "yes"},
        "estimator": {"kind": "logistic_regression", "parameters": {"max_iter": 500}},
        "metrics": {"primary": "roc_auc"},
        "seed": 7,
    }
    return Contract.model_validate(document | ({"search": search} if search else {}) | more)


def sections(search: dict[str, Any] | None) -> Sections:
    return sections_of(contract(search))


def test_without_a_search_nothing_is_read_or_written(tmp_path: Path) -> None:
    s = sections(None)
    facts = tuning.tune(
        s.tune, s.train, tmp_path / "none", tmp_path / "trials", laptop(tmp_path / "home"), "run", print
    )
    assert facts == {"parameters": {"max_iter": 500}, "source": "contract"}
    assert list(tmp_path.iterdir()) == []


def test_search_hands_on_the_best_and_its_table(development: Path, tmp_path: Path) -> None:
    s, site = sections(SEARCH), laptop(tmp_path / "home")
    facts = tuning.tune(s.tune, s.train, development, tmp_path / "trials", site, "run", print)
    table = read_frame(tmp_path / "trials")
    assert table["status"].tolist() == ["Succeeded"] * 3
    best = table.loc[table["value"].idxmax()]
    assert facts["parameters"] == {"max_iter": 500, "C": pytest.approx(best["param.C"])}
    assert facts["source"] == "search"
    # The contract's own parameters, filled up by scikit-learn's default C = 1, come first.
    assert table["param.C"][0] == 1.0
    assert facts["search"]["first"] == {"contract": 0}
    order = json.loads(next((site.home or tmp_path).rglob("order.json")).read_text())
    redone = run_trial(order, {"C": str(best["param.C"])}, lambda line: None)
    assert redone == pytest.approx(best["value"])
    again = tuning.tune(s.tune, s.train, development, tmp_path / "again", site, "run", print)
    assert again["search"]["kept"] == 3
    assert again["parameters"] == facts["parameters"]


def test_champion_comes_first_and_the_contract_second(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    s = sections(WIDE)
    monkeypatch.setattr(tuning, "champion_parameters", lambda site, name: ("decision_tree", {"max_depth": 4}))
    first = tuning.first_assignments(s.tune, s.train, laptop(tmp_path / "home"))
    assert [who for who, _ in first] == ["champion", "contract"]
    assert first[0][1] == {"estimator": "decision_tree", "decision_tree.max_depth": "4", "leave_out.noise": "no"}
    assert first[1][1] == {"estimator": "logistic_regression", "C": "1", "leave_out.noise": "no"}


def test_trial_refuses_rows_that_are_not_those_of_its_order(development: Path, tmp_path: Path) -> None:
    """Test rows cannot reach a trial: it opens one table, and that one must have the digest of development."""
    s = sections(SEARCH)
    write_order(tmp_path / "order.json", order_of(s.tune, s.train, read_facts(development).digest), development)
    order = json.loads((tmp_path / "order.json").read_text())
    test = read_frame(development).iloc[:60].assign(_fold=0)
    write_table(pa.Table.from_pandas(test, preserve_index=False), development)
    with pytest.raises(IntegrityError, match=r"development rows sha256-\w+ were expected, got sha256-"):
        run_trial(order, {"C": "1"}, lambda line: None)


def test_choice_of_estimator_and_columns_reaches_the_training() -> None:
    s = sections(WIDE)
    drawn = {"estimator": "decision_tree", "C": "0.5", "decision_tree.max_depth": "3"}
    drawn |= {"decision_tree.criterion": "entropy", "leave_out.noise": "yes"}
    choice = choice_of(s.tune, drawn)
    assert choice == {
        "estimator": "decision_tree",
        "parameters": {"max_depth": 3, "criterion": "entropy"},
        "leave_out": ["junk"],
    }
    own = s.train.estimator.model_copy(update={"class_weight": "balanced", "calibration": "sigmoid"})
    section, parameters = chosen(s.train.model_copy(update={"estimator": own}), choice)
    assert section.estimator.kind == "decision_tree"
    assert (section.estimator.class_weight, section.estimator.calibration) == ("balanced", "sigmoid")
    assert section.estimator.parameters == {}
    assert section.features.drop == ("junk",)
    assert parameters == choice["parameters"]


def test_contracts_search_goes_to_katib_and_back() -> None:
    s = sections(WIDE)
    search = search_of(s.tune, "roc_auc", ["python", "-m", "trial"])
    assert from_experiment(to_experiment(search)).parameters == search.parameters
    assert search.active({"estimator": "logistic_regression", "C": "1", "decision_tree.max_depth": "3"}) == {
        "estimator": "logistic_regression",
        "C": "1",
    }


def test_assignment_outside_the_ranges_is_left_to_the_sampler() -> None:
    s = sections(SEARCH)
    assert assignment_of(s.tune, "logistic_regression", {"C": 100.0}) == {}
    assert assignment_of(s.tune, "logistic_regression", {"C": 2}) == {"C": "2"}
    assert assignment_of(s.tune, "random_forest", {"C": 2}) == {}


def test_search_in_which_nothing_succeeds_is_an_error_with_its_reason(development: Path, tmp_path: Path) -> None:
    solver = {"solver": {"type": "categorical", "values": ["no-such", "none-such"]}}
    s = sections({"trials": 1, "failures": 1, "algorithm": "random", "parameters": solver})
    with pytest.raises(
        PermanentError, match=r"none of the 1 trials of the search succeeded: it ended with code 2; .*solver"
    ):
        tuning.tune(s.tune, s.train, development, tmp_path / "trials", laptop(tmp_path / "home"), "run", print)


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"parameters": {}}, "search: a search needs something that varies"),
        ({"parameters": {"CC": {"type": "double", "low": 1, "high": 2}}}, r"search.parameters.CC: .*did you mean 'C'"),
        ({"parameters": {"C": {"type": "double", "low": 2, "high": 1}}}, r"expected less than high \(1\), got 2"),
        ({"parameters": {"C": {"type": "double", "low": 0, "high": 1, "scale": "log"}}}, "a log scale has no zero"),
        ({"parameters": {"C": {"type": "double", "high": 1}}}, "double needs low and high"),
        ({"parameters": {"max_iter": {"type": "int", "low": 1.5, "high": 9}}}, "expected a whole number, got 1.5"),
        (
            {"parameters": {"C": {"type": "double", "low": 1, "high": 2, "values": [1, 2]}}},
            "takes low and high, not values",
        ),
        (
            {"parameters": {"solver": {"type": "categorical", "values": ["lbfgs"]}}},
            "expected at least two values, got 1",
        ),
        ({"parameters": {"solver": {"type": "categorical", "low": 1, "values": ["a", "b"]}}}, "takes values, not low"),
        ({"parameters": {"C": {"type": "discrete", "values": [1, 1]}}}, "stands here twice"),
        ({"parameters": {"C": {"type": "discrete", "values": [1, "a"]}}}, "expected a number, got 'a'"),
        ({"algorithm": "grid", "parameters": SEARCH["parameters"]}, "the grid needs a step for a double"),
        (
            {"algorithm": "bayesianoptimization", "parameters": {"C": {"type": "double", "low": 0, "high": 1}}},
            "sees doubles on a log scale",
        ),
        ({"estimators": {"ridge": {}}}, r"search.estimators.ridge: 'ridge' is not a single estimator for a binary"),
        ({"estimators": {"logistic_regression": {}}}, "is estimator.kind; write its ranges in search.parameters"),
        ({"leave_out": {"noise": ["jnk"]}}, r"'jnk' is not a column of data.columns; did you mean 'junk'"),
    ],
)
def test_what_is_wrong_with_a_search_is_said(search: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check(contract(search))


def test_imported_model_has_nothing_to_search() -> None:
    imported = {"kind": "imported", "file": "model.skops"}
    with pytest.raises(InputError, match="fitted already, so there is nothing to search"):
        check(contract(SEARCH, estimator=imported))

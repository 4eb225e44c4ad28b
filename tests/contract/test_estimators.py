import inspect
from collections.abc import Callable
from importlib import import_module

import pytest

from kubeloop.contract.estimators import (
    ESTIMATORS_OF_TASK,
    FIXED,
    IMPORTED,
    OURS,
    import_path,
    import_paths,
    mixed,
    parameters_of,
)
from kubeloop.contract.judgement import METRICS_OF_TASK
from kubeloop.contract.model import Contract
from kubeloop.contract.target import Task
from kubeloop.errors import InputError


@pytest.mark.parametrize(("path", "task"), [(path, task) for task in ESTIMATORS_OF_TASK for path in import_paths(task)])
def test_parameters_are_those_of_scikit_learn(path: str, task: Task) -> None:
    module, _, name = path.rpartition(".")
    known = set(inspect.signature(getattr(import_module(module), name).__init__).parameters)
    assert parameters_of(path, task) == tuple(sorted(known - {"self"} - set(OURS) - set(FIXED)))


@pytest.mark.parametrize("task", list(ESTIMATORS_OF_TASK))
def test_every_short_name_is_an_allowed_path(task: Task) -> None:
    for kind in ESTIMATORS_OF_TASK[task]:
        assert kind == IMPORTED or import_path(kind, task) in import_paths(task)
    assert import_path("sklearn.svm.SVC", task) is None
    assert parameters_of("sklearn.svm.SVC", task) == ()
    assert mixed("voting")
    assert mixed("sklearn.ensemble.StackingRegressor")


def test_every_task_has_estimators_and_metrics() -> None:
    assert ESTIMATORS_OF_TASK.keys() == METRICS_OF_TASK.keys()


RIGHT = [
    "{kind: random_forest, parameters: {n_estimators: 20}, class_weight: balanced}",
    "{kind: sklearn.ensemble.ExtraTreesClassifier}",
    "{kind: mlp, parameters: {hidden_layer_sizes: [8, 4]}}",
    "{kind: voting, members: [{kind: naive_bayes}, {kind: k_neighbors, parameters: {n_neighbors: 3}}]}",
    "{kind: stacking, final: {kind: logistic_regression}, class_weight: balanced}",
    "{kind: random_forest, class_weight: balanced, calibration: isotonic}",
    "{kind: voting, calibration: temperature}",
    "{kind: imported, file: model.skops}",
]


@pytest.mark.parametrize("text", RIGHT)
def test_right_words_are_read(text: str, base: str, read: Callable[[str], Contract]) -> None:
    assert read(base.replace("{kind: logistic_regression}", text)).estimator.kind


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{kind: sklearn.svm.SVC}", "'sklearn.svm.SVC' is not an allowed estimator"),
        (
            "{kind: sklearn.ensemble.RandomForestClasifier}",
            "did you mean 'sklearn.ensemble.RandomForestClassifier'",
        ),
        ("{kind: sklearn.linear_model.Ridge}", "does not fit a binary target"),
        ("{kind: os.system}", "estimator.kind: expected logistic_regression"),
        ("{kind: k_neighbors, parameters: {algorithm: kd_tree}}", "'algorithm' is not yours to set: neighbours"),
        ("{kind: voting, parameters: {voting: hard}}", "'voting' is not yours to set: probabilities are averaged"),
        ("{kind: k_neighbors, class_weight: balanced}", "k_neighbors cannot weigh classes"),
        (
            "{kind: random_forest, class_weight: balanced, parameters: {class_weight: balanced}}",
            "stands in estimator.parameters too",
        ),
        ("{kind: random_forest, members: [{kind: mlp}, {kind: mlp}]}", "`members` is for voting and stacking"),
        ("{kind: voting, members: [{kind: mlp}]}", "at least two members"),
        ("{kind: voting, final: {kind: mlp}}", "`final` is for stacking"),
        ("{kind: voting, members: [{kind: mlp}, {kind: voting}]}", "expected a single learner, got voting"),
        ("{kind: voting, members: [{kind: mlp}, {kind: mlp, parameters: {alfa: 1}}]}", "did you mean 'alpha'"),
        ("{kind: logistic_regression, file: x.skops}", "`file` is for `kind: imported`"),
        ("{kind: logistic_regression, unseen_test: true}", "`unseen_test` is for `kind: imported`"),
        ("{kind: imported}", "an imported model needs a `file`"),
        ("{kind: imported, file: ../x.skops}", "a path below the folder"),
        ("{kind: imported, file: x.skops, parameters: {C: 1}}", "takes no `parameters`"),
        ("{kind: imported, file: x.skops, calibration: sigmoid}", "takes no `calibration`"),
        ("{kind: random_forest, calibration: platt}", "expected sigmoid, isotonic or temperature"),
    ],
)
def test_wrong_words_are_refused(text: str, said: str, base: str, read: Callable[[str], Contract]) -> None:
    with pytest.raises(InputError) as caught:
        read(base.replace("{kind: logistic_regression}", text))
    assert said in str(caught.value)
    assert "26:" in str(caught.value)


def test_a_number_has_no_probabilities_to_calibrate(base: str, read: Callable[[str], Contract]) -> None:
    number = base.replace("sick: {type: integer, values: [0, 1]}", "sick: {type: number}")
    number = number.replace("  positive: 1\n", "").replace("task: binary", "task: regression")
    number = number.replace("{kind: logistic_regression}", "{kind: ridge}")
    number = number.replace("primary: roc_auc", "primary: rmse").replace("[accuracy]", "[mae]")
    number = number.replace("{roc_auc: {at_least: 0.7}}", "{rmse: {at_most: 3}}").replace("accuracy * 2", "rmse * 2")
    assert read(number).estimator.calibration is None
    with pytest.raises(InputError, match="a regression target has no probabilities to calibrate"):
        read(number.replace("{kind: ridge}", "{kind: ridge, calibration: sigmoid}"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{kind: group}", "`kind: group` needs `data.group`"),
        ("{kind: time}", "`kind: time` needs `data.time`"),
        ("{folds: 3}", "the number of folds is split.folds"),
        ("{kind: time, folds: 1}", "at least 2"),
    ],
)
def test_cross_validation_needs_its_column(text: str, said: str, base: str, read: Callable[[str], Contract]) -> None:
    with pytest.raises(InputError) as caught:
        read(f"{base}cross_validation: {text}\n")
    assert said in str(caught.value)

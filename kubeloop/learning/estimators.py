"""Estimators of the allowed list, with parameters checked before anything is fitted."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from kubeloop.contract.estimator import Estimator, Member
from kubeloop.contract.estimators import ESTIMATORS_OF_TASK, FIXED, OURS, import_path, mixed, parameters_of
from kubeloop.contract.target import Task
from kubeloop.errors import InputError
from kubeloop.learning.inputs import nearest

_DEFAULTS: dict[str, dict[str, Any]] = {
    "LogisticRegression": {"max_iter": 1000},
    "KNeighborsClassifier": {"algorithm": "brute"},  # a tree of neighbours is no plain data
    "KNeighborsRegressor": {"algorithm": "brute"},
    "MLPClassifier": {"max_iter": 500},
    "MLPRegressor": {"max_iter": 500},
    "VotingClassifier": {"voting": "soft"},
}


def rival_of(task: Task) -> str:
    """The short name of the simple linear estimator that everything is held against."""
    return ESTIMATORS_OF_TASK[task][0]


def make_estimator(words: Estimator | Member, parameters: Mapping[str, Any], task: Task, seed: int) -> Any:
    """An unfitted scikit-learn estimator.

    Args:
        words: Kind, members and class weights; `imported` cannot be made.
        parameters: In scikit-learn's words; they replace our defaults.
        task: Chooses the classifier or the regressor.
        seed: For what is random in the estimator.

    Raises:
        InputError: The estimator does not fit the task, or has no such parameter.
    """
    path = import_path(words.kind, task)
    if path is None:
        fitting = ESTIMATORS_OF_TASK[task]
        raise InputError(
            f"estimator.kind {words.kind!r} does not fit a {task} target{nearest(words.kind, fitting)}",
            f"use one of {', '.join(fitting)}",
            estimator=words.kind,
        )
    known = parameters_of(words.kind, task)
    for name in parameters:
        _check(words.kind, name, known)
    module, _, name = path.rpartition(".")
    kind = getattr(import_module(module), name)
    if mixed(words.kind):
        assert isinstance(words, Estimator)
        estimator = kind(**_members(words, task, seed))
    else:
        estimator = kind()
    estimator.set_params(**_DEFAULTS.get(name, {}))
    if "random_state" in estimator.get_params(deep=False):
        estimator.set_params(random_state=seed)
    weight = words.class_weight if isinstance(words, Estimator) else None
    if weight and "class_weight" in known:
        estimator.set_params(class_weight=weight)
    return estimator.set_params(**parameters)


def calibrated(estimator: Any, words: Estimator) -> Any:
    """The estimator with its probabilities corrected, where the contract asks for it.

    Args:
        estimator: Unfitted.
        words: Of the contract.
    """
    if words.calibration is None:
        return estimator
    from sklearn.calibration import CalibratedClassifierCV

    return CalibratedClassifierCV(estimator, method=words.calibration)


def _check(kind: str, name: str, known: tuple[str, ...]) -> None:
    if name in known:
        return
    why = OURS.get(name) or FIXED.get(name)
    if why:
        raise InputError(
            f"estimator.parameters has {name!r}, which is not yours to set: {why}", "leave it out", parameter=name
        )
    raise InputError(
        f"{kind} has no parameter {name!r}{nearest(name, known)}", f"use one of: {', '.join(known)}", parameter=name
    )


def _members(words: Estimator, task: Task, seed: int) -> dict[str, Any]:
    usual = (rival_of(task), "random_forest", "gradient_boosting")
    members = words.members or tuple(Member(kind=kind) for kind in usual)
    made = [
        (f"{place}-{member.kind.rpartition('.')[2]}", _member(member, words, task, seed))
        for place, member in enumerate(members, start=1)
    ]
    if words.kind.rpartition(".")[2].lower().startswith("voting"):
        return {"estimators": made}
    final = words.final or Member(kind=rival_of(task))
    return {"estimators": made, "final_estimator": make_estimator(final, final.parameters, task, seed)}


def _member(member: Member, words: Estimator, task: Task, seed: int) -> Any:
    """A member; class weights reach those that can weigh."""
    whole = Estimator(kind=member.kind, class_weight=words.class_weight)
    return make_estimator(whole, member.parameters, task, seed)

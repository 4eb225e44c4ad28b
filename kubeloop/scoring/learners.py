"""Fitted learners as operations: probabilities in the order of their classes, or one value."""

from collections.abc import Callable
from typing import Any

import numpy as np

from kubeloop.scoring import trees
from kubeloop.scoring.errors import Refused
from kubeloop.scoring.preparation import compile_transformer
from kubeloop.scoring.program import Program

Slots = list[int]
Compile = Callable[[Program, Any, Slots], Slots]

_LEAST = 1e-12
"""What scikit-learn adds to a probability before it takes the logarithm, to calibrate it by temperature."""
_ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "logistic": "logistic", "softmax": "softmax", "exp": "exp"}


def compile_learner(program: Program, fitted: Any, slots: Slots) -> Slots:
    """Add a fitted learner, or a pipeline that ends in one.

    Args:
        program: Is added to.
        fitted: Of scikit-learn.
        slots: What it reads, in order.

    Returns:
        The slots of its probabilities or of its value.

    Raises:
        Refused: It cannot be done by operations.
    """
    name = type(fitted).__name__
    if name == "Pipeline":
        return compile_learner(program, fitted.steps[-1][1], _prepared(program, fitted, slots))
    found = _BY_NAME.get(name)
    if found is None:
        raise Refused(f"{name} has no operation")
    return found(program, fitted, slots)


def _prepared(program: Program, pipeline: Any, slots: Slots) -> Slots:
    """What the last step of a pipeline reads."""
    for _, step in pipeline.steps[:-1]:
        slots = slots if step is None else compile_transformer(program, step, slots)
    return slots


def _affine(program: Program, fitted: Any, slots: Slots) -> Slots:
    """`x @ coef.T + intercept`; a one-hot column is looked up in a table instead of multiplied."""
    program.whole(slots, type(fitted).__name__)
    weights = np.atleast_2d(np.asarray(fitted.coef_, dtype=np.float64))
    constant = np.broadcast_to(np.asarray(fitted.intercept_, dtype=np.float64).ravel(), (len(weights),))
    return _sum(program, slots, weights, constant)


def _sum(program: Program, slots: Slots, weights: Any, constant: Any) -> Slots:
    """(k, slots) weights; one sum per class, or one for all where nothing can be looked up."""
    encoded = {step.out: step for step in program.operations if step.name == "onehot"}
    groups = _groups(encoded, slots)
    if not any(step for step, _ in groups):
        floats = np.concatenate([constant, np.asarray(weights).T.ravel()])
        return program.add("linear", slots, len(weights), floats)
    made: Slots = []
    for row, start in zip(weights, constant, strict=True):
        reads: Slots = []
        factors: list[float] = []
        for step, places in groups:
            if step is None:
                reads += [slots[place] for place in places]
                factors += [row[place] for place in places]
            else:
                table = np.where(step.ints >= 0, row[np.array(places)][np.maximum(step.ints, 0)], 0.0)
                reads += program.add("lookup", step.reads, 1, table)
                factors.append(1.0)
        made += program.add("linear", reads, 1, [start, *factors])
    return made


def _groups(encoded: dict[int, Any], slots: Slots) -> list[tuple[Any, list[int]]]:
    """Places in `slots`, by the one-hot operation that wrote all of its slots there in order, or alone."""
    found: list[tuple[Any, list[int]]] = []
    place = 0
    while place < len(slots):
        step = encoded.get(slots[place])
        width = step.width if step is not None else 1
        run = list(range(place, place + width))
        whole = step is not None and slots[place : place + width] == list(range(step.out, step.out + width))
        found.append((step if whole else None, run if whole else [place]))
        place += width if whole else 1
    return found


def _linear_classifier(program: Program, fitted: Any, slots: Slots) -> Slots:
    raw = _affine(program, fitted, slots)
    if len(raw) == 1:
        return program.add("two", program.add("logistic", raw, 1), 2)
    return program.add("softmax", raw, len(raw))


def _perceptron(program: Program, fitted: Any, slots: Slots) -> Slots:
    program.whole(slots, type(fitted).__name__)
    last = len(fitted.coefs_) - 1
    for place, (weights, constant) in enumerate(zip(fitted.coefs_, fitted.intercepts_, strict=True)):
        slots = program.add("linear", slots, weights.shape[1], np.concatenate([constant, weights.ravel()]))
        name = fitted.out_activation_ if place == last else fitted.activation
        if name != "identity":
            if name not in _ACTIVATIONS:
                raise Refused(f"the activation {name}")
            slots = program.add(_ACTIVATIONS[name], slots, len(slots))
    return program.add("two", slots, 2) if hasattr(fitted, "classes_") and len(slots) == 1 else slots


def _gaussian(program: Program, fitted: Any, slots: Slots) -> Slots:
    program.whole(slots, "GaussianNB")
    prior = np.log(fitted.class_prior_)
    constants = [-0.5 * np.sum(np.log(2.0 * np.pi * fitted.var_[place, :])) for place in range(len(prior))]
    floats = np.concatenate([prior, constants, fitted.theta_.ravel(), fitted.var_.ravel()])
    made = program.add("gauss", slots, len(prior), floats)
    return program.add("normalise", made, len(made))


def _bernoulli(program: Program, fitted: Any, slots: Slots) -> Slots:
    program.whole(slots, "BernoulliNB")
    if fitted.binarize is not None:
        slots = program.add("above", slots, len(slots), [fitted.binarize] * len(slots))
    other = np.log(1 - np.exp(fitted.feature_log_prob_))
    constant = fitted.class_log_prior_ + other.sum(axis=1)
    made = _sum(program, slots, fitted.feature_log_prob_ - other, constant)
    return program.add("normalise", made, len(made))


def _voting(program: Program, fitted: Any, slots: Slots) -> Slots:
    if getattr(fitted, "voting", "soft") != "soft":
        raise Refused("hard voting")
    made = [compile_learner(program, member, slots) for member in fitted.estimators_]
    weights = fitted._weights_not_none or [1.0] * len(made)
    floats = [*weights, float(np.sum(weights))]
    return program.add("mean", [slot for run in made for slot in run], len(made[0]), floats)


def _stacking(program: Program, fitted: Any, slots: Slots) -> Slots:
    return compile_learner(program, fitted.final_estimator_, _stacked(program, fitted, slots))


def _stacked(program: Program, fitted: Any, slots: Slots) -> Slots:
    """What the learner on top of a stack reads.

    Raises:
        Refused: Not probabilities or values.
    """
    known = len(fitted.classes_) if hasattr(fitted, "classes_") else 0
    reads: Slots = []
    for member, method in zip(fitted.estimators_, fitted.stack_method_, strict=True):
        if method != ("predict_proba" if known else "predict"):
            raise Refused(f"stacking on {method}")
        made = compile_learner(program, member, slots)
        reads += made[1:] if known == 2 else made
    return reads + (slots if fitted.passthrough else [])


def _response(program: Program, fitted: Any, slots: Slots) -> tuple[Slots, bool]:
    """What a calibrator reads, as scikit-learn chooses it: decisions where a learner has them, else probabilities.

    Returns:
        The slots, one where there are two classes, else one for each; and whether they are probabilities.
    """
    name = type(fitted).__name__
    if name == "FrozenEstimator":
        return _response(program, fitted.estimator, slots)
    if name == "Pipeline":
        return _response(program, fitted.steps[-1][1], _prepared(program, fitted, slots))
    if name == "StackingClassifier":
        return _response(program, fitted.final_estimator_, _stacked(program, fitted, slots))
    if name in _DECISIONS:
        return _DECISIONS[name](program, fitted, slots), False
    made = compile_learner(program, fitted, slots)
    return (made[1:] if len(made) == 2 else made), True


def _calibrated(program: Program, fitted: Any, slots: Slots) -> Slots:
    """The mean of the members' calibrated probabilities."""
    made = [_calibrated_member(program, member, slots) for member in fitted.calibrated_classifiers_]
    each = [1.0] * len(made)
    return program.add("mean", [slot for run in made for slot in run], len(made[0]), [*each, float(len(made))])


def _calibrated_member(program: Program, member: Any, slots: Slots) -> Slots:
    if list(member.estimator.classes_) != list(member.classes):
        raise Refused("a calibration that has not seen all classes")
    read, probabilities = _response(program, member.estimator, slots)
    if member.method == "temperature":
        return _tempered(program, float(member.calibrators[0].beta_), read, probabilities)
    made = [_calibrator(program, one, [slot]) for one, slot in zip(member.calibrators, read, strict=True)]
    return program.add("two", made, 2) if len(made) == 1 else program.add("shares", made, len(made))


def _calibrator(program: Program, calibrator: Any, slots: Slots) -> int:
    if type(calibrator).__name__ == "IsotonicRegression":
        points = calibrator.X_thresholds_, calibrator.y_thresholds_
        if calibrator.out_of_bounds != "clip" or points[0].dtype != np.float64:
            raise Refused("an isotonic calibration of another kind")
        return program.add("interpolate", slots, 1, np.concatenate(points))[0]
    raw = program.add("linear", slots, 1, [-float(calibrator.b_), -float(calibrator.a_)])
    return program.add("logistic", raw, 1)[0]


def _tempered(program: Program, factor: float, read: Slots, probabilities: bool) -> Slots:
    """Decisions, or logarithms of probabilities, times a factor, as shares again."""
    if probabilities:
        whole = program.add("two", read, 2) if len(read) == 1 else read
        read = program.add("log", program.add("add", whole, len(whole), [_LEAST] * len(whole)), len(whole))
    elif len(read) == 1:
        read = program.add("linear", read, 2, [0.0, 0.0, -1.0, 1.0])
    width = len(read)
    return program.add("softmax", program.add("multiply", read, width, [factor] * width), width)


_DECISIONS: dict[str, Compile] = {
    "AdaBoostClassifier": trees.ada_boost_decision,
    "GradientBoostingClassifier": trees.raw_boosting,
    "HistGradientBoostingClassifier": trees.raw_boosting,
    "LinearDiscriminantAnalysis": _affine,
    "LogisticRegression": _affine,
}
"""Classifiers that have a decision function."""

_BY_NAME: dict[str, Compile] = {
    "AdaBoostClassifier": trees.ada_boost_classifier,
    "AdaBoostRegressor": trees.ada_boost_regressor,
    "BernoulliNB": _bernoulli,
    "CalibratedClassifierCV": _calibrated,
    "DecisionTreeClassifier": trees.decision_tree,
    "DecisionTreeRegressor": trees.decision_tree,
    "ElasticNet": _affine,
    "ExtraTreesClassifier": trees.forest,
    "ExtraTreesRegressor": trees.forest,
    "GaussianNB": _gaussian,
    "GradientBoostingClassifier": trees.boosting,
    "GradientBoostingRegressor": trees.boosting,
    "HistGradientBoostingClassifier": trees.boosting,
    "HistGradientBoostingRegressor": trees.boosting,
    "HuberRegressor": _affine,
    "Lasso": _affine,
    "LinearDiscriminantAnalysis": _linear_classifier,
    "LinearRegression": _affine,
    "LogisticRegression": _linear_classifier,
    "MLPClassifier": _perceptron,
    "MLPRegressor": _perceptron,
    "RandomForestClassifier": trees.forest,
    "RandomForestRegressor": trees.forest,
    "Ridge": _affine,
    "RidgeCV": _affine,
    "StackingClassifier": _stacking,
    "StackingRegressor": _stacking,
    "VotingClassifier": _voting,
    "VotingRegressor": _voting,
}

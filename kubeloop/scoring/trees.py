"""scikit-learn's trees and ensembles as forests."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.scoring.errors import Refused
from kubeloop.scoring.forest import NO_CATEGORY, SET_WORDS, Forest, Tree, pack
from kubeloop.scoring.plan import Floats
from kubeloop.scoring.preparation import compile_transformer
from kubeloop.scoring.program import Program

Slots = list[int]
_LINKS = {"IdentityLink": (), "LogLink": ("exp",), "LogitLink": ("logistic",), "HalfLogitLink": ("logistic",)}


def sum_trees(program: Program, forest: Forest, slots: Slots, who: str, *, gaps: bool) -> Slots:
    """Add a forest; the slots of its sums."""
    if forest.single:
        program.whole(slots, who, single=True, gaps=gaps)
    else:
        program.numbers(slots, who)
    reads, floats, ints = pack(forest, slots)
    return program.add("forest", reads, len(forest.base), floats, ints)


def plain(fitted: Any, values: Floats, out: int = 0) -> Tree:
    """A tree of scikit-learn's own kind (`sklearn.tree`) with other values.

    Args:
        fitted: Its `tree_`.
        values: (nodes, v).
        out: The class of a single value.
    """
    return Tree(
        feature=fitted.feature.astype(np.int64),
        threshold=np.asarray(fitted.threshold, dtype=np.float64),
        left=fitted.children_left.astype(np.int64),
        right=fitted.children_right.astype(np.int64),
        missing_left=fitted.missing_go_to_left.astype(bool),
        values=np.ascontiguousarray(values, dtype=np.float64),
        sets=np.full(fitted.node_count, -1, dtype=np.int64),
        out=out,
    )


def _gaps(fitted: Any) -> bool:
    """Whether a tree takes missing values; scikit-learn decides by criterion and constraints."""
    return bool(fitted.__sklearn_tags__().input_tags.allow_nan and getattr(fitted, "monotonic_cst", None) is None)


def decision_tree(program: Program, fitted: Any, slots: Slots) -> Slots:
    """One tree: shares of classes, or a value."""
    return _mean_of(program, fitted, [fitted], slots, 1.0)


def forest(program: Program, fitted: Any, slots: Slots) -> Slots:
    """A random forest or extra trees: the mean of the trees' answers."""
    return _mean_of(program, fitted, fitted.estimators_, slots, float(len(fitted.estimators_)))


def _mean_of(program: Program, fitted: Any, members: Sequence[Any], slots: Slots, divisor: float) -> Slots:
    if fitted.n_outputs_ != 1:
        raise Refused("several targets")
    width = int(fitted.n_classes_) if hasattr(fitted, "n_classes_") else 1
    trees = [plain(member.tree_, member.tree_.value[:, 0, :width]) for member in members]
    made = Forest(trees, len(slots), np.zeros(width), divisor, single=True)
    return sum_trees(program, made, slots, type(fitted).__name__, gaps=all(map(_gaps, members)))


def boosting(program: Program, fitted: Any, slots: Slots) -> Slots:
    """GradientBoosting or HistGradientBoosting: probabilities, or a value."""
    raw = raw_boosting(program, fitted, slots)
    return _linked(program, raw, fitted._loss.link, hasattr(fitted, "classes_"))


def raw_boosting(program: Program, fitted: Any, slots: Slots) -> Slots:
    """What boosting adds up, before its link."""
    return (_hist if hasattr(fitted, "_predictors") else _gradient)(program, fitted, slots)


def _gradient(program: Program, fitted: Any, slots: Slots) -> Slots:
    """GradientBoosting: a constant start and scaled trees, by stage and class."""
    if fitted.init_ != "zero" and not type(fitted.init_).__name__.startswith("Dummy"):
        raise Refused("boosting that starts from another model")
    base = np.asarray(fitted._raw_predict_init(np.zeros((1, len(slots)), dtype=np.float32)), dtype=np.float64)[0]
    trees = [
        plain(member.tree_, fitted.learning_rate * member.tree_.value[:, 0, :1], out)
        for stage in fitted.estimators_
        for out, member in enumerate(stage)
    ]
    gaps = all(map(_gaps, fitted.estimators_.ravel()))
    return sum_trees(program, Forest(trees, len(slots), base, single=True), slots, type(fitted).__name__, gaps=gaps)


def _hist(program: Program, fitted: Any, slots: Slots) -> Slots:
    """HistGradientBoosting, with its own encoding of categories and its sets of them."""
    inner = getattr(fitted, "_preprocessor", None)
    slots = slots if inner is None else _preprocessed(program, inner, slots)
    bitsets, place_of = fitted._bin_mapper.make_known_categories_bitsets()
    sets: list[NDArray[np.uint32]] = []
    known: dict[int, int] = {}
    mask = getattr(fitted, "_is_categorical_remapped", None)
    for feature in np.flatnonzero(mask) if mask is not None else ():
        known[int(feature)] = len(sets)
        sets.append(_set(bitsets[place_of[feature]], missing=False))
    trees = [_hist_tree(predictor, out, sets) for stage in fitted._predictors for out, predictor in enumerate(stage)]
    base = np.asarray(fitted._baseline_prediction, dtype=np.float64).ravel()
    made = Forest(trees, len(slots), base, sets=sets, known=known)
    return sum_trees(program, made, slots, type(fitted).__name__, gaps=True)


def _preprocessed(program: Program, inner: Any, slots: Slots) -> Slots:
    """Categories first, as gradient boosting's own ColumnTransformer orders them."""
    made: Slots = []
    for name, step, columns in inner.transformers_:
        chosen = np.arange(len(slots))[columns]
        part = [slots[place] for place in chosen.tolist()]
        if name == "encoder" and part:
            made += compile_transformer(program, step, part)
        else:
            made += part
    return made


def _set(bits: NDArray[np.uint32], *, missing: bool) -> NDArray[np.uint32]:
    made = np.zeros(SET_WORDS, dtype=np.uint32)
    made[: SET_WORDS - 1] = bits
    made[NO_CATEGORY >> 5] |= np.uint32(missing)
    return made


def _hist_tree(predictor: Any, out: int, sets: list[NDArray[np.uint32]]) -> Tree:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    numbers = np.full(len(nodes), -1, dtype=np.int64)
    for place in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf):
        numbers[place] = len(sets)
        bits = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][place]]
        sets.append(_set(bits, missing=bool(nodes["missing_go_to_left"][place])))
    return Tree(
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=nodes["right"].astype(np.int64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        values=nodes["value"].astype(np.float64)[:, np.newaxis],
        sets=numbers,
        out=out,
    )


def _linked(program: Program, raw: Slots, link: Any, classes: bool) -> Slots:
    name = type(link).__name__
    if name == "MultinomialLogit":
        return program.add("softmax", raw, len(raw))
    if name not in _LINKS:
        raise Refused(f"the link {name}")
    if name == "HalfLogitLink":
        raw = program.add("multiply", raw, 1, [2.0])
    for step in _LINKS[name]:
        raw = program.add(step, raw, 1)
    return program.add("two", raw, 2) if classes else raw


def ada_boost_classifier(program: Program, fitted: Any, slots: Slots) -> Slots:
    """AdaBoost: probabilities from the votes."""
    decided, width = ada_boost_decision(program, fitted, slots), int(fitted.n_classes_)
    if width > 2:
        return program.add("softmax", program.add("divide", decided, width, [width - 1.0] * width), width)
    return program.add("softmax", program.add("linear", decided, 2, [0.0, 0.0, -0.5, 0.5]), 2)


def ada_boost_decision(program: Program, fitted: Any, slots: Slots) -> Slots:
    """AdaBoost (SAMME): every tree gives its weight to its class and takes a share from the others."""
    width = int(fitted.n_classes_)
    trees = []
    for member, weight in zip(fitted.estimators_, fitted.estimator_weights_, strict=False):
        votes = member.classes_[member.tree_.value[:, 0, :].argmax(axis=1)]
        hit = votes[:, np.newaxis] == fitted.classes_[np.newaxis, :]
        trees.append(plain(member.tree_, np.where(hit, weight, -1 / (width - 1) * weight)))
    divisor = float(fitted.estimator_weights_.sum())
    made = Forest(trees, len(slots), np.zeros(width), divisor, single=True)
    votes = sum_trees(program, made, slots, "AdaBoost", gaps=False)
    return votes if width > 2 else program.add("linear", votes, 1, [0.0, -1.0, 1.0])


def ada_boost_regressor(program: Program, fitted: Any, slots: Slots) -> Slots:
    """AdaBoost for numbers: the weighted median of the trees."""
    trees = [plain(member.tree_, member.tree_.value[:, 0, :1], out) for out, member in enumerate(fitted.estimators_)]
    made = Forest(trees, len(slots), np.zeros(len(trees)), single=True)
    answers = sum_trees(program, made, slots, "AdaBoost", gaps=False)
    return program.add("median", answers, 1, fitted.estimator_weights_[: len(trees)])

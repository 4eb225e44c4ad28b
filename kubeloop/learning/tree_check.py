"""Numbers in a model file that compiled code uses as places in memory, looked at before anything is asked of the model.

scikit-learn's trees walk arrays of nodes without looking where they step: a node that names a child or a feature that
there is not ends the process, or answers with what lies in memory. Types cannot tell such a file from a good one, so
its numbers are held against each other here: whoever is refused was written by no fit.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

_LEAF = -1
_WORDS = 8  # of 32 bits, in which 256 categories are kept
_CATEGORIES = 256
_PLAIN = (str, bytes, int, float, type, type(None))


def check_constructors(nodes: Iterable[dict[str, Any]]) -> None:
    """Refuse trees of more than one output: their constructor reads that many class counts, there or not.

    Args:
        nodes: Every object of the file's schema.

    Raises:
        ValueError: Such a tree is in the file.
    """
    for node in nodes:
        if node.get("__loader__") == "TreeNode":
            outputs = node["__reduce__"]["args"]["content"][2]["content"]
            if outputs != "1":
                raise ValueError(f"a tree of one output was expected, one has {outputs}")


def check_places(estimator: Any) -> None:
    """Refuse a model in which a number that is used as a place points nowhere.

    Args:
        estimator: As skops has read it; nothing was asked of it yet.

    Raises:
        ValueError: A tree's child, feature, category or size is not there.
    """
    for found in _objects(estimator):
        if hasattr(found, "tree_"):
            _check_tree(found.tree_, int(found.n_features_in_))
        if hasattr(found, "_predictors"):
            _check_histogram(found)
        members = getattr(found, "estimators_", ())
        for member in members.ravel() if isinstance(members, np.ndarray) else members:
            if hasattr(member, "tree_") and int(member.n_features_in_) != int(found.n_features_in_):
                raise ValueError(f"a tree of {member.n_features_in_} features among those of {found.n_features_in_}")
        if hasattr(found, "_raw_predict_init"):
            _check_columns(found)


def _objects(root: Any) -> Iterator[Any]:
    """Every object with attributes that the model holds."""
    stack: list[Any] = [root]
    seen: set[int] = set()
    while stack:
        found = stack.pop()
        if id(found) in seen or isinstance(found, _PLAIN):
            continue
        seen.add(id(found))
        if isinstance(found, dict):
            stack.extend(found.values())
        elif isinstance(found, list | tuple):
            stack.extend(found)
        elif isinstance(found, np.ndarray):
            stack.extend(found.ravel() if found.dtype == object else ())
        elif hasattr(found, "__dict__"):
            yield found
            stack.extend(vars(found).values())


def _check_tree(tree: Any, features: int) -> None:
    """`sklearn.tree._tree.Tree`: node_count first, for all else is read by it."""
    if tree.node_count != tree.capacity or tree.node_count < 1:
        raise ValueError(f"a tree of {tree.node_count} nodes has room for {tree.capacity}")
    left, right = tree.children_left, tree.children_right
    _check_walk(left != _LEAF, left, right, tree.feature, features)


def _check_histogram(found: Any) -> None:
    """Histogram boosting: nodes, and the sets of categories that they name."""
    features, mapper = int(found.n_features_in_), found._bin_mapper
    categorical = np.asarray(mapper.is_categorical_).astype(bool)
    if categorical.shape != (features,):
        raise ValueError(f"{categorical.size} features are told apart, the model reads {features}")
    for place in np.flatnonzero(categorical):
        known = np.asarray(mapper.bin_thresholds_[place], dtype=np.float64)
        if not np.all((known >= 0) & (known < _CATEGORIES)):
            raise ValueError(f"a category below {_CATEGORIES} was expected, there are others")
    for predictor in (each for group in found._predictors for each in group):
        nodes, sets = predictor.nodes, np.asarray(predictor.raw_left_cat_bitsets)
        if nodes.ndim != 1 or not len(nodes) or sets.ndim != 2 or sets.shape[1] != _WORDS:
            raise ValueError("a tree has no nodes, or sets of categories of another size")
        inner = nodes["is_leaf"] == 0
        _check_walk(inner, nodes["left"], nodes["right"], nodes["feature_idx"], features)
        split = nodes[inner & (nodes["is_categorical"] != 0)]
        if np.any(split["bitset_idx"] >= len(sets)) or not np.all(categorical[split["feature_idx"]]):
            raise ValueError("a tree names a set of categories that there is not")


def _check_walk(inner: Any, left: Any, right: Any, feature: Any, features: int) -> None:
    """Every inner node names a feature that there is and children behind itself: each walk ends in a leaf."""
    count, places = len(inner), np.flatnonzero(inner)
    for child in (left, right):
        steps = np.asarray(child)[places].astype(np.int64)
        if np.any((steps <= places) | (steps >= count)):
            raise ValueError(f"a tree of {count} nodes names a child that there is not")
    named = np.asarray(feature)[places].astype(np.int64)
    if np.any((named < 0) | (named >= features)):
        raise ValueError(f"a tree names a feature that there is not among {features}")


def _check_columns(found: Any) -> None:
    """Gradient boosting adds column by column to what its start answers: both need the same columns."""
    start = found._raw_predict_init(np.zeros((1, int(found.n_features_in_)), dtype=np.float32))
    if found.estimators_.ndim != 2 or start.shape != (1, found.estimators_.shape[1]):
        raise ValueError(f"trees for {found.estimators_.shape[-1]} columns start from {start.shape[-1]}")

"""An isolation forest as arrays: fitted by scikit-learn (or alibi-detect, whose IForest is the same), scored here.

A pickle runs code, and a skops file of trees is not needed where five arrays say it all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.monitoring.detectors.centres import matrix
from kubeloop.monitoring.reference.bins import Floats, Ints

TREES = 100


@dataclass(frozen=True)
class Forest:
    """Liu, Ting and Zhou (2008), Isolation Forest: rows that few splits set apart are unlike the others.

    Attributes:
        names: The p number columns that are read.
        mean: (p,) what a missing value is taken for.
        roots: (trees,) first node of each tree.
        feature: (nodes,) column that a node asks for; -1: a leaf.
        cut: (nodes,) values, read as float32, up to this go left.
        left: (nodes,) the node to the left.
        right: (nodes,) the node to the right.
        depth: (nodes,) at a leaf: the path to it, with what its rows would take further.
        usual: Mean path in a tree of as many rows as each tree saw.
        threshold: Rows with a higher score are flagged.
    """

    names: tuple[str, ...]
    mean: Floats
    roots: Ints
    feature: Ints
    cut: Floats
    left: Ints
    right: Ints
    depth: Floats
    usual: float
    threshold: float

    def scores(self, values: Mapping[str, NDArray[Any]]) -> Floats:
        """(n,) 2^(-mean path / usual path): 0 to 1, the higher the stranger."""
        found = matrix(values, self.names)
        rows = np.where(np.isnan(found), self.mean, found).astype(np.float32)
        node = np.broadcast_to(self.roots, (len(rows), len(self.roots))).copy()
        lines = np.arange(len(rows))[:, None]
        while True:
            asked = self.feature[node]
            inner = asked >= 0
            if not inner.any():
                break
            goes = rows[lines, np.maximum(asked, 0)] <= self.cut[node]
            node = np.where(inner, np.where(goes, self.left[node], self.right[node]), node)
        return np.asarray(2.0 ** (-self.depth[node].mean(axis=1) / self.usual))


def _usual_path(rows: Floats) -> Floats:
    """Mean path of an unsuccessful search in a binary search tree of so many rows; as in the paper."""
    rows = np.asarray(rows, dtype=np.float64)
    safe = np.maximum(rows, 3)
    found = 2 * (np.log(safe - 1) + np.euler_gamma) - 2 * (safe - 1) / safe
    return np.asarray(np.where(rows > 2, found, np.where(rows == 2, 1.0, 0.0)))


def fit_forest(values: Mapping[str, NDArray[Any]], names: tuple[str, ...], seed: int, engine: str) -> Forest:
    """A forest with an infinite threshold.

    Args:
        values: By column.
        names: Number columns, at least one.
        seed: Of the trees.
        engine: `native` or `alibi`.
    """
    found = matrix(values, names)
    mean = np.nanmean(found, axis=0)
    rows = np.where(np.isnan(found), mean, found)
    if engine == "alibi":
        from alibi_detect.od import IForest

        detector = IForest(threshold=0.0, n_estimators=TREES)
        detector.isolationforest.set_params(random_state=seed)
        detector.fit(rows)
        fitted = detector.isolationforest
    else:
        from sklearn.ensemble import IsolationForest

        fitted = IsolationForest(n_estimators=TREES, random_state=seed).fit(rows)
    return _as_arrays(fitted, names, mean)


def _as_arrays(fitted: Any, names: tuple[str, ...], mean: Floats) -> Forest:
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in ("feature", "cut", "left", "right", "depth")}
    roots, offset = [], 0
    for one in fitted.estimators_:
        tree = one.tree_
        depth = np.zeros(tree.node_count)
        for node in range(tree.node_count):  # parents come before their children
            for child in (tree.children_left[node], tree.children_right[node]):
                if child >= 0:
                    depth[child] = depth[node] + 1
        roots.append(offset)
        parts["feature"].append(np.where(tree.children_left < 0, -1, tree.feature))
        parts["cut"].append(tree.threshold)
        parts["left"].append(tree.children_left + offset)
        parts["right"].append(tree.children_right + offset)
        parts["depth"].append(depth + _usual_path(tree.n_node_samples))
        offset += tree.node_count
    joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    usual = float(_usual_path(np.array(fitted.max_samples_)))
    whole = {name: array if array.dtype.kind == "f" else array.astype(np.int64) for name, array in joined.items()}
    return Forest(names=names, mean=mean, roots=np.array(roots), usual=usual, threshold=np.inf, **whole)

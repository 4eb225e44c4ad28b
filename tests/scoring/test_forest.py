"""How the nodes of a tree lie in its table."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier

from kubeloop.scoring.forest import Tree, _levels, _order
from kubeloop.scoring.trees import plain

LINE = 8
"""Nodes of 8 bytes in a line of the processor's cache."""


def grown(rows: int, depth: int | None = None) -> tuple[DecisionTreeClassifier, Tree]:
    rng = np.random.default_rng(rows)
    x = rng.normal(size=(rows, 6))
    fitted = DecisionTreeClassifier(max_depth=depth, random_state=0).fit(x, rng.random(rows) < 0.5)
    return fitted, plain(fitted.tree_, np.zeros((fitted.tree_.node_count, 1)))


@pytest.mark.parametrize(("rows", "depth"), [(1, None), (2, None), (40, 1), (40, 2), (300, 3), (3000, None)])
def test_every_node_lies_somewhere_and_siblings_side_by_side(rows: int, depth: int | None) -> None:
    fitted, tree = grown(rows, depth)
    order, deep = _order(tree)
    assert deep == fitted.get_depth()
    assert sorted(order) == list(range(len(tree.left)))
    assert order[0] == 0, "the root is first"
    place = np.argsort(order)
    inner = tree.left >= 0
    assert (place[tree.right[inner]] == place[tree.left[inner]] + 1).all()


def test_a_walk_needs_two_thirds_of_the_lines_that_it_would_level_by_level() -> None:
    fitted, tree = grown(3000)
    walked = fitted.decision_path(np.random.default_rng(1).normal(size=(500, 6))).tocsr()
    walks = np.split(walked.indices, walked.indptr[1:-1])
    by_level = np.concatenate(_levels(tree))

    def lines(order: NDArray[np.int64]) -> float:
        place = np.argsort(order)
        return float(np.mean([len(np.unique(place[nodes] // LINE)) for nodes in walks]))

    assert lines(_order(tree)[0]) < 0.7 * lines(by_level)

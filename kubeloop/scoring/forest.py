"""Trees as one table of nodes of 8 bytes, over ranks instead of numbers.

The rank of x in a feature is how many of the forest's thresholds lie strictly below x; `x <= threshold` holds exactly
when the rank of x is at most that of the threshold. Ranks are 16-bit; a feature with more thresholds is read several
times, each time against its next 65,000. A tree that compares in 32-bit floats gets its thresholds rounded down to
such, which changes no comparison with a 32-bit number.

A node is two 32-bit words: rank (16 bits), feature (14 bits), whether a missing value goes left, whether the test is
one of categories; then its left child, the right one being next to it. A leaf is its own left child, and all go left.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.scoring.errors import Refused
from kubeloop.scoring.plan import Floats, Ints, Operation

HEADER = 5
"""Trees, nodes, whether numbers are cut to 32-bit floats, values per leaf, sets of categories."""
MISSING = 0xFFFF
"""The rank of a missing number."""
NO_CATEGORY = 256
"""The rank of a category that is missing or was not known in training."""
SET_WORDS = 9
"""32-bit words of a set of ranks 0 to 256."""
MOST_FEATURES = 1 << 14
MOST_EDGES = 65_000

_ALL_LEFT = 0xFFFF
_BLOCK = 256


@dataclass(frozen=True)
class Tree:
    """One tree of m nodes, as its maker numbered them; the root is 0.

    Attributes:
        feature: (m,) place among the forest's features; any value in a leaf.
        threshold: (m,) numbers up to it go left.
        left: (m,) left child; -1 in a leaf.
        right: (m,) right child.
        missing_left: (m,) whether a missing value goes left.
        values: (m, v) answers; those of leaves count.
        sets: (m,) number of the set of categories that go left, -1 for a threshold.
        out: The class that a single value belongs to.
    """

    feature: NDArray[np.int64]
    threshold: Floats
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    values: Floats
    sets: NDArray[np.int64]
    out: int = 0


@dataclass(frozen=True)
class Forest:
    """Trees whose leaves are summed, in their order, onto `base`, and the sum divided.

    Attributes:
        trees: In order.
        features: How many numbers a row has.
        base: (k,) what the sum starts from.
        divisor: Of the sum.
        single: Whether numbers are compared as 32-bit floats.
        sets: Sets of category ranks, (SET_WORDS,) uint32 each.
        known: Feature to the number of the set of its known categories; others are numeric.
    """

    trees: Sequence[Tree]
    features: int
    base: Floats
    divisor: float = 1.0
    single: bool = False
    sets: Sequence[NDArray[np.uint32]] = ()
    known: dict[int, int] | None = None


@dataclass(frozen=True)
class Parts:
    """The arrays of a forest's operation, taken apart (`E` edges, `m` nodes, `p` reads)."""

    single: bool
    leaf: int
    roots: Ints
    outs: Ints
    depths: Ints
    starts: Ints
    kinds: Ints
    words: NDArray[np.uint32]
    lefts: Ints
    sets: NDArray[np.uint32]
    base: Floats
    divisor: float
    edges: Floats
    values: Floats


def pack(forest: Forest, reads: Sequence[int]) -> tuple[tuple[int, ...], Floats, Ints]:
    """The reads, floats and ints of the operation.

    Args:
        forest: What to pack.
        reads: The slot of each feature.

    Raises:
        Refused: It is too large for the table.
    """
    edges = _edges(forest)
    chunks = [(place, found[at : at + MOST_EDGES]) for place, found in edges.items() for at in _starts(found)]
    if len(chunks) > MOST_FEATURES or len(forest.sets) > MISSING:
        raise Refused(f"the trees test more than {MOST_FEATURES} features or {MISSING} sets of categories")
    first: dict[int, int] = {}
    for number, (place, _) in enumerate(chunks):
        first.setdefault(place, number)
    laid = [_lay(tree, edges, first) for tree in forest.trees]
    sizes = np.array([len(tree.left) for tree in forest.trees])
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    words = np.concatenate([words for words, *_ in laid])
    lefts = np.concatenate([lefts + root for (_, lefts, *_), root in zip(laid, roots, strict=True)])
    values = np.concatenate([values for _, _, values, _ in laid])
    nodes = np.stack([words.view(np.int32), lefts.astype(np.int32)], axis=1).ravel()
    known = forest.known or {}
    offsets = np.concatenate([[0], np.cumsum([len(chunk) for _, chunk in chunks])])
    ints = [
        [len(laid), len(words), int(forest.single), values.shape[1], len(forest.sets)],
        roots,
        [tree.out for tree in forest.trees],
        [depth for *_, depth in laid],
        offsets,
        [known.get(place, -1) + 1 for place, _ in chunks],
        nodes,
        *(found.view(np.int32) for found in forest.sets),
    ]
    floats = [forest.base, [forest.divisor], *(chunk for _, chunk in chunks), values.ravel()]
    return (
        tuple(reads[place] for place, _ in chunks),
        np.concatenate([np.asarray(part, dtype=np.float64) for part in floats]),
        np.concatenate([np.asarray(part, dtype=np.int32) for part in ints]),
    )


def _starts(edges: Floats) -> range:
    return range(0, max(1, len(edges)), MOST_EDGES)


def _edges(forest: Forest) -> dict[int, Floats]:
    """The sorted thresholds of each feature that is tested at all; none for a categorical one."""
    tested = [tree.left >= 0 for tree in forest.trees]
    features = np.concatenate([tree.feature[inner] for tree, inner in zip(forest.trees, tested, strict=True)])
    numbers = np.concatenate([tree.threshold[inner] for tree, inner in zip(forest.trees, tested, strict=True)])
    numeric = np.concatenate([tree.sets[inner] < 0 for tree, inner in zip(forest.trees, tested, strict=True)])
    if forest.single:
        numbers = _rounded_down(numbers)
    return {int(place): np.unique(numbers[(features == place) & numeric]) for place in np.unique(features)}


def _rounded_down(numbers: Floats) -> Floats:
    single = numbers.astype(np.float32)
    above = single.astype(np.float64) > numbers
    return np.where(above, np.nextafter(single, np.float32(-np.inf)), single).astype(np.float64)


def _lay(
    tree: Tree, edges: dict[int, Floats], first: dict[int, int]
) -> tuple[NDArray[np.uint32], NDArray[np.int64], Floats, int]:
    """Words, left children, values and depth of one tree, siblings side by side."""
    order, depth = _order(tree)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    lefts = np.arange(len(order))
    inner = np.flatnonzero(tree.left[order] >= 0)
    lefts[inner] = place[tree.left[order[inner]]]
    words = np.full(len(order), _ALL_LEFT, dtype=np.uint32)
    for at, rank, feature, missing, kind in _tests(tree, order, edges, first):
        words[at] = (rank + missing).astype(np.uint32) | (feature << 16) | (missing << 30) | (kind << 31)
    return words, lefts, tree.values[order], depth


def _order(tree: Tree) -> tuple[NDArray[np.int64], int]:
    """The nodes as they lie in the table, and the depth of the tree.

    After a pair of siblings come the pairs of their children, then all that is below those, branch by branch. So a walk
    finds two levels, and near the leaves more, in one line of the processor's cache; level by level, each is another.
    """
    levels = _levels(tree)
    below = np.zeros(len(tree.left), dtype=np.int64)  # pairs below a node
    for level in reversed(levels):
        inner = level[tree.left[level] >= 0]
        below[inner] = 1 + below[tree.left[inner]] + below[tree.right[inner]]
    pair = np.zeros_like(below)  # number of the pair of a node's children
    for level in levels[::2]:
        node = level[below[level] > 0]
        left, right = tree.left[node], tree.right[node]
        pair[left] = pair[node] + 1
        pair[right] = pair[left] + (below[left] > 0)
        start = pair[right] + (below[right] > 0)
        for child in (left, right):
            inner = child[below[child] > 0]
            pair[tree.left[inner]] = start[below[child] > 0]
            pair[tree.right[inner]] = pair[tree.left[inner]] + below[tree.left[inner]]
            start = start + np.maximum(below[child] - 1, 0)
    inner = np.flatnonzero(below)
    order = np.zeros(len(below), dtype=np.int64)
    order[1 + 2 * pair[inner]] = tree.left[inner]
    order[2 + 2 * pair[inner]] = tree.right[inner]
    return order, len(levels) - 1


def _levels(tree: Tree) -> list[NDArray[np.int64]]:
    level, found = np.zeros(1, dtype=np.int64), []
    while level.size:
        found.append(level)
        inner = level[tree.left[level] >= 0]
        level = np.concatenate([tree.left[inner], tree.right[inner]])
    return found


def _tests(
    tree: Tree, order: NDArray[np.int64], edges: dict[int, Floats], first: dict[int, int]
) -> Iterator[tuple[NDArray[Any], ...]]:
    inner = tree.left[order] >= 0
    for feature in np.unique(tree.feature[order][inner]):
        at = np.flatnonzero(inner & (tree.feature[order] == feature))
        node = order[at]
        found = edges[int(feature)]
        # The last edge that is not above the threshold: itself, or its value rounded down.
        rank = np.searchsorted(found, tree.threshold[node], side="right") - 1
        rank = np.maximum(rank, 0)
        kind = (tree.sets[node] >= 0).astype(np.uint32)
        chunk = np.where(kind, 0, rank // MOST_EDGES)
        missing = np.where(kind, 0, tree.missing_left[node]).astype(np.uint32)
        rank = np.where(kind, tree.sets[node], rank % MOST_EDGES)
        yield at, rank, (first[int(feature)] + chunk).astype(np.uint32), missing, kind


def unpack(step: Operation) -> Parts:
    """The parts of a forest's operation.

    Raises:
        ValueError: The arrays are not as long as they say.
    """
    trees, nodes, single, leaf, sets = (int(word) for word in step.ints[:HEADER])
    reads = len(step.reads)
    lengths = [HEADER, trees, trees, trees, reads + 1, reads, 2 * nodes, SET_WORDS * sets]
    if min(trees, nodes, leaf) < 1 or sets < 0 or sum(lengths) != len(step.ints):
        raise ValueError("a forest whose numbers do not fill its table")
    _, roots, outs, depths, starts, kinds, table, bits = np.split(step.ints, np.cumsum(lengths)[:-1])
    sizes = [step.width, 1, int(starts[-1]), nodes * leaf]
    if min(sizes) < 0 or sum(sizes) != len(step.floats):
        raise ValueError("a forest whose numbers do not fill its table")
    base, divisor, edges, values = np.split(step.floats, np.cumsum(sizes)[:-1])
    return Parts(
        single=bool(single),
        leaf=leaf,
        roots=roots,
        outs=outs,
        depths=depths,
        starts=starts,
        kinds=kinds,
        words=table[0::2].view(np.uint32) if table[0::2].flags.c_contiguous else table[0::2].copy().view(np.uint32),
        lefts=table[1::2].copy(),
        sets=bits.view(np.uint32).reshape(-1, SET_WORDS),
        base=base,
        divisor=float(divisor[0]),
        edges=edges,
        values=values.reshape(-1, leaf),
    )


def run_forest(step: Operation, x: Floats) -> Floats:
    """(reads, n) to (width, n): the sums of the leaves."""
    parts = unpack(step)
    made = np.empty((step.width, x.shape[1]))
    for start in range(0, x.shape[1], _BLOCK):
        block = slice(start, start + _BLOCK)
        made[:, block] = _sums(parts, _leaves(parts, _ranks(parts, x[:, block])), step.width)
    return made


def _ranks(parts: Parts, x: Floats) -> NDArray[np.int64]:
    if parts.single:
        x = x.astype(np.float32).astype(np.float64)
    ranks = np.empty(x.shape, dtype=np.int64)
    for place, row in enumerate(x):
        if parts.kinds[place]:
            ranks[place] = _category_ranks(parts.sets[parts.kinds[place] - 1], row)
        else:
            edges = parts.edges[parts.starts[place] : parts.starts[place + 1]]
            ranks[place] = np.where(np.isnan(row), MISSING, np.searchsorted(edges, row))
    return ranks


def _category_ranks(known: NDArray[np.uint32], row: Floats) -> NDArray[np.int64]:
    inside = (row >= 0) & (row < NO_CATEGORY)
    code = np.where(inside, row, 0).astype(np.int64)
    return np.where(inside & (known[code >> 5] >> (code & 31).astype(np.uint32) & 1).astype(bool), code, NO_CATEGORY)


def _leaves(parts: Parts, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """(trees, n) nodes."""
    rows = np.arange(ranks.shape[1])
    at = np.repeat(parts.roots.astype(np.int64)[:, np.newaxis], len(rows), axis=1)
    for _ in range(int(parts.depths.max())):
        word = parts.words[at].astype(np.int64)
        rank = ranks[word >> 16 & (MOST_FEATURES - 1), rows]
        right = (rank + (word >> 30 & 1) & 0xFFFF) > (word & 0xFFFF)
        if len(parts.sets):
            category = (word >> 31) == 1
            held = parts.sets[np.where(category, word & 0xFFFF, 0), np.minimum(rank, NO_CATEGORY) >> 5]
            right = np.where(category, (held >> (rank & 31).astype(np.uint32) & 1) == 0, right)
        at = parts.lefts[at] + right
    return at


def _sums(parts: Parts, leaves: NDArray[np.int64], width: int) -> Floats:
    total = np.repeat(parts.base[:, np.newaxis], leaves.shape[1], axis=1)
    for out, tree in zip(parts.outs, leaves, strict=True):
        if parts.leaf == width:
            total = total + parts.values[tree].T
        else:
            total[out] += parts.values[tree, 0]
    return total / parts.divisor

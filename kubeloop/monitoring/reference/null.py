"""What chance alone does: statistics of windows of nothing but training rows, drawn as the rows really come."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kubeloop.monitoring.reference.bins import Floats, Ints

KNOTS = 129
_TAIL = 0.9


@dataclass(frozen=True)
class Blocks:
    """Rows that depend on each other stand in one block, such as a day; a window takes whole blocks.

    Attributes:
        name: What makes a block; empty: every row stands for itself.
        order: (n,) rows, sorted by block.
        starts: (blocks + 1,) where each block begins in `order`.
    """

    name: str
    order: Ints
    starts: Ints

    @property
    def count(self) -> int:
        """Blocks."""
        return len(self.starts) - 1

    def halves(self, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """The blocks at random in two."""
        mixed = rng.permutation(self.count)
        return mixed[: self.count // 2], mixed[self.count // 2 :]

    def draw(self, rng: np.random.Generator, size: int, among: Ints) -> tuple[Ints, Ints]:
        """Rows of a window, and all rows that the reference of this window must not know.

        Blocks of `among` are drawn without replacement until they hold enough rows, which are then thinned to `size`.
        """
        if not self.name:
            rows = rng.choice(len(self.order), size, replace=False, shuffle=False)
            return rows, rows
        blocks = rng.permutation(among)
        lengths = np.diff(self.starts)[blocks]
        enough = int(np.searchsorted(np.cumsum(lengths), size)) + 1
        rows = np.concatenate([self.order[self.starts[b] : self.starts[b + 1]] for b in blocks[:enough]])
        return rng.choice(rows, size, replace=False, shuffle=False), rows

    def largest(self) -> int:
        """Rows of the largest window that half of the rows, or a half of the blocks, suffice for, however it falls."""
        if not self.name:
            return len(self.order) // 2
        return int(np.sort(np.diff(self.starts))[: self.count // 2].sum())


def alone(size: int) -> Blocks:
    """Rows that do not depend on each other."""
    return Blocks("", np.arange(size), np.arange(size + 1))


def blocks_by(name: str, numbers: Ints) -> Blocks:
    """Rows of one number are a block.

    Args:
        name: What makes a block, for people.
        numbers: (n,) the block of each row; rows of an unknown block (-1) are one block.
    """
    order = np.argsort(numbers, kind="stable").astype(np.int64)
    changes = np.flatnonzero(np.diff(numbers[order])) + 1
    return Blocks(name, order, np.concatenate([[0], changes, [len(numbers)]]).astype(np.int64))


@dataclass(frozen=True)
class Null:
    """The statistics of null windows of one size, in brief; s signals.

    Attributes:
        size: Rows of a window.
        knots: (s, KNOTS) float32 quantiles of each statistic, from its least to its largest.
        tail: (s, 3) the quantile above which the tail begins, the share of windows beyond it, and the mean of what
            the squares exceed its square by.
        means: (s,) mean of each statistic.
        squares: (s,) mean of its square.
        smallest: (draws,) float32, rising: the smallest q-value of each null window.
        evidence: How many windows the draws are worth: their number, or the number of blocks where that is smaller.
    """

    size: int
    knots: NDArray[np.float32]
    tail: Floats
    means: Floats
    squares: Floats
    smallest: NDArray[np.float32]
    evidence: int

    def chances(self, statistics: Floats) -> Floats:
        """How often chance alone gives as much: (..., s) p-values; NaN becomes 1.

        Within the null by its quantiles. Beyond, the squares of distances have an exponential tail (Kolmogorov's and
        chi-square's have it exactly), fitted to the excess over the 90% quantile as Knijnenburg et al. (2009,
        Bioinformatics 25) do for permutation tests.
        """
        rounded = statistics.astype(np.float32)
        if rounded.ndim == 1:
            below = np.count_nonzero(self.knots < rounded[:, None], axis=1)
        else:
            pairs = zip(self.knots, rounded.T, strict=True)
            below = np.stack([np.searchsorted(knots, found.T, side="left") for knots, found in pairs], axis=-1)
        begin, share, mean = self.tail.T
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            excess = np.where(mean > 0, (statistics**2 - begin**2) / mean, np.inf)
            tail = share * np.exp(-excess)
        found = np.where(statistics > begin, tail, 1 - below / KNOTS)
        return np.where(np.isnan(statistics), 1.0, np.clip(found, 0.0, 1.0))

    def corrected(self, q: Floats) -> Floats:
        """Share of null windows in which any signal at all is as strong: the p-value that holds for the whole window.

        (1 + E F) / (1 + E) for a share F of the draws, which are worth E windows: with the one that is judged among
        them it is valid for any E (Vovk, Gammerman and Shafer 2005, conformal p-values).
        """
        share = np.searchsorted(self.smallest, q.astype(np.float32), side="right") / len(self.smallest)
        return np.asarray((1 + self.evidence * share) / (1 + self.evidence))


def q_values(chances: Floats) -> Floats:
    """Benjamini and Hochberg's (1995) adjusted p-values along the last axis."""
    size = chances.shape[-1]
    if not size:
        return chances
    order = np.argsort(chances, axis=-1)
    raised = np.take_along_axis(chances, order, axis=-1) * size / np.arange(1, size + 1)
    least = np.minimum.accumulate(raised[..., ::-1], axis=-1)[..., ::-1]
    found = np.empty_like(chances)
    np.put_along_axis(found, order, np.minimum(least, 1.0), axis=-1)
    return found


def brief(
    statistics: Floats, size: int, evidence: int, floors: Floats | None = None, halves: Ints | None = None
) -> Null:
    """The null of drawn statistics.

    Args:
        statistics: (draws, s); NaN where a window could not be judged.
        size: Rows of a window.
        evidence: How many windows the draws are worth.
        floors: (draws, s) p-values that the signals' are at least, before they are corrected.
        halves: (draws,) 0 or 1, the half of the blocks that a window was drawn from. The p-values of one half are then
            taken from the other: a day that nobody has seen goes farther than any day of the null.
    """
    filled = np.where(np.isnan(statistics), -1.0, statistics)
    knots = np.quantile(filled, np.linspace(0, 1, KNOTS), axis=0, method="lower").T.astype(np.float32)
    begin = np.quantile(filled, _TAIL, axis=0, method="higher")
    beyond = filled > begin
    known = np.maximum(beyond.sum(axis=0), 1)
    mean = np.where(beyond, filled**2 - begin**2, 0.0).sum(axis=0) / known
    with np.errstate(invalid="ignore"):
        counted = np.maximum((~np.isnan(statistics)).sum(axis=0), 1)
        means, squares = (np.nansum(values, axis=0) / counted for values in (statistics, statistics**2))
    tail = np.stack([begin, beyond.mean(axis=0), mean], axis=1)
    half = Null(size, knots, tail, means, squares, np.zeros(1, np.float32), evidence)
    chances = half.chances(statistics)
    if halves is not None:
        for one in (0, 1):
            chances[halves == one] = brief(statistics[halves != one], size, evidence).chances(statistics[halves == one])
    least = q_values(chances if floors is None else np.maximum(chances, floors)).min(axis=-1, initial=1.0)
    return Null(size, knots, tail, means, squares, np.sort(least).astype(np.float32), evidence)

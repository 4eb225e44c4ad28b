"""What chance alone does: statistics of windows of nothing but training rows, drawn as the rows really come."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kubeloop.monitoring.reference.bins import Floats, Ints

KNOTS = 129
CONFIDENCE = 0.9
"""Share of references, drawn anew from the same world, that keep the stated rate. Training rows are one such draw: a
reference that lies off by chance raises more alarms in every window that is held against it."""
ENOUGH = 500
"""Evidence from which on a rate is promised to `CONFIDENCE` of references. With less of it (blocks: days of a quarter)
that would take most of the power, and what is promised is the mean rate of references of so many blocks."""
_TAIL = 0.9


@dataclass(frozen=True)
class Drawn:
    """A null window.

    Attributes:
        rows: (size,) its rows.
        hidden: Rows that the reference of this window must not know.
        blocks: Blocks that gave rows; none where each row stands for itself.
    """

    rows: Ints
    hidden: Ints
    blocks: Ints


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

    def draw(self, rng: np.random.Generator, size: int, among: Ints) -> Drawn:
        """A window without a row twice.

        Blocks of `among` are drawn without replacement until they hold enough rows, which are then thinned to `size`.
        """
        if not self.name:
            rows = rng.choice(len(self.order), size, replace=False, shuffle=False)
            return Drawn(rows, rows, rows[:0])
        blocks = rng.permutation(among)
        enough = int(np.searchsorted(np.cumsum(np.diff(self.starts)[blocks]), size)) + 1
        hidden = self._rows_of(blocks[:enough])
        return Drawn(rng.choice(hidden, size, replace=False, shuffle=False), hidden, blocks[:enough])

    def redraw(self, rng: np.random.Generator, size: int) -> Ints:
        """(size,) rows of a window drawn from a world of which these rows are all that is known: with replacement."""
        if not self.name:
            return rng.integers(len(self.order), size=size)
        blocks = np.empty(0, dtype=np.int64)
        while (held := np.cumsum(np.diff(self.starts)[blocks]))[-1:].sum() < size:
            blocks = np.concatenate([blocks, rng.integers(self.count, size=self.count)])
        return rng.choice(self._rows_of(blocks[: np.searchsorted(held, size) + 1]), size, replace=False, shuffle=False)

    def _rows_of(self, blocks: Ints) -> Ints:
        return np.concatenate([self.order[self.starts[block] : self.starts[block + 1]] for block in blocks])

    def groups(self, rng: np.random.Generator, most: int) -> Ints:
        """(n,) the group of each row, from 0: whole blocks at random in `most` groups, or in fewer."""
        of_blocks = rng.permutation(self.count) % most
        found = np.empty(len(self.order), dtype=np.int64)
        found[self.order] = np.repeat(of_blocks, np.diff(self.starts))
        return found

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
        evidence: How many windows that know nothing of each other the draws are worth; for single rows their number.
        spread: How many times the mean rate of all references `CONFIDENCE` of them stay under.
    """

    size: int
    knots: NDArray[np.float32]
    tail: Floats
    means: Floats
    squares: Floats
    smallest: NDArray[np.float32]
    evidence: int
    spread: float = 1.0

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
        """Share of windows with nothing wrong in which any signal at all is as strong: that of the whole window."""
        return np.asarray(self._bounds[np.searchsorted(self.smallest, q.astype(np.float32), side="right")])

    @property
    def least(self) -> float:
        """The smallest p-value that there can be."""
        return float(self._bounds[0])

    def usual(self, rate: float) -> float:
        """Mean share of alarms over all references, among the draws, where a rate is stated."""
        return max(0, int(np.searchsorted(self._bounds, rate, side="right")) - 1) / len(self.smallest)

    def upper(self, rate: float) -> float:
        """What `CONFIDENCE` of references stay under where a rate is stated."""
        from scipy.special import betaincinv

        few = min(1 - 1e-9, self.usual(rate) * self.spread) * self.evidence
        return float(betaincinv(1 + few, self.evidence - few, CONFIDENCE))

    @cached_property
    def _bounds(self) -> Floats:
        """(draws + 1,) by how many draws are as strong: the share of windows with nothing wrong that are.

        Of E windows a share F is as strong: the share in the world is Beta(1 + E F, E (1 - F)), of which conformal
        p-values take the mean (Vovk, Gammerman and Shafer 2005), so that they hold over all references; a quantile
        holds for the one that is there (Vovk 2012, Conditional validity of inductive conformal predictors). It is taken
        from `ENOUGH` windows on.
        """
        from scipy.special import betaincinv

        share = np.minimum(1.0, np.arange(len(self.smallest) + 1) / len(self.smallest) * self.spread)
        if self.evidence < ENOUGH:
            return np.asarray((1 + self.evidence * share) / (1 + self.evidence))
        few = np.minimum(share, 1 - 1e-9) * self.evidence
        return np.where(share < 1, betaincinv(1 + few, self.evidence - few, CONFIDENCE), 1.0)


def evidence_of(sums: Floats, alarms: NDArray[np.bool_], taken: float) -> int:
    """How many independent windows a null of windows of several blocks is worth: p (1 - p) over the variance of p.

    The variance over blocks is that of the infinitesimal jackknife of a mean over subsamples, with its correction for
    few draws (Wager, Hastie and Efron 2014, J. Mach. Learn. Res. 15; Wager and Athey 2018, J. Am. Stat. Assoc. 113).
    It lies between the windows that share no block and the blocks themselves.

    Args:
        sums: (blocks,) sum, over the windows that took a block, of alarm (0 or 1) minus mean alarm.
        alarms: (draws,) which null windows would be alarms.
        taken: Blocks that a window takes, on average.
    """
    count, share = len(sums), float(alarms.mean())
    chance = share * (1 - share)
    scale = (count / max(count - taken, 1.0)) ** 2
    part = taken / count
    noise = count * part * (1 - part) * chance / len(alarms)
    variance = scale * (float(((sums / len(alarms)) ** 2).sum()) - noise)
    worth = chance / variance if variance > 0 else np.inf
    return max(1, int(np.clip(worth, count / taken, count)))


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


def smallest_of(chances: Floats) -> Floats:
    """(...) the smallest of `q_values`."""
    size = chances.shape[-1]
    return np.asarray((np.sort(chances, axis=-1) * size / np.arange(1, size + 1)).min(axis=-1, initial=1.0))


def brief(statistics: Floats, size: int, evidence: int) -> Null:
    """The null of drawn statistics, without `smallest`.

    Args:
        statistics: (draws, s); NaN where a window could not be judged.
        size: Rows of a window.
        evidence: How many windows the draws are worth.
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
    return Null(size, knots, tail, means, squares, np.zeros(1, np.float32), evidence)


def smallest_q(statistics: Floats, null: Null, floors: Floats, sides: Ints | None = None) -> Floats:
    """(draws,) the smallest q-value of each null window.

    Args:
        statistics: (draws, s).
        null: Of them.
        floors: (draws, s) p-values that the signals' are at least, before they are corrected.
        sides: (draws,) halving of the blocks, times two, plus the half that a window was drawn from. The p-values of
            one half are then taken from the other: a day that nobody has seen goes farther than any day of the null.
    """
    if sides is None:
        chances = null.chances(statistics)
    else:
        chances = np.empty_like(statistics)
        for side in np.unique(sides):
            other = brief(statistics[sides == side ^ 1], null.size, null.evidence)
            chances[sides == side] = other.chances(statistics[sides == side])
    return smallest_of(np.maximum(chances, floors))

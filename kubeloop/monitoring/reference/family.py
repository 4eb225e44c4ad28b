"""A family of signals with one stated rate: all that is asked of a window at once, and what chance does to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from kubeloop.monitoring.reference.bins import Bins, Encoded, Floats, Ints, Test, count
from kubeloop.monitoring.reference.null import Blocks, Null, brief, q_values
from kubeloop.monitoring.reference.signals import Counts, Signal, count_window, stack, statistics

_AT_ONCE = 64


@dataclass(frozen=True)
class Answer:
    """What a window says to one signal.

    Attributes:
        signal: The question.
        statistic: Distance, 0 to about 1, or share of the rows; NaN: it could not be told.
        effect: What of it is beyond chance: for a distance the root of what its square exceeds the mean square of null
            windows by, for a share what it exceeds the mean share by; never negative.
        chance: p-value of the signal alone.
        corrected: Share of windows with nothing wrong in which any signal of the family is as strong.
    """

    signal: Signal
    statistic: float
    effect: float
    chance: float
    corrected: float


@dataclass(frozen=True)
class Family:
    """Signals, the counts of the reference rows, and a null per window size.

    Attributes:
        signals: In the order that `statistics` wants.
        columns: Bins of the columns whose distributions are compared.
        bins: (columns, WIDTH) reference rows per bin.
        rows: Reference rows.
        nulls: By window size, the smallest first.
    """

    signals: tuple[Signal, ...]
    columns: tuple[Bins, ...]
    bins: Ints
    rows: int
    nulls: tuple[Null, ...]
    _floors: dict[int, Floats] = field(default_factory=dict, compare=False, repr=False)

    @property
    def tests(self) -> tuple[Test, ...]:
        """How each column is compared."""
        return tuple(column.test for column in self.columns)

    def null_for(self, rows: int) -> Null | None:
        """The null of the largest size that a window of so many rows fills; None: it is too small to be judged."""
        fitting = [null for null in self.nulls if null.size <= rows]
        return fitting[-1] if fitting else None

    def answer(self, window: Encoded, null: Null, apart: Floats | None = None) -> list[Answer]:
        """Ask all signals of a window of exactly the null's size.

        Args:
            window: The rows.
            null: Of `null_for`.
            apart: (columns,) distances from another engine.
        """
        counts = count_window(window)
        found = statistics(self.signals, self.tests, counts, self.bins, apart)
        chances = np.maximum(null.chances(found), self._floor(null, found))
        corrected = null.corrected(q_values(chances))
        shares = np.array([signal.share for signal in self.signals], dtype=bool)
        effects = np.where(shares, found - null.means, np.sqrt(np.maximum(0.0, found**2 - null.squares)))
        return [
            Answer(signal, float(found[i]), max(0.0, float(effects[i])), float(chances[i]), float(corrected[i]))
            for i, signal in enumerate(self.signals)
        ]

    def _floor(self, null: Null, found: Floats) -> Floats:
        if null.size not in self._floors:
            self._floors[null.size] = share_floors(self.signals, null.means, self.rows, null.size)
        return floor_of(self.signals, self._floors[null.size], found, null.size)


def share_floors(signals: Sequence[Signal], means: Floats, rows: int, size: int) -> Floats:
    """(signals, size + 1) chance of at least x such rows among `size`, for x from 0; 1 for distances.

    After r of `rows` in the reference the next ones are beta-binomial (Laplace's rule of succession): what training
    never saw is rare, not impossible.
    """
    from scipy.special import betaln, gammaln

    floors = np.ones((len(signals), size + 1))
    shares = [place for place, signal in enumerate(signals) if signal.share]
    if not shares:
        return floors
    seen = np.clip(means[shares] * rows, 0, rows)[:, None]
    x = np.arange(size + 1)[None, :]
    ways = gammaln(size + 1) - gammaln(x + 1) - gammaln(size - x + 1)
    mass = np.exp(ways + betaln(x + seen + 1, size - x + rows - seen + 1) - betaln(seen + 1, rows - seen + 1))
    floors[shares] = np.minimum(1.0, np.cumsum(mass[:, ::-1], axis=1)[:, ::-1])
    return floors


def floor_of(signals: Sequence[Signal], floors: Floats, found: Floats, size: int) -> Floats:
    """(..., signals) the floors at the shares that were found; 0 for distances."""
    shares = np.array([signal.share for signal in signals], dtype=bool)
    at = np.where(shares & np.isfinite(found), np.rint(found * size), 0).astype(np.int64)
    return np.where(shares, floors[np.arange(len(signals)), np.clip(at, 0, size)], 0.0)


def fit_family(
    signals: Sequence[Signal],
    columns: Sequence[Bins],
    rows: Encoded,
    sizes: Sequence[int],
    blocks: Blocks,
    draws: int,
    rng: np.random.Generator,
) -> Family:
    """Count the reference rows, and measure what chance does to windows of each size.

    Each null window is drawn from the reference rows and held against all others; a block that gave rows to it is not
    among them, so that the window is as new to its reference as one of tomorrow.

    Args:
        signals: In the order that `statistics` wants.
        columns: Bins of the columns.
        rows: The reference rows; flags are those that a model of other rows would have set.
        sizes: Rows of a window; sizes for which half of the rows do not suffice are left out.
        blocks: Which rows depend on each other.
        draws: Null windows per size.
        rng: Of all that is drawn.
    """
    bins = count(rows.codes)
    tests = tuple(column.test for column in columns)
    evidence = min(draws, blocks.count) if blocks.name else draws
    nulls = []
    for size in sorted(set(sizes)):
        if size > blocks.largest():
            continue
        among = blocks.halves(rng)
        found = _draw(tuple(signals), tests, rows, size, blocks, among, draws, rng)
        halves = np.arange(draws) % 2 if blocks.name else None
        half = brief(found, size, evidence)
        floors = share_floors(signals, half.means, len(rows), size)
        nulls.append(brief(found, size, evidence, floor_of(signals, floors, found, size), halves))
    return Family(tuple(signals), tuple(columns), bins, len(rows), tuple(nulls))


def _draw(
    signals: tuple[Signal, ...],
    tests: tuple[Test, ...],
    rows: Encoded,
    size: int,
    blocks: Blocks,
    among: tuple[Ints, Ints],
    draws: int,
    rng: np.random.Generator,
) -> Floats:
    """(draws, signals) statistics of null windows, by turns of the two halves of the blocks."""
    bins = count(rows.codes)
    found: list[Floats] = []
    windows: list[Counts] = []
    others: list[Ints] = []
    for place in range(draws):
        inside, hidden = blocks.draw(rng, size, among[place % 2])
        window = count_window(rows.take(inside))
        windows.append(window)
        others.append(bins - (window.bins if hidden is inside else count(rows.codes[hidden])))
        if len(windows) == _AT_ONCE or place == draws - 1:
            found.append(statistics(signals, tests, stack(windows), np.stack(others)))
            windows, others = [], []
    return np.concatenate(found)


def evenly(rows: Encoded, size: int) -> Encoded:
    """`size` rows, evenly spaced in the order of the window."""
    return rows if len(rows) == size else rows.take(np.linspace(0, len(rows) - 1, size).round().astype(np.int64))

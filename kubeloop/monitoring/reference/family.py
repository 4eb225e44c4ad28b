"""A family of signals with one stated rate: all that is asked of a window at once, and what chance does to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from kubeloop.monitoring.reference.bins import Bins, Encoded, Floats, Ints, Test, count
from kubeloop.monitoring.reference.null import Blocks, Null, brief, evidence_of, q_values, smallest_q
from kubeloop.monitoring.reference.redrawn import spread_of, world_of
from kubeloop.monitoring.reference.signals import (
    Counts,
    Signal,
    count_window,
    floor_of,
    share_floors,
    stack,
    statistics,
)

_AT_ONCE = 64
_HALVINGS = 4
"""Times that blocks are halved, with half as many null windows each as single rows get in all."""


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


def fit_family(
    signals: Sequence[Signal],
    columns: Sequence[Bins],
    rows: Encoded,
    sizes: Sequence[int],
    blocks: Blocks,
    draws: int,
    rate: float,
    rng: np.random.Generator,
) -> Family:
    """Count the reference rows, and measure what chance does to windows of each size.

    Each null window is drawn from the reference rows and held against all others; a block that gave rows to it is not
    among them, so that the window is as new to its reference as one of tomorrow. Then references themselves are drawn
    anew, for how often windows are alarms depends on the one that is there.

    Args:
        signals: In the order that `statistics` wants.
        columns: Bins of the columns.
        rows: The reference rows; flags are those that a model of other rows would have set.
        sizes: Rows of a window; sizes for which half of the rows do not suffice are left out.
        blocks: Which rows depend on each other.
        draws: Null windows per size.
        rate: Of false alarms, which is to be kept.
        rng: Of all that is drawn.
    """
    family = Family(tuple(signals), tuple(columns), count(rows.codes), len(rows), ())
    fitting = [size for size in sorted(set(sizes)) if size <= blocks.largest()]
    world = world_of(rows, blocks, rng)
    nulls = []
    for size in fitting:
        drawn = _draw(family, rows, size, blocks, draws, rng)
        null = brief(drawn.statistics, size, draws)
        floors = share_floors(signals, null.means, len(rows), size)
        lifted = floor_of(signals, floors, drawn.statistics, size)
        smallest = smallest_q(drawn.statistics, null, lifted, drawn.sides)
        evidence = draws
        if drawn.sides is not None:
            alarms = smallest <= np.quantile(smallest, rate, method="higher")
            evidence = evidence_of(drawn.shares(alarms, blocks.count), alarms, drawn.taken)
        null = replace(null, smallest=np.sort(smallest).astype(np.float32), evidence=evidence)
        spread = spread_of(world, family.signals, family.tests, null, floors, rate, rng)
        nulls.append(replace(null, spread=spread))
    # A size at which the rate cannot be shown would be silent for ever: larger windows are thinned to one that can.
    return replace(family, nulls=tuple([null for null in nulls if null.least <= rate] or nulls))


@dataclass(frozen=True)
class _Windows:
    """Null windows.

    Attributes:
        statistics: (draws, signals).
        sides: (draws,) as `smallest_q` wants it.
        blocks: By window: the blocks that it took.
    """

    statistics: Floats
    sides: Ints | None
    blocks: Sequence[Ints]

    @property
    def taken(self) -> float:
        """Blocks that a window took, on average."""
        return float(np.mean([len(taken) for taken in self.blocks]))

    def shares(self, alarms: NDArray[np.bool_], count: int) -> Floats:
        """(count,) as `evidence_of` wants its sums."""
        found = np.zeros(count)
        for taken, excess in zip(self.blocks, alarms - alarms.mean(), strict=True):
            found[taken] += excess
        return found


def _draw(family: Family, rows: Encoded, size: int, blocks: Blocks, draws: int, rng: np.random.Generator) -> _Windows:
    """Null windows; where there are blocks by turns of their two halves, which are made anew a few times.

    A window of h of n rows is held against n - h of them, one of tomorrow against n: of the squares of distances, which
    chance makes 1/h + 1/(n - h) large, (h/n)^2 is too much.
    """
    halvings = _HALVINGS if blocks.name else 1
    each = draws // 2 if blocks.name else draws
    found: list[Floats] = []
    windows: list[Counts] = []
    others: list[Ints] = []
    taken: list[Ints] = []
    hidden: list[int] = []
    for place in range(halvings * each):
        if place % each == 0:
            halves = blocks.halves(rng)
        drawn = blocks.draw(rng, size, halves[place % 2])
        window = count_window(rows.take(drawn.rows))
        windows.append(window)
        others.append(family.bins - (window.bins if drawn.hidden is drawn.rows else count(rows.codes[drawn.hidden])))
        taken.append(drawn.blocks)
        hidden.append(len(drawn.hidden))
        if len(windows) == _AT_ONCE or place == halvings * each - 1:
            found.append(statistics(family.signals, family.tests, stack(windows), np.stack(others)))
            windows, others = [], []
    measured = np.concatenate(found)
    measured[:, : len(family.columns)] *= np.sqrt(1 - (np.array(hidden)[:, None] / len(rows)) ** 2)
    places = np.arange(halvings * each)
    return _Windows(measured, places // each * 2 + places % 2 if blocks.name else None, taken)


def evenly(rows: Encoded, size: int) -> Encoded:
    """`size` rows, evenly spaced in the order of the window."""
    return rows if len(rows) == size else rows.take(np.linspace(0, len(rows) - 1, size).round().astype(np.int64))

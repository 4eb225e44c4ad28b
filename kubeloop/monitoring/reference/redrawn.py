"""References drawn anew from the rows of the one there is: how far the rate of false alarms depends on the draw."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kubeloop.monitoring.reference.bins import WIDTH, Encoded, Floats, Test
from kubeloop.monitoring.reference.distances import pairs
from kubeloop.monitoring.reference.null import CONFIDENCE, Blocks, Null, smallest_of
from kubeloop.monitoring.reference.signals import Counts, Signal, count_window, floor_of, repeats, stack, statistics

REFERENCES = 40
_WINDOWS = 400
_MOST_WINDOWS = 2000
_AT_ONCE = 64
_GROUPS = 64
"""Groups of rows (of blocks, where there are some) that a reference is drawn from: rows of a group depend on each other
no more than others do, so that sums of groups vary as sums of rows, and large references cost no more than small."""


@dataclass(frozen=True)
class World:
    """The rows of a reference taken for the world.

    Attributes:
        rows: The rows.
        blocks: Which of them depend on each other.
        references: In the first axis `REFERENCES` that were drawn from them, and at last their own.
    """

    rows: Encoded
    blocks: Blocks
    references: Counts


def world_of(rows: Encoded, blocks: Blocks, rng: np.random.Generator) -> World:
    """Draw bootstrap references, of whole blocks (Efron and Tibshirani 1993, An Introduction to the Bootstrap).

    Args:
        rows: The reference rows.
        blocks: Which of them depend on each other.
        rng: Draws.
    """
    groups = blocks.groups(rng, _GROUPS)
    number = int(groups.max()) + 1
    columns = rows.codes.shape[1]
    bins = np.zeros((number, columns, WIDTH))
    for place in range(columns):
        flat = np.bincount(groups * WIDTH + rows.codes[:, place], minlength=number * WIDTH)
        bins[:, place] = flat.reshape(number, WIDTH)
    by_flag = [np.bincount(groups, weights=flag, minlength=number) for flag in rows.flags.T]
    flags = np.stack(by_flag, axis=1) if by_flag else np.zeros((number, 0))
    weights = np.ones((REFERENCES + 1, number))
    weights[:-1] = rng.multinomial(number, np.full(number, 1 / number), size=REFERENCES)
    sizes = weights @ np.bincount(groups, minlength=number)
    kept = (np.rint(values).astype(np.int64) for values in (weights @ bins.reshape(number, -1), weights @ flags, sizes))
    of_bins, of_flags, of_rows = kept
    shape = (REFERENCES + 1, columns, WIDTH)
    counts = Counts(of_bins.reshape(shape), of_flags, np.zeros(REFERENCES + 1, np.int64), of_rows)
    return World(rows, blocks, counts)


def spread_of(
    world: World,
    signals: Sequence[Signal],
    tests: Sequence[Test],
    null: Null,
    floors: Floats,
    rate: float,
    rng: np.random.Generator,
) -> float:
    """How many times the mean rate of all references `CONFIDENCE` of them stay under; at least 1.

    Windows are drawn from the world, too, and each is held against each reference. Where `CONFIDENCE` of the references
    raise alarms at the stated rate or less, all together have a lower one: the spread is the quotient of the two.

    Args:
        world: The rows and references.
        signals: As `statistics` wants them.
        tests: Likewise.
        null: Of the windows' size.
        floors: Of `share_floors`.
        rate: The stated one.
        rng: Draws.
    """
    references = world.references
    windows = min(_MOST_WINDOWS, max(_WINDOWS, round(10 / rate)))
    moved = _moved(signals, tests, references)
    found = np.empty((REFERENCES, windows))
    for first in range(0, windows, _AT_ONCE):
        some = stack([_window(world, rng, null.size) for _ in range(min(_AT_ONCE, windows - first))])
        apart = pairs(tests, some.bins, references.bins[:REFERENCES])
        each = [
            statistics(signals, tests, some, references.bins[place], apart[place]) - moved[place]
            for place in range(REFERENCES)
        ]
        asked = np.concatenate(each)
        lifted = floor_of(signals, floors, asked, null.size)
        least = smallest_of(np.maximum(null.chances(asked), lifted))
        found[:, first : first + _AT_ONCE] = least.reshape(REFERENCES, -1)
    level = max(rate, 5 / windows)
    limit = np.quantile(np.quantile(found, level, axis=1, method="lower"), 1 - CONFIDENCE, method="lower")
    return max(1.0, float(level / np.mean(found <= limit)))


def _moved(signals: Sequence[Signal], tests: Sequence[Test], references: Counts) -> Floats:
    """(REFERENCES, signals) what the shares of each reference exceed those of the one that is there by.

    The null of a share lies where the share of its reference lies; so a window is held against that of another
    reference by as much as the two differ. Distances are measured from each reference anyway.
    """
    own = np.nan_to_num(statistics(signals, tests, references, references.bins))
    return np.asarray(own[:REFERENCES] - own[REFERENCES])


def _window(world: World, rng: np.random.Generator, size: int) -> Counts:
    """A window in which a row that was drawn twice counts twice, but does not repeat itself."""
    drawn = world.blocks.redraw(rng, size)
    window = count_window(world.rows.take(drawn))
    return replace(window, repeated=window.repeated - repeats(drawn))

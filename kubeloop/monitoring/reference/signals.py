"""What a window is asked: one signal per question, and its statistic."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kubeloop.monitoring.reference.bins import MISSING, UNSEEN, Encoded, Floats, Ints, Test, count
from kubeloop.monitoring.reference.distances import distances

Kind = Literal[
    "drift", "missing", "unseen", "outside", "mistyped", "outliers", "novel", "duplicates", "loss", "residual"
]
Group = Literal["input", "prediction", "labels"]

WORDS: dict[str, str] = {
    "drift": "is distributed otherwise",
    "missing": "is missing more often",
    "unseen": "has categories that training never saw",
    "outside": "lies outside what is allowed",
    "mistyped": "is not of its type",
    "outliers": "more rows are unlike any in training",
    "novel": "more rows are near no known class",
    "duplicates": "more rows repeat another one",
    "loss": "the loss is distributed otherwise",
    "residual": "truth minus prediction is distributed otherwise",
}
"""Each kind of signal, for people."""

_ENOUGH = 0.5
"""A distribution is compared only where at least half as many rows as in training have a value."""


@dataclass(frozen=True)
class Signal:
    """One question to a window.

    Attributes:
        kind: What is asked.
        group: Of what: inputs, predictions, or losses once the truth is known.
        column: Of which column; empty: of whole rows.
    """

    kind: Kind
    group: Group
    column: str = ""

    @property
    def share(self) -> bool:
        """Whether the statistic is a share of the rows; else it is a distance of distributions."""
        return self.kind not in ("drift", "loss", "residual")

    @property
    def name(self) -> str:
        """Such as `drift:temp` or `duplicates`."""
        return f"{self.kind}:{self.column}" if self.column else self.kind


@dataclass(frozen=True)
class Counts:
    """A window, or many in the first axis, as counts.

    Attributes:
        bins: (..., columns, WIDTH) rows per bin.
        flags: (..., flags) rows with the flag.
        repeated: (...) rows whose inputs equal those of an earlier row.
        size: (...) rows.
    """

    bins: Ints
    flags: Ints
    repeated: Ints
    size: Ints


def count_window(rows: Encoded) -> Counts:
    """The counts of one window."""
    return Counts(
        count(rows.codes),
        rows.flags.sum(axis=0, dtype=np.int64),
        np.array(repeats(rows.keys), dtype=np.int64),
        np.array(len(rows), dtype=np.int64),
    )


def repeats(values: NDArray[Any]) -> int:
    """How many equal an earlier one."""
    ordered = np.sort(values)
    return int(np.count_nonzero(ordered[1:] == ordered[:-1]))


def stack(windows: Sequence[Counts]) -> Counts:
    """Many windows as one."""
    return Counts(*(np.stack([getattr(one, name) for one in windows]) for name in Counts.__dataclass_fields__))


def statistics(
    signals: Sequence[Signal], tests: Sequence[Test], window: Counts, reference: Ints, apart: Floats | None = None
) -> Floats:
    """The statistic of each signal.

    Args:
        signals: The distribution of each column first, then `missing` and `unseen` of columns, flags, duplicates.
        tests: How each column is compared.
        window: One or many.
        reference: (..., columns, WIDTH) rows per bin of what the window is held against.
        apart: (..., columns) distances where another engine has measured them.

    Returns:
        (..., signals); NaN where too few rows have a value.
    """
    size = np.maximum(window.size, 1)[..., None]
    apart = distances(tests, window.bins, reference) if apart is None else apart
    missing = window.bins[..., MISSING] / size
    rows = np.maximum(reference[..., :1, :].sum(axis=-1), 1)  # a row has one bin in each column
    apart = np.where(1 - missing >= _ENOUGH * (1 - reference[..., MISSING] / rows), apart, np.nan)
    alien = _unseen(signals, window.bins, reference) / size
    everything = np.concatenate(
        [apart, missing, alien, window.flags / size, window.repeated[..., None] / size], axis=-1
    )
    return np.asarray(everything[..., _places(tuple(signals), apart.shape[-1])])


def _unseen(signals: Sequence[Signal], window: Ints, reference: Ints) -> Ints:
    """(..., columns) rows of a category that the reference has not; 0 for columns that are not asked."""
    found = np.zeros(window.shape[:-1], dtype=np.int64)
    asked = {signal.column for signal in signals if signal.kind == "unseen"}
    places = [place for place in range(window.shape[-2]) if signals[place].column in asked]
    if places:
        some = window[..., places, :UNSEEN]
        alien = np.where(reference[..., places, :UNSEEN] == 0, some, 0).sum(axis=-1)
        found[..., places] = alien + window[..., places, UNSEEN]
    return found


@cache
def _places(signals: tuple[Signal, ...], columns: int) -> Ints:
    """Where each signal stands among all statistics: distances, missing, unseen, flags, duplicates."""
    names = list(dict.fromkeys(signal.column for signal in signals[:columns]))
    places, flags = [], 0
    for place, signal in enumerate(signals):
        if place < columns:
            places.append(place)
        elif signal.kind in ("missing", "unseen"):
            places.append(names.index(signal.column) + columns * (1 if signal.kind == "missing" else 2))
        elif signal.kind == "duplicates":
            places.append(-1)
        else:
            places.append(3 * columns + flags)
            flags += 1
    return np.array(places, dtype=np.int64)


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

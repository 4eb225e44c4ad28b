"""How far the distribution of a window lies from the reference: one number per column, from counts in bins alone."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kubeloop.monitoring.reference.bins import BINS, UNSEEN, Floats, Test

CAP = 10_000
"""A reference weighs as so many rows at most: else one row of an unseen category outweighs all others in chi-square."""


Counted = NDArray[np.int64]


def distances(tests: Sequence[Test], window: NDArray[np.int64], reference: NDArray[np.int64]) -> Floats:
    """Distances of many windows at once.

    `ks`: the largest difference of the two distribution functions at the edges of the bins. `cvm`: the root of the
    two-sample statistic of Anderson (1962, Ann. Math. Stat. 33) over nm/(n+m). `chi_square`: half of Cohen's w, the
    root of the two-sample statistic over nm/(n+m). `fet`: the difference of the shares of the second value. For two
    equally frequent values the last two agree, so that one smallest effect fits all.

    Args:
        tests: By column.
        window: (..., columns, WIDTH) rows per bin.
        reference: The same shape, or (columns, WIDTH).

    Returns:
        (..., columns) distances, 0 to about 1; NaN where either side has no value.
    """
    kinds = dict.fromkeys(tests)
    if len(kinds) == 1:
        return _DISTANCES[tests[0]](window[..., : UNSEEN + 1], reference[..., : UNSEEN + 1])
    found = np.full(window.shape[:-1], np.nan)
    for test in kinds:
        places = [place for place, other in enumerate(tests) if other == test]
        found[..., places] = _DISTANCES[test](window[..., places, : UNSEEN + 1], reference[..., places, : UNSEEN + 1])
    return found


def pairs(tests: Sequence[Test], windows: NDArray[np.int64], references: NDArray[np.int64]) -> Floats:
    """(references, windows, columns) distances of each window from each reference.

    Args:
        tests: By column.
        windows: (windows, columns, WIDTH) rows per bin.
        references: (references, columns, WIDTH).
    """
    found = np.empty((len(references), len(windows), len(tests)))
    for place, test in enumerate(tests):
        some, held = windows[:, place], references[:, place]
        used = _used(some, held)
        if test == "ks":  # by far the most frequent: half the bytes, and what all pairs share is done once
            known = [np.cumsum(counts[:, : min(used, BINS)], axis=-1, dtype=np.float32) for counts in (some, held)]
            with np.errstate(invalid="ignore"):
                one, other = (upto / upto[:, -1:] for upto in known)
            for number in range(len(held)):
                found[number, :, place] = np.abs(one - other[number]).max(axis=-1)
        else:
            for number in range(len(held)):
                found[number, :, place] = _DISTANCES[test](some[:, :used], held[number, :used])
    return found


def _used(window: Counted, reference: Counted) -> int:
    """Bins up to the last that either side has a row in, `UNSEEN` the last of all; two at least."""
    filled = [counts[..., : UNSEEN + 1].reshape(-1, UNSEEN + 1).any(axis=0) for counts in (window, reference)]
    return max(2, int(np.flatnonzero(filled[0] | filled[1]).max(initial=0)) + 1)


def _shares(counts: Counted) -> tuple[Floats, Floats]:
    total = counts.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return counts / total, total[..., 0].astype(np.float64)


def _ks(window: Counted, reference: Counted) -> Floats:
    used = min(_used(window, reference), BINS)
    one, other = (np.cumsum(counts[..., :used], axis=-1, dtype=np.float64) for counts in (window, reference))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(one / one[..., -1:] - other / other[..., -1:]).max(axis=-1))


def _cvm(window: Counted, reference: Counted) -> Floats:
    """From counts: within a bin all rows have the bin's mean rank, as scipy ranks ties."""
    _, m = _shares(reference)
    _, n = _shares(window)
    weight = np.minimum(1.0, CAP / np.maximum(m, 1.0))
    known, m = reference * weight[..., None], m * weight
    rank = np.cumsum(window + known, axis=-1) - (window + known) / 2 + 0.5
    squares = [_rank_squares(rank, side) * total for side, total in ((window.astype(np.float64), n), (known, m))]
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = (squares[0] + squares[1]) / (n * m * (n + m)) - (4 * n * m - 1) / (6 * (n + m))
        found = np.sqrt(np.maximum(0.0, statistic) * (n + m) / (n * m))
    return np.where((n > 0) & (m > 0), found, np.nan)


def _rank_squares(rank: Floats, side: Floats) -> Floats:
    """Sum over the rows of one side of (rank among all - rank within the side) squared."""
    middle = np.cumsum(side, axis=-1) - side / 2 + 0.5
    return np.asarray((side * (rank - middle) ** 2 + (side**3 - side) / 12 * (side > 1)).sum(axis=-1))


def _chi_square(window: Counted, reference: Counted) -> Floats:
    one, n = _shares(window)
    other, m = _shares(reference)
    m = np.minimum(m, CAP)
    pooled = (one * n[..., None] + other * m[..., None]) / (n + m)[..., None]
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = np.where(pooled > 0, (one - other) ** 2 / pooled, 0.0)
    found = np.sqrt(parts.sum(axis=-1)) / 2
    return np.where((n > 0) & (m > 0), found, np.nan)


def _fet(window: Counted, reference: Counted) -> Floats:
    one, _ = _shares(window[..., :2])
    other, _ = _shares(reference[..., :2])
    return np.asarray(np.abs(one[..., 1] - other[..., 1]))


_DISTANCES = {"ks": _ks, "cvm": _cvm, "chi_square": _chi_square, "fet": _fet}

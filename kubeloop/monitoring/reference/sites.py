"""What is kept of the places that training rows come from: counts in bins, to say which of them a window is like."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.monitoring.reference.bins import Ints, Test, count
from kubeloop.monitoring.reference.distances import distances

FEWEST = 50
"""Rows of a place that is kept: the bins of fewer would tell of single ones."""
MOST = 100


@dataclass(frozen=True)
class Sites:
    """Places of training.

    Attributes:
        names: The most frequent first.
        bins: (sites, columns, WIDTH) training rows per bin of the columns of `Profile.inputs`.
    """

    names: tuple[str, ...]
    bins: Ints

    def say(self, inputs: int, tests: Sequence[Test], window: Ints, everything: Ints) -> str:
        """Which place a window is most like, in words; empty where no column can be compared.

        Args:
            inputs: Columns of the family that are inputs; they come first.
            tests: How each column of the family is compared.
            window: (columns, WIDTH) its rows per bin.
            everything: (columns, WIDTH) those of all training rows.
        """
        held = np.concatenate([self.bins, everything[None]])
        apart = distances(tests, np.broadcast_to(window, held.shape), held)[:, :inputs]
        told = np.isfinite(apart).all(axis=0)  # else one place would be measured by other columns than the next
        if not told.any():
            return ""
        far = apart[:, told].mean(axis=1)
        nearest = int(far[:-1].argmin())
        if far[nearest] < far[-1]:
            return (
                f"of the places of training these rows are most like {self.names[nearest]} "
                f"(mean distance {far[nearest]:.3f}; {far[-1]:.3f} from all of them)"
            )
        return (
            f"these rows are like no single place of training (the nearest is {self.names[nearest]}, "
            f"mean distance {far[nearest]:.3f})"
        )


def sites_of(places: NDArray[Any], codes: NDArray[np.int16]) -> Sites | None:
    """The places of training rows; None: fewer than two have enough rows.

    Args:
        places: (n,) object, the place of each row; None where it is not known.
        codes: (n, columns) bins.
    """
    known = np.array(["" if place is None else str(place) for place in places], dtype=object)
    names, counts = np.unique(known[known != ""].astype(str), return_counts=True)
    order = [place for place in np.argsort(-counts, kind="stable")[:MOST] if counts[place] >= FEWEST]
    if len(order) < 2:
        return None
    kept = tuple(str(names[place]) for place in order)
    return Sites(kept, np.stack([count(codes[known == name]) for name in kept]))

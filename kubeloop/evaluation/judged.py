"""Truth and answers of the same rows, and which of the rows depend on each other."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.learning.scores import Floats


@dataclass(frozen=True)
class Judged:
    """Truth and answers of n rows.

    Attributes:
        truth: Classification: (n,) positions of classes. Regression: (n,) float64.
        answers: Classification: (n, k) probabilities. Regression: (n,) values.
        regression: Which of the two.
        blocks: (n,) number of the block that a row belongs to: rows of one block depend on each other. None: no row
            depends on another.
    """

    truth: NDArray[Any]
    answers: Floats
    regression: bool
    blocks: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.truth)

    def rows(self, mask: NDArray[np.bool_]) -> "Judged":
        """The chosen rows only."""
        blocks = None if self.blocks is None else self.blocks[mask]
        return Judged(self.truth[mask], self.answers[mask], self.regression, blocks)

    def answered(self, answers: Floats) -> "Judged":
        """The same rows with another model's answers."""
        return replace(self, answers=answers)

    @property
    def units(self) -> int:
        """How many independent pieces there are: blocks, or rows."""
        return len(self) if self.blocks is None else len(np.unique(self.blocks))


def block_totals(values: Floats, blocks: NDArray[np.int64] | None) -> Floats:
    """(g,) sums over blocks, on the scale of rows: their mean is the mean of the (n,) values. Rows without blocks."""
    if blocks is None:
        return values
    place = np.unique(blocks, return_inverse=True)[1].reshape(-1)
    found = np.bincount(place, values)
    return np.asarray(found * (len(found) / len(values)), dtype=np.float64)

"""A plan while it is put together: slots, what is known of them, and operations."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kubeloop.learning.inputs import InputColumn
from kubeloop.scoring.errors import Refused
from kubeloop.scoring.plan import Ints, Operation

MOST_SLOTS = 20_000
UNKNOWN = object()
"""Stands for every text that a column does not list."""

Text = Any
"""A text, None (missing) or `UNKNOWN`."""


@dataclass
class Program:
    """What was compiled so far.

    Attributes:
        columns: The model's inputs, slot by slot.
        operations: In order.
        size: Slots in use.
        texts: Slot of codes -> the text of each code.
        gaps: Slots that may be NaN.
    """

    columns: Sequence[InputColumn]
    operations: list[Operation] = field(default_factory=list)
    size: int = 0
    texts: dict[int, list[Text]] = field(default_factory=dict)
    gaps: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.size = len(self.columns)
        for slot, column in enumerate(self.columns):
            if column["kind"] == "category":
                self.texts[slot] = [*(column["categories"] or ()), UNKNOWN, None]
            elif column["nullable"]:
                self.gaps.add(slot)

    def add(self, name: str, reads: Sequence[int], width: int, floats: Any = (), ints: Any = ()) -> list[int]:
        """Add an operation; the slots that it writes.

        Raises:
            Refused: There are too many.
        """
        numbers = np.ascontiguousarray(np.asarray(floats, dtype=np.float64).ravel())
        whole: Ints = np.ascontiguousarray(np.asarray(ints, dtype=np.int32).ravel())
        self.operations.append(Operation(name, tuple(reads), self.size, width, numbers, whole))
        made = list(range(self.size, self.size + width))
        self.size += width
        if self.size > MOST_SLOTS:
            raise Refused(f"more than {MOST_SLOTS:,} numbers per row")
        return made

    def each(self, name: str, slots: Sequence[int], floats: Any = ()) -> list[int]:
        """An operation on each slot by itself; one that may be missing stays so."""
        self.numbers(slots, name)
        made = self.add(name, slots, len(slots), floats)
        self.gaps.update(new for old, new in zip(slots, made, strict=True) if old in self.gaps)
        return made

    def numbers(self, slots: Sequence[int], who: str) -> None:
        """See that the slots are numbers.

        Raises:
            Refused: One is a category.
        """
        if any(slot in self.texts for slot in slots):
            raise Refused(f"{who} is given a category as it is")

    def whole(self, slots: Sequence[int], who: str, *, single: bool = False, gaps: bool = False) -> None:
        """See that what a learner reads is finite, as it would itself.

        Args:
            slots: What it reads.
            who: Its name.
            single: Whether it cuts numbers to 32-bit floats.
            gaps: Whether it takes missing values.

        Raises:
            Refused: A number may be missing, and the learner refuses that.
        """
        self.numbers(slots, who)
        if not gaps and self.gaps.intersection(slots):
            raise Refused(f"{who} takes no missing values, and a row may have one")
        # Halfway to the next power of two a 32-bit float rounds to infinity.
        limit = 3.4028235677973366e38 if single else float(np.finfo(np.float64).max)
        self.add("finite", slots, 0, [np.nextafter(limit, 0) if single else limit], [int(gaps)])

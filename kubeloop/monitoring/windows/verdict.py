"""What is said of one window."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kubeloop.monitoring.reference.family import Answer
from kubeloop.monitoring.reference.signals import WORDS


@dataclass(frozen=True)
class Said:
    """An answer, and whether it is worth telling: beyond chance at the stated rate, and large enough to matter."""

    answer: Answer
    told: bool

    def sentence(self) -> str:
        """The answer in words; numbers stand beside it."""
        signal = self.answer.signal
        return f"{signal.column} {WORDS[signal.kind]}" if signal.column else WORDS[signal.kind]

    def document(self) -> dict[str, Any]:
        """As JSON types; what could not be told is None."""
        answer = self.answer
        numbers = {name: getattr(answer, name) for name in ("statistic", "effect", "chance", "corrected")}
        finite = {name: value if np.isfinite(value) else None for name, value in numbers.items()}
        return {**asdict(answer.signal), "name": answer.signal.name, **finite, "told": self.told}


@dataclass(frozen=True)
class Verdict:
    """One window, judged.

    Attributes:
        rows: Rows of the window.
        judged: Rows that were looked at: the largest size that the null is known for; 0: it was not judged.
        said: Every signal.
        unusual: By `outliers` and `novel`: places of the rows of the window that are so.
        notes: What could not be told, and why; what was left out.
        engine: Which engine measured.
    """

    rows: int
    judged: int
    said: tuple[Said, ...]
    unusual: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...]
    engine: str

    @property
    def told(self) -> tuple[Said, ...]:
        """What is worth telling, the surest first."""
        return tuple(sorted((one for one in self.said if one.told), key=lambda one: one.answer.corrected))

    @property
    def alarm(self) -> bool:
        """Whether anything is."""
        return any(one.told for one in self.said)

    def document(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "rows": self.rows,
            "judged": self.judged,
            "alarm": self.alarm,
            "told": [one.answer.signal.name for one in self.told],
            "signals": [one.document() for one in self.said],
            "unusual": {kind: list(rows) for kind, rows in self.unusual.items()},
            "notes": list(self.notes),
            "engine": self.engine,
        }

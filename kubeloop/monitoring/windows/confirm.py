"""A signal counts once k of the last n windows told it: one odd window is not a change of the world."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubeloop.contract.monitoring import Confirm


@dataclass(frozen=True)
class Confirmed:
    """What the latest window makes of the past ones.

    Attributes:
        present: Signals that k of the last n windows told, this one among them.
        fresh: Those of them that were not so after the window before.
    """

    present: tuple[str, ...]
    fresh: tuple[str, ...]


class Memory:
    """What the last n windows of one key told; small enough to be kept as JSON after every window.

    Args:
        confirm: The contract's k and n.
    """

    def __init__(self, confirm: Confirm) -> None:
        self._confirm = confirm
        self._told: deque[frozenset[str]] = deque(maxlen=confirm.of)
        self._present: frozenset[str] = frozenset()

    def see(self, told: Iterable[str]) -> Confirmed:
        """Enter what one judged window told; a window that was not judged is not entered."""
        now = frozenset(told)
        self._told.append(now)
        often = {name for name in now if sum(name in past for past in self._told) >= self._confirm.windows}
        before, self._present = self._present, frozenset(often)
        return Confirmed(tuple(sorted(often)), tuple(sorted(often - before)))

    def document(self) -> dict[str, Any]:
        """As JSON types."""
        return {"told": [sorted(past) for past in self._told], "present": sorted(self._present)}

    @classmethod
    def of(cls, confirm: Confirm, document: Mapping[str, Any]) -> "Memory":
        """From what `document` gave, in another process; of more windows than n the latest."""
        memory = cls(confirm)
        memory._told.extend(frozenset(past) for past in document["told"])
        memory._present = frozenset(document["present"])
        return memory


def false_alarm_rate(rate: float, confirm: Confirm) -> float:
    """Chance that one signal is told by k of n windows with nothing wrong, each of which tells it with chance `rate`.

    For windows that do not depend on each other: the upper tail of the binomial distribution.
    """
    from scipy.stats import binom

    return float(binom.sf(confirm.windows - 1, confirm.of, rate))

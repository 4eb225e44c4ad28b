"""The p99 of a server, in the seconds in which this machine lets a server keep it.

A processor that is lent to others for milliseconds shows in what the clients of every server see. So each second of
load on ours stands between two on an empty server that takes as long for a request, and it counts where both of these
kept the promise. The machine chooses the seconds, not ours.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.serving.drive import Measured

ENOUGH = 5
"""Seconds that must count; with fewer nothing was measured."""


@dataclass(frozen=True)
class Latency:
    """What 16 clients saw.

    Attributes:
        promise_ms: What p99 has to stay below.
        counted: p99 in milliseconds of ours, of each second that counts.
        seconds: How many were measured.
    """

    promise_ms: float
    counted: tuple[float, ...] = ()
    seconds: int = 0

    def __add__(self, other: "Latency") -> "Latency":
        return Latency(self.promise_ms, self.counted + other.counted, self.seconds + other.seconds)

    @property
    def kept(self) -> bool:
        """Whether the promise was; False where nothing was measured."""
        return len(self.counted) >= ENOUGH and statistics.median(self.counted) < self.promise_ms

    def __str__(self) -> str:
        count = f"{len(self.counted)} of {self.seconds} seconds in which an empty server as slow keeps it"
        if len(self.counted) < ENOUGH:
            return f"p99 < {self.promise_ms:g} ms NOT MEASURED: only {count}"
        word = "met" if self.kept else "MISSED"
        return f"p99 < {self.promise_ms:g} ms {word} ({statistics.median(self.counted):.2f} ms in {count})"


def in_turns(ours: Callable[[], Measured], empty: Callable[[], Measured], turns: int, promise_ms: float) -> Latency:
    """Ask both in turns, a second each."""
    counted = []
    before = empty().p99_ms
    for _ in range(turns):
        p99_ms, after = ours().p99_ms, empty().p99_ms
        if max(before, after) < promise_ms:
            counted.append(p99_ms)
        before = after
    return Latency(promise_ms, tuple(counted), turns)

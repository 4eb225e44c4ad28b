"""The p99 of a server, in the seconds in which this machine had its processors to itself.

A host that lends a processor to others for milliseconds shows in what the clients of every server see, and the kernel
counts that time as stolen. So only seconds in which hardly any was stolen count: the machine chooses them, not ours.
Beside ours stands an empty server that takes as long for a request, asked in turns with it.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from tests.bench.serving.drive import Measured

STOLEN_S = 0.02
"""Of a second's load, of all processors together; the kernel tells it in hundredths."""
ENOUGH = 5
"""Seconds that must count; with fewer nothing was measured."""


@dataclass
class Latency:
    """What clients saw of both servers.

    Attributes:
        promise_ms: What p99 has to stay below.
        ours: p99 in milliseconds of each second that counts.
        empty: Likewise, of the server that does nothing.
        seconds: How many of ours were measured.
    """

    promise_ms: float
    ours: list[float] = field(default_factory=list)
    empty: list[float] = field(default_factory=list)
    seconds: int = 0

    @property
    def kept(self) -> bool:
        """Whether the promise was; False where nothing was measured."""
        return len(self.ours) >= ENOUGH and statistics.median(self.ours) < self.promise_ms

    def measure(self, ours: Callable[[], Measured], empty: Callable[[], Measured], turns: int) -> None:
        """Ask both in turns; each call is a second of load."""
        for _ in range(turns):
            _add(self.ours, ours)
            _add(self.empty, empty)
        self.seconds += turns

    def __str__(self) -> str:
        count = f"{len(self.ours)} of {self.seconds} seconds that the machine had to itself"
        if len(self.ours) < ENOUGH:
            return f"p99 < {self.promise_ms:g} ms NOT MEASURED: only {count}"
        word = "met" if self.kept else "MISSED"
        beside = f"; an empty server as slow: {statistics.median(self.empty):.2f} ms" if self.empty else ""
        return f"p99 < {self.promise_ms:g} ms {word}: {statistics.median(self.ours):.2f} ms in the {count}{beside}"


def _add(found: list[float], second: Callable[[], Measured]) -> None:
    before = _stolen_s()
    p99_ms = second().p99_ms
    if _stolen_s() - before <= STOLEN_S:
        found.append(p99_ms)


def _stolen_s() -> float:
    return float(getattr(psutil.cpu_times(), "steal", 0.0))

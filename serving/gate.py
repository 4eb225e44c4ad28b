"""When to say no: a request that could not be answered within its promise any more gets 503 at once.

What waits cannot be seen directly: requests lie in the kernel's buffers until the event loop reads them. But all that
one round of the loop reads was there when the round began, so the time since then is what the next one has waited.

A machine may stop for that long without any load, and then nobody is to be turned away: several rounds in a row have
to be too long. But whom this thread's own work has kept waiting for all of the promise is turned away in the first.
Else the first rounds of a flood would take in whatever came, and each is as many times longer than the one before as
the flood is larger than what can be answered.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter, thread_time

SHARE = 0.5
"""Of the promised p99: as much may a request wait in line; the rest is for the round before it, and for its answer."""

PATIENCE = 2
"""Rounds in a row that must have been too long before time that this thread did not run is held against a request."""

FEW = 16
"""Pieces of work that may always wait for the scoring thread, however long each takes."""

_KEPT = 0.8


class BusyError(Exception):
    """What came would have to wait longer than the promise allows."""


class Line:
    """Who waits for the scoring thread on the careful path, and for how long by what the work before them took."""

    def __init__(self) -> None:
        self._waiting = 0
        self._each_s = 0.0

    def enter(self, budget_s: float) -> None:
        """Stand in line.

        Raises:
            BusyError: It is too long.
        """
        if self._waiting >= FEW and self._waiting * self._each_s > budget_s:
            raise BusyError
        self._waiting += 1

    def leave(self, took_s: float) -> None:
        """The work was done, in so many seconds."""
        self._waiting -= 1
        self._each_s = _KEPT * self._each_s + (1 - _KEPT) * took_s


class Gate:
    """Lets requests pass while their wait fits the promise.

    Args:
        loop: The event loop that reads the requests.
        promise_s: The contract's p99 in seconds.

    Attributes:
        budget_s: How long a request may wait.
        at_end: Is called at the end of each round in which a request came.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, promise_s: float) -> None:
        self._call_soon: Callable[..., object] = loop.call_soon
        self.budget_s = promise_s * SHARE
        self.at_end: Callable[[], None] = lambda: None
        self._promise_s = promise_s
        self._began = 0.0
        self._worked_s = 0.0  # by this thread before the round began
        self._long = 0  # rounds in a row that lasted too long

    def arrived(self) -> float:
        """When the request in hand came, by `time.perf_counter`: at the latest when this round of the loop began."""
        if not self._began:
            self._began = perf_counter()
            self._worked_s = thread_time()
            self._call_soon(self._round)
        return self._began

    def late(self, arrived: float) -> bool:
        """Whether what arrived then, in this round, has waited too long to be begun now."""
        if perf_counter() - arrived <= self.budget_s:
            return False
        return self._long >= PATIENCE or thread_time() - self._worked_s > self._promise_s

    def _round(self) -> None:
        try:
            self.at_end()
        finally:
            self._long = self._long + 1 if perf_counter() - self._began > self.budget_s else 0
            self._began = 0.0

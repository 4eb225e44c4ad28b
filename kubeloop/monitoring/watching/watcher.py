"""Watches all versions of the services that it knows. A look is one round over the log, and is cheap without news."""

import datetime as dt
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from kubeloop.contract.monitoring import Detectors, Labels
from kubeloop.errors import PermanentError
from kubeloop.monitoring.log.reading import micros
from kubeloop.monitoring.log.windows import WindowKey
from kubeloop.monitoring.reference.family import Family
from kubeloop.monitoring.watching.questions import Inputs, Losses
from kubeloop.monitoring.watching.reading import Logged, logged, newest
from kubeloop.monitoring.watching.stream import Stream
from kubeloop.monitoring.windows.judge import Judge

SETTLE_S = 10.0
"""Seconds that events may come out of order: a window is cut from what was in the log for so long."""


@dataclass(frozen=True)
class Watched:
    """What the windows of a version are held against.

    Attributes:
        judge: The judge.
        labels: The contract's words about labels.
    """

    judge: Judge
    labels: Labels


@dataclass
class Watcher:
    """Cuts and judges windows.

    Attributes:
        store: From `open_engine`.
        namespace: Whose services.
        find: What a version is held against; None: it is not to be watched. A PermanentError says why it cannot be.
        settle_s: Seconds that events may come out of order.
        streams: By service, component, version and stream: the streams that there are.
        unwatched: By service, component and version: why its windows are not judged.
    """

    store: sa.Engine
    namespace: str
    find: Callable[[WindowKey], Watched | None]
    settle_s: float = SETTLE_S
    streams: dict[tuple[str, str, str, str], Stream] = field(default_factory=dict)
    unwatched: dict[tuple[str, str, str], str] = field(default_factory=dict)
    _by_model: dict[int, tuple[Stream, ...]] = field(default_factory=dict)
    _tides: dict[int, "_Tide"] = field(default_factory=dict)

    def look(self, now: dt.datetime, clock_s: float) -> Iterator[dict[str, Any]]:
        """Judge all windows that are full.

        Args:
            now: The clock.
            clock_s: A clock that never goes back, seconds.

        Yields:
            Windows as kept in the store.

        Raises:
            KubeloopError: The database does not answer; look again.
        """
        settled: dict[int, int] = {}
        for one in logged(self.store, self.namespace):
            streams = self._streams_of(one)
            if not streams:
                continue
            if one.service not in settled:
                tide = self._tides.setdefault(one.service, _Tide(self.settle_s))
                settled[one.service] = tide.settled(newest(self.store, one.service), micros(now), clock_s)
            for stream in streams:
                yield from stream.step(settled[one.service], now)

    def _streams_of(self, one: Logged) -> tuple[Stream, ...]:
        if one.model not in self._by_model:
            self._by_model[one.model] = self._made(one)
        return self._by_model[one.model]

    def _made(self, one: Logged) -> tuple[Stream, ...]:
        key = one.key
        name = (key.service, key.component, key.version or "")
        try:
            watched = self.find(key)
        except PermanentError as error:
            self.unwatched[name] = error.problem
            return ()
        if watched is None:
            return ()
        profile = watched.judge.profile
        words = profile.detectors
        inputs = Stream(self.store, one, Inputs(one, watched.judge), words, _full(words, profile.inputs))
        self.streams[*name, "inputs"] = inputs
        if profile.labels is None:
            return (inputs,)
        judged = Losses(self.store, one, watched.judge, watched.labels)
        losses = Stream(self.store, one, judged, words, _full(words, profile.labels))
        self.streams[*name, "labels"] = losses
        return inputs, losses


def _full(words: Detectors, family: Family) -> int:
    """Rows of a full window: as the contract asks, but no more than the training rows suffice to judge."""
    return min(words.window.rows, family.nulls[-1].size) if family.nulls else words.window.rows


class _Tide:
    """Up to which moment a service's log has settled.

    Args:
        settle_s: Seconds that events may come out of order.
    """

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._marks: deque[tuple[float, int]] = deque()  # when we saw it, the newest event then
        self._settled = -1

    def settled(self, newest: int, now: int, clock_s: float) -> int:
        """The newest event of `settle_s` seconds ago; where none has come since, what is that old is settled, too."""
        if not self._marks or newest > self._marks[-1][1]:
            self._marks.append((clock_s, newest))
        while self._marks and self._marks[0][0] <= clock_s - self._settle_s:
            self._settled = max(self._settled, self._marks[0][1])
            if len(self._marks) == 1:
                return max(self._settled, now - round(self._settle_s * 1e6))
            self._marks.popleft()
        return self._settled

"""Micro-batches for models that only scikit-learn can score: what queued while the last batch ran is the next batch.

A lone request is scored at once, and the more wait, the more share one call. A batch begins when the event loop has
read what had come: else the first of many requests would be scored alone, and all others wait for it.

Who has just been answered often asks again at once. So the batch after a batch begins when as many wait as then waited
or were answered, or a small share of what that batch took has passed. Without this, clients fall into two halves that
are scored in turn: each call has half the rows, and each request waits for two.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from time import perf_counter
from typing import Any

from kubeloop.serving.fast import Rows, Scores

Done = Callable[[Scores | None], None]
"""Takes the scores, on the event loop; None: these rows have to take the careful path."""

_FIRST_ROWS = 64
_FEWEST_ROWS = 16
_KEPT = 0.8
_LINGER_SHARE = 0.1
_LINGER_MOST_S = 0.005


class Batcher:
    """Collects rows on the event loop and scores them in the scoring thread.

    Args:
        predict: Scores n rows; raises when one of them is wrong.
        pool: The scoring thread.
        loop: The event loop on which all methods are called.
        budget_s: How long a batch may take: as long may what comes next have to wait.

    Attributes:
        predict: As given.
    """

    def __init__(
        self,
        predict: Callable[[Rows], Scores],
        pool: Executor,
        loop: asyncio.AbstractEventLoop,
        budget_s: float,
    ) -> None:
        self.predict = predict
        self._pool = pool
        self._loop = loop
        self._budget_s = budget_s
        self._queue: list[tuple[Rows, Done]] = []
        self._queued = 0
        self._most = float(_FIRST_ROWS)
        self._running = False
        self._lingering: asyncio.TimerHandle | None = None
        self._awaited = 0

    def put(self, rows: Rows, done: Done) -> bool:
        """Queue rows; False when they would have to wait too long. A lone request is always taken."""
        if self._queued and self._queued + len(rows) > self._most:
            return False
        self._queue.append((rows, done))
        self._queued += len(rows)
        if self._lingering is None:
            self._begin()
        elif len(self._queue) >= self._awaited:
            self._gathered()
        return True

    def _begin(self) -> None:
        """Score what is queued, once the event loop has read what has come."""
        if not self._running:
            self._running = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        batch, self._queue = self._queue, []
        size, self._queued = self._queued, 0
        running = self._loop.run_in_executor(self._pool, self._score, batch)
        running.add_done_callback(lambda made: self._finished(batch, size, made))

    def _finished(
        self,
        batch: Sequence[tuple[Rows, Done]],
        size: int,
        made: "asyncio.Future[tuple[list[Scores | None], float]]",
    ) -> None:
        if made.cancelled():
            return
        scores, took_s = made.result()
        self._awaited = len(self._queue) + len(batch)
        linger_s = min(_LINGER_SHARE * took_s, _LINGER_MOST_S)
        self._lingering = self._loop.call_later(linger_s, self._gathered)
        # A small batch tells least how many rows would fit, since the fixed cost of a call counts as theirs: it errs
        # low, and what is let in next makes a larger batch, which tells more. One slow batch alone tells little.
        fit = size * self._budget_s / max(took_s, 1e-6)
        self._most = max(fit, _KEPT * self._most + (1 - _KEPT) * fit, _FEWEST_ROWS)
        for (_, done), found in zip(batch, scores, strict=True):
            done(found)

    def _gathered(self) -> None:
        """Who asks again has done so, or is not waited for any longer."""
        assert self._lingering is not None
        self._lingering.cancel()
        self._lingering = None
        self._running = False
        if self._queue:
            self._begin()

    def _score(self, batch: Sequence[tuple[Rows, Done]]) -> tuple[list[Scores | None], float]:
        began = perf_counter()
        try:
            together = self.predict([row for rows, _ in batch for row in rows])
        except Exception:  # noqa: BLE001 - a model may raise anything, and all who wait must hear of it
            # Somebody's row is wrong; the others shall not wait for it to be found.
            return [self._alone(rows) for rows, _ in batch], perf_counter() - began
        made: list[Scores | None] = []
        at = 0
        for rows, _ in batch:
            made.append(together[at : at + len(rows)])
            at += len(rows)
        return made, perf_counter() - began

    def _alone(self, rows: Rows) -> Scores | None:
        try:
            return self.predict(rows)
        except Exception:  # noqa: BLE001 - the careful path says what it is
            return None


def scores_of(answers: Any) -> Scores:
    """Answers of scikit-learn in the form of a compiled plan's."""
    found = answers.values if answers.probabilities is None else answers.probabilities
    made: Scores = (found.reshape(-1, 1) if answers.probabilities is None else found).tolist()
    return made

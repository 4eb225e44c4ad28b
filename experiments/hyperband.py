"""Hyperband: many cheap trials, the best of which get more of one resource (Li et al. 2018, JMLR 18)."""

import math
import random
from collections.abc import Iterator

from kubeloop.experiments.search import Search
from kubeloop.experiments.suggesting import at_random


class Hyperband:
    """Brackets from the cheapest to the dearest; within one, each round keeps the best 1/eta.

    Settings are Katib's: `r_l` (the most of the resource for one trial), `resource_name` (the parameter that carries
    it), `eta` (3). Where a round ends, it waits for all of its trials; a failed one is never kept.
    """

    def __init__(self, search: Search, seed: int) -> None:
        settings = search.algorithm.settings
        eta = int(float(settings.get("eta", 3)))
        self._eta = eta if eta > 1 else 3
        self._most = float(settings["r_l"])
        self._resource = settings["resource_name"]
        self._parameters = search.parameters
        self._sign = -1.0 if search.objective.direction == "maximize" else 1.0
        self._rng = random.Random(seed)  # noqa: S311 - a search, not a secret
        self._asked: list[dict[str, str]] = []
        self._values: dict[int, float | None] = {}
        self._round: list[int] = []
        self._queue: list[dict[str, str]] = []
        self._rounds = self._plan()
        self._advance()

    @property
    def exhausted(self) -> bool:
        """Whether the last round of the last bracket was given out."""
        return not self._queue and self._over

    def ask(self) -> dict[str, str] | None:
        """The next of this round; None until all of the round before are told."""
        if not self._queue and not self._over and all(number in self._values for number in self._round):
            self._advance()
        if not self._queue:
            return None
        self._round.append(len(self._asked))
        self._asked.append(self._queue.pop(0))
        return dict(self._asked[-1])

    def tell(self, number: int, value: float | None) -> None:
        """Note a result."""
        self._values[number] = value

    def _advance(self) -> None:
        self._queue = next(self._rounds, [])
        self._over = not self._queue
        self._round = []

    def _plan(self) -> Iterator[list[dict[str, str]]]:
        """Rounds of assignments; after each `yield` the numbers of its trials are in `_round`, with values."""
        steps = int(math.log(self._most) / math.log(self._eta) + 1e-9)
        for bracket in range(steps, -1, -1):
            count = math.ceil((steps + 1) / (bracket + 1) * self._eta**bracket)
            drawn = [at_random(self._parameters, self._rng) for _ in range(count)]
            for depth in range(bracket + 1):
                amount = int(self._most * self._eta ** (depth - bracket))
                yield [each | {self._resource: str(max(amount, 1))} for each in drawn]
                keep = math.ceil(math.ceil(count * self._eta**-depth) / self._eta)
                drawn = [self._asked[number] for number in self._best(keep)]
                if not drawn:
                    break

    def _best(self, keep: int) -> list[int]:
        known = [(self._sign * value, number) for number in self._round if (value := self._values[number]) is not None]
        return [number for _, number in sorted(known)[:keep]]

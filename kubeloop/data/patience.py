"""How long a broken source is waited for."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from kubeloop.errors import TransientError

_LONGEST_PAUSE_S = 8.0


@dataclass(frozen=True)
class Patience:
    """For how long, and how often, something that fails for a while is tried again.

    Attributes:
        deadline_s: Seconds without any progress after which it is given up.
        pause_s: Seconds before the second try; doubled before each further one, up to 8.
        clock: Seconds that only grow.
        sleep: Waits that many seconds.
    """

    deadline_s: float = 60.0
    pause_s: float = 0.25
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Tries:
    """The tries of one reading.

    Args:
        patience: For how long.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._furthest = 0
        self._since = patience.clock()
        self._pause = patience.pause_s

    def again(self, error: TransientError, reached: int = 0) -> None:
        """Wait before the next try.

        Args:
            error: Why the last one ended.
            reached: How far it came; farther than ever starts the deadline anew.

        Raises:
            TransientError: `error` itself, when the time is up.
        """
        now = self._patience.clock()
        if reached > self._furthest:
            self._furthest, self._since, self._pause = reached, now, self._patience.pause_s
        if now - self._since + self._pause > self._patience.deadline_s:
            raise error
        wanted = error.retry_after_s or 0.0
        self._patience.sleep(min(max(self._pause, wanted), self._patience.deadline_s))
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_S)

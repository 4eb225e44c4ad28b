"""Open-loop load: requests leave when they are due, whether or not the ones before them were answered.

A latency counts from the moment when the request was due. A generator that waits for answers before it asks again asks
less of a slow server, and so never sees how long its users would wait.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

_TICK_S = 0.001
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"
_LINGER_S = 5.0
_BEHIND_S = 0.02


@dataclass(frozen=True)
class Outcome:
    """What became of offered requests.

    Attributes:
        rate: Requests per second that were offered.
        seconds: How long they were.
        answered: Answers with status 200.
        refused: Answers with status 503.
        failed: Any other status, a broken connection, or no answer at all.
        p50_s: Median latency of those answered; infinite where none was.
        p99_s: Likewise, of 99 in 100.
        refused_p99_s: Likewise, of those refused; 0 where none was.
        lag_s: How late a request left at most, because the generator itself was not run in time: a pause of the machine
            shows here.
        behind: Whether the generator itself could not keep up: then the server was offered less.
    """

    rate: float
    seconds: float
    answered: int
    refused: int
    failed: int
    p50_s: float
    p99_s: float
    refused_p99_s: float
    lag_s: float
    behind: bool

    @property
    def asked(self) -> int:
        """How many requests were due."""
        return self.answered + self.refused + self.failed


def http_request(path: str, body: bytes) -> bytes:
    """A POST of JSON on a connection that is kept."""
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode("ascii") + _HEAD_END + body


async def offer(port: int, request: bytes, rate: float, seconds: float, connections: int = 64) -> Outcome:
    """Offer a request again and again.

    Args:
        port: On 127.0.0.1.
        request: The whole request, head and body.
        rate: Requests per second.
        seconds: For how long.
        connections: At most so many at once; what is due while all are busy waits here, and its wait counts.
    """
    return await _Load(port, request, rate, seconds, connections).run()


class _Load:
    def __init__(self, port: int, request: bytes, rate: float, seconds: float, connections: int) -> None:
        self.request = request
        self.loop = asyncio.get_running_loop()
        self.idle: list[_Connection] = []
        self.waiting: deque[float] = deque()
        self.took: list[float] = []
        self.refused: list[float] = []
        self.failed = 0
        self._port, self._rate, self._seconds, self._most = port, rate, seconds, connections
        self._open: set[_Connection] = set()
        self._lag_s = 0.0

    async def run(self) -> Outcome:
        total = max(1, int(self._rate * self._seconds))
        for _ in range(self._most):
            await self._connect()
        began = self.loop.time()
        sent = 0
        while sent < total:
            now = self.loop.time()
            due = min(total, int((now - began) * self._rate) + 1)
            if sent < due:
                self._lag_s = max(self._lag_s, now - (began + sent / self._rate))
            for place in range(sent, due):
                self._ask(began + place / self._rate)
            sent = max(sent, due)
            await asyncio.sleep(_TICK_S)
        end = self.loop.time() + _LINGER_S
        while self._unanswered(total) and self.loop.time() < end:
            await asyncio.sleep(_TICK_S)
        failed = self.failed + max(0, self._unanswered(total))
        for connection in self._open:
            connection.transport.abort()
        return self._outcome(failed)

    def done(self, connection: "_Connection", due: float, status: bytes) -> None:
        """A response is whole."""
        took = self.loop.time() - due
        if status == b"200":
            self.took.append(took)
        elif status == b"503":
            self.refused.append(took)
        else:
            self.failed += 1
        if self.waiting:
            connection.ask(self.waiting.popleft())
        else:
            self.idle.append(connection)

    def lost(self, connection: "_Connection") -> None:
        """A connection broke."""
        self._open.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        if connection.due is not None:
            self.failed += 1

    def _ask(self, due: float) -> None:
        if self.idle:
            self.idle.pop().ask(due)
        else:
            self.waiting.append(due)

    async def _connect(self) -> None:
        _, connection = await self.loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._port)
        self._open.add(connection)
        self.idle.append(connection)

    def _unanswered(self, total: int) -> int:
        return total - len(self.took) - len(self.refused) - self.failed

    def _outcome(self, failed: int) -> Outcome:
        return Outcome(
            rate=self._rate,
            seconds=self._seconds,
            answered=len(self.took),
            refused=len(self.refused),
            failed=failed,
            p50_s=_quantile(self.took, 0.5, float("inf")),
            p99_s=_quantile(self.took, 0.99, float("inf")),
            refused_p99_s=_quantile(self.refused, 0.99, 0.0),
            lag_s=self._lag_s,
            behind=self._lag_s > max(_BEHIND_S, 0.05 * self._seconds),
        )


class _Connection(asyncio.Protocol):
    """One request at a time."""

    transport: asyncio.Transport

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._got = b""
        self._whole = 0
        self.due: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._load.lost(self)

    def ask(self, due: float) -> None:
        """Send the request."""
        self.due = due
        self.transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._got += data
        if not self._whole:
            end = self._got.find(_HEAD_END)
            if end < 0:
                return
            head = self._got[:end].lower() + b"\r\n"
            at = head.index(_LENGTH) + len(_LENGTH)
            self._whole = end + 4 + int(head[at : head.index(b"\r\n", at)])
        if len(self._got) >= self._whole and self.due is not None:
            status, due = self._got[9:12], self.due
            self._got, self._whole, self.due = b"", 0, None
            self._load.done(self, due, status)


def _quantile(values: list[float], share: float, empty: float) -> float:
    if not values:
        return empty
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

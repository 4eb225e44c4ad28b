"""uvicorn's HTTP protocol with the fast path in front: plain requests are framed here, all others are left to uvicorn.

A connection changes hands only between requests: while uvicorn is in a request, all bytes are uvicorn's.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kubeloop.scoring.errors import Unscorable
from kubeloop.serving.front import HEAD_END, Finish, Head
from kubeloop.serving.gate import Gate

TIME_LIMIT_S = 60.0
"""Within which a request must have come whole, in seconds; afterwards the connection is closed."""

_LONGEST_HEAD = 16 * 2**10
_HELD = 2**18
_SLOW = b'{"error":"the request did not come whole in time; send it at once"}'
_TIMED_OUT = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_SLOW), _SLOW)
)


class Answering(Protocol):
    """The fast path, as `kubeloop.serving.front.Front` has it; with a log, `kubeloop.serving.recorder.Recorder`."""

    gate: Gate

    @property
    def starts(self) -> tuple[bytes, ...]:
        """How the requests begin that it may know."""

    def gather(self, data: bytes, defaults: object, finish: Finish) -> bool:
        """Keep one whole plain request until the round ends; whether `finish` will have its response."""

    def head(self, text: bytes) -> Head | None:
        """What a request's head says."""

    def answer(self, head: Head, body: bytes, arrived: float, defaults: object, finish: Finish) -> bytes | None:
        """The response to a request, or None when `finish` will be given it."""


class FastProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        front: Gives the fast path, or None until the package is loaded.
        time_limit_s: Within which a request must have come whole.
        arguments: uvicorn's.
        named: uvicorn's.
    """

    def __init__(
        self, *arguments: Any, front: Callable[[], Answering | None], time_limit_s: float = TIME_LIMIT_S, **named: Any
    ) -> None:
        super().__init__(*arguments, **named)
        self._front = front
        self._time_limit_s = time_limit_s
        self._theirs = False  # uvicorn has had bytes since the last request of ours
        self._parsing = False  # uvicorn is in the middle of a request's bytes
        self._buffer = b""  # what has come of the next request, or of the one that is being scored and those behind it
        self._pieces: list[bytes] = []  # the rest of it, until it is whole
        self._missing = 0  # bytes until then
        self._scoring: int | None = None  # the length of the request that is being scored
        self._closing = False
        self._close_after = False
        self._seen = 0.0  # when bytes came last
        self._since = 0.0  # when the first byte of the request that is not whole yet came
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by asyncio."""
        super().connection_made(transport)
        self._seen = self.loop.time()
        self._watch = self.loop.call_later(min(self._time_limit_s, self.timeout_keep_alive), self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        if self._watch is not None:
            self._watch.cancel()
        self._buffer = b""
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Called by asyncio: the client sends no more, but may wait for its answer."""
        if self._scoring is None:
            return super().eof_received()
        self._closing = True
        return True

    def on_message_begin(self) -> None:
        """Uvicorn has got a request's first byte."""
        self._parsing = True
        self._since = self.loop.time()
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Uvicorn has got its last one."""
        self._parsing = False
        super().on_message_complete()

    def shutdown(self) -> None:
        """The server is ending: finish what has begun."""
        self._closing = True
        if self._scoring is None and not self._buffer:
            super().shutdown()

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._buffer and self._scoring is None and not self._missing:
            data, self._buffer = self._buffer, b""
            self.flow.resume_reading()
            self._take(data)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio with what came."""
        self._seen = self.loop.time()
        if self._theirs:
            if self._parsing or self.pipeline or not (self.cycle is None or self.cycle.response_complete):
                super().data_received(data)
                return
            self._theirs = False
            self._unset_keepalive_if_required()
        if (
            not self._buffer
            and not self._closing
            and not self.flow.write_paused
            and (front := self._front()) is not None
            and front.gather(data, self.server_state.default_headers, self._gathered)
        ):
            self._buffer, self._scoring, self._close_after = data, len(data), False
            return
        if self._scoring is not None or self.flow.write_paused:
            self._buffer += data
            if len(self._buffer) > _HELD:
                self.flow.pause_reading()
        elif self._missing > len(data):
            self._pieces.append(data)
            self._missing -= len(data)
        elif self._buffer:
            whole = b"".join((self._buffer, *self._pieces, data))
            self._buffer, self._missing = b"", 0
            self._pieces.clear()
            self._take(whole)
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        """Answer the requests in `data`, which begins with one; keep what has come of the last one."""
        front = self._front()
        while data:
            end = data.find(HEAD_END, 0, _LONGEST_HEAD) if front is not None and data.startswith(front.starts) else -1
            head = None if end < 0 or front is None else front.head(data[:end])
            if head is None or front is None:
                self._hand_over(data)
                return
            start = end + 4
            stop = start + head.length
            if len(data) < stop:
                self._buffer, self._missing, self._since = data, stop - len(data), self._seen
                return
            if not self._answer(front, head, data, start, stop):
                return
            data = data[stop:]

    def _answer(self, front: Answering, head: Head, data: bytes, start: int, stop: int) -> bool:
        """Answer one request; False when what follows it cannot be taken up yet."""
        try:
            response = front.answer(
                head, data[start:stop], front.gate.arrived(), self.server_state.default_headers, self._scored
            )
        except Unscorable:
            self._hand_over(data)
            return False
        if response is None:
            self._buffer, self._scoring, self._close_after = data, stop, head.close
            return False
        self._write(response, head.close)
        if self.flow.write_paused and len(data) > stop:
            self._buffer = data[stop:]
            self.flow.pause_reading()
            return False
        return not head.close

    def _gathered(self, response: bytes | None) -> None:
        """Take the response that was made at the round's end."""
        self._finish(response, self._take)

    def _scored(self, response: bytes | None) -> None:
        """Take the response that was made aside."""
        self._finish(response, self._hand_over)

    def _finish(self, response: bytes | None, otherwise: Callable[[bytes], None]) -> None:
        """Send the response to the request in hand; without one, all that has come goes on `otherwise`."""
        if self._scoring is None or self.transport.is_closing():
            return
        data, stop, self._buffer, self._scoring = self._buffer, self._scoring, b"", None
        self.flow.resume_reading()
        if response is None:
            otherwise(data)
            return
        self._write(response, self._close_after or (self._closing and len(data) == stop))
        if not self.transport.is_closing() and len(data) > stop:
            self._take(data[stop:])

    def _write(self, response: bytes, close: bool) -> None:
        self.server_state.total_requests += 1
        self.transport.write(response)
        if close or (self._closing and not self._buffer):
            self.transport.close()

    def _hand_over(self, data: bytes) -> None:
        self._theirs = True
        super().data_received(data)
        if self._closing:
            super().shutdown()

    def _look(self) -> None:
        """Close the connection of who sends nothing, or not all of a request; look again later."""
        if self.transport.is_closing():
            return
        now = self.loop.time()
        if self._missing or self._parsing:
            left_s = self._since + self._time_limit_s - now
            if left_s <= 0:
                self.transport.write(_TIMED_OUT)
        elif self._scoring is not None or (self.cycle is not None and not self.cycle.response_complete):
            left_s = self._time_limit_s
        else:
            left_s = self._seen + self.timeout_keep_alive - now
        if left_s <= 0:
            self.transport.close()
        else:
            # A request may begin meanwhile, and has its own limit.
            self._watch = self.loop.call_later(min(left_s, self._time_limit_s) + 0.01, self._look)

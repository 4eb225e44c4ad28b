"""One line of JSON for each answered request, or for those alone that were not answered with 200.

A line is made and written by a thread of its own: all that a request pays is one append to a queue. Where standard
output does not take the lines as fast as they come, the oldest wait, up to `MOST` of them, and those beyond are counted
and not written. Nothing of a request's or an answer's contents is in a line.
"""

import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter, time

import orjson

from kubeloop.contract.serving import RequestLogs

MOST = 100_000
"""Requests whose lines wait."""

_TOGETHER_S = 0.1
_LAST_S = 10.0
_PIECE = min(select.PIPE_BUF, 4096)
"""Bytes that are written at once: as much as a pipe takes whole, so that lines of several workers do not mix."""

_Entry = tuple[float, float, bytes, str, int, int]


class RequestLog:
    """The lines of one process.

    Args:
        model: The model's name.
        level: Whose requests get a line: of `all`, of `errors` (any status but 200), or of none (`off`).
        write: Takes bytes, and says how many; standard output, if not given.

    Attributes:
        level: As given.
        answered: `note` where requests that are answered with 200 get a line, else None.
    """

    def __init__(self, model: str, level: RequestLogs, write: Callable[[bytes], int] | None = None) -> None:
        self._model = model
        self._write = write or (lambda piece: os.write(1, piece))
        self._entries: deque[_Entry] = deque()
        self._lost = 0
        self._awake = True  # until there is somebody to wake
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._begin_second, self._second = b"", -1
        self.set(level, "")

    def set(self, level: RequestLogs, version: str) -> None:
        """Say what is known once the package is loaded.

        Args:
            level: As the contract or the command line says.
            version: The package's digest.
        """
        self.level: RequestLogs = level
        self.answered: Callable[[float, float, bytes, str, int, int], None] | None = (
            self.note if level == "all" else None
        )
        self._words = orjson.dumps({"model": self._model, "version": version or None})[1:-1]
        if level != "off" and self._thread is None:
            self._awake = False
            self._thread = threading.Thread(target=self._run, name="request-log", daemon=True)
            self._thread.start()

    def note(self, arrived: float, seconds: float, request_id: bytes, protocol: str, code: int, rows: int) -> None:
        """Give a request its line.

        Args:
            arrived: When it came, by `time.perf_counter`.
            seconds: From then to its answer.
            request_id: What the client was told; printable ASCII; empty: it has none.
            protocol: One of `kubeloop.serving.tally.PROTOCOLS`.
            code: HTTP status; a gRPC answer has that of its HTTP equal.
            rows: Rows scored.
        """
        if self.level == "off" or (code == 200 and self.level == "errors"):
            return
        if len(self._entries) >= MOST:
            self._lost += 1
            return
        self._entries.append((arrived, seconds, request_id, protocol, code, rows))
        if not self._awake:
            self._awake = True
            self._wake.set()

    def close(self) -> None:
        """Write what waits, and end the thread."""
        if self._thread is not None:
            self._stop.set()
            self._wake.set()
            self._thread.join(_LAST_S)
            self._thread = None

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._wake.wait()
                self._stop.wait(_TOGETHER_S)  # what comes meanwhile is written with it
                self._wake.clear()
                self._awake = False
                self._write_all()
            self._write_all()
        except OSError as error:  # nobody reads, or the disk is full: an endpoint answers all the same
            sys.stderr.write(f"the request log is not written any more: {error.strerror}\n")
            self.set("off", "")

    def _write_all(self) -> None:
        offset = time() - perf_counter()
        piece: list[bytes] = []
        size = 0
        for _ in range(len(self._entries)):
            line = self._line(offset, *self._entries.popleft())
            if size + len(line) > _PIECE:
                self._put(b"".join(piece))
                piece, size = [], 0
            piece.append(line)
            size += len(line)
        if self._lost:
            lost, self._lost = self._lost, 0
            piece.append(b'{"time":"%b","level":"warning",%b,"lost":%d}\n' % (self._time(time()), self._words, lost))
        if piece:
            self._put(b"".join(piece))

    def _line(
        self, offset: float, arrived: float, seconds: float, request_id: bytes, protocol: str, code: int, rows: int
    ) -> bytes:
        level = b"info" if code < 400 else b"warning" if code < 500 else b"error"
        return b'{"time":"%b","level":"%b","id":%b,%b,"protocol":"%b","code":%d,"rows":%d,"seconds":%.6f}\n' % (
            self._time(offset + arrived),
            level,
            orjson.dumps(request_id.decode("ascii")) if request_id else b"null",
            self._words,
            protocol.encode("ascii"),
            code,
            rows,
            seconds,
        )

    def _time(self, moment: float) -> bytes:
        """RFC 3339 in UTC; the part down to the second is made once a second."""
        second = int(moment)
        if second != self._second:
            text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._begin_second, self._second = text.encode("ascii"), second
        return b"%b.%06dZ" % (self._begin_second, int((moment - second) * 1e6))

    def _put(self, piece: bytes) -> None:
        while piece:
            piece = piece[self._write(piece) :]

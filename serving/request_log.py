"""One line of JSON for each answered request, or for those alone that were not answered with 200.

A line is written by a thread of its own, and made by the one that answers: made aside, the lines of a tenth of a
second would keep the interpreter from all requests of that moment. Where standard output does not take the lines as
fast as they come, the oldest wait, up to `MOST` of them, and those beyond are counted and not written. Nothing of
what a request or an answer says is in a line.
"""

import json
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
        self._lines: deque[bytes] = deque()
        self._lost = 0
        self._awake = True  # until there is somebody to wake
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._offset = 0.0  # from `perf_counter` to seconds since 1970
        self._second = (-1, b"")
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
        self._words = json.dumps({"model": self._model, "version": version or None}, separators=(",", ":"))[1:-1]
        self._frames: dict[tuple[str, int], bytes] = {}
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
        if len(self._lines) >= MOST:
            self._lost += 1
            return
        if not self._awake:  # the first since lines were written last; the clock may have been set meanwhile
            self._offset = time() - perf_counter()
        frame = self._frames.get((protocol, code)) or self._framed(protocol, code)
        moment = self._offset + arrived
        whole = int(moment)
        second, begin = self._second
        if whole != second:
            begin = self._begun(whole)
        if not request_id or b'"' in request_id or b"\\" in request_id:
            frame = frame.replace(b'"%b"', b"%b")
            request_id = orjson.dumps(request_id.decode("ascii") or None)
        self._lines.append(frame % (begin, (moment - whole) * 1e6, request_id, rows, seconds))
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
        piece: list[bytes] = []
        size = 0
        for _ in range(len(self._lines)):
            line = self._lines.popleft()
            size += len(line)
            if size > _PIECE:
                self._put(piece)
                piece, size = [], len(line)
            piece.append(line)
        if self._lost:
            lost, self._lost = self._lost, 0
            moment = self._begun(int(time())) + b"000000Z"
            piece.append(b'{"time":"%b","level":"warning",%b,"lost":%d}\n' % (moment, self._words.encode(), lost))
        self._put(piece)

    def _framed(self, protocol: str, code: int) -> bytes:
        """What all lines of a protocol and a code share; the rest is filled in by `%`."""
        level = "info" if code < 400 else "warning" if code < 500 else "error"
        words = self._words.replace("%", "%%")
        text = (
            f'{{"time":"%b%06dZ","level":"{level}","id":"%b",{words},"protocol":"{protocol}","code":{code},"rows":%d,'
            '"seconds":%.6f}\n'
        )
        made = self._frames[protocol, code] = text.encode("ascii")
        return made

    def _begun(self, second: int) -> bytes:
        """RFC 3339 in UTC, down to the second; made once a second."""
        begin = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.").encode("ascii")
        self._second = second, begin
        return begin

    def _put(self, lines: list[bytes]) -> None:
        piece = b"".join(lines)
        while piece:
            piece = piece[self._write(piece) :]

"""One line of JSON for each answered request, or for those alone that were not answered with 200.

A line is made and written by a thread of its own: all that a request pays is one append to a queue. Where standard
output does not take the lines as fast as they come, the oldest wait, up to `MOST` of them, and those beyond are counted
and not written. Nothing of a request's or an answer's contents is in a line.
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
        self._begin_second, self._second = "", -1
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
        piece: list[str] = []
        size = 0
        for _ in range(len(self._entries)):
            line = self._line(offset, *self._entries.popleft())
            size += len(line)
            if size > _PIECE:
                self._put(piece)
                piece, size = [], len(line)
            piece.append(line)
        if self._lost:
            lost, self._lost = self._lost, 0
            piece.append(f'{{"time":"{self._time(time())}","level":"warning",{self._words},"lost":{lost}}}\n')
        self._put(piece)

    def _line(
        self, offset: float, arrived: float, seconds: float, request_id: bytes, protocol: str, code: int, rows: int
    ) -> str:
        level = "info" if code < 400 else "warning" if code < 500 else "error"
        known = request_id.decode("ascii")
        if not known:
            shown = "null"
        elif '"' in known or "\\" in known:
            shown = orjson.dumps(known).decode("ascii")
        else:
            shown = f'"{known}"'
        return (
            f'{{"time":"{self._time(offset + arrived)}","level":"{level}","id":{shown},{self._words},'
            f'"protocol":"{protocol}","code":{code},"rows":{rows},"seconds":{seconds:.6f}}}\n'
        )

    def _time(self, moment: float) -> str:
        """RFC 3339 in UTC; the part down to the second is made once a second."""
        second = int(moment)
        if second != self._second:
            self._begin_second = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
            self._second = second
        return f"{self._begin_second}{int((moment - second) * 1e6):06d}Z"

    def _put(self, lines: list[str]) -> None:
        # Names are escaped where they are no ASCII: a line has as many bytes as characters.
        piece = "".join(lines).encode("ascii")
        while piece:
            piece = piece[self._write(piece) :]

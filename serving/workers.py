"""Several predictor processes behind one port: each accepts from the same listening socket, all count into one memory.

kserve's own `--workers` pings its children from the moment they start, and ends whoever takes over five seconds to
load: a package that takes longer is never served. Here a child has the time it needs, and one that dies comes back.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from kubeloop.serving.tally import shared_memory
from kubeloop.site.processes import die_with_parent

BACKLOG = 2048
_POLL_S = 0.2
_AGAIN_S = 1.0
_GRACE_S = 40.0


def run(arguments: Sequence[str], listener: socket.socket, workers: int) -> int:
    """Run so many predictors until a signal, or until one cannot come up at all; returns the exit code.

    Args:
        arguments: The predictor's command line, without socket and workers.
        listener: The listening socket that they share.
        workers: How many.
    """
    return _Workers(arguments, listener, workers).run()


class _Workers:
    def __init__(self, arguments: Sequence[str], listener: socket.socket, workers: int) -> None:
        self._command = [sys.executable, "-m", "kubeloop.serving.predictor", *arguments]
        self._listener = listener
        self._memory = shared_memory(workers)
        self._children: list[subprocess.Popen[bytes] | None] = [None] * workers
        self._began = [0.0] * workers
        self._stopping = False

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        code = 0
        while not self._stopping and not code:
            for place, child in enumerate(self._children):
                code = code or self._tend(place, child)
            with contextlib.suppress(InterruptedError):
                time.sleep(_POLL_S)
        self._end()
        return code

    def _tend(self, place: int, child: "subprocess.Popen[bytes] | None") -> int:
        """Start a worker that is not there; the exit code of one that could not even start."""
        if child is not None:
            code = child.poll()
            if code is None:
                return 0
            lived_s = time.monotonic() - self._began[place]
            sys.stderr.write(f"worker {place} ended with {code} after {lived_s:.0f} s\n")
            # A wrong package or a wrong command line is wrong the next time, too.
            if code in (1, 2) and not self._stopping:
                return code
            if lived_s < _AGAIN_S:
                time.sleep(_AGAIN_S - lived_s)
        part = ["--http-fd", str(self._listener.fileno()), "--tally", f"{self._memory}:{place}:{len(self._children)}"]
        self._began[place] = time.monotonic()
        self._children[place] = subprocess.Popen(
            [*self._command, *part],
            pass_fds=[self._listener.fileno(), self._memory],
            preexec_fn=die_with_parent,
            start_new_session=True,
        )
        return 0

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True

    def _end(self) -> None:
        """Let every worker finish what it has begun."""
        alive = [child for child in self._children if child is not None and child.poll() is None]
        for child in alive:
            child.terminate()
        end = time.monotonic() + _GRACE_S
        for child in alive:
            try:
                child.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        os.close(self._memory)

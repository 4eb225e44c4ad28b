"""Processes that begin warm: forked from one that has imported already what they need.

A predictor or a task is a second or more of imports before its first own line. A process that starts several has one
server beside it, which imports once, and from which the others are forked; it ends with its owner, however that ends.
What is forked may ask the same server in its turn.
"""

import atexit
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait as readable
from pathlib import Path

from kubeloop.site.processes import ANY_HOME, HOME, OWNER, identity
from kubeloop.site.warm_order import SIGNAL, connect, ending, place, send

ADDRESS = "KUBELOOP_WARM"
"""In the environment of what was forked: where its server listens."""

_BACKLOG = 128
_LAST_S = 10.0
# A fork copies no thread, so the server must have none: BLAS would start its own when it is loaded. What is forked gets
# the threads of its own environment.
_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Forked:
    """A process forked by a server, used as `subprocess.Popen` is; it ends when this is closed or collected.

    Args:
        pid: Its process id.
        asker: The connection on which it was asked for.

    Attributes:
        returncode: Its exit code once it is known to have ended, negative for a signal.
    """

    def __init__(self, pid: int, asker: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._asker = asker
        self._lock = threading.Lock()

    def __del__(self) -> None:
        self._asker.close()

    def poll(self) -> int | None:
        """Its exit code if it has ended."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; its exit code.

        Raises:
            subprocess.TimeoutExpired: It has not ended after `timeout` seconds.
        """
        if self.returncode is None and not readable([self._asker], timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        with self._lock:
            if self.returncode is None:
                code = None
                with suppress(ConnectionError):
                    code = ending(self._asker)
                self.returncode = -signal.SIGKILL if code is None else code  # it died with its server
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        with self._lock:
            if self.returncode is None:
                with suppress(ConnectionError):
                    self._asker.sendall(SIGNAL.pack(number))

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def start(
    module: str,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    streams: tuple[int, int, int],
    modules: Sequence[str] = (),
) -> Forked:
    """Run `python -m module` in a process of its own process group, forked warm.

    Args:
        module: What to run.
        arguments: Its command line.
        environment: All of its environment; what libraries read when they are imported has been read already.
        folder: Its working directory.
        streams: Descriptors for its standard input, output and error.
        modules: What it will need: imported before it is forked, where that has not been done.

    Raises:
        OSError: It could not be started.
    """
    asker, address = _ask()
    try:
        around = {**environment, ADDRESS: address}
        pid = place(
            asker,
            module,
            arguments,
            environment=around,
            folder=str(folder.absolute()),
            group=0,
            streams=streams,
            modules=modules,
        )
    except OSError:
        asker.close()
        raise
    return Forked(pid, asker)


def prepare(modules: Sequence[str]) -> None:
    """Say what will be needed: it is imported while nobody asks for anything."""
    asker, _ = _ask()
    with asker:
        send(asker, {"modules": [], "hints": list(modules)}, ())


@dataclass(frozen=True)
class _Server:
    """Our own server."""

    process: "subprocess.Popen[bytes]"
    address: str
    life: socket.socket


_own: _Server | None = None
_starting = threading.Lock()


def _ask() -> tuple[socket.socket, str]:
    """A connection to the server that forked us, or to our own, and its address."""
    inherited = os.environ.get(ADDRESS)
    if inherited:
        with suppress(OSError):  # it has gone
            return connect(inherited), inherited
    global _own
    with _starting:
        if _own is not None:
            with suppress(OSError):
                return connect(_own.address), _own.address
            close()
        _own = _started()
        return connect(_own.address), _own.address


def _started() -> _Server:
    address = f"kubeloop-{secrets.token_hex(16)}"
    life, other = socket.socketpair()
    with other, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{address}")
        listener.listen(_BACKLOG)
        sockets = [listener.fileno(), other.fileno()]
        whose = {HOME: ANY_HOME, OWNER: identity(), "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "kubeloop.site.warm_server", *map(str, sockets)],
            env={**os.environ, **_ONE_THREAD, **whose},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=sockets,
            start_new_session=True,
        )
    return _Server(process, address, life)


@atexit.register
def close() -> None:
    """End our own server, and with it all that it forked; the next `start` begins another."""
    global _own
    if _own is None:
        return
    server, _own = _own, None
    server.life.close()
    try:
        server.process.wait(_LAST_S)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()


def _forget() -> None:
    """A fork of this process is not the owner: it must neither end the server nor keep it alive."""
    global _own, _starting
    if _own is not None:
        _own.life.close()
    _own, _starting = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)

"""The process from which others are forked: it imports what they will need, and computes nothing.

`python -m kubeloop.site.warm_server LISTENER LIFE`: two inherited sockets. It takes orders at the first, and ends with
all that it forked when the process at the other end of the second is gone. `kubeloop.site.warm` starts and asks it.

It may fork because it only ever imports: it has one thread of its own, and OpenMP and BLAS make theirs when they first
compute. Where a library has started a thread all the same, the child is executed anew instead.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubeloop.site.processes import die_with_parent
from kubeloop.site.warm_order import ENDED, HEADER, SIGNAL, STARTED

NAME = "kubeloop-warm"
"""What the kernel calls the server; a child has the last part of its module's name."""

_CREDENTIALS = struct.Struct("3i")
_PATIENCE_S = 60.0
_CHUNK = 2**20
_PR_SET_NAME = 15
# jemalloc comes with pyarrow, and tends its own thread at a fork.
_HARMLESS = {"jemalloc_bg_thd"}


@dataclass
class _Child:
    """What was forked, and whoever asked for it."""

    pid: int
    asker: socket.socket


@dataclass(frozen=True)
class Order:
    """What a forked process shall become.

    Attributes:
        module: Run as `python -m module`.
        arguments: Its command line.
        environment: All of it.
        folder: Its working directory.
        group: The process group to enter, if it is one of this session; 0: one of its own.
        streams: Standard input, output and error.
    """

    module: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    group: int
    streams: list[int]

    def become(self) -> None:
        """Be that process; returns when its module has been run, and raises what it raises."""
        os.setpgid(0, 0)
        with suppress(OSError):  # gone, or of another session
            os.setpgid(0, self.group)
        for number, stream in enumerate(self.streams):
            os.dup2(stream, number, inheritable=True)
            os.close(stream)
        os.environ.clear()
        os.environ.update(self.environment)
        time.tzset()
        os.chdir(self.folder)
        if _threads():
            command = [sys.executable, "-P", "-m", self.module, *self.arguments]
            os.execv(sys.executable, command)  # noqa: S606 - no shell
        _set_threads(self.environment)
        call_it(self.module.rpartition(".")[2])
        sys.argv = [self.module, *self.arguments]
        sys.modules.pop(self.module, None)  # it is run as __main__, whoever imported it before
        runpy.run_module(self.module, run_name="__main__", alter_sys=True)


class Server:
    """Takes orders until its owner is gone.

    Args:
        listener: Where orders come in; this user's only.
        life: Closed by the kernel when the owner is gone.
    """

    def __init__(self, listener: socket.socket, life: socket.socket) -> None:
        self._listener = listener
        self._life = life
        self._hints: deque[str] = deque()
        self._children: dict[int, _Child] = {}
        self._ears, mouth = socket.socketpair()
        self._sockets = [listener, life, self._ears, mouth]
        self._selector = selectors.DefaultSelector()
        for known in (listener, life, self._ears):
            known.setblocking(False)
            self._selector.register(known, selectors.EVENT_READ)
        mouth.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)

    def serve(self) -> Order:
        """Serve; returns in a forked child alone, with what it shall become."""
        while True:
            for key, _ in self._selector.select(0 if self._hints else None):
                if key.fileobj is self._life:
                    os._exit(0)  # the kernel ends the children
                elif key.fileobj is self._ears:
                    self._reap()
                elif key.fileobj is not self._listener:
                    self._hear(key.data)
                elif (order := self._accept()) is not None:
                    return order
            if self._hints:
                _import(self._hints.popleft())

    def _accept(self) -> Order | None:
        with suppress(BlockingIOError):
            asker, _ = self._listener.accept()
            try:
                asker.settimeout(_PATIENCE_S)
                return self._take(asker)
            except (OSError, ValueError, LookupError, TypeError):  # no order, or half of one
                asker.close()
        return None

    def _take(self, asker: socket.socket) -> Order | None:
        """Import what an order asks for, and fork; the hints of one without a module are only kept."""
        _, user, _ = _CREDENTIALS.unpack(
            asker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)  # a stranger's order is no order
        )
        if user != os.getuid():
            raise PermissionError
        said, streams = receive(asker)
        self._hints.extend(said["hints"])
        if "module" not in said:
            asker.close()
            return None
        for name in said["modules"]:
            _import(name)
        gc.freeze()  # what is here now is shared: no collection of a child shall touch it
        order = Order(**said["order"], module=said["module"], streams=streams)
        pid = os.fork()
        if pid == 0:
            self._leave(asker)
            return order
        for stream in streams:
            os.close(stream)
        self._children[pid] = _Child(pid, asker)
        with suppress(OSError):  # whoever asked is gone: heard next
            asker.sendall(STARTED.pack(pid))
        self._selector.register(asker, selectors.EVENT_READ, self._children[pid])
        return None

    def _leave(self, asker: socket.socket) -> None:
        """Let go of all that is the server's, in a child."""
        die_with_parent()
        gc.enable()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for known in (*self._sockets, asker, *(child.asker for child in self._children.values())):
            known.close()

    def _hear(self, child: _Child) -> None:
        """A signal for a child; silence means that whoever asked for it is gone, and then it goes too."""
        number = int(signal.SIGKILL)
        with suppress(OSError, struct.error):
            (number,) = SIGNAL.unpack(child.asker.recv(SIGNAL.size))
        if child.pid in self._children:
            with suppress(ProcessLookupError):
                os.kill(child.pid, number)
        if number == signal.SIGKILL:
            self._selector.unregister(child.asker)

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            self._ears.recv(4096)
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                child = self._children.pop(ended[0])
                with suppress(OSError):
                    child.asker.sendall(ENDED.pack(os.waitstatus_to_exitcode(ended[1])))
                with suppress(KeyError):
                    self._selector.unregister(child.asker)
                child.asker.close()


def receive(asker: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """An order and the streams that came with it.

    Raises:
        ValueError: It is none, or not whole.
        OSError: The connection is broken.
    """
    header, streams, _, _ = socket.recv_fds(asker, HEADER.size, 3)
    if len(header) < HEADER.size:
        raise ValueError("half a header")
    text = bytearray()
    (length,) = HEADER.unpack(header)
    while len(text) < length:
        part = asker.recv(min(length - len(text), _CHUNK))
        if not part:
            raise ValueError("half an order")
        text += part
    said: dict[str, Any] = json.loads(text)
    return said, streams


def call_it(name: str) -> None:
    """Say to the kernel what this process is, for `ps` and `top`."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def _import(name: str) -> None:
    # Whatever cannot be imported is for the child to say, where its output is seen.
    with suppress(Exception):
        importlib.import_module(name)


class _Ending:
    """Ends a child without taking its modules apart.

    They are shared with the server: to touch each once more costs as much as an import, and extensions call leaked what
    was frozen and is not collected.

    Attributes:
        code: Its exit code; None where Python ends it by a signal of its own.
    """

    code: int | None = None

    def __call__(self) -> None:
        if self.code is None:
            gc.unfreeze()
            return
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # closed
                stream.flush()
        os._exit(self.code & 0xFF)


def _set_threads(environment: Mapping[str, str]) -> None:
    """Give OpenMP and BLAS, which read the server's environment when they were loaded, what this one asks for."""
    if "threadpoolctl" not in sys.modules:  # scikit-learn brings it; nothing that computes is loaded
        return
    from threadpoolctl import ThreadpoolController

    pools = ThreadpoolController()
    every = environment.get("OMP_NUM_THREADS", "")
    for api, word in (("openmp", every), ("blas", environment.get("OPENBLAS_NUM_THREADS", every))):
        threads = int(word) if word.isdecimal() else len(os.sched_getaffinity(0))
        pools.select(user_api=api).limit(limits=max(threads, 1))


def _threads() -> list[str]:
    """Threads that the parent had beside its own and those that mind a fork."""
    parent = os.getppid()
    found: list[str] = []
    for entry in Path(f"/proc/{parent}/task").iterdir():
        if entry.name != str(parent):
            with suppress(OSError):
                found.append((entry / "comm").read_text(encoding="utf-8").strip())
    return [name for name in found if name not in _HARMLESS]


def main(listener: int, life: int) -> None:
    """Serve; in a forked child, be what was ordered."""
    call_it(NAME)
    sys.argv = sys.argv[:1]  # kserve reads it when it is imported
    gc.disable()  # nothing here becomes garbage
    ending = _Ending()
    atexit.register(ending)  # the first one, so it is called last
    order = Server(socket.socket(fileno=listener), socket.socket(fileno=life)).serve()
    try:
        order.become()
        ending.code = 0
    except SystemExit as end:
        ending.code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    except Exception:
        ending.code = 1
        raise


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

"""The processes that we start, and those that outlived whoever started them. Linux only: reads /proc, uses prctl."""

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

HOME = "KUBELOOP_HOME"
OWNER = "KUBELOOP_OWNER"
ANY_HOME = "*"
"""As `KUBELOOP_HOME`: of a process that works for whatever home its owner does, and is anybody's to end without it."""
_PR_SET_PDEATHSIG = 1
# On a busy machine even SIGKILL takes its time.
_KILLED_S = 30.0
# Resolved here, before any fork: between fork and exec neither import nor dlopen is safe.
_prctl = ctypes.CDLL(None, use_errno=True).prctl
_SIGKILL = int(signal.SIGKILL)


def identity(pid: int | None = None) -> str:
    """`<pid>:<start>` of a process, by default this one; no two processes of one boot share it.

    `start` is field 22 of `/proc/<pid>/stat`, in clock ticks since boot: unlike a wall time it does not move when the
    clock is set.

    Raises:
        ProcessLookupError: There is no such process, or only what its parent has not yet reaped.
    """
    number = os.getpid() if pid is None else pid
    try:
        state, *fields = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(f"no process {number}") from None
    if state in ("Z", "X"):
        raise ProcessLookupError(f"process {number} has ended")
    return f"{number}:{fields[18]}"


def is_alive(owner: str) -> bool:
    """Whether the process of that `identity` still runs; another one with its reused pid does not count."""
    pid = owner.partition(":")[0]
    try:
        return pid.isdigit() and identity(int(pid)) == owner
    except ProcessLookupError:
        return False


def child_environment(home: Path) -> dict[str, str]:
    """The environment for a child: ours, with `KUBELOOP_HOME` and this process as `KUBELOOP_OWNER`.

    Whatever runs with it is ended by the next command once this process is gone: do not start a user's browser with it.
    """
    return {**os.environ, HOME: str(home.resolve()), OWNER: identity()}


@contextmanager
def surrounded(**variables: str) -> Iterator[None]:
    """Set environment variables of this process for the while of a block; afterwards each is as it was."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def die_with_parent() -> None:
    """For `Popen(preexec_fn=die_with_parent)`: the kernel kills the child when its parent dies.

    The parent is the thread that started it: start such children from a thread that lives as long as they shall.
    A parent that dies before this call leaves an orphan for `end_orphans`.
    """
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)


def orphans(home: Path) -> list[psutil.Process]:
    """Processes started under `home` whose owner is gone; never this process nor one that it descends from."""
    root = home.resolve()
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for process in _owned(root) if process.pid not in spared]


def end_orphans(home: Path, deadline_s: float = 5.0) -> list[int]:
    """End all orphans of `home`: SIGTERM, and SIGKILL for those still there after `deadline_s` seconds.

    Ending one can orphan its own children, so it looks again until none is left.

    Returns:
        The process ids that were ended.
    """
    ended: dict[int, None] = {}
    for _ in range(8):
        found = orphans(home)
        if not found:
            break
        for process in found:
            _send(process, signal.SIGTERM)
        _, left = psutil.wait_procs(found, timeout=deadline_s)
        for process in left:
            _send(process, signal.SIGKILL)
        psutil.wait_procs(left, timeout=_KILLED_S)
        ended |= dict.fromkeys(process.pid for process in found)
    return list(ended)


def _owned(root: Path) -> Iterator[psutil.Process]:
    here = Path("/proc/self/ns/pid").readlink()
    for process in psutil.process_iter():
        try:
            # A container's processes are seen from here, but count by pids of their own: their owner lives, unseen.
            if Path(f"/proc/{process.pid}/ns/pid").readlink() != here:
                continue
            environ = process.environ()
        except (psutil.Error, OSError):  # gone, or another user's
            continue
        place, owner = environ.get(HOME), environ.get(OWNER)
        if place and owner and (place == ANY_HOME or Path(place).resolve() == root) and not is_alive(owner):
            yield process


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)  # psutil compares the creation time first: a reused pid is not touched
    except psutil.Error:
        return

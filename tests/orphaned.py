"""That processes have ended, and that none is left in a home beside other tests that kill the owners of theirs."""

import threading
import time
from pathlib import Path

import psutil

from kubeloop.site.processes import ANY_HOME, HOME, orphans

_LONG_S = 120.0


def assert_no_orphan(home: Path) -> None:
    """No process of this home; a warm server that counts for any home may be another test's, and ends by itself."""
    end = time.monotonic() + _LONG_S
    while found := orphans(home):
        assert not [process for process in found if _is_of_one_home(process)], found
        assert time.monotonic() < end, found
        threading.Event().wait(0.02)


def gone(process: psutil.Process) -> bool:
    """Whether it has ended, whoever reaps it; a dying one has lost its memory and sockets before that."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _is_of_one_home(process: psutil.Process) -> bool:
    try:
        return process.environ().get(HOME, ANY_HOME) != ANY_HOME
    except psutil.Error:  # it has just ended
        return False

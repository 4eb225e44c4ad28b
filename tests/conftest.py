"""What holds for every test: UTC, no settings of the caller's, no process left behind."""

import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

MARK = "KUBELOOP_TEST_SESSION"
LAST_S = 60.0
"""How long what tests started may take to end after the last one, in seconds."""
# Python's own helpers, which end with the process they serve.
SERVER = "kubeloop-warm"
HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver", "loky.backend.resource_tracker")

if "PYTEST_XDIST_WORKER" in os.environ:  # each has its core: threads of two would wait for each other
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TZ"] = "UTC"
time.tzset()
os.environ["MPLBACKEND"] = "Agg"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
OF_THE_CALLER = ("KUBELOOP_", "MLFLOW_TRACKING", "MLFLOW_RUN", "MLFLOW_EXPERIMENT")
for name in [name for name in os.environ if name.startswith(OF_THE_CALLER)]:
    del os.environ[name]
# What a shell has put into the background is deaf to it, and so is all that it starts: tests interrupt commands.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Whole runs and real servers: begun first, so that no worker is left alone with a long file at the end.
LONG_FIRST = ("e2e", "serving", "tracking", "experiments", "cli")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the areas of long files first; within one, and among the others, the order stays."""
    tests = Path(__file__).parent

    def turn(item: pytest.Item) -> int:
        area = item.path.relative_to(tests).parts[0] if item.path.is_relative_to(tests) else ""
        return LONG_FIRST.index(area) if area in LONG_FIRST else len(LONG_FIRST)

    items.sort(key=turn)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).parent.parent


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database to copy into a home: making one takes seconds, once for all workers of a session."""
    from filelock import FileLock

    from kubeloop.site import laptop
    from kubeloop.tracking.mlflow_store import open_mirror

    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "mirror"
    with FileLock(f"{folder}.lock"):
        open_mirror(laptop(folder))
    return folder / "mlflow.db"


@pytest.fixture(autouse=True)
def surroundings_left_as_found() -> Iterator[None]:
    """Fail a test that leaves another environment or working directory to the next one, and put both back."""
    place, before = Path.cwd(), _of_the_caller()
    yield
    after = _of_the_caller()
    for name in after.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
    moved = Path.cwd()
    os.chdir(place)
    assert after == before, "a test has left the environment changed"
    assert moved == place, "a test has left the working directory changed"


def _of_the_caller() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(OF_THE_CALLER) and name != MARK}


def left_over(mark: str) -> list[psutil.Process]:
    """Living processes that inherited this session's mark, or descend from it, but for Python's own helpers."""
    own = psutil.Process()
    found = {process.pid: process for process in own.children(recursive=True)}
    for process in psutil.process_iter():
        try:
            if process.pid != own.pid and process.environ().get(MARK) == mark:
                found[process.pid] = process
        except psutil.Error:
            continue
    return [process for process in found.values() if _counts(process)]


def _counts(process: psutil.Process) -> bool:
    try:
        command = " ".join(process.cmdline())
        if process.name() == SERVER:  # of this process; what it forked counts
            return False
        return process.status() != psutil.STATUS_ZOMBIE and not any(helper in command for helper in HELPERS)
    except psutil.Error:
        return False


@pytest.fixture(scope="session", autouse=True)
def no_process_left_behind() -> Iterator[None]:
    """Fail the session when a process that a test started outlives it, and end what is left."""
    mark = os.environ[MARK] = f"{os.getpid()}-{secrets.token_hex(8)}"
    yield
    end = time.monotonic() + LAST_S
    while (alive := left_over(mark)) and time.monotonic() < end:
        time.sleep(0.05)
    told = []
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            told.append(f"{process.pid}: {' '.join(process.cmdline())}")
            process.kill()
    assert not told, "processes that tests started are still alive: " + "; ".join(told)

"""`kubeloop` as a user types it, in a process of its own that need not import first: forked from a warm server.

Standard output, error and exit code are the command's. What the real command line does before its first own line, a
test asks of `python -m kubeloop.cli.main` itself.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kubeloop.pipelines.local import ENGINE, TASKS
from kubeloop.serving import process
from kubeloop.site import warm

MODULE = "kubeloop.cli.main"
MARK = "KUBELOOP_TEST_SESSION"
"""What a session's processes inherit: tests/conftest.py looks for it."""

NEEDED = (*ENGINE, *TASKS, *process.NEEDED, "mlflow.tracking", "mlflow.store.db.utils", "kubeloop.reports.run_page")


@dataclass(frozen=True)
class Said:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def run(self) -> dict[str, Any]:
        """The run's record, of `kubeloop run --json`."""
        return json.loads(self.out.splitlines()[-1])["run"]

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        """The run's task records by name."""
        return {task["task"]: task for task in self.run["tasks"]}


def clean_environment() -> dict[str, str]:
    """This environment without our own variables, but for the session's mark."""
    return {key: value for key, value in os.environ.items() if not key.startswith("KUBELOOP") or key == MARK}


def run_command(
    *words: str | Path,
    cwd: Path,
    given: str = "",
    timeout: float = 800,
    extra: Mapping[str, str] = MappingProxyType({}),
) -> Said:
    """Run a command to its end; `given` is its standard input, `extra` comes into its environment."""
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        asked.write(given.encode())
        asked.seek(0)
        child = _forked(words, cwd, (asked.fileno(), out.fileno(), err.fileno()), extra)
        try:
            code = child.wait(timeout)
        finally:
            child.kill()
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode())
    return Said(code, *texts)


@contextmanager
def running_command(*words: str | Path, cwd: Path, log: Path) -> Iterator[warm.Forked]:
    """A command that goes on, with both of its outputs in `log`; afterwards it is killed if it lives still."""
    with log.open("wb") as stream, Path(os.devnull).open("rb") as nothing:
        child = _forked(words, cwd, (nothing.fileno(), stream.fileno(), stream.fileno()), {})
    try:
        yield child
    finally:
        child.kill()
        child.wait(180)


def _forked(
    words: tuple[str | Path, ...], cwd: Path, streams: tuple[int, int, int], extra: Mapping[str, str]
) -> warm.Forked:
    return warm.start(
        MODULE,
        [*map(str, words)],
        environment={**clean_environment(), **extra},
        folder=cwd,
        streams=streams,
        modules=NEEDED,
    )

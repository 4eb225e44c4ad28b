"""What watches a model on a laptop: the sink and the detectors, beside its predictor and for as long."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kubeloop.errors import InputError
from kubeloop.monitoring.log.segments import log_root
from kubeloop.serving.attaching import services_text
from kubeloop.serving.predictor import THREADS
from kubeloop.site.addresses import disk_full
from kubeloop.site.model import Site
from kubeloop.site.processes import child_environment, die_with_parent

HOST = "127.0.0.1"
STOP_S = 30.0
"""Seconds that each may take to write down what it holds."""

_BACKLOG = 512
_AGAIN_S = 2.0
"""Seconds from one start of a companion to the next, at least."""


@dataclass
class _Companion:
    """A process that is started again when it dies, on the socket that it had."""

    what: str
    module: str
    arguments: list[str]
    listener: socket.socket
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.listener.getsockname()[1]}"

    def start(self, home: Path) -> None:
        command = [sys.executable, "-m", self.module, *self.arguments, "--fd", str(self.listener.fileno())]
        self.started = time.monotonic()
        try:
            with self.log.open("ab") as stream:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    env=child_environment(home) | dict.fromkeys(THREADS, "1"),
                    pass_fds=[self.listener.fileno()],
                    preexec_fn=die_with_parent,
                    start_new_session=True,
                )
        except OSError as error:
            raise disk_full(error, str(self.log)) or InputError(
                f"the process of the {self.what} cannot be started: {error.strerror}",
                "free memory, processes or disk space",
            ) from error

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Companions:
    """Sink and detectors of one model. Call all of it in the main thread: the kernel ends them with their starter.

    Args:
        site: Whose log.
        home: Its state root.
        name: The model.
        say: Takes each line for the person at the terminal.
    """

    def __init__(self, site: Site, home: Path, name: str, say: Callable[[str], None]) -> None:
        self._site = site
        self._home = home
        self._name = name
        self._say = say
        self._all: list[_Companion] = []

    @property
    def logging(self) -> tuple[str, ...]:
        """What makes a predictor log what it answers, as words of its command line."""
        return "--log", str(log_root(self._site).absolute()), "--namespace", self._site.namespace

    @property
    def sink(self) -> str:
        """Where labels, and events of other loggers, are posted."""
        return self._all[0].url

    @property
    def pages(self) -> str:
        """Where windows are shown."""
        return self._all[1].url

    def start(self, digest: str) -> None:
        """Start both.

        Args:
            digest: The package that serves; others come by what the predictor itself logs.

        Raises:
            InputError: The disk is full, or there is no memory for a process.
        """
        from kubeloop.packaging.read import read_package
        from kubeloop.packaging.store import fetch

        package = read_package(fetch(self._site, digest), digest, self._site)
        if package.manifest.reference_profile is None:
            self._say(f"{self._name}: {digest[7:19]} has no reference, so its windows tell nothing; train it again")
        folder = self._home / "serving"
        services = folder / f"{self._name}.services"
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        services.write_text(services_text(self._site, self._name, [package]), encoding="ascii")
        for what, module, arguments in (
            ("sink", "kubeloop.serving.sink_process", ["--services", str(services.absolute())]),
            ("detectors", "kubeloop.serving.monitor_process", [self._name]),
        ):
            listener = socket.create_server((HOST, 0), backlog=_BACKLOG)
            log = folder / "logs" / f"{self._name}-{what}.log"
            log.unlink(missing_ok=True)
            self._all.append(_Companion(what, module, arguments, listener, log))
            self._all[-1].start(self._home)

    def tend(self) -> None:
        """Start again what has died."""
        for one in self._all:
            if one.process is None or one.process.poll() is None or time.monotonic() - one.started < _AGAIN_S:
                continue
            self._say(f"{self._name}: the {one.what} died ({_ending(one.process)}), starting again; see {one.log}")
            with contextlib.suppress(InputError):  # said when it is tried again, and seen in its log
                one.start(self._home)

    def stop(self) -> None:
        """End both, the sink first: what it moves at its end is there for the next to watch."""
        for one in self._all:
            one.stop()
            one.listener.close()


def _ending(process: "subprocess.Popen[bytes]") -> str:
    code = process.returncode
    return f"signal {-code}" if code < 0 else f"exit code {code}"

"""Predictor processes of this machine: started on a port of their own, waited for, ended."""

import contextlib
import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kubeloop.errors import InputError, PermanentError
from kubeloop.serving.predictor import THREADS
from kubeloop.site import warm
from kubeloop.site.addresses import disk_full
from kubeloop.site.processes import child_environment, die_with_parent

HOST = "127.0.0.1"
READY_S = 120.0
STOP_S = 35.0  # the server gives requests in flight 30 s
_POLL_S = 0.02
_BACKLOG = 512
_MODULE = "kubeloop.serving.predictor"
NEEDED = ("kubeloop.serving.server", "uvloop", "skops.io")
"""What a predictor loads before it is ready."""


@dataclass(frozen=True)
class Predictor:
    """A running predictor.

    Attributes:
        process: Its process; it ends with this one, and when this is dropped.
        port: Its HTTP port on 127.0.0.1.
        folder: Its package.
        log: Where its output goes.
    """

    process: "warm.Forked | subprocess.Popen[bytes]"
    port: int
    folder: Path
    log: Path

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"

    def ending(self) -> str:
        """How it ended; waits until it has."""
        code = self.process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def prepare() -> None:
    """Import what predictors need, beside whatever else is done before the first is started.

    Raises:
        InputError: The disk is full, or there is no memory for a process.
    """
    try:
        warm.prepare(NEEDED)
    except OSError as error:
        raise _cannot_start(error) from error


def start(
    package: Path,
    name: str,
    log: Path,
    home: Path,
    mode: str | None = None,
    *,
    logging: Sequence[str] = (),
    alone: bool = False,
) -> Predictor:
    """Start a predictor; it is not ready yet.

    It is forked warm, and need not import for seconds what the last one had imported too. The port is bound here and
    handed on open, as its standard input, so that no other process can take it in between.

    Args:
        package: The package folder.
        name: The name under which it is served.
        log: File for its output; overwritten.
        home: State root, under whose name the process is found again if we are killed.
        mode: Which answers a classifier gives; None: as the package's contract says.
        logging: What makes it log what it answers, as words of its command line.
        alone: Start it cold, as a container does: for measuring its memory, of which a forked one shares the most.

    Raises:
        InputError: The disk is full, or there is no memory for a process.
    """
    arguments = ["--package", str(package.absolute()), "--name", name, "--host", HOST, "--no-grpc", "--http-fd", "0"]
    arguments += [*([] if mode is None else ["--answers", mode]), *logging]
    environment = child_environment(home) | dict.fromkeys(THREADS, "1")
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen(_BACKLOG)
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("wb") as stream:
                run = _cold if alone else _forked
                child = run(arguments, environment, (listener.fileno(), stream.fileno(), stream.fileno()))
        except OSError as error:
            raise disk_full(error, str(log)) or _cannot_start(error) from error
        return Predictor(child, int(listener.getsockname()[1]), package, log)


def _forked(arguments: list[str], environment: dict[str, str], streams: tuple[int, int, int]) -> warm.Forked:
    return warm.start(_MODULE, arguments, environment=environment, folder=Path.cwd(), streams=streams, modules=NEEDED)


def _cold(
    arguments: list[str], environment: dict[str, str], streams: tuple[int, int, int]
) -> "subprocess.Popen[bytes]":
    # Its own session: Ctrl-C in the terminal is ours to hear, and then we end it in order.
    return subprocess.Popen(
        [sys.executable, "-m", _MODULE, *arguments],
        stdin=streams[0],
        stdout=streams[1],
        stderr=streams[2],
        env=environment,
        preexec_fn=die_with_parent,
        start_new_session=True,
    )


def wait_ready(predictor: Predictor, deadline_s: float = READY_S) -> float:
    """Wait until it says that it is ready.

    Returns:
        Seconds waited.

    Raises:
        PermanentError: It ended, or was not ready in time; with the last lines of its log.
    """
    began = time.monotonic()
    while True:
        if predictor.process.poll() is not None:
            raise PermanentError(
                f"the predictor of {predictor.folder.name} should serve, but ended with {predictor.ending()}:\n"
                f"{last_lines(predictor.log)}",
                "mend what its last lines say, then start it again",
                log=str(predictor.log),
            )
        if is_ready(predictor.port):
            return time.monotonic() - began
        if time.monotonic() - began > deadline_s:
            raise PermanentError(
                f"the predictor of {predictor.folder.name} should be ready within {deadline_s:.0f} s, but is not:\n"
                f"{last_lines(predictor.log)}",
                "see whether this machine has memory and processor time left, then start it again",
                log=str(predictor.log),
            )
        time.sleep(_POLL_S)


def is_ready(port: int) -> bool:
    """Whether the predictor at a port says that it would answer."""
    # Bounded: a connection may wait in the backlog of a process that is about to die.
    connection = http.client.HTTPConnection(HOST, port, timeout=1.0)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def stop(predictor: Predictor, grace_s: float = STOP_S) -> None:
    """End it: SIGTERM lets requests in flight finish, SIGKILL after `grace_s` seconds."""
    process = predictor.process
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(timeout=grace_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log, indented."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-count:]
    except OSError:
        lines = []
    return "\n".join(f"    {line}" for line in lines) or "    (it said nothing)"


def _cannot_start(error: OSError) -> InputError:
    return InputError(
        f"a predictor process cannot be started: {error.strerror}", "free memory, processes or disk space"
    )

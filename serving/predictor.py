"""The process behind an endpoint: one verified package as a kserve.Model in kserve.ModelServer.

python -m kubeloop.serving.predictor --package DIR --name NAME --http-port N [--grpc-port N | --no-grpc [--workers N]]
"""

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from kubeloop.errors import InputError, KubeloopError

if TYPE_CHECKING:
    from kubeloop.contract.serving import RequestLogs
    from kubeloop.serving.wire import Mode

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Options:
    """What the command line says.

    Attributes:
        package: The package folder.
        name: The name under which the model is served.
        host: Address to listen on; 127.0.0.1 for local serving, 0.0.0.0 in a container.
        http_port: Port for V1 and V2 over HTTP.
        http_fd: A listening socket handed on by the parent instead: no other process can take its port meanwhile.
        grpc_port: Port for V2 over gRPC; None: no gRPC.
        mode: Which answers a classifier gives; None: as the package's contract says.
        workers: Processes that share the port.
        tally: Where a worker counts: file descriptor of the shared memory, its place, how many there are.
        log: Root of the inference log that it writes by itself, in the mode that the contract asks for; None: none.
        namespace: Under which it logs.
        request_log: Which requests get a line on standard output; None: as the package's contract says.
    """

    package: Path
    name: str
    host: str
    http_port: int
    http_fd: int | None
    grpc_port: int | None
    mode: "Mode | None"
    workers: int
    tally: tuple[int, int, int] | None
    log: Path | None
    namespace: str
    request_log: "RequestLogs | None"


def options(arguments: Sequence[str]) -> Options:
    """Read the command line; exits with 2 and one line when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m kubeloop.serving.predictor", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--package", type=Path, required=True, help="package folder")
    parser.add_argument("--name", required=True, help="model name on the endpoint's path")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104 - a pod's address is not known
    parser.add_argument("--http-port", type=int, default=8080)
    parser.add_argument("--http-fd", type=int, default=None, help="listening socket inherited from the parent")
    parser.add_argument("--grpc-port", type=int, default=8081)
    parser.add_argument("--no-grpc", action="store_true")
    parser.add_argument("--answers", choices=["labels", "probabilities", "both"], default=None)
    parser.add_argument("--workers", type=int, default=1, help="processes that share the port; gRPC needs just one")
    parser.add_argument("--log", type=Path, default=None, help="folder of our own inference log; none by default")
    parser.add_argument("--namespace", default="default", help="of the service, in the log")
    parser.add_argument(
        "--request-log",
        choices=["off", "errors", "all"],
        default=None,
        help="requests that get a line of JSON on standard output; as the package's contract says by default",
    )
    parser.add_argument("--tally", type=_three, default=None, help=argparse.SUPPRESS)
    found = parser.parse_args(arguments)
    if found.workers < 1 or (found.workers > 1 and not found.no_grpc):
        parser.error("--workers is at least 1, and more than one need --no-grpc: a gRPC port cannot be shared")
    return Options(
        package=found.package,
        name=found.name,
        host=found.host,
        http_port=found.http_port,
        http_fd=found.http_fd,
        grpc_port=None if found.no_grpc else found.grpc_port,
        mode=found.answers,
        workers=found.workers,
        tally=found.tally,
        log=found.log,
        namespace=found.namespace,
        request_log=found.request_log,
    )


def _three(text: str) -> tuple[int, int, int]:
    memory, place, workers = map(int, text.split(":"))
    return memory, place, workers


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal ends it; returns the exit code."""
    chosen = options(arguments)
    for name in THREADS:
        os.environ.setdefault(name, "1")
    listener = None if chosen.http_fd is None else socket.socket(fileno=chosen.http_fd)
    if chosen.workers > 1:
        from kubeloop.serving.workers import BACKLOG, run

        with listener or socket.create_server((chosen.host, chosen.http_port), backlog=BACKLOG) as shared:
            return run(worker_arguments(chosen), shared, chosen.workers)
    # kserve reads sys.argv when it is imported, and would take our flags for its own.
    sys.argv = sys.argv[:1]
    import uvloop

    from kubeloop.serving.server import Server

    # kserve minds its --event-loop only with several workers of its own.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    try:
        Server(chosen, listener).start([])
    except KubeloopError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except asyncio.CancelledError:
        return 0
    return 0


def worker_arguments(chosen: Options) -> list[str]:
    """The command line of one of several workers, without its socket."""
    mode = [] if chosen.mode is None else ["--answers", chosen.mode]
    log = [] if chosen.log is None else ["--log", str(chosen.log), "--namespace", chosen.namespace]
    lines = [] if chosen.request_log is None else ["--request-log", chosen.request_log]
    words = ["--package", str(chosen.package), "--name", chosen.name, "--host", chosen.host, "--no-grpc"]
    return [*words, *mode, *log, *lines]


def mode_of(found: object) -> "Mode":
    """A mode from a package's contract, `both` where it says nothing.

    Raises:
        InputError: It is no mode.
    """
    from kubeloop.serving.wire import Mode

    for mode in get_args(Mode):
        if found in (mode, None):
            return "both" if found is None else mode
    raise InputError(f"answers should be labels, probabilities or both, got {found!r}", "mend serving.answers")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

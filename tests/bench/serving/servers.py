"""The servers that are measured: each one process with one thread for numbers, its log as shipped."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench.serving.workload import NAME

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PREDICT_PROBA": "true"}


@dataclass(frozen=True)
class Running:
    """A server.

    Attributes:
        stock: Whether it is the stock one.
        port: HTTP.
        grpc_port: gRPC.
        process: Its process.
    """

    stock: bool
    port: int
    grpc_port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        """User and system seconds so far, with its children's."""
        times = [found.cpu_times() for found in (self.process, *self.process.children(recursive=True))]
        return sum(found.user + found.system for found in times)


def environment_of(stock: Path) -> Path:
    """The Python of an environment in which a tree's sklearnserver is installed as it is; made once."""
    named = os.environ.get("STOCK_PYTHON")
    folder = stock.resolve().parent / f"{stock.resolve().name}-env"
    python = Path(named) if named else folder / "bin" / "python"
    if not python.exists():
        print(f"installing {stock}'s sklearnserver into {folder}")
        uv = [str(Path(sys.executable).with_name("uv"))]
        subprocess.run([*uv, "venv", "-q", "-p", sys.executable, str(folder)], check=True)
        parts = {"kserve": "kserve", "kserve-storage": "storage", "sklearnserver": "sklearnserver"}
        wanted = [f"{name} @ file://{stock.resolve() / 'python' / part}" for name, part in parts.items()]
        settings = os.environ | {"PROJECT_ROOT": str(stock.resolve() / "python" / "sklearnserver")}
        subprocess.run([*uv, "pip", "install", "-q", "-p", str(python), *wanted], check=True, env=settings)
    return python


@contextmanager
def serving(command: Sequence[str], stock: bool, log: Path) -> Iterator[Running]:
    """Run a server until the block ends; `{http}` and `{grpc}` in the command become its ports."""
    ports = {"http": _free(), "grpc": _free()}
    filled = [part.format(**ports) for part in command]
    with log.open("wb") as stream:
        child = subprocess.Popen(filled, stdout=stream, stderr=subprocess.STDOUT, env=os.environ | ENVIRONMENT)
    try:
        running = Running(stock, ports["http"], ports["grpc"], psutil.Process(child.pid))
        _wait(running, child, log)
        yield running
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def ours(package: Path, planned: bool = True) -> list[str]:
    """Our predictor; without its plan, scikit-learn scores."""
    start = ["-m", "kubeloop.serving.predictor"] if planned else [str(Path(__file__).with_name("unplanned.py"))]
    ports = ["--http-port", "{http}", "--grpc-port", "{grpc}"]
    return [sys.executable, *start, "--package", str(package), "--name", NAME, "--host", "127.0.0.1", *ports]


def stock(python: Path, folder: Path) -> list[str]:
    """The stock server."""
    ports = ["--http_port", "{http}", "--grpc_port", "{grpc}"]
    return [str(python), "-m", "sklearnserver", "--model_dir", str(folder), "--model_name", NAME, *ports]


def empty() -> list[str]:
    """A server that looks at nothing and answers the same: what clients would see of this machine alone."""
    return [sys.executable, str(Path(__file__).with_name("empty.py")), "{http}"]


def _wait(running: Running, child: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 600
    while time.monotonic() < end:
        assert child.poll() is None, log.read_text()[-2000:]
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=5)
        try:
            connection.request("GET", f"/v2/models/{NAME}/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    raise AssertionError(log.read_text()[-2000:])


def _free() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])

"""A real detector service in a process of its own, a package that it can watch, and a receiver of what it tells."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from kubeloop.contract import Contract, sections_of
from kubeloop.data.tables import write_table
from kubeloop.learning.training import train
from kubeloop.monitoring.reference.fitting import fit_reference
from kubeloop.packaging.build import build
from kubeloop.packaging.store import publish
from kubeloop.site import Site
from tests.packaging import models

ROWS = 100
WATCHING = {
    "detectors": {"window": {"rows": ROWS, "minimum_rows": 50}, "confirm": {"windows": 1, "of": 1}},
    "labels": {"maturity": "1s"},
}


def make_package(folder: Path, **monitoring: Any) -> Path:
    """A package of a model of 600 rows, with its reference."""
    agreed: Contract = models.contract().model_copy(update={"monitoring": None})
    return package_of(
        Contract.model_validate({**agreed.model_dump(mode="json"), "monitoring": WATCHING | monitoring}), folder
    )


def package_of(contract: Contract, folder: Path) -> Path:
    """A package of a model of 600 rows as a contract wants it, with its reference."""
    sections = sections_of(contract)
    write_table(models.table(rows=600), folder / "development")
    (folder / "model").mkdir(parents=True)
    train(sections.train, {}, folder / "development", folder / "model")
    fit_reference(sections.monitor, folder / "model", folder / "development", folder / "reference")
    build(folder / "model", contract, models.evaluation(), models.DATA, folder / "package", folder / "reference")
    return folder / "package"


def published(site: Site, package: Path) -> str:
    """Put it into the Site's store; its digest."""
    return publish(site, package).rpartition("/")[2]


def people(rng: np.random.Generator, size: int, older: float = 0.0) -> list[list[Any]]:
    """Rows as clients send them."""
    table = models.table(rows=size, seed=int(rng.integers(2**31)))
    cells = [[row["age"], row["smokes"], row["pain"]] for row in table.select(["age", "smokes", "pain"]).to_pylist()]
    return [[None if age is None else age + older, smokes, pain] for age, smokes, pain in cells]


class Service:
    """A detector service on a socket of ours: it keeps its port over kills."""

    def __init__(self, home: Path, *more: str) -> None:
        self.home = home
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self._more = more
        self.errors = home / "detectors.err"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Service":
        command = [sys.executable, "-m", "kubeloop.serving.monitor_process", "--fd", str(self.listener.fileno())]
        self.process = subprocess.Popen(
            [*command, "--settle", "0", *self._more],
            pass_fds=[self.listener.fileno()],
            env={**os.environ, "KUBELOOP_HOME": str(self.home)},
            stdout=subprocess.DEVNULL,
            stderr=self.errors.open("ab"),
        )
        return self

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=180)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def windows(self) -> list[dict[str, Any]]:
        """The last window of each stream."""
        found: list[dict[str, Any]] = json.loads(self.get("/windows.json")[1])["windows"]
        return found

    def metrics(self) -> dict[str, float]:
        """By name and labels as they stand there."""
        lines = [line.rpartition(" ") for line in self.get("/metrics")[1].splitlines() if line[:1] not in ("#", "")]
        return {name: float(value) for name, _, value in lines}

    def until(self, what: Callable[[], Any]) -> Any:
        """The first true answer."""
        end = time.monotonic() + 240
        while not (found := what()):
            assert self.process is not None
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < end, "it did not happen in time: " + self.errors.read_text()
            threading.Event().wait(0.1)
        return found

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(180)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.listener.close()


class Receiver:
    """Takes CloudEvents, after it has refused as many as it is told to."""

    def __init__(self, refuse: int = 0) -> None:
        self.events: list[dict[str, Any]] = []
        self.refused = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if receiver.refused < refuse:
                    receiver.refused += 1
                    self.send_response(500)
                else:
                    assert self.headers["content-type"] == "application/cloudevents+json"
                    receiver.events.append(json.loads(body))
                    self.send_response(202)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/told"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def by_id(self) -> dict[str, dict[str, Any]]:
        """In the order in which they came first: an event may come again."""
        return {event["id"]: event for event in list(self.events)}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def text_of(page: str) -> str:
    """What a person reads of a page."""
    return re.sub(r"\s+", " ", re.sub(r"<style.*?</style>|<svg.*?</svg>|<[^>]+>", " ", page, flags=re.DOTALL))

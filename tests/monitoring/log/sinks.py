"""A real sink in a process of its own, and events as KServe's agent sends them."""

import datetime as dt
import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from kubeloop.monitoring.log.models import LoggedModel

REQUEST = "org.kubeflow.serving.inference.request"
RESPONSE = "org.kubeflow.serving.inference.response"
AT = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


class SinkProcess:
    """A sink that listens on a socket of ours: it keeps its port over kills."""

    def __init__(
        self,
        folder: Path,
        models: Sequence[LoggedModel],
        more: Sequence[str] = (),
        before: Sequence[str] = (),
        site_dir: Path | None = None,
        service: str = "heart",
    ) -> None:
        self.folder = folder
        self.root = folder / "home" / "log"
        services = [{"namespace": "default", "service": service, "models": [m.model_dump(mode="json") for m in models]}]
        self._file = folder / "services.json"
        self._file.write_text(json.dumps({"services": services}))
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(2048)
        self.port = int(self.listener.getsockname()[1])
        self._more, self._before = list(more), list(before)
        self._environment = {**os.environ, "KUBELOOP_HOME": str(folder / "home")}
        if site_dir is not None:
            self._environment["KUBELOOP_SITE_DIR"] = str(site_dir)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "SinkProcess":
        command = [*self._before, sys.executable, "-m", "kubeloop.serving.sink_process"]
        command += ["--services", str(self._file), "--log", str(self.root), "--fd", str(self.listener.fileno())]
        self.process = subprocess.Popen(
            [*command, *self._more],
            pass_fds=[self.listener.fileno()],
            env=self._environment,
            stderr=(self.folder / "sink.err").open("ab"),
        )
        return self

    def ready(self) -> "SinkProcess":
        """Requests wait in the socket's backlog until it answers."""
        with Client(self.port, timeout_s=180) as client:
            status, body, _ = client.get("/health/ready")
            assert status == 200, body
        return self

    def itself(self) -> psutil.Process:
        """The sink, also where it runs below another command."""
        assert self.process is not None
        first = psutil.Process(self.process.pid)
        return first.children()[0] if self._before else first

    def kill(self) -> None:
        assert self.process is not None
        self.itself().kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.itself().terminate()
        return self.process.wait(180)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.listener.close()


class Client:
    """One connection to a sink."""

    def __init__(self, port: int, timeout_s: float = 180) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        self._connection.request("POST", path, body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read(), {key.lower(): value for key, value in answer.getheaders()}

    def get(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())

    def event(self, body: Any, event_id: str, kind: str = REQUEST, **more: str) -> tuple[int, str]:
        """Post a binary event; status and the reason why it was skipped."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, _, headers = self.post("/events", content, agent_headers(event_id, kind, **more))
        return status, headers.get("x-kubeloop-skipped", "")


def agent_headers(event_id: str, kind: str = REQUEST, **more: str) -> dict[str, str]:
    """The headers of KServe 0.20's agent, as seen on a real cluster; `None` as text takes one away."""
    headers = {
        "User-Agent": "Go-http-client/1.1",
        "Ce-Annotations": '{"model-version":"7"}',
        "Ce-Component": "predictor",
        "Ce-Endpoint": "",
        "Ce-Id": event_id,
        "Ce-Inferenceservicename": "heart",
        "Ce-Metadata": "{}",
        "Ce-Namespace": "default",
        "Ce-Recordedtime": "2026-03-01T12:00:00.312560538Z",
        "Ce-Source": "http://localhost:9081/",
        "Ce-Specversion": "1.0",
        "Ce-Time": "2026-03-01T12:00:00.312218261Z",
        "Ce-Type": kind,
        "Content-Type": "application/json",
        "Accept-Encoding": "gzip",
    }
    headers |= {name.replace("_", "-").title(): value for name, value in more.items()}
    return {name: value for name, value in headers.items() if value != "None"}


def outcomes(client: Client) -> dict[str, int]:
    """The sink's counts by outcome."""
    text = client.get("/metrics")[1].decode()
    found: dict[str, int] = {}
    for line in text.splitlines():
        if line.startswith("kubeloop_log_events_total{"):
            labels, _, value = line.rpartition(" ")
            outcome = labels.partition('outcome="')[2].partition('"')[0]
            found[outcome] = found.get(outcome, 0) + int(float(value))
    return found

"""Several workers behind one port: all answer, one that dies comes back, the counts of all are one, SIGTERM drains."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from kubeloop.serving.predictor import options
from kubeloop.serving.tally import Tally, shared_memory
from tests.orphaned import gone
from tests.ports import free_port

BODY = {"instances": [{"age": 61.5, "dose": 0.25, "ward": "north", "smoker": True}]}


def until(condition: Any, seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def totals(tally: Tally) -> dict[tuple[str, str], float]:
    return {(s.name, s.labels.get("code", "")): s.value for metric in tally.collect() for s in metric.samples}


def test_workers_count_into_one_memory() -> None:
    memory = shared_memory(3)
    parts = [Tally("m", memory, worker, 3) for worker in range(3)]
    for part in parts:
        part.columns = ["age"]
        part.count("v1", 200, 0.0002, rows=4)
    parts[1].count("v1", 400, 20.0)
    parts[2].outside(["age"])
    assert totals(parts[0]) == totals(parts[2])
    found = totals(parts[0])
    assert found[("kubeloop_requests_total", "200")] == 3
    assert found[("kubeloop_requests_total", "400")] == 1
    assert found[("kubeloop_rows_total", "")] == 12
    assert found[("kubeloop_requests_outside_rules_total", "")] == 1
    assert found[("kubeloop_request_seconds_count", "")] == 4
    again = Tally("m", memory, 1, 3)  # a worker that was started again goes on
    again.columns = ["age"]
    assert totals(again) == found
    os.close(memory)


def test_a_grpc_port_is_not_shared(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options(["--package", "x", "--name", "y", "--workers", "2"])
    assert "more than one need --no-grpc" in capsys.readouterr().err


@pytest.fixture
def served(packages: tuple[Path, Path], tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    port = free_port()
    command = [sys.executable, "-m", "kubeloop.serving.predictor", "--package", str(packages[0]), "--name", "toy"]
    command += ["--host", "127.0.0.1", "--http-port", str(port), "--no-grpc", "--workers", "2"]
    with (tmp_path / "log").open("wb") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield child, f"http://127.0.0.1:{port}"
    finally:
        child.kill()
        child.wait()


def ready(url: str, log: Path, loaded: int) -> bool:
    """Whether workers have loaded their package so often, and fresh connections in a row find one that is ready."""
    if log.read_text().count("is UNSIGNED") < loaded:
        return False
    try:
        return all(httpx.get(f"{url}/v2/health/ready", timeout=60).status_code == 200 for _ in range(50))
    except httpx.HTTPError:
        return False


def living(pid: int) -> set[psutil.Process]:
    return {worker for worker in psutil.Process(pid).children() if not gone(worker)}


@pytest.mark.slow
def test_two_workers_serve_die_and_drain(served: tuple["subprocess.Popen[bytes]", str], tmp_path: Path) -> None:
    child, url = served
    until(lambda: ready(url, tmp_path / "log", 2))
    workers = living(child.pid)
    assert len(workers) == 2
    for _ in range(20):
        assert httpx.post(f"{url}/v1/models/toy:predict", json=BODY, timeout=180).status_code == 200

    def counted() -> float:
        lines = httpx.get(f"{url}/metrics", timeout=180).text.splitlines()
        return sum(float(x.split()[-1]) for x in lines if x.startswith("kubeloop_requests_total") and 'code="200"' in x)

    assert {counted() for _ in range(8)} == {20.0}  # whoever is asked
    first = min(workers, key=lambda worker: worker.pid)
    first.kill()
    until(lambda: len(living(child.pid) - {first}) == 2)
    until(lambda: ready(url, tmp_path / "log", 3))
    assert counted() == 20.0  # the one that died is not forgotten
    failed: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=180) as client:
            while not stop.is_set():
                try:
                    answer = client.post("/v1/models/toy:predict", json=BODY)
                except httpx.TransportError:
                    return  # nobody listens any more, or the idle connection was closed as the next request left
                if answer.status_code != 200:
                    failed.append(answer.status_code)

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    child.send_signal(signal.SIGTERM)
    assert child.wait(180) == 0
    stop.set()
    for thread in asking:
        thread.join()
    assert failed == []
    until(lambda: all(map(gone, workers)))

"""One process that takes events as the sink does once uvicorn has read them, and prints what each slice cost.

python log_rounds.py ROUNDS EVENTS FOLDER
"""

import json
import sys
import time
from pathlib import Path

import psutil

from kubeloop.monitoring.log.commits import CommitLog
from kubeloop.monitoring.log.models import LoggedColumn, LoggedModel
from kubeloop.monitoring.log.segments import SegmentFiles
from kubeloop.serving.sink_events import binary_event
from kubeloop.serving.sink_intake import Intake, Service
from kubeloop.serving.sink_process import collect_seldom

SLICE = 256
"""Events that wait for one sync, as under load, and whose CPU is measured at once: some 4 ms, for all of which a
neighbour mostly is there or is not."""

ROW = [63, 1, 1, 145, 233, 1, 2, 150, 0, 2.3, 3, 0, 6]
ASK = json.dumps({"instances": [ROW]}).encode()
SAY = json.dumps({"predictions": [1], "probabilities": [[0.2512345678, 0.7487654322]]}).encode()
HEADERS = {
    b"ce-annotations": b'{"model-version":"7"}',
    b"ce-component": b"predictor",
    b"ce-endpoint": b"",
    b"ce-inferenceservicename": b"heart",
    b"ce-metadata": b"{}",
    b"ce-namespace": b"default",
    b"ce-recordedtime": b"2026-03-01T12:00:00.312560538Z",
    b"ce-source": b"http://localhost:9081/",
    b"ce-specversion": b"1.0",
    b"ce-time": b"2026-03-01T12:00:00.312218261Z",
    b"content-type": b"application/json",
}
KINDS = (b"org.kubeflow.serving.inference.request", b"org.kubeflow.serving.inference.response")


def main(rounds: int, events: int, folder: Path) -> None:
    """Take `events` events a round."""
    model = LoggedModel(
        version="7",
        task="binary",
        columns=tuple(LoggedColumn(name=f"c{number}", kind="number") for number in range(len(ROW))),
        classes=(0, 1),
    )
    log = CommitLog(SegmentFiles(folder, "bench"))
    services = [Service(namespace="default", service="heart", models=(model,))]
    intake = Intake(log, services, None, lambda: time.time_ns() // 1000)
    process = psutil.Process()
    collect_seldom()
    for number in range(rounds):
        wall = time.perf_counter()
        slices = _slices(intake, number, events)
        wall = time.perf_counter() - wall
        said = {"slices": slices, "per_s": events / wall, "rss": process.memory_info().rss}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
    assert intake.counts == {("default", "heart", "stored"): rounds * events}
    log.close()


def _slices(intake: Intake, number: int, events: int) -> list[tuple[float, float]]:
    """Of each slice: CPU microseconds an event, and those of work that is the same always, the slower of both sides."""
    found, before = [], _same_work()
    for first in range(0, events, SLICE):
        cpu_us = _taken(intake, number, first)
        after = _same_work()
        found.append((cpu_us, max(before, after)))
        before = after
    return found


def _same_work() -> float:
    """CPU microseconds of a millisecond's work that is none of ours: how fast the machine is just now."""
    began = time.thread_time()
    sum(value * value for value in range(15_000))
    return (time.thread_time() - began) * 1e6


def _taken(intake: Intake, number: int, first: int) -> float:
    """CPU microseconds an event, of all threads, until all are on disk; what makes the events is left out."""
    raw = [_headers(number, event) for event in range(first, first + SLICE)]
    commit, now = None, time.time_ns() // 1000
    cpu = time.process_time()
    for event, headers in enumerate(raw):
        commit = intake.take(binary_event(dict(headers), SAY if event % 2 else ASK, now))
    assert commit is not None
    commit.wait(60)
    return (time.process_time() - cpu) / SLICE * 1e6


def _headers(number: int, event: int) -> list[tuple[bytes, bytes]]:
    """Those of one event, made right before it is taken: uvicorn, too, has just read what it hands on."""
    own = {b"ce-id": b"8ea85d19-%08d-%012d" % (number, event // 2), b"ce-type": KINDS[event % 2]}
    return list({**HEADERS, **own}.items())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))

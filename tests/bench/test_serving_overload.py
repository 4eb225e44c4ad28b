"""Capacity measured in the run, then 870% above it offered: what is accepted stays quick, the rest is refused at once.

Each request has many rows, so that one machine can both serve and offer ten times what it serves.
"""

import asyncio
import os
from pathlib import Path

import pytest

from kubeloop.packaging.read import read_package
from kubeloop.serving import load, process
from kubeloop.serving.capacity import measure, request_body
from tests.bench.serving import workload

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]
SECONDS = float(os.environ.get("BENCH_OVERLOAD_S", "60"))
ROWS = 256
ABOVE = 9.7
CONNECTIONS = 1024
"""So many that who is due after a pause need not wait for who is refused before him."""


def test_above_capacity(tmp_path: Path) -> None:
    package = workload.package("RF", tmp_path, p99_ms=100.0)
    manifest = read_package(package).manifest
    running = process.start(package, workload.NAME, tmp_path / "log", tmp_path)
    try:
        process.wait_ready(running)
        capacity = measure(running, workload.NAME, manifest, ROWS, 3.0, print)
        request = load.http_request(f"/v1/models/{workload.NAME}:predict", request_body(manifest, ROWS))

        def offered(rate: float, seconds: float) -> load.Outcome:
            return asyncio.run(load.offer(running.port, request, rate, seconds, connections=CONNECTIONS))

        unloaded = offered(capacity.rate * 0.2, 5.0)
        above = offered(capacity.rate * ABOVE, SECONDS)
        after = offered(capacity.rate * 0.2, 1.0)
    finally:
        process.stop(running)
    for name, found in (("unloaded", unloaded), ("above", above), ("after", after)):
        print(
            f"{name:9} {found.rate:8.1f}/s  {found.answered:6,} answered  {found.refused:6,} refused"
            f"  {found.failed} failed"
            f"  p50 {found.p50_s * 1e3:7.2f} ms  p99 {found.p99_s * 1e3:7.2f} ms"
            f"  refusals p99 {found.refused_p99_s * 1e3:7.2f} ms  generator late by {found.lag_s * 1e3:.0f} ms at most"
        )
    assert above.failed == 0
    assert above.refused > 0
    assert above.answered > 0.3 * capacity.rate * SECONDS
    assert above.p99_s < 10 * unloaded.p99_s
    assert (after.refused, after.failed) == (0, 0)

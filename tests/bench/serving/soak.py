"""Half of the measured capacity through `kubeloop serve` for minutes, with a new champion again and again.

`python -m tests.bench.serving.soak [--minutes 10] [--reloads 20]`: no request may fail, and memory holds still.
"""

import argparse
import asyncio
import datetime as dt
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import sqlalchemy as sa

from kubeloop.packaging.manifest import Manifest
from kubeloop.packaging.read import read_package
from kubeloop.registry.champions import champion, move_champion
from kubeloop.registry.versions import register
from kubeloop.serving import load, process, state
from kubeloop.serving.capacity import measure, request_body
from kubeloop.site import Site, laptop
from kubeloop.store import open_engine
from tests.bench.serving import workload

PROMISE_MS = 100.0
"""By which the capacity is measured. The endpoint promises far less, and so turns nobody away."""

FLAT_MB = 30.0
"""How much more all processes may hold in the last third than in the middle one, by the medians."""


def main() -> int:
    """Soak, and say what was found; 1 where a request failed or memory grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--reloads", type=int, default=20)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kubeloop-soak-") as scratch:
        return _soak(Path(scratch), chosen.minutes * 60, chosen.reloads)


def _soak(scratch: Path, seconds: float, reloads: int) -> int:
    site = laptop(scratch / "home")
    assert site.home is not None
    engine = open_engine(site)
    packages = [workload.package("LR", scratch / str(rows), rows=rows) for rows in (3000, 2900)]
    digests = [_registered(engine, site, package) for package in packages]
    _make_champion(engine, site, digests[0])
    command = [sys.executable, "-m", "kubeloop.cli.main", "serve", workload.NAME, "--port", "0"]
    child = subprocess.Popen([*command, "--home", str(site.home)], stdout=subprocess.DEVNULL)
    try:
        while not (found := state.running(site.home)):
            assert child.poll() is None, "it does not serve"
            time.sleep(0.1)
        return asyncio.run(_under_load(site, engine, digests, found[0].port, packages[0], seconds, reloads))
    finally:
        child.terminate()
        child.wait(60)
        engine.dispose()


def promising(manifest: Manifest, p99_ms: float) -> Manifest:
    """The manifest of the same package with another promise, by which its capacity is measured."""
    serving = (manifest.contract.get("serving") or {}) | {"slo": {"p99_ms": p99_ms}}
    return manifest.model_copy(update={"contract": {**manifest.contract, "serving": serving}})


async def _under_load(
    site: Site, engine: sa.Engine, digests: list[str], port: int, package: Path, seconds: float, reloads: int
) -> int:
    assert site.home is not None
    manifest = promising(read_package(package).manifest, PROMISE_MS)
    (entry,) = state.running(site.home)
    served = psutil.Process(entry.pid)
    child = process.Predictor(_Like(entry.pid), port, package, Path("/dev/null"))  # type: ignore[arg-type]
    measured = await asyncio.to_thread(measure, child, workload.NAME, manifest, 1, 2.0, print)
    rate = measured.rate / 2
    print(f"capacity {measured.rate:,.0f}/s through the gateway; {rate:,.0f}/s for {seconds:.0f} s, {reloads} reloads")
    request = load.http_request(f"/v1/models/{workload.NAME}:predict", request_body(manifest, 1))
    asking = asyncio.create_task(load.offer(port, request, rate, seconds))
    held: list[float] = []
    done, next_reload = 0, seconds / (reloads + 1)
    began = time.monotonic()
    while not asking.done():
        await asyncio.wait({asking}, timeout=1.0)
        held.append(_memory_mb(served))
        if done < reloads and time.monotonic() - began > (done + 1) * next_reload:
            wanted = digests[(done + 1) % 2]
            if state.running(site.home)[0].digest == digests[done % 2]:  # the reload before it is over
                _make_champion(engine, site, wanted)
                done += 1
    outcome = await asking
    third = len(held) // 3
    grown = statistics.median(held[-third:]) - statistics.median(held[third : 2 * third])
    bad = outcome.refused + outcome.failed
    print(
        f"{outcome.answered:,} answered, {outcome.refused:,} refused, {outcome.failed:,} failed, {done} reloads;"
        f" p50 {outcome.p50_s * 1e3:.2f} ms, p99 {outcome.p99_s * 1e3:.2f} ms;"
        f" memory {held[-1]:.0f} MB, {grown:+.1f} MB"
    )
    return int(bad > 0 or done < reloads or grown > FLAT_MB)


class _Like:
    """Stands for a process that another one started: its id is all that is asked of it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid


def _memory_mb(served: psutil.Process) -> float:
    total = 0
    for found in (served, *served.children(recursive=True)):
        try:
            total += found.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def _registered(engine: sa.Engine, site: Site, package: Path) -> str:
    return register(engine, site, package, "soak", dt.datetime.now(dt.UTC)).digest


def _make_champion(engine: sa.Engine, site: Site, digest: str) -> None:
    row = champion(engine, site.namespace, workload.NAME)
    revision = row.revision if row else 0
    move_champion(engine, site.namespace, workload.NAME, digest, revision, dt.datetime.now(dt.UTC))


if __name__ == "__main__":
    sys.exit(main())

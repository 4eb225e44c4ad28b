"""The supervisor as a process of its own, as `kubeloop serve` runs it."""

import datetime as dt
import json
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from kubeloop.errors import InputError, IntegrityError
from kubeloop.packaging.read import read_package
from kubeloop.registry.champions import champion, move_champion
from kubeloop.registry.versions import register
from kubeloop.serving.local import running, serve
from kubeloop.site import Site
from kubeloop.site.processes import end_orphans
from kubeloop.store.engine import open_engine
from tests.orphaned import assert_no_orphan, gone

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
NAME = "toy"
ROW = {"age": 61.5, "dose": 0.25, "ward": "north", "smoker": True}
PROGRAM = """
import sys
from pathlib import Path
from kubeloop.serving.local import serve
from kubeloop.site import laptop
serve(laptop(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]), lambda line: print(line, flush=True))
"""


def until(what: Callable[[], Any], seconds: float = 240.0) -> Any:
    """The first true answer; polls, for other processes do the work."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen in time"
        threading.Event().wait(0.02)
    return found


def make_champion(site: Site, package: Path) -> str:
    engine = open_engine(site)
    version = register(engine, site, package, "run-1", NOW)
    row = champion(engine, site.namespace, NAME)
    move_champion(engine, site.namespace, NAME, version.digest, row.revision if row else 0, NOW)
    return version.digest


@contextmanager
def supervisor(site: Site) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    assert site.home is not None
    log = site.home / "supervisor.log"
    with log.open("wb") as stream:
        child = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(site.home), NAME, "0"], stdout=stream, stderr=subprocess.STDOUT
        )
    try:
        until(lambda: (child.poll() is not None) or "curl" in log.read_text())
        assert child.poll() is None, log.read_text()
        yield child, log
    finally:
        if child.poll() is None:
            child.terminate()
        child.wait(timeout=180)


def predictors(pid: int) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.name() == "predictor" and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
    return found


def test_serve_follow_and_end(site: Site, packages: tuple[Path, Path]) -> None:
    """One supervisor, its life: curl line, state, a switch under load, a killed predictor, the end."""
    first, second = (read_package(package) for package in packages)
    expected = {package.digest: package.predict([ROW]).probabilities.tolist() for package in (first, second)}
    assert expected[first.digest] != expected[second.digest]
    make_champion(site, packages[0])
    assert site.home is not None
    with supervisor(site) as (child, log):
        curl = next(line for line in log.read_text().splitlines() if line.startswith("curl"))
        answer = json.loads(subprocess.run(shlex.split(curl), capture_output=True, check=True, timeout=180).stdout)
        assert answer["predictions"] == [first.golden.labels[0]]
        (entry,) = running(site.home)
        assert (entry.name, entry.pid, entry.digest) == (NAME, child.pid, first.digest)
        with pytest.raises(InputError, match=r"is served already, at http://127\.0\.0\.1:"):
            serve(site, NAME, 0, print)

        seen: dict[str, int] = {}
        failed: list[str] = []
        stop = threading.Event()

        def ask(keep_alive: bool) -> None:
            client = httpx.Client(base_url=entry.url, timeout=180)
            while not stop.wait(0.01):  # leaves a core to the predictor that boots
                try:
                    if not keep_alive:
                        client.close()
                        client = httpx.Client(base_url=entry.url, timeout=180)
                    given = client.post(f"/v1/models/{NAME}:predict", json={"instances": [ROW]})
                    assert given.status_code == 200, given.text
                    digest = next(key for key, value in expected.items() if value == given.json()["probabilities"])
                    seen[digest] = seen.get(digest, 0) + 1
                except (httpx.HTTPError, AssertionError, StopIteration) as error:
                    failed.append(repr(error))
            client.close()

        threads = [threading.Thread(target=ask, args=(keep,)) for keep in (True, True, False, False)]
        for thread in threads:
            thread.start()
        try:
            until(lambda: seen.get(first.digest, 0) > 20)
            old = predictors(child.pid)[0]
            make_champion(site, packages[1])
            until(lambda: seen.get(second.digest, 0) > 20)
            before = seen[second.digest]
            until(lambda: seen[second.digest] > before + 20)
            assert old.is_running()  # waits beside, for a rollback
            assert running(site.home)[0].standby == first.digest
            (serving,) = (process for process in predictors(child.pid) if process.pid != old.pid)
            serving.kill()
            before = seen[second.digest]
            until(lambda: len(predictors(child.pid)) == 2 and seen[second.digest] > before + 20)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert failed == []
        assert running(site.home)[0].digest == second.digest
        children = psutil.Process(child.pid).children(recursive=True)
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=180) == 0
        assert running(site.home) == []
        until(lambda: all(map(gone, children)))


def test_kill_9_leaves_nothing_that_is_not_found(site: Site, packages: tuple[Path, Path]) -> None:
    make_champion(site, packages[0])
    assert site.home is not None
    with supervisor(site) as (child, _):
        (predictor,) = predictors(child.pid)
        child.kill()
        child.wait()
        assert running(site.home) == []
        end_orphans(site.home)
        until(lambda: gone(predictor))
        assert_no_orphan(site.home)
        assert (site.home / "serving" / f"{NAME}.json").exists()


def test_unknown_name_names_the_known_ones(site: Site, packages: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="no model 'toy' was ever registered; registered are: none"):
        serve(site, NAME, 0, print)
    register(open_engine(site), site, packages[0], "run-1", NOW)
    with pytest.raises(InputError, match="registered are: toy"):
        serve(site, "tyo", 0, print)
    with pytest.raises(InputError, match="'toy' has versions but no champion yet"):
        serve(site, NAME, 0, print)


def test_port_in_use_is_named(site: Site, packages: tuple[Path, Path]) -> None:
    make_champion(site, packages[0])
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} on 127.0.0.1 is in use"):
            serve(site, NAME, port, print)
    with pytest.raises(InputError, match="99999 is no port"):
        serve(site, NAME, 99999, print)


def test_a_damaged_package_is_not_served(site: Site, packages: tuple[Path, Path]) -> None:
    digest = make_champion(site, packages[0])
    assert site.home is not None
    file = site.home / "store" / "packages" / digest / "estimator.skops"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(IntegrityError, match="should have the digest"):
        serve(site, NAME, 0, print)
    assert running(site.home) == []

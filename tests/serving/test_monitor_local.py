"""`kubeloop serve NAME --monitor` as a person runs it: requests and labels in, windows and a page out, nothing left."""

import datetime as dt
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from kubeloop.packaging.read import read_package
from kubeloop.registry.champions import move_champion
from kubeloop.registry.versions import register
from kubeloop.serving.state import Running, running
from kubeloop.site import Site, laptop
from kubeloop.site.processes import end_orphans
from kubeloop.store import open_engine
from tests.front_door import run_command
from tests.monitoring.watching.service import ROWS, make_package, people, text_of
from tests.orphaned import assert_no_orphan, gone
from tests.serving.test_local import until

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
NAME = "heart"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A home with a champion that can be watched; its answers need not wait for the disk."""
    folder = tmp_path_factory.mktemp("watched")
    site = laptop(folder / "home")
    package = make_package(folder, log={"mode": "bounded"})
    engine = open_engine(site)
    version = register(engine, site, package, "run-1", NOW)
    move_champion(engine, site.namespace, NAME, version.digest, 0, NOW)
    engine.dispose()
    return site


def kubeloop(home: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "kubeloop.cli.main", *words, "--home", str(home)]


@contextmanager
def served(site: Site) -> Iterator[tuple["subprocess.Popen[bytes]", Running, Path]]:
    assert site.home is not None
    home, log = site.home, site.home / "serve.log"
    with log.open("wb") as stream:
        words = kubeloop(home, "serve", NAME, "--port", "0", "--monitor")
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        child = subprocess.Popen(words, stdout=stream, stderr=subprocess.STDOUT, env=env)
    try:
        until(lambda: child.poll() is not None or "curl" in log.read_text())
        assert child.poll() is None, log.read_text()
        (entry,) = running(home)
        yield child, entry, log
    finally:
        if child.poll() is None:
            child.kill()
        child.wait(timeout=180)
        end_orphans(home)


def get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=180)


@pytest.mark.slow
def test_a_laptop_watches_what_it_serves(watched: Site) -> None:
    """One story: calm rows, labels, older people, status, a killed companion, the end, a kill -9."""
    assert watched.home is not None
    home, rng = watched.home, np.random.default_rng(0)
    with served(watched) as (child, entry, log):
        assert f"watched, see {entry.pages}" in log.read_text()
        package = read_package(home / "store" / "packages" / entry.digest)
        with httpx.Client(base_url=entry.url, timeout=180) as client:

            def ask(rows: list[list[object]], event_id: str) -> None:
                body = {"instances": rows}
                answer = client.post(f"/v1/models/{NAME}:predict", json=body, headers={"x-request-id": event_id})
                assert answer.status_code == 200, answer.text

            calm = people(rng, ROWS)
            ask(calm, "calm")
            said = package.predict(calm)
            assert said.labels is not None
            labels = [{"event_id": "calm", "row": row, "value": str(label)} for row, label in enumerate(said.labels)]
            (line,) = until(lambda: [each for each in log.read_text().splitlines() if "X-REQUEST-ID" in each])
            told = subprocess.run(shlex.split(line.replace("X-REQUEST-ID", "calm")), capture_output=True, check=True)
            assert json.loads(told.stdout) == {"taken": 1}, "the line that serve shows works; what follows corrects it"
            posted = httpx.post(f"{entry.sink}/labels", json={"service": NAME, "labels": labels}, timeout=180)
            assert posted.status_code == 202, posted.text
            (sink,), (detectors,) = (parts(child.pid, module) for module in ("sink_process", "monitor_process"))
            sink.kill()
            until(lambda: [one for one in parts(child.pid, "sink_process") if one.pid != sink.pid])
            ask(people(rng, ROWS, older=60.0), "older")

        def windows() -> dict[tuple[str, int], dict[str, object]]:
            found = json.loads(status(home))["watched"]
            return {(one["stream"], one["number"]): one for one in found}

        until(lambda: {("inputs", 2), ("labels", 1)} <= windows().keys())
        assert "drift:age" in windows()["inputs", 2]["told"]  # type: ignore[operator]
        assert windows()["labels", 1]["coverage"] == 1.0
        (model,) = json.loads(status(home))["models"]
        assert model["watched_at"] == entry.pages
        shown = run_command("status", "--home", home, cwd=home).out
        assert "last windows" in shown
        assert "drift:age" in shown
        assert "100%" in shown
        assert "heart" in text_of(get(entry.pages).text)
        assert detectors.is_running()
        assert "the sink died (signal 9), starting again" in log.read_text()
        children = psutil.Process(child.pid).children(recursive=True)
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=180) == 0
        until(lambda: all(map(gone, children)))
    assert [path for path in (home / "log").iterdir() if path.is_dir()] == [], "all that was logged is in the store"
    with served(watched) as (child, entry, _):
        children = psutil.Process(child.pid).children(recursive=True)
        assert len(children) >= 3
        child.kill()
        child.wait()
        assert running(home) == []
        end_orphans(home)
        until(lambda: all(map(gone, children)))
        assert_no_orphan(home)


def parts(pid: int, module: str) -> list[psutil.Process]:
    """Living companions of a kind."""
    found = []
    for one in psutil.Process(pid).children():
        with suppress(psutil.Error):
            if one.status() != psutil.STATUS_ZOMBIE and f"kubeloop.serving.{module}" in one.cmdline():
                found.append(one)
    return found


def status(home: Path) -> str:
    done = run_command("status", "--json", "--home", home, cwd=home)
    assert done.code == 0, done.err
    return done.out

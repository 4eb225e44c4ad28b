"""One command, and the old model answers again in under ten seconds, without a failed request meanwhile."""

import datetime as dt
import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from kubeloop.ledger import entries, verify
from kubeloop.packaging.read import read_package
from kubeloop.registry.champions import champion
from kubeloop.registry.versions import register
from kubeloop.rollout.promotion import promote
from kubeloop.rollout.steps import answered_here
from kubeloop.serving.local import running
from kubeloop.site import Site
from kubeloop.store.engine import open_engine
from tests.front_door import run_command
from tests.orphaned import assert_no_orphan
from tests.serving.test_local import predictors, until

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
NAME = "toy"
ROW = {"age": 61.5, "dose": 0.25, "ward": "north", "smoker": True}
LIMIT_S = 10.0


def kubeloop(site: Site, *words: str) -> dict[str, Any]:
    assert site.home is not None
    done = run_command(*words, "--home", site.home, "--json", cwd=site.home)
    assert done.code == 0, done.out + done.err
    return dict(json.loads(done.out))


@contextmanager
def serving(site: Site) -> Iterator["subprocess.Popen[bytes]"]:
    assert site.home is not None
    log = site.home / "serve.log"
    command = [sys.executable, "-m", "kubeloop.cli.main", "serve", NAME, "--port", "0", "--home", str(site.home)]
    with log.open("wb") as stream:
        child = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
    try:
        until(lambda: child.poll() is not None or running(site.home))
        assert child.poll() is None, log.read_text()
        yield child
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(timeout=180)
    assert_no_orphan(site.home)


class Load:
    """Clients that ask all the time; what each answer was, when, and what failed."""

    def __init__(self, url: str, answers: dict[str, Any]) -> None:
        self.seen: list[tuple[float, str]] = []
        self.failed: list[str] = []
        self._answers = answers
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(url, keep)) for keep in (True, False)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def first(self, digest: str, after: float) -> float | None:
        return next((at for at, given in self.seen if given == digest and at >= after), None)

    def longest_silence(self) -> float:
        """The longest time between two answers, in seconds."""
        times = sorted(at for at, _ in self.seen)
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    def _ask(self, url: str, keep: bool) -> None:
        client = httpx.Client(base_url=url, timeout=180)
        while not self._stop.wait(0.01):
            try:
                if not keep:
                    client.close()
                    client = httpx.Client(base_url=url, timeout=180)
                given = client.post(f"/v1/models/{NAME}:predict", json={"instances": [ROW]})
                assert given.status_code == 200, given.text
                digest = next(key for key, value in self._answers.items() if value == given.json()["probabilities"])
                self.seen.append((time.monotonic(), digest))
            except (httpx.HTTPError, AssertionError, StopIteration) as error:
                self.failed.append(repr(error))
        client.close()


@pytest.fixture
def two(site: Site, packages: tuple[Path, Path]) -> dict[str, Any]:
    """Two champions, one after the other; digest -> its answer to `ROW`."""
    engine = open_engine(site)
    for package in packages:
        version = register(engine, site, package, "run", NOW)
        promote(site, NAME, version.digest, "run", answered_here(site), NOW)
    engine.dispose()
    return {p.digest: p.predict([ROW]).probabilities.tolist() for p in map(read_package, packages)}


def moves(engine: Any) -> list[str]:
    return [entry.kind for entry in entries(engine, "default") if entry.kind != "registration"]


def rolled_back_in(site: Site, load: Load, digest: str) -> float:
    began = time.monotonic()
    facts = kubeloop(site, "rollback", NAME)
    assert facts["digest"] == digest
    until(lambda: load.first(digest, began))
    return load.first(digest, began) - began


@pytest.mark.slow
def test_rollback_under_load(site: Site, two: dict[str, Any]) -> None:
    roll_back_twice(site, two)


@pytest.mark.bench
def test_rollback_takes_less_than_ten_seconds(site: Site, two: dict[str, Any]) -> None:
    never_booted, served_before, silence = roll_back_twice(site, two)
    assert max(never_booted, served_before, silence) < LIMIT_S


def roll_back_twice(site: Site, two: dict[str, Any]) -> tuple[float, float, float]:
    """Back to a predictor that was never booted, forth, and back to the one that waits beside.

    Returns:
        Seconds to the old answers, both ways, and the longest that any client went without an answer.
    """
    old, new = two
    engine = open_engine(site)
    with serving(site) as child:
        (entry,) = running(site.home)
        with Load(entry.url, two) as load:
            until(lambda: load.first(new, 0.0))
            never_booted = rolled_back_in(site, load, old)
            assert champion(engine, "default", NAME).digest == old
            until(lambda: len(predictors(child.pid)) == 2)
            promote(site, NAME, new, "again", answered_here(site), NOW)
            moved = time.monotonic()
            until(lambda: load.first(new, moved))
            before = moves(engine)
            served_before = rolled_back_in(site, load, old)
            assert moves(engine)[len(before) :] == ["rollback"]
        assert load.failed == []
        last = httpx.post(f"{entry.url}/v1/models/{NAME}:predict", json={"instances": [ROW]}, timeout=180)
        assert last.json()["probabilities"] == two[old]
        assert champion(engine, "default", NAME).digest == old
        assert running(site.home)[0].digest == old
        verify(engine, "default")
        silence = load.longest_silence()
        print(
            f"old answers after {never_booted:.2f} s (never booted) and {served_before:.2f} s (served before), "
            f"{len(load.seen)} requests, none failed, the longest silence {silence:.2f} s"
        )
    engine.dispose()
    return never_booted, served_before, silence

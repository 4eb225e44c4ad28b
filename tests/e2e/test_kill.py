"""kill -9 at every step, then the same command: nothing left over, nothing half-written, a clean run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kubeloop.reports.words import TRAIN
from tests.orphaned import assert_no_orphan

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


def kill_at(step: str, folder: Path, environment: dict[str, str]) -> None:
    """Start a run, and kill its command with -9 as soon as a step is running."""
    records = folder / ".kubeloop" / "store" / "runs"
    before = set(records.glob("*")) if records.is_dir() else set()
    command = subprocess.Popen(
        [sys.executable, "-m", "kubeloop.cli.main", "run"],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 700
    while not any((run / f"{step}.json").exists() for run in set(records.glob("*")) - before):
        assert command.poll() is None, f"the run ended before {step} began"
        assert time.monotonic() < deadline, f"{step} never began"
        time.sleep(0.02)
    os.kill(command.pid, signal.SIGKILL)
    command.wait()


@pytest.mark.slow
def test_killed_at_each_step_the_next_command_starts_clean(
    tmp_path: Path, copy_heart: Any, environment: Any, kubeloop: Any
) -> None:
    folder = copy_heart(tmp_path / "project").parent
    for step in TRAIN:
        kill_at(step, folder, environment())
    said = kubeloop("run", "--json", cwd=folder)
    assert said.code == 0, said.err
    assert_no_orphan(folder / ".kubeloop")
    runs = json.loads(kubeloop("runs", "--json", cwd=folder).out)
    assert [run["status"] for run in runs] == ["done", *["killed"] * len(TRAIN)]
    status = json.loads(kubeloop("status", "--json", cwd=folder).out)
    (model,) = status["models"]
    assert model["champion"] == said.tasks["register"]["facts"]["digest"]
    assert model["disagreements"] == []
    packages = list((folder / ".kubeloop" / "store" / "packages").iterdir())
    assert [package.name for package in packages] == [model["champion"]], "a half-written package is left"

"""Whole runs through the command line, as a user starts them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@dataclass(frozen=True)
class Said:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def run(self) -> dict[str, Any]:
        """The run's record, of `kubeloop run --json`."""
        return json.loads(self.out.splitlines()[-1])["run"]

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        """The run's task records by name."""
        return {task["task"]: task for task in self.run["tasks"]}


def clean_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("KUBELOOP")}


def run_command(
    *arguments: str | Path, cwd: Path, timeout: float = 800, extra: Mapping[str, str] = MappingProxyType({})
) -> Said:
    done = subprocess.run(
        [sys.executable, "-m", "kubeloop.cli.main", *map(str, arguments)],
        cwd=cwd,
        env=clean_environment() | dict(extra),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def copy_example(folder: Path, mirror: Path) -> Path:
    """A copy of the heart example; returns its loop.yaml."""
    shutil.copytree(EXAMPLES / "heart", folder)
    (folder / ".kubeloop").mkdir()
    shutil.copy(mirror, folder / ".kubeloop" / "mlflow.db")
    return folder / "loop.yaml"


def edit_file(contract: Path, old: str, new: str) -> None:
    text = contract.read_text(encoding="utf-8")
    assert old in text, old
    contract.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.fixture(scope="module")
def heart(tmp_path_factory: pytest.TempPathFactory, mirror: Path) -> Path:
    """The folder of a heart example that no test of this module has run yet."""
    return copy_example(tmp_path_factory.mktemp("heart") / "project", mirror).parent


@pytest.fixture(scope="session")
def kubeloop() -> Callable[..., Said]:
    """Runs the command line in a process of its own."""
    return run_command


@pytest.fixture(scope="session")
def environment() -> Callable[[], dict[str, str]]:
    """This environment without our own variables."""
    return clean_environment


@pytest.fixture(scope="session")
def copy_heart(mirror: Path) -> Callable[[Path], Path]:
    """Copies the heart example."""
    return lambda folder: copy_example(folder, mirror)


@pytest.fixture(scope="session")
def edit() -> Callable[[Path, str, str], None]:
    """Replaces the first occurrence of a text that must be there."""
    return edit_file

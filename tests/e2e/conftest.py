"""Whole runs through the command line, as a user starts them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests.front_door import Said, clean_environment, run_command

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


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


@dataclass(frozen=True)
class Trained:
    """A heart example that was run once, and what the command did."""

    folder: Path
    said: Said


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, mirror: Path) -> Trained:
    """Heart, run once for all workers of a session, by the real command line from another folder.

    One module alone may ask its home for more: see test_front_door.
    """
    from filelock import FileLock

    own = tmp_path_factory.getbasetemp()
    place = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "trained"
    folder, kept = place / "a longer name" / "project", place / "said.json"
    with FileLock(f"{place}.lock"):
        if not kept.exists():
            copy_example(folder, mirror)
            command = [sys.executable, "-m", "kubeloop.cli.main", "run", "--json", "project/loop.yaml"]
            done = subprocess.run(
                [*command, "--home", "project/.kubeloop"],
                cwd=folder.parent,
                env=clean_environment(),
                capture_output=True,
                text=True,
                timeout=800,
                check=False,
            )
            kept.write_text(json.dumps(asdict(Said(done.returncode, done.stdout, done.stderr))), encoding="utf-8")
    return Trained(folder, Said(**json.loads(kept.read_text(encoding="utf-8"))))


@pytest.fixture(scope="session")
def kubeloop() -> Callable[..., Said]:
    """Runs a command in a process of its own."""
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

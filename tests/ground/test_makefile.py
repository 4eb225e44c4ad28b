"""One command on a bare machine; one clear line where it cannot be."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TARGETS = [
    "help",
    "demo",
    "test",
    "lint",
    "type",
    "compile",
    "golden",
    "bench",
    "ci",
    "setup",
    "clean",
    "check",
    "imports",
    "readme",
    "slow",
    "network",
    "images",
    "cluster",
    "cluster-test",
    "cluster-down",
    "bench-serving",
    "soak",
]
ROOT = Path(__file__).parents[2]
NATIVE = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "kubeloop").glob("*/*.[ch]"))
GROUND = ("Makefile", "pyproject.toml", "uv.lock", *NATIVE)


@pytest.fixture
def bare(root: Path, tmp_path: Path) -> Path:
    """A tree with what set-up reads, and `bin/`, alone on PATH, with the few commands of a bare machine."""
    for name in NATIVE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    for name in GROUND:
        shutil.copy(root / name, tmp_path / name)
    shutil.copytree(root / ".ci", tmp_path / ".ci", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "bin").mkdir()
    for command in ("make", "sh", "git", "awk"):
        (tmp_path / "bin" / command).symlink_to(shutil.which(command) or "")
    return tmp_path


def command(tree: Path, name: str, version: str, *, has_venv: bool = True, does: str = "true") -> None:
    """Plant a python: answers its version, then whether it has venv, then does `does`."""
    text = f"""#!/bin/sh
case "$2" in
  *version_info*) echo {version} ;;
  *ensurepip*) {"exit 0" if has_venv else "exit 1"} ;;
  *) {does} ;;
esac
"""
    path = tree / "bin" / name
    path.write_text(text)
    path.chmod(0o755)


def make(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": str(tree / "bin"), "HOME": str(tree)}
    return subprocess.run(["make", *arguments], cwd=tree, env=env, capture_output=True, text=True, check=False)


def test_help_lists_every_target(bare: Path) -> None:
    done = make(bare, "help")
    assert done.returncode == 0, done.stderr
    listed = [line.split()[1] for line in done.stdout.splitlines()]
    assert sorted(listed) == sorted(TARGETS)


@pytest.mark.parametrize("target", ["demo", "test"])
def test_wrong_version_gets_one_line(bare: Path, target: str) -> None:
    command(bare, "python3", "3.9")
    done = make(bare, target)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "Kubeloop needs Python 3.11 or 3.12 with venv: python3 is 3.9, python3.12 is not there" in line
    assert not (bare / ".venv").exists()


def test_no_venv_gets_one_line(bare: Path) -> None:
    command(bare, "python3", "3.11", has_venv=False)
    done = make(bare, "test")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "python3 has no venv (on Debian: apt install python3.11-venv)" in line


def test_no_python_gets_one_line(bare: Path) -> None:
    done = make(bare, "test")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "python3 is not there" in line


def test_a_python_that_is_named_is_the_only_one_tried(bare: Path) -> None:
    command(bare, "python3", "3.11")
    command(bare, "python3.10", "3.10")
    done = make(bare, "test", "PYTHON=python3.10")
    assert done.returncode == 2
    assert "with venv: python3.10 is 3.10; install one" in done.stderr


def test_versioned_command_is_found_behind_a_wrong_python3(bare: Path) -> None:
    command(bare, "python3", "3.13")
    command(bare, "python3.12", "3.12", does='echo "set up with $0"')
    done = make(bare, "setup")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"set up with {bare}/bin/python3.12\n"


@pytest.fixture
def real(bare: Path) -> Path:
    """A bare tree whose python3 is this one, and whose package index does not exist."""
    (bare / "bin" / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (bare / "bin" / "python3").chmod(0o755)
    return bare


def stamped(tree: Path) -> None:
    """Leave what a finished set-up leaves."""
    version = next(line for line in (tree / "Makefile").read_text().splitlines() if line.startswith("UV_VERSION"))
    texts = [str(tree / ".venv").encode(), version.split()[-1].encode()]
    texts += [(tree / name).read_bytes() for name in ("pyproject.toml", "uv.lock", *NATIVE)]
    (tree / ".venv").mkdir(exist_ok=True)
    (tree / ".venv/.set-up").write_text(hashlib.sha256(b"\0".join(texts)).hexdigest())


def test_fresh_stamp_means_no_set_up(real: Path) -> None:
    stamped(real)
    done = make(real, "setup")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_same_content_with_newer_times_needs_no_network(real: Path) -> None:
    stamped(real)
    os.utime(real / ".venv/.set-up", (0, 0))
    assert "set_up.py" in make(real, "-n", "setup").stdout
    done = make(real, "setup")
    assert (done.returncode, done.stdout) == (0, "")
    assert (real / ".venv/.set-up").stat().st_mtime > 0


def test_changed_lock_sets_up_again_and_a_stopped_set_up_says_so(real: Path) -> None:
    stamped(real)
    (real / "uv.lock").write_text("version = 2\n")
    (real / ".venv/half").touch()
    os.utime(real / ".venv/.set-up", (0, 0))
    env = {"PATH": str(real / "bin"), "HOME": str(real), "PIP_NO_INDEX": "1"}
    done = subprocess.run(["make", "setup"], cwd=real, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "set-up stopped:" in done.stderr
    assert "run the same command again" in done.stderr
    assert not (real / ".venv/half").exists(), "what was not an environment was not cleared away"
    assert (real / ".venv/.unfinished").exists()
    assert not (real / ".venv/.set-up").exists()
    assert "set_up.py" in make(real, "-n", "setup").stdout

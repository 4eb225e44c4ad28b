"""A test session fails when a process that it started outlives it."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

LEAVES = """
import subprocess, sys

def test_leaves(tmp_path):
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)", {word!r}]
    {how}
"""
PATIENCE = "LAST_S = 60.0\n"
CHILD = "subprocess.Popen(sleeper)"
# The starter ends at once, so that the sleeper is no longer anybody's child here.
STARTER = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
ADRIFT = f'subprocess.run([sys.executable, "-c", "{STARTER}", *sleeper])'


def session(root: Path, folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    text = (root / "tests/conftest.py").read_text()
    assert PATIENCE in text
    (folder / "conftest.py").write_text(text.replace(PATIENCE, "LAST_S = 1.0\n"))
    (folder / "test_it.py").write_text(body)
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        folder,
        "-c",
        "/dev/null",
        folder,
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("how", [CHILD, ADRIFT], ids=["child", "adrift"])
def test_process_left_behind_fails_the_session(root: Path, tmp_path: Path, how: str) -> None:
    word = f"left-by-{tmp_path.name}"
    done = session(root, tmp_path, LEAVES.format(how=how, word=word))
    assert done.returncode == 1, done.stdout
    assert "processes that tests started are still alive" in done.stdout
    assert word in done.stdout
    assert not [process for process in psutil.process_iter(["cmdline"]) if word in (process.info["cmdline"] or [])]


def test_clean_session_passes(root: Path, tmp_path: Path) -> None:
    body = "import subprocess, sys\n\ndef test_clean():\n    subprocess.run([sys.executable, '-c', ''], check=True)\n"
    done = session(root, tmp_path, body)
    assert done.returncode == 0, done.stdout


def test_time_zone_is_utc() -> None:
    assert time.tzname[0] == "UTC"

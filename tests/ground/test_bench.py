"""What a person waits for before anything happens: `make bench` prints it."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.bench


@pytest.mark.parametrize(
    ("what", "command"),
    [
        ("an empty python", ["-c", ""]),
        ("import kubeloop", ["-c", "import kubeloop"]),
        ("kubeloop --help", ["-m", "kubeloop.cli.main", "--help"]),
    ],
)
def test_start(what: str, command: list[str], tmp_path: Path) -> None:
    took = []
    for _ in range(9):
        began = time.perf_counter()
        subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, check=True)
        took.append(time.perf_counter() - began)
    took.sort()
    print(f"\n{what}: median {statistics.median(took):.3f} s, {took[0]:.3f} to {took[-1]:.3f} s in 9 processes")

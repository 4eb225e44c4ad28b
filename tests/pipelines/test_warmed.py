"""What the local engine has imported ahead is there, starts no thread, and is never kfp."""

import importlib.util
import subprocess
import sys

import pytest

from kubeloop.pipelines.local import ENGINE, TASKS
from kubeloop.serving.process import NEEDED

IMPORTED = """
import importlib, os, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
threads = [open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")]
print(sorted(set(threads)), sorted(name for name in sys.modules if name.split(".")[0] == "kfp"))
"""


@pytest.mark.parametrize("name", sorted({*ENGINE, *TASKS, *NEEDED}))
def test_each_exists(name: str) -> None:
    """A name that is none would only be slow, and nobody would notice."""
    assert importlib.util.find_spec(name) is not None


@pytest.mark.slow
def test_none_starts_a_thread_or_loads_kfp() -> None:
    """With a thread of a library's the server cannot fork, and every task begins cold."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *ENGINE, *TASKS, *NEEDED], env=one, capture_output=True, text=True, check=True
    )
    assert done.stdout in ("['jemalloc_bg_thd', 'python'] []\n", "['python'] []\n")

"""A table is split in less memory than it takes itself."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from kubeloop.data.tables import write_table

pytestmark = pytest.mark.slow
ROWS, NUMBERS = 600_000, 120
SPLIT = """
import json, resource, sys
from pathlib import Path
import pyarrow.parquet, numpy
from kubeloop.contract.sections import SplitSection
from kubeloop.contract.splitting import Split
from kubeloop.contract.target import Target
from kubeloop.data.splitting import split
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
folder, before = Path(sys.argv[1]), peak()
section = SplitSection(name="large", id=("key",), target=Target(column="y", task="binary"), split=Split(), seed=0)
facts = split(section, folder / "valid", folder / "development", folder / "test")
print(json.dumps({"grown": peak() - before, "rows": facts["development"] + facts["test"]}))
"""


def table() -> pa.RecordBatchReader:
    rng = np.random.default_rng(0)
    size = 50_000
    names = ["key", *(f"x{place}" for place in range(NUMBERS)), "y"]
    kinds = [pa.int64(), *([pa.float64()] * NUMBERS), pa.int64()]
    schema = pa.schema(list(zip(names, kinds, strict=True)))

    def batch(start: int) -> pa.RecordBatch:
        numbers = [pa.array(rng.standard_normal(size)) for _ in range(NUMBERS)]
        ends = [pa.array(np.arange(start, start + size)), pa.array(rng.integers(0, 2, size))]
        return pa.RecordBatch.from_arrays([ends[0], *numbers, ends[1]], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, (batch(start) for start in range(0, ROWS, size)))


def test_a_table_is_split_in_less_memory_than_it_takes(tmp_path: Path) -> None:
    write_table(table(), tmp_path / "valid")
    done = subprocess.run(
        [sys.executable, "-c", SPLIT, str(tmp_path)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["rows"] == ROWS
    in_memory = ROWS * (NUMBERS + 2) * 8
    assert found["grown"] < 0.75 * in_memory, f"{found['grown'] / 1e6:.0f} MB for a table of {in_memory / 1e6:.0f} MB"

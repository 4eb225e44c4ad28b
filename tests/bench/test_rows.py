"""Ten million rows through ingest and validate, against plain DuckDB and pandas doing the same rules in the same run.

And the memory of `split` over a wide table. `BENCH_ROWS` makes the first smaller; its CSV is made once, in the
machine's folder for temporary files.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]
ROWS = int(os.environ.get("BENCH_ROWS", "10000000"))
ENGINES = Path(__file__).with_name("engines.py")


@pytest.fixture(scope="module")
def table() -> Path:
    path = Path(tempfile.gettempdir()) / f"kubeloop-bench-2-{ROWS}.csv"
    if not path.exists():
        spec = importlib.util.spec_from_file_location("engines", ENGINES)
        assert spec is not None
        assert spec.loader is not None
        engines = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(engines)
        half = path.with_suffix(f".{os.getpid()}")
        engines.write_csv(half, ROWS)
        half.rename(path)
    return path


def run(engine: str, table: Path, folder: Path) -> dict:
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, str(ENGINES), engine, str(table), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_ingest_and_validate(table: Path, tmp_path: Path) -> None:
    # Plain DuckDB before and after: what else the machine does shows as the distance of the two.
    found = {name: run(name.split()[0], table, tmp_path / name) for name in ("duckdb 1", "ours", "duckdb 2", "pandas")}
    plain = (found["duckdb 1"]["seconds"] + found["duckdb 2"]["seconds"]) / 2
    plain_cpu = (found["duckdb 1"]["cpu"] + found["duckdb 2"]["cpu"]) / 2
    print(f"\n{ROWS:,} rows, {table.stat().st_size / 1e9:.2f} GB of CSV, {os.cpu_count()} cores")
    for name, of in found.items():
        print(f"{name:9} {of['seconds']:6.1f} s  {of['cpu']:6.1f} s of CPU  {of['peak_gb']:5.2f} GB at most")
    ours = found["ours"]
    print(f"ours / plain DuckDB: {ours['seconds'] / plain:.2f} in time, {ours['cpu'] / plain_cpu:.2f} in CPU")
    assert found["duckdb 1"]["answers"] == found["duckdb 2"]["answers"]
    assert ours["answers"] == found["duckdb 1"]["answers"] == found["pandas"]["answers"]
    assert ours["peak_gb"] < 0.7
    assert ours["seconds"] <= 1.5 * plain


COLUMNS = 44
SPLIT = """
import resource, sys
from pathlib import Path
import numpy as np, pyarrow as pa
from kubeloop.contract.sections import SplitSection
from kubeloop.contract.splitting import Split
from kubeloop.contract.target import Target
from kubeloop.data.splitting import split
from kubeloop.data.tables import staged, write_parts

folder, rows, columns = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

def batches():
    for start in range(0, rows, 50_000):
        n = np.arange(start, min(start + 50_000, rows))
        values = np.random.default_rng(start).random((columns, len(n)))
        yield pa.record_batch({f"c{i}": each for i, each in enumerate(values)} | {"id": n, "y": n % 2})

types = {f"c{i}": "number" for i in range(columns)} | {"id": "integer", "y": "integer"}
if len(sys.argv) > 4:
    with staged(folder) as partial:
        write_parts(next(batches()).schema, batches(), partial, types)
else:
    target = Target(task="binary", column="y")
    section = SplitSection(name="wide", id=("id",), target=target, split=Split(), seed=0)
    facts = split(section, folder, folder.with_name(f"{folder.name}-d"), folder.with_name(f"{folder.name}-t"))
    print(facts["test"] + facts["development"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_split_holds_a_small_part_of_the_rows_at_a_time(tmp_path: Path) -> None:
    """A table three times as long takes a fraction of the further rows' bytes: what places them, and one column."""
    peaks = {}
    for rows in (400_000, 1_200_000):
        words = [sys.executable, "-c", SPLIT, str(tmp_path / str(rows)), str(rows), str(COLUMNS)]
        subprocess.run([*words, "make"], check=True)
        said = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
        assert int(said[0]) == rows
        peaks[rows] = int(said[1])
        print(f"\nsplit of {rows:,} rows, {COLUMNS + 2} columns: {peaks[rows] / 1e6:,.0f} MB at most")
    further = (1_200_000 - 400_000) * (COLUMNS + 2) * 8
    grown = peaks[1_200_000] - peaks[400_000]
    print(f"{grown / 1e6:.0f} MB more for {further / 1e6:.0f} MB of further rows")
    assert grown < further / 2

"""Ten million rows through ingest and validate, against plain DuckDB and pandas doing the same rules in the same run.

`BENCH_ROWS` makes it smaller. The CSV is made once, in the machine's folder for temporary files.
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

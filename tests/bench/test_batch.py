"""Batch scoring of a million rows, parquet to parquet, against pandas in chunks of 100,000: CPU, memory, answers."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from .scoring_models import FAMILIES, SCHEMA, fitted, made_table

ROWS = 1_000_000
ROUNDS = 2
WANTED = {"LR": 2.0, "HGB": 3.0, "RF": 1.0}


def _chunks(pipeline: Any, source: Path, out: Path) -> None:
    """What a person writes: read, predict and write 100,000 rows at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: Any = None
    with pq.ParquetFile(source) as file:
        for batch in file.iter_batches(100_000):
            shares = pipeline.predict_proba(batch.to_pandas())
            answers = {
                "prediction": shares.argmax(axis=1),
                "probability_0": shares[:, 0],
                "probability_1": shares[:, 1],
            }
            table = pa.Table.from_pandas(pd.DataFrame(answers), preserve_index=False)
            writer = writer or pq.ParquetWriter(out, table.schema)
            writer.write_table(table)
    writer.close()


def _planned(pipeline: Any, source: Path, out: Path) -> None:
    from kubeloop.scoring.batch import score_file
    from kubeloop.scoring.compile import compile_plan
    from kubeloop.scoring.scorer import Scorer

    from .scoring_models import Model

    plan = compile_plan(pipeline, SCHEMA)
    score_file(Model(), Scorer(plan, SCHEMA), source, out)


def side(which: str, folder: str) -> None:
    """One side in a process of its own, which has not fitted; prints CPU seconds of the scoring and peak of memory."""
    import joblib

    pipeline = joblib.load(Path(folder) / "model.joblib")
    work = {"pandas": _chunks, "plan": _planned}[which]
    before = resource.getrusage(resource.RUSAGE_SELF)
    work(pipeline, Path(folder) / "in.parquet", Path(folder) / f"{which}.parquet")
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # Not ru_maxrss: what this process's parent held when it forked counts there.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    print(json.dumps({"cpu": cpu, "peak_mb": int(peak) / 1024}))


@pytest.mark.bench
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_million_rows(name: str, tmp_path: Path, root: Path) -> None:
    import joblib

    made_table(ROWS, 7).to_parquet(tmp_path / "in.parquet", index=False)
    joblib.dump(fitted(name), tmp_path / "model.joblib")
    ratios = []
    for _ in range(ROUNDS):
        found = {}
        for which in ("pandas", "plan"):
            code = f"from tests.bench.test_batch import side; side({which!r}, {str(tmp_path)!r})"
            done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
            found[which] = json.loads(done.stdout)
        ratios.append(found["pandas"]["cpu"] / found["plan"]["cpu"])
        rates = {
            which: f"{ROWS / each['cpu']:,.0f} rows/CPU s, {each['peak_mb']:,.0f} MB" for which, each in found.items()
        }
        print(f"\n{name}: pandas {rates['pandas']}; plan {rates['plan']}; {ratios[-1]:.1f}x")
        wanted, got = (pd.read_parquet(tmp_path / f"{which}.parquet") for which in ("pandas", "plan"))
        assert (wanted["prediction"].to_numpy() == got["prediction"].to_numpy()).all()
        assert np.abs(wanted["probability_1"] - got["probability_1"]).max() <= 1e-12
        assert found["plan"]["peak_mb"] < found["pandas"]["peak_mb"]
    assert min(ratios) >= WANTED[name]

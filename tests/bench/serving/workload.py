"""What both sides are asked: one table, three models, fixed bodies."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from kubeloop.contract import Contract, sections_of
from kubeloop.data.tables import write_table
from kubeloop.decisions import Check, decide
from kubeloop.learning.training import train
from kubeloop.packaging.build import build
from kubeloop.scoring.prepare import prepare

NAME = "bench"
TEXTS = tuple(f"c{i}" for i in range(5))
NUMBERS = tuple(f"n{i}" for i in range(8))
COLUMNS = (*TEXTS, *NUMBERS)
MODELS: dict[str, dict[str, Any]] = {
    "LR": {"kind": "logistic_regression"},
    "HGB": {
        "kind": "sklearn.ensemble.HistGradientBoostingClassifier",
        "parameters": {"max_iter": 200, "early_stopping": False},
    },
    "RF": {"kind": "random_forest", "parameters": {"n_estimators": 200}},
}


def table(rows: int = 3000, seed: int = 7) -> pd.DataFrame:
    """Five texts, eight numbers with gaps, one label; the first 1,024 rows have no gap and are what is asked."""
    rng = np.random.default_rng(seed)
    made: dict[str, Any] = {
        name: rng.choice([f"{name}-{k}" for k in range(4 + i)], rows) for i, name in enumerate(TEXTS)
    }
    for name in NUMBERS:
        values = rng.normal(size=rows).round(4)
        values[1024:][rng.random(rows - 1024) < 0.05] = np.nan
        made[name] = values
    score = made["n0"] - np.nan_to_num(made["n1"]) + (made["c0"] == "c0-1") * 1.5
    made["label"] = np.where(rng.random(rows) < 1 / (1 + np.exp(-score)), "yes", "no")
    return pd.DataFrame(made)


def contract(model: str, p99_ms: float) -> Contract:
    """A contract; `p99_ms` large where the other side does not turn requests away either."""
    columns: dict[str, Any] = {"key": {"type": "integer"}, "label": {"type": "category"}}
    columns |= {name: {"type": "category"} for name in TEXTS} | {name: {"type": "number"} for name in NUMBERS}
    return Contract.model_validate(
        {
            "kubeloop": 1,
            "name": NAME,
            "data": {"sources": [{"name": "main", "path": "x.csv"}], "id": ["key"], "columns": columns},
            "target": {"column": "label", "task": "binary", "positive": "yes"},
            "estimator": MODELS[model],
            "metrics": {"primary": "roc_auc"},
            "serving": {"slo": {"p99_ms": p99_ms}},
        }
    )


def package(model: str, folder: Path, p99_ms: float = 60_000.0, rows: int = 3000) -> Path:
    """A package of ours."""
    agreed, data = contract(model, p99_ms), folder / "data"
    frame = table(rows)
    frame = frame.assign(key=np.arange(len(frame)), _fold=np.arange(len(frame)) % 5)
    facts = write_table(pa.Table.from_pandas(frame, preserve_index=False), data)
    train(sections_of(agreed).train, {}, data, folder / "model")
    prepare(folder / "model", data)
    decision = decide("model", [Check(name="threshold", verdict="pass", reason="good enough")])
    estimate = {"value": 0.8, "low": 0.7, "high": 0.9, "method": "delong", "n": 30}
    evaluation = {"metrics": {"roc_auc": estimate}, "decision": decision}
    build(folder / "model", agreed, evaluation, facts.digest, folder / "package")
    return folder / "package"


def rows(count: int) -> list[dict[str, Any]]:
    """The first rows of the table, as JSON has them."""
    found: list[dict[str, Any]] = json.loads(table().drop(columns=["label"]).head(count).to_json(orient="records"))
    return found


def v1_body(count: int, stock: bool) -> bytes:
    """V1; the stock server makes a frame of each instance, and so wants lists for values."""
    asked = rows(count)
    return json.dumps({"instances": [{k: [v] for k, v in row.items()} for row in asked] if stock else asked}).encode()


def v2_body(count: int) -> bytes:
    """V2, one tensor per column; the same for both."""
    asked = rows(count)
    inputs = [
        {
            "name": name,
            "shape": [count],
            "datatype": "BYTES" if name in TEXTS else "FP64",
            "data": [row[name] for row in asked],
        }
        for name in COLUMNS
    ]
    return json.dumps({"parameters": {"content_type": "pd"}, "inputs": inputs}).encode()

"""Tables and sections for the learning tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kubeloop.contract import Contract, sections_of
from kubeloop.contract.sections import TrainSection
from kubeloop.data.tables import write_table

COLUMNS: dict[str, Any] = {
    "key": {"type": "integer"},
    "age": {"type": "integer", "minimum": 0, "maximum": 120},
    "dose": {"type": "number"},
    "ward": {"type": "category"},
    "smoker": {"type": "boolean"},
    "note": {"type": "text"},
    "seen": {"type": "timestamp"},
    "secret": {"type": "number", "policy": "deny"},
    "mail": {"type": "category", "policy": "pii"},
    "origin": {"type": "category", "policy": "audit_only"},
    "bill": {"type": "number", "known_at": "after"},
    "unit": {"type": "category"},
    "ill": {"type": "category"},
}


def rows(n: int = 240, seed: int = 3) -> pd.DataFrame:
    """Development rows with missing values, and every kind of column that may not be a feature."""
    rng = np.random.default_rng(seed)
    age = rng.integers(20, 90, n)
    dose = rng.normal(size=n)
    dose[::17] = np.nan
    ward = rng.choice(["north", "south", "1"], n).astype(object)
    ward[::23] = None
    ill = np.where(rng.random(n) < 1 / (1 + np.exp(-(age - 55) / 10 - np.nan_to_num(dose))), "yes", "no")
    return pd.DataFrame(
        {
            "key": np.arange(n),
            "age": age,
            "dose": dose,
            "ward": ward,
            "smoker": rng.random(n) < 0.3,
            "note": ["a note"] * n,
            "seen": pd.Timestamp("2024-01-01", tz="UTC"),
            "secret": rng.normal(size=n),
            "mail": ["a@example.org"] * n,
            "origin": rng.choice(["a", "b"], n),
            "bill": rng.normal(size=n),
            "unit": ["mg"] * n,
            "ill": ill,
            "_fold": np.arange(n) % 5,
        }
    )


def document(**more: Any) -> dict[str, Any]:
    """A contract for `rows`, as loop.yaml would say it."""
    return {
        "kubeloop": 1,
        "name": "ward",
        "data": {"sources": [{"name": "main", "path": "x.csv"}], "id": ["key"], "time": "seen", "columns": COLUMNS},
        "target": {"column": "ill", "task": "binary", "positive": "yes"},
        "estimator": {"kind": "logistic_regression"},
        "metrics": {"primary": "roc_auc", "also": ["accuracy", "log_loss"]},
        "seed": 7,
    } | more


def section(**more: Any) -> TrainSection:
    """The training section of `document`."""
    return sections_of(Contract.model_validate(document(**more))).train


@pytest.fixture
def table(tmp_path: Path) -> Callable[[pd.DataFrame], Path]:
    """Writes a frame as a table folder."""

    def write(frame: pd.DataFrame) -> Path:
        folder = tmp_path / "development"
        write_table(pa.Table.from_pandas(frame, preserve_index=False), folder)
        return folder

    return write


@pytest.fixture
def make_section() -> Callable[..., TrainSection]:
    """Makes a training section; words replace parts of the contract."""
    return section


@pytest.fixture
def make_rows() -> Callable[..., pd.DataFrame]:
    """Makes development rows."""
    return rows

"""A made table with gaps, rare, unknown and empty categories, moments, and pipelines fitted on it."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kubeloop.learning.inputs import InputColumn, Kind, to_frame

NUMBERS, WARDS = 5, ("", "a", "b", "c", "rare")
Row = list[Any]


def column(name: str, kind: Kind, categories: list[str] | None = None, *, nullable: bool = True) -> InputColumn:
    bounds = (None, None) if kind == "category" else (-5.0, 5.0)
    return InputColumn(
        name=name, kind=kind, categories=categories, minimum=bounds[0], maximum=bounds[1], nullable=nullable
    )


SCHEMA = [
    *(column(f"n{place}", "number") for place in range(NUMBERS)),
    column("flag", "boolean"),
    column("ward", "category", sorted(WARDS)),
    column("code", "category", ["1", "2", "3", "4.5"]),
    column("seen", "timestamp", nullable=False),
]


def made_rows(count: int, seed: int) -> list[Row]:
    """Rows of JSON cells in the order of `SCHEMA`."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for _ in range(count):
        row: Row = [None if rng.random() < 0.1 else float(np.round(rng.normal(), 2)) for _ in range(NUMBERS)]
        row.append([True, False, None][rng.choice(3, p=[0.5, 0.45, 0.05])])
        row.append([*WARDS, "never seen", None][rng.choice(7, p=[0.1, 0.3, 0.3, 0.15, 0.03, 0.02, 0.1])])
        row.append(["1", 2, 3.0, "4.5", "1.0", None, "9"][rng.integers(7)])
        row.append(float(rng.integers(-2_000_000_000, 2_000_000_000)) + float(rng.choice([0.0, 0.25])))
        rows.append(row)
    return rows


def truth_of(rows: list[Row], task: str, seed: int = 5) -> NDArray[Any]:
    frame = to_frame(rows, SCHEMA)
    numbers = frame[[f"n{place}" for place in range(NUMBERS)]].fillna(0.0).to_numpy()
    raw = numbers[:, 0] + numbers[:, 1] * numbers[:, 2] + (frame["ward"] == "a").to_numpy()
    raw = raw + np.random.default_rng(seed).normal(scale=0.3, size=len(rows))
    if task == "regression":
        return np.asarray(raw)
    return np.digitize(raw, [0.2] if task == "binary" else [-0.5, 0.9])


@pytest.fixture(scope="session")
def training_rows() -> list[Row]:
    return made_rows(400, 0)


@pytest.fixture(scope="session")
def fresh_rows() -> list[Row]:
    return made_rows(600, 1)

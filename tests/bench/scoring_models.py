"""The workload of the scoring benchmarks: 13 columns, 5 of them categories, 8 numbers with gaps; LR, HGB, RF."""

import functools
from typing import Any

import numpy as np
import pandas as pd

from kubeloop.learning.inputs import InputColumn, to_frame

NUMBERS = [f"n{place}" for place in range(8)]
TEXTS = [f"c{place}" for place in range(5)]
FAMILIES = ("LR", "HGB", "RF")
TRAINING = 10_000
SCHEMA = [
    *(
        InputColumn(name=name, kind="number", categories=None, minimum=-5.0, maximum=5.0, nullable=True)
        for name in NUMBERS
    ),
    *(
        InputColumn(
            name=name,
            kind="category",
            categories=sorted(f"{name}-{value}" for value in range(3 + 2 * place)),
            minimum=None,
            maximum=None,
            nullable=True,
        )
        for place, name in enumerate(TEXTS)
    ),
]


def made_table(rows: int, seed: int) -> pd.DataFrame:
    """(rows, 13): one number in ten is missing, one category in thirty is unknown or missing."""
    rng = np.random.default_rng(seed)
    made: dict[str, Any] = {}
    for name in NUMBERS:
        values = rng.normal(size=rows)
        values[rng.random(rows) < 0.1] = np.nan
        made[name] = values
    for column in SCHEMA[len(NUMBERS) :]:
        known = np.array([*(column["categories"] or ()), "never seen", None], dtype=object)
        odds = np.full(len(known), (1 - 1 / 30) / (len(known) - 2))
        odds[-2:] = 1 / 60
        made[column["name"]] = known[rng.choice(len(known), rows, p=odds)]
    return pd.DataFrame(made)


def truth_of(table: pd.DataFrame, seed: int) -> Any:
    """(rows,) 0 or 1."""
    numbers = table[NUMBERS].fillna(0.0)
    raw = numbers["n0"] + numbers["n1"] * numbers["n2"] + (table["c1"] == "c1-2") - (table["c4"] == "c4-3")
    return (raw + np.random.default_rng(seed).normal(scale=0.5, size=len(table)) > 0).astype(int).to_numpy()


@functools.cache
def fitted(name: str) -> Any:
    """The pipeline of a family, fitted on 10,000 rows."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    models = {
        "LR": lambda: LogisticRegression(max_iter=500),
        "HGB": lambda: HistGradientBoostingClassifier(max_iter=200, random_state=0),
        "RF": lambda: RandomForestClassifier(200, random_state=0),
    }
    scaled = Pipeline([("i", SimpleImputer(strategy="median")), ("s", StandardScaler())])
    known = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    pipeline = Pipeline(
        [("f", ColumnTransformer([("n", scaled, NUMBERS), ("c", known, TEXTS)])), ("m", models[name]())]
    )
    table = made_table(TRAINING, 0)
    return pipeline.fit(to_frame(table, SCHEMA), truth_of(table, 1))


class Model:
    """A package's face, for what the batches ask of it beside its plan."""

    digest = "sha256-" + "0" * 64
    task = "binary"
    schema = SCHEMA
    classes = [0, 1]  # noqa: RUF012 - it is what a package answers

    def predict(self, rows: Any) -> Any:
        """No row of the benchmark needs scikit-learn."""
        raise AssertionError(f"{len(rows)} rows were left to scikit-learn")

"""Small real models for the tests of packaging, registry and rollout; also imported by their child processes."""

from pathlib import Path
from typing import Any

import numpy as np

NAME = "heart"
DATA = "sha256-" + "d" * 64


def contract(task: str = "binary", c: float = 1.0) -> Any:
    from kubeloop.contract import Contract

    estimator = (
        {"kind": "ridge", "parameters": {"alpha": c}}
        if task == "regression"
        else {"kind": "logistic_regression", "parameters": {"C": c}}
    )
    return Contract.model_validate(
        {
            "kubeloop": 1,
            "name": NAME,
            "business": {"problem": "Who is ill?", "outcome": "Fewer | missed", "owner": "ward 3"},
            "data": {
                "sources": [{"name": "people", "path": "people.csv"}],
                "columns": {
                    "age": {"type": "number", "minimum": 0, "maximum": 120},
                    "smokes": {"type": "boolean"},
                    "pain": {"type": "category", "values": ["none", "some", "much"]},
                    "ill": {"type": "number" if task == "regression" else "category"},
                },
            },
            "target": {"column": "ill", "task": task} | ({"positive": "yes"} if task == "binary" else {}),
            "estimator": estimator,
            "metrics": {"primary": "rmse" if task == "regression" else "accuracy"},
        }
    )


def table(task: str = "binary", rows: int = 60, seed: int = 0) -> Any:
    import pyarrow as pa

    draw = np.random.default_rng(seed)
    age = draw.uniform(20, 90, rows).round(1)
    pain = draw.choice(["none", "some", "much"], rows)
    if task == "regression":
        ill: Any = age * 2 + draw.normal(0, 1, rows)
    elif task == "multiclass":
        ill = np.where(age > 70, "very", np.where(age > 50, "a bit", "no"))
    else:
        ill = np.where(age + draw.normal(0, 10, rows) > 55, "yes", "no")
    return pa.table(
        {
            "age": [None if index % 11 == 0 else value for index, value in enumerate(age.tolist())],
            "smokes": (draw.uniform(size=rows) > 0.5).tolist(),
            "pain": pain.tolist(),
            "ill": ill.tolist(),
            "_fold": [index % 5 for index in range(rows)],
        }
    )


def train(folder: Path, task: str = "binary", c: float = 1.0, seed: int = 0) -> Path:
    """A model folder as the component `train` leaves it."""
    from kubeloop.contract import sections_of
    from kubeloop.data.tables import write_table
    from kubeloop.learning.training import train as fit

    write_table(table(task, seed=seed), folder / "development")
    (folder / "model").mkdir(parents=True, exist_ok=True)
    fit(sections_of(contract(task, c)).train, {}, folder / "development", folder / "model")
    return folder / "model"


def evaluation(verdict: str = "pass", baseline: str = "none_yet", **more: Any) -> dict[str, Any]:
    from kubeloop.decisions import Check, decide

    check = Check(name="threshold:accuracy", verdict=verdict, reason="accuracy 0.9 keeps 0.8")  # type: ignore[arg-type]
    return {
        "metrics": {"accuracy": {"value": 0.9, "low": 0.85, "high": 0.94, "method": "wilson", "n": 60}},
        "decision": decide("model", [check], baseline).model_dump(mode="json"),  # type: ignore[arg-type]
        **more,
    }


def package(folder: Path, task: str = "binary", c: float = 1.0, **more: Any) -> Path:
    """A package folder, from a model trained for it."""
    from kubeloop.packaging.build import build

    model = train(folder, task, c)
    build(model, contract(task, c), evaluation(**more), DATA, folder / "package")
    return folder / "package"

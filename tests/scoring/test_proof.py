"""The proof bites: a plan that is off by a bit where it counts is dropped, and the reason is written down."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier

from kubeloop.learning.inputs import to_frame
from kubeloop.scoring.compile import compile_plan
from kubeloop.scoring.errors import Refused
from kubeloop.scoring.forest import unpack
from kubeloop.scoring.plan import Plan
from kubeloop.scoring.proof import NOBODY, adversarial, prove

from .conftest import NUMBERS, SCHEMA, Row, truth_of
from .test_parity import prepared

FITTED = {"tree": DecisionTreeClassifier(max_depth=6, random_state=0), "logistic": LogisticRegression()}


@pytest.fixture(scope="module")
def frame(training_rows: list[Row]) -> pd.DataFrame:
    return to_frame(training_rows, SCHEMA)


@pytest.fixture(scope="module")
def pipelines(frame: pd.DataFrame, training_rows: list[Row]) -> dict[str, Pipeline]:
    truth = truth_of(training_rows, "binary")
    return {name: Pipeline([("f", prepared()), ("m", model)]).fit(frame, truth) for name, model in FITTED.items()}


def changed(plan: Plan, name: str, place: int, factor: float) -> Plan:
    """The plan with one number of the last operation of that name changed a little."""
    steps = list(plan.operations)
    at = max(number for number, step in enumerate(steps) if step.name == name)
    floats = steps[at].floats.copy()
    floats[place] = floats[place] * factor
    steps[at] = replace(steps[at], floats=floats)
    return replace(plan, operations=tuple(steps))


@pytest.mark.parametrize("name", FITTED)
def test_a_true_plan_is_proven(name: str, pipelines: dict[str, Pipeline], frame: pd.DataFrame) -> None:
    proof = prove(compile_plan(pipelines[name], SCHEMA), pipelines[name], SCHEMA, frame, 0)
    assert proof.training_rows == len(frame)
    assert proof.adversarial_rows > 100
    assert proof.max_difference <= 1e-14
    assert proof.evaluators == ("native", "numpy")


def test_a_weight_that_is_off_is_caught(pipelines: dict[str, Pipeline], frame: pd.DataFrame) -> None:
    plan = changed(compile_plan(pipelines["logistic"], SCHEMA), "linear", 1, 1 + 1e-9)
    with pytest.raises(Refused, match="rows is off by"):
        prove(plan, pipelines["logistic"], SCHEMA, frame, 0)


def test_a_threshold_that_is_off_by_one_float_is_caught(pipelines: dict[str, Pipeline], frame: pd.DataFrame) -> None:
    """No training row lies between the two; only the made ties do."""
    plan = compile_plan(pipelines["tree"], SCHEMA)
    step = plan.operations[-1]
    parts = unpack(step)
    root = int(parts.words[0])
    floats = step.floats.copy()
    at = step.width + 1 + int(parts.starts[root >> 16 & 0x3FFF]) + (root & 0xFFFF) - (root >> 30 & 1)
    floats[at] = np.nextafter(np.float32(floats[at]), np.float32(np.inf))
    off = replace(plan, operations=(*plan.operations[:-1], replace(step, floats=floats)))
    with pytest.raises(Refused, match="adversarial rows is off by"):
        prove(off, pipelines["tree"], SCHEMA, frame, 0)


def test_made_rows_hold_what_catches(pipelines: dict[str, Pipeline], frame: pd.DataFrame) -> None:
    made = adversarial(compile_plan(pipelines["tree"], SCHEMA), SCHEMA, frame, 0)
    assert set(made) == set(frame.columns)
    for name in (f"n{place}" for place in range(NUMBERS)):
        assert np.isnan(made[name]).any()
        assert 1.7976931348623157e308 in made[name]
    assert {None, "", NOBODY} <= set(made["ward"].tolist())
    assert not np.isnan(made["seen"]).any(), "a column that may not be missing is"


@pytest.mark.parametrize(("model", "dropped"), [(FITTED["tree"], None), (KNeighborsClassifier(), "KNeighbors")])
def test_prepare_writes_the_plan_or_the_reason(
    model: object, dropped: str | None, frame: pd.DataFrame, training_rows: list[Row], tmp_path: Path
) -> None:
    from kubeloop.data.tables import write_table
    from kubeloop.learning.estimator_file import write_estimator
    from kubeloop.scoring.prepare import prepare

    pipeline = Pipeline([("f", prepared()), ("m", model)]).fit(frame, truth_of(training_rows, "binary"))
    write_estimator(pipeline, tmp_path / "estimator.skops")
    (tmp_path / "model.json").write_text(json.dumps({"schema": SCHEMA}), encoding="utf-8")
    write_table(pa.Table.from_pandas(frame, preserve_index=False), tmp_path / "development")
    facts = prepare(tmp_path, tmp_path / "development")
    assert json.loads((tmp_path / "scoring/proof.json").read_text(encoding="ascii")) == json.loads(json.dumps(facts))
    there = sorted(path.name for path in (tmp_path / "scoring").iterdir())
    if dropped is None:
        assert facts["proof"]["training_rows"] == len(frame)
        assert there == ["arrays.npz", "plan.json", "proof.json"]
    else:
        assert dropped in facts["dropped"]
        assert there == ["proof.json"]

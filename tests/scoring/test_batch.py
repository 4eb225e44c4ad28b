"""Batch scoring: any file, bounded memory, bad rows aside, and taken up after a kill."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier

from kubeloop.errors import InputError
from kubeloop.learning.answers import Answers, answer
from kubeloop.learning.inputs import InputColumn, to_frame
from kubeloop.scoring.batch import score_file
from kubeloop.scoring.compile import compile_plan
from kubeloop.scoring.scorer import Scorer

from .conftest import NUMBERS, SCHEMA, Row, truth_of
from .test_parity import prepared

NAMES = [column["name"] for column in SCHEMA]
CLASSES = ["no", "yes"]


class Model:
    """A package's face over a fitted pipeline."""

    digest = "sha256-" + "0" * 64
    task = "binary"

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    @property
    def schema(self) -> list[InputColumn]:
        return SCHEMA

    @property
    def classes(self) -> list[Any]:
        return CLASSES

    def predict(self, rows: Any) -> Answers:
        return answer(self.estimator, to_frame(rows, SCHEMA), CLASSES, "binary")


@pytest.fixture(scope="module")
def model(training_rows: list[Row]) -> Model:
    pipeline = Pipeline([("f", prepared()), ("m", DecisionTreeClassifier(max_depth=6, random_state=0))])
    return Model(pipeline.fit(to_frame(training_rows, SCHEMA), truth_of(training_rows, "binary")))


@pytest.fixture(scope="module")
def scorer(model: Model) -> Scorer:
    return Scorer(compile_plan(model.estimator, SCHEMA), SCHEMA)


def table_of(rows: list[Row]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=NAMES)
    table["code"] = [None if value is None else str(value) for value in table["code"]]
    table["flag"] = table["flag"].astype("boolean")
    table.insert(0, "further", range(len(table)))
    return table


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("planned", [True, False])
def test_answers_are_those_of_the_package(
    kind: str, planned: bool, model: Model, scorer: Scorer, fresh_rows: list[Row], tmp_path: Path
) -> None:
    table = table_of([row for row in fresh_rows if row[NUMBERS + 1] != ""])  # CSV has no empty text
    source, out = tmp_path / f"in.{kind}", tmp_path / f"out.{kind}"
    table.to_csv(source, index=False) if kind == "csv" else table.to_parquet(source)
    scored = score_file(model, scorer if planned else None, source, out, batch=128)
    found = pd.read_csv(out, float_precision="round_trip") if kind == "csv" else pd.read_parquet(out)
    wanted = model.predict(table)
    assert scored.evaluator == ("native" if planned else "scikit-learn")
    assert (scored.rows, scored.refused, scored.taken_up, scored.quarantine) == (len(table), 0, 0, None)
    assert wanted.labels is not None
    assert found["prediction"].tolist() == wanted.labels.tolist()
    assert np.array_equal(found[["probability_no", "probability_yes"]].to_numpy(), wanted.probabilities)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"in.{kind}", f"out.{kind}"]


@pytest.mark.parametrize("planned", [True, False])
def test_bad_rows_get_no_answer_and_a_reason(
    planned: bool, model: Model, scorer: Scorer, fresh_rows: list[Row], tmp_path: Path
) -> None:
    table = table_of(fresh_rows[:300]).astype(object)
    table.loc[4, "n0"] = "old"
    table.loc[5, "seen"] = None
    table.loc[5, "flag"] = "perhaps"
    table.loc[299, "n1"] = "-inf"
    table.loc[200, "n2"] = 1e300
    table.to_csv(tmp_path / "in.csv", index=False)
    out = tmp_path / "out.parquet"
    scored = score_file(model, scorer if planned else None, tmp_path / "in.csv", out, batch=64)
    found = pd.read_parquet(out)
    assert scored.quarantine == tmp_path / "out.quarantine.csv"
    told = pd.read_csv(tmp_path / "out.quarantine.csv", keep_default_na=False)
    assert told.to_numpy().tolist() == [
        [5, "n0", "a number was expected, the value is the text 'old'"],
        [6, "flag", "true or false was expected, the value is 'perhaps'"],
        [201, "", "the model takes no number that large"],
        [300, "n1", "a number was expected, the value is infinite"],
    ]
    assert np.flatnonzero(found["prediction"].isna()).tolist() == [4, 5, 200, 299]
    good = found["prediction"].notna().to_numpy()
    wanted = model.predict(table[good].reset_index(drop=True)).labels
    assert wanted is not None
    assert found["prediction"][good].tolist() == wanted.tolist()


def test_a_missing_column_is_said_before_anything_is_scored(model: Model, scorer: Scorer, tmp_path: Path) -> None:
    table_of([[0.0] * NUMBERS + [True, "a", "1", 0.0]]).rename(columns={"ward": "wart"}).to_parquet(
        tmp_path / "in.parquet"
    )
    with pytest.raises(InputError, match="column 'ward' is missing in the table; did you mean 'wart'"):
        score_file(model, scorer, tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_no_row_gives_an_empty_table(model: Model, scorer: Scorer, tmp_path: Path) -> None:
    table_of([[0.0] * NUMBERS + [True, "a", "1", 0.0]]).head(0).to_parquet(tmp_path / "in.parquet")
    assert score_file(model, scorer, tmp_path / "in.parquet", tmp_path / "out.parquet").rows == 0
    assert list(pd.read_parquet(tmp_path / "out.parquet").columns) == [
        "prediction",
        "probability_no",
        "probability_yes",
    ]


KILLED = """
import sys
from pathlib import Path
from kubeloop.learning.inputs import InputColumn
from kubeloop.scoring.batch import score_file

class Model:
    digest, task, classes = "sha256-" + "0" * 64, "regression", []
    schema = [InputColumn(name="x", kind="number", categories=None, minimum=None, maximum=None, nullable=True)]
    asked = 0
    def predict(self, rows):
        from kubeloop.learning.answers import Answers
        import numpy as np, time
        Model.asked += 1
        if sys.argv[1] == "stop" and Model.asked == 4:
            print("scored three", flush=True)
            time.sleep(60)
        return Answers(values=np.array([row[0] for row in rows]) * 2)

scored = score_file(Model(), None, Path("in.parquet"), Path("out.parquet"), batch=100)
print(scored.rows, scored.taken_up)
"""


def test_a_killed_run_is_taken_up(tmp_path: Path) -> None:
    pd.DataFrame({"x": np.arange(1000.0)}).to_parquet(tmp_path / "in.parquet")
    (tmp_path / "score.py").write_text(KILLED, encoding="utf-8")
    command = [sys.executable, "score.py"]
    with subprocess.Popen([*command, "stop"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "scored three\n"
        os.kill(first.pid, signal.SIGKILL)
    assert not (tmp_path / "out.parquet").exists()
    done = subprocess.run([*command, "go"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1000", "300"]
    assert pd.read_parquet(tmp_path / "out.parquet")["prediction"].tolist() == (np.arange(1000.0) * 2).tolist()
    assert not (tmp_path / "out.parquet.parts").exists()


def test_what_another_input_left_is_not_taken_up(
    model: Model, scorer: Scorer, fresh_rows: list[Row], tmp_path: Path
) -> None:
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    table_of(fresh_rows).to_parquet(source)
    parts = tmp_path / "out.parquet.parts"
    parts.mkdir()
    (parts / "work.json").write_text('{"of":"another"}', encoding="ascii")
    (parts / "00000000.arrow").write_bytes(b"not ours")
    assert score_file(model, scorer, source, out).taken_up == 0
    assert len(pd.read_parquet(out)) == len(fresh_rows)

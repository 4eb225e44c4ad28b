"""Rows in from an address and answers out to one, in the words of `read_rows` and `write_rows`."""

import datetime as dt
import decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kubeloop.components.read_rows import read_rows
from kubeloop.components.write_rows import write_rows
from kubeloop.data.tables import read_facts, read_frame, write_table
from kubeloop.errors import InputError, TransientError
from kubeloop.registry import exchange, scored
from kubeloop.tracking.task import TaskContext

pytestmark = pytest.mark.usefixtures("no_mirror")


@pytest.fixture
def run(site: Any, now: Any) -> TaskContext:
    return TaskContext(site, "run-1", now, "score")


def asked(models: Any, champion: Any, rows: int = 60) -> pd.DataFrame:
    """Rows with the model's columns in another order, and one that is nobody's business."""
    names = [column["name"] for column in champion.schema]
    frame: pd.DataFrame = models.table(rows=60).to_pandas().take(np.arange(rows) % 60).reset_index(drop=True)
    return frame[[*reversed(names)]].assign(secret="planted-value")


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_from_file_to_file_the_answers_are_the_packages(
    champion: Any, run: TaskContext, models: Any, tmp_path: Path, ending: str
) -> None:
    frame, source = asked(models, champion), tmp_path / f"in.{ending}"
    if ending == "jsonl":
        frame.to_json(source, orient="records", lines=True)
    else:
        frame.to_csv(source, index=False) if ending == "csv" else frame.to_parquet(source, index=False)
    facts = exchange.read_rows(run, champion.name, str(source), tmp_path / "rows")
    assert (facts["digest"], facts["rows"], facts["columns"]) == (champion.digest, 60, len(champion.schema))
    assert list(read_frame(tmp_path / "rows")) == [column["name"] for column in champion.schema]
    places = [tmp_path / name for name in ("rows", "answers", "quarantine")]
    scored.score(run, f"{champion.name}@{champion.digest}", *places)
    out = tmp_path / "far" / f"out.{'csv' if ending == 'jsonl' else ending}"
    given = exchange.write_rows(run, places[1], places[2], str(out), "")
    assert given == {"rows": 60, "refused": 0, "out": str(out), "quarantine_out": None}
    found = pd.read_parquet(out) if out.suffix == ".parquet" else pd.read_csv(out)
    wanted = champion.predict(frame)
    assert found["prediction"].astype(str).tolist() == [str(label) for label in wanted.labels.tolist()]
    assert np.abs(found[f"probability_{champion.classes[1]}"] - wanted.probabilities[:, 1]).max() <= 1e-12
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_reasons_lie_beside_and_those_of_an_earlier_run_go_away(run: TaskContext, tmp_path: Path) -> None:
    write_table(pa.table({"prediction": ["a", None]}), tmp_path / "answers")
    write_table(pa.table({"row": [2], "column": ["age"], "reason": ["is infinite"]}), tmp_path / "bad")
    write_table(pa.table({"row": pa.array([], pa.int64())}), tmp_path / "none")
    out, beside = tmp_path / "out.csv", tmp_path / "out.quarantine.csv"
    given = exchange.write_rows(run, tmp_path / "answers", tmp_path / "bad", str(out), "")
    assert (given["refused"], given["quarantine_out"]) == (1, str(beside))
    assert pd.read_csv(beside).to_dict("records") == [{"row": 2, "column": "age", "reason": "is infinite"}]
    answers = pd.read_csv(out, skip_blank_lines=False)["prediction"]
    assert (answers[0], answers.isna().tolist()) == ("a", [False, True])
    exchange.write_rows(run, tmp_path / "answers", tmp_path / "none", str(out), "")
    assert not beside.exists()
    other = tmp_path / "elsewhere.parquet"
    exchange.write_rows(run, tmp_path / "answers", tmp_path / "bad", str(out), str(other))
    assert pq.read_table(other).num_rows == 1


def test_an_object_store(run: TaskContext, tmp_path: Path) -> None:
    write_table(pa.table({"prediction": [1.5]}), tmp_path / "answers")
    write_table(pa.table({"row": pa.array([], pa.int64())}), tmp_path / "none")
    given = exchange.write_rows(run, tmp_path / "answers", tmp_path / "none", "memory://lake/out.csv", "")
    with fsspec.open("memory://lake/out.csv", "rt") as stream:
        assert stream.read() == '"prediction"\n1.5\n'
    assert given["out"] == "memory://lake/out.csv"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("in.csv", "`source` should be an address or an absolute path, got 'in.csv'"),
        ("/nowhere/in.csv", "the file /nowhere/in.csv .* was expected in /nowhere, there is none"),
        ("memory://nowhere.csv", "there is no such object"),
    ],
)
def test_a_source_that_is_not_there(champion: Any, run: TaskContext, tmp_path: Path, source: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        exchange.read_rows(run, champion.name, source, tmp_path / "rows")
    assert not (tmp_path / "rows").exists()


def test_what_a_file_lacks_or_breaks_is_named(champion: Any, run: TaskContext, models: Any, tmp_path: Path) -> None:
    frame, source = asked(models, champion), tmp_path / "in.csv"
    missing = champion.schema[0]["name"]
    frame.drop(columns=[missing]).to_csv(source, index=False)
    with pytest.raises(InputError, match=f"column '{missing}' is missing"):
        exchange.read_rows(run, champion.name, str(source), tmp_path / "rows")
    frame.to_csv(source, index=False)
    lines = source.read_text().splitlines()
    source.write_text("\n".join([*lines[:5], lines[5] + ",more", *lines[6:]]) + "\n")
    with pytest.raises(InputError, match=rf"in.csv:6: expected {len(frame.columns)} fields"):
        exchange.read_rows(run, champion.name, str(source), tmp_path / "rows")
    with pytest.raises(InputError, match="a registered model was expected, got 'other'"):
        exchange.read_rows(run, "other", str(source), tmp_path / "rows")


def test_odd_kinds_of_cells_become_plain_ones_and_nested_ones_are_refused(
    champion: Any, run: TaskContext, models: Any, tmp_path: Path
) -> None:
    frame, source = asked(models, champion, 3), tmp_path / "in.parquet"
    (number, *_), (text, *_) = (
        [column["name"] for column in champion.schema if column["kind"] == kind] for kind in ("number", "category")
    )
    odd = frame.assign(**{number: [decimal.Decimal("1.5")] * 3, text: frame[text].astype(str).astype("category")})
    odd.to_parquet(source, index=False)
    exchange.read_rows(run, champion.name, str(source), tmp_path / "rows")
    found = read_facts(tmp_path / "rows").types
    assert (found[number], found[text]) == ("number", "text")
    assert read_frame(tmp_path / "rows")[number].tolist() == [1.5] * 3
    odd[number] = [[1.0]] * 3
    odd.to_parquet(source, index=False)
    with pytest.raises(InputError, match=rf"the column '{number}' should hold numbers.* not DOUBLE\[\]"):
        exchange.read_rows(run, champion.name, str(source), tmp_path / "rows")


@pytest.mark.parametrize(
    ("out", "quarantine", "problem"),
    [
        ("out.csv", "", "`out` should be an address or an absolute path"),
        ("/tmp/out.json", "", "`out` should end in .csv or .parquet, got '/tmp/out.json'"),
        ("/tmp/out.csv", "/tmp/out.csv", "two files were expected, and both are"),
    ],
)
def test_where_answers_cannot_go(run: TaskContext, tmp_path: Path, out: str, quarantine: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        exchange.write_rows(run, tmp_path, tmp_path, out, quarantine)


def test_a_store_that_fails_is_worth_another_try(run: TaskContext, tmp_path: Path, monkeypatch: Any) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    def broken(*_: Any, **__: Any) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    write_table(pa.table({"prediction": [1.5]}), tmp_path / "answers")
    write_table(pa.table({"row": pa.array([], pa.int64())}), tmp_path / "none")
    monkeypatch.setattr(MemoryFileSystem, "put_file", broken)
    with pytest.raises(TransientError, match="could not be written"):
        exchange.write_rows(run, tmp_path / "answers", tmp_path / "none", "memory://lake/other.csv", "")


def test_the_components(
    champion: Any, site: Any, models: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: dt.datetime
) -> None:
    monkeypatch.setenv("KUBELOOP_HOME", str(site.home))
    asked(models, champion, 5).to_csv(tmp_path / "in.csv", index=False)
    rows, answers, quarantine = (
        SimpleNamespace(path=str(tmp_path / name), metadata={}) for name in ("rows", "answers", "quarantine")
    )
    pinned = read_rows.python_func(champion.name, str(tmp_path / "in.csv"), rows)
    assert pinned == f"{champion.name}@{champion.digest}"
    assert rows.metadata["rows"] == 5
    scored.score(
        TaskContext(site, "run-1", now, "score"), pinned, *(Path(found.path) for found in (rows, answers, quarantine))
    )
    assert write_rows.python_func(answers, quarantine, str(tmp_path / "out.parquet"), "") == 0
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 5

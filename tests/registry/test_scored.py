"""A table scored by a registered model, in the words of the component `predict`."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kubeloop.components.predict import predict
from kubeloop.data.tables import read_facts, read_frame, write_table
from kubeloop.errors import InputError
from kubeloop.registry import scored
from kubeloop.scoring import batch
from kubeloop.tracking.task import TaskContext

pytestmark = pytest.mark.usefixtures("no_mirror")


def asked(models: Any, folder: Path, rows: int, wrong: int | None = None) -> Any:
    """A table of `rows` rows, the one numbered `wrong` (from 0) with infinity in it."""
    table = models.table(rows=60).to_pandas()
    frame = table.take(np.arange(rows) % len(table)).reset_index(drop=True)
    if wrong is not None:
        frame["age"] = frame["age"].astype(float)
        frame.loc[wrong, "age"] = np.inf
    write_table(pa.Table.from_pandas(frame, preserve_index=False), folder)
    return frame


def test_each_row_has_the_packages_answer_and_a_refused_one_its_reason(
    champion: Any, site: Any, models: Any, tmp_path: Path, now: Any
) -> None:
    frame = asked(models, tmp_path / "rows", 100, wrong=41)
    places = [tmp_path / name for name in ("rows", "answers", "quarantine")]
    facts = scored.score(TaskContext(site, "run-1", now, "score"), champion.name, *places)
    assert (facts["digest"], facts["rows"], facts["refused"]) == (champion.digest, 100, 1)
    found, kept = read_frame(places[1]), np.arange(100) != 41
    wanted = champion.predict(frame[kept])
    assert found["prediction"][kept].tolist() == wanted.labels.tolist()
    assert found["prediction"].isna().tolist() == (~kept).tolist()
    assert np.abs(found[f"probability_{champion.classes[1]}"][kept] - wanted.probabilities[:, 1]).max() <= 1e-12
    (refused,) = read_frame(places[2]).to_dict(orient="records")
    assert (refused["row"], refused["column"]) == (42, "age")
    assert "infinite" in refused["reason"]


def test_the_same_run_goes_on_where_it_was_stopped_and_leaves_nothing(
    champion: Any, site: Any, models: Any, tmp_path: Path, now: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = batch.BATCH + 100
    asked(models, tmp_path / "rows", rows)
    places = [tmp_path / name for name in ("rows", "answers", "quarantine")]
    score = batch._score
    done: list[Any] = []

    def stopped(*arguments: Any) -> Any:
        if done:
            raise KeyboardInterrupt
        done.append(arguments)
        return score(*arguments)

    monkeypatch.setattr(batch, "_score", stopped)
    with pytest.raises(KeyboardInterrupt):
        scored.score(TaskContext(site, "run-1", now, "score"), champion.name, *places)
    assert not places[1].exists()
    monkeypatch.undo()
    moved = tmp_path / "elsewhere"
    places[0].rename(moved)  # a pod that is tried again finds its input at another place
    facts = scored.score(TaskContext(site, "run-1", now, "score"), champion.name, moved, *places[1:])
    assert (facts["rows"], facts["taken_up"], facts["refused"]) == (rows, batch.BATCH, 0)
    assert list((site.home / "scoring").iterdir()) == []
    assert (read_facts(places[1]).rows, read_facts(places[2]).rows) == (rows, 0)


def test_the_component(champion: Any, site: Any, models: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBELOOP_HOME", str(site.home))
    asked(models, tmp_path / "rows", 10)
    artifacts = [SimpleNamespace(path=str(tmp_path / name), metadata={}) for name in ("rows", "answers", "quarantine")]
    given = predict.python_func(f"{champion.name}@{champion.digest}", *artifacts)
    assert given == champion.digest
    assert artifacts[1].metadata["rows"] == 10
    assert json.loads(artifacts[1].metadata["schema"])[0]["name"] == "prediction"
    with pytest.raises(InputError, match="a registered model was expected, got 'other'"):
        predict.python_func("other", *artifacts)

"""Windows by rows and by time, on either database."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from kubeloop.errors import InputError
from kubeloop.monitoring.log.commits import FullError
from kubeloop.monitoring.log.keeping import export_log, forget
from kubeloop.monitoring.log.models import LoggedColumn, LoggedModel
from kubeloop.monitoring.log.moving import move_all
from kubeloop.monitoring.log.privacy import UnusableError
from kubeloop.monitoring.log.reading import micros
from kubeloop.monitoring.log.records import Speaker
from kubeloop.monitoring.log.windows import WindowKey, read_window
from kubeloop.monitoring.log.writer import LogWriter, open_log

KEY = WindowKey("default", "heart")


def logged(root: Path, model: LoggedModel, secret: bytes | None = None) -> LogWriter:
    return open_log(root, Speaker("default", "heart", "predictor", model), "required", secret)


def test_rows_and_times(engine: sa.Engine, tmp_path: Path, model: LoggedModel, now: dt.datetime) -> None:
    writer = logged(tmp_path / "log", model)
    for number in range(10):
        at = micros(now + dt.timedelta(hours=number))
        commit = writer.append(f"e{number}", at, [[number, "1"], [None, None]], [True, False], [[0.1, 0.9], [0.8, 0.2]])
        assert commit is not None
        commit.wait(120)
    writer.close()
    move_all(engine, tmp_path / "log", now)
    whole = read_window(engine, KEY)
    assert (len(whole), whole.features.column_names) == (20, ["age", "sex"])
    assert whole.features.slice(0, 2).to_pylist() == [{"age": 0.0, "sex": "1"}, {"age": None, "sex": None}]
    assert whole.predictions.tolist() == [True, False] * 10
    assert whole.probabilities is not None
    np.testing.assert_array_equal(whole.probabilities[:2], [[0.1, 0.9], [0.8, 0.2]])
    last = read_window(engine, KEY, rows=3)
    assert list(zip(last.event_ids, last.rows.tolist(), strict=True)) == [("e8", 1), ("e9", 0), ("e9", 1)]
    hours = [now + dt.timedelta(hours=number) for number in (2, 4)]
    between = read_window(engine, KEY, since=hours[0], until=hours[1])
    assert sorted(set(between.event_ids)) == ["e2", "e3"]
    assert set(read_window(engine, KEY, rows=2, until=hours[1]).event_ids) == {"e3"}
    empty = read_window(engine, KEY, since=now + dt.timedelta(days=9))
    assert (len(empty), empty.features.column_names, empty.probabilities) == (0, ["age", "sex"], None)


def test_versions_of_equal_columns_are_one_window_others_are_counted(
    engine: sa.Engine, tmp_path: Path, model: LoggedModel, now: dt.datetime, altered: Callable[..., LoggedModel]
) -> None:
    wider = altered(model, version="5", columns=(*model.columns, LoggedColumn(name="chol", kind="number")))
    for place, (each, row) in enumerate(
        [(wider, [1, "1", 200]), (model, [1, "1"]), (altered(model, version="8"), [2, "0"])]
    ):
        writer = logged(tmp_path / "log", each)
        writer.append(f"of {each.version}", micros(now) + place, [row], [True])
        writer.close()
        move_all(engine, tmp_path / "log", now)
    both = read_window(engine, KEY)
    assert (both.event_ids.tolist(), both.versions.tolist(), both.skipped) == (
        ["of 7", "of 8"],
        ["7", "8"],
        {"other_model": 1},
    )
    old = read_window(engine, WindowKey("default", "heart", version="5"))
    assert old.features.to_pylist() == [{"age": 1.0, "sex": "1", "chol": 200.0}]


def test_what_is_asked_wrongly_is_told(engine: sa.Engine, tmp_path: Path, model: LoggedModel, now: dt.datetime) -> None:
    writer = logged(tmp_path / "log", model)
    writer.append("e", micros(now), [[1, "1"]], [True])
    writer.close()
    move_all(engine, tmp_path / "log", now)
    with pytest.raises(InputError, match=r"'hart' .predictor. in namespace default has logged nothing; .*: heart"):
        read_window(engine, WindowKey("default", "hart"))
    with pytest.raises(InputError, match="version '9' of 'heart' has logged nothing; in the log are: 7"):
        read_window(engine, WindowKey("default", "heart", version="9"))
    with pytest.raises(InputError, match="a moment with a time zone was expected"):
        read_window(engine, KEY, since=dt.datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake


def test_personal_cells_and_keys_are_hashed_or_dropped_before_they_are_written(
    engine: sa.Engine, tmp_path: Path, model: LoggedModel, now: dt.datetime, altered: Callable[..., LoggedModel]
) -> None:
    columns = (
        LoggedColumn(name="age", kind="number", kept="dropped"),
        LoggedColumn(name="zip", kind="category", kept="hashed"),
    )
    guarded = altered(model, columns=columns, keys="hashed")
    with pytest.raises(InputError, match="the secret log-key is not there"):
        logged(tmp_path / "none", guarded)
    writer = logged(tmp_path / "log", guarded, b"key")
    rows = [{"age": 61, "zip": "ZIP-8001", "name": "Jane"}, {"age": 62, "zip": "ZIP-8001", "name": "Joe"}]
    commit = writer.append("e", micros(now), rows, [True, False], keys=["patient-17", None])
    assert commit is not None
    commit.wait(120)
    for secret in (b"ZIP", b"Jane", b"patient", b"61"):
        assert not any(secret in path.read_bytes() for path in (tmp_path / "log").rglob("*.*"))
    writer.close()
    move_all(engine, tmp_path / "log", now)
    found = read_window(engine, KEY).features.to_pylist()
    assert found[0] == found[1]
    assert found[0]["age"] is None
    assert len(found[0]["zip"]) == 32
    with pytest.raises(UnusableError, match="other_columns"):
        writer.append("f", 1, [{"age": 1}], [True])


def test_bounded_answers_at_once_and_counts_what_it_loses(
    tmp_path: Path, model: LoggedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaker = Speaker("default", "heart", "predictor", model)
    for mode in ("bounded", "required"):
        writer = open_log(tmp_path / mode, speaker, mode)  # type: ignore[arg-type]

        def full(_: bytes) -> None:
            raise FullError("full", "wait")

        assert (writer.append("a", 1, [[1, "1"]], [True]) is None) == (mode == "bounded")
        monkeypatch.setattr(writer._log, "append", full)
        if mode == "bounded":
            assert writer.append("b", 1, [[1, "1"]], [True]) is None
            assert writer.lost == 1
        else:
            with pytest.raises(FullError):
                writer.append("b", 1, [[1, "1"]], [True])
        writer.close()


def test_retention_and_export(engine: sa.Engine, tmp_path: Path, model: LoggedModel, now: dt.datetime) -> None:
    writer = logged(tmp_path / "log", model)
    for day in range(3):
        writer.append(f"day {day}", micros(now + dt.timedelta(days=day)), [[day, "1"]], [True], keys=[f"p{day}"])
    writer.close()
    move_all(engine, tmp_path / "log", now)
    written = export_log(engine, tmp_path / "out", None, now + dt.timedelta(days=2))
    place = tmp_path / "out" / "default" / "heart" / "predictor"
    assert written == {place / "2026-03-01.parquet": 1, place / "2026-03-02.parquet": 1}
    table = pq.read_table(place / "2026-03-02.parquet")
    assert table.to_pylist()[0] | {"outputs": None} == {
        "event_id": "day 1",
        "version": "7",
        "at": now + dt.timedelta(days=1),
        "answered_at": now + dt.timedelta(days=1),
        "inputs": '[[1,"1"]]',
        "outputs": None,
    }
    (described,) = json.loads(table.schema.metadata[b"kubeloop.models"])
    assert [column["name"] for column in described["model"]["columns"]] == ["age", "sex"]
    assert forget(engine, now + dt.timedelta(days=2)) == 2
    assert read_window(engine, KEY).event_ids.tolist() == ["day 2"]

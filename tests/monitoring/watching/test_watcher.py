"""Windows cut from the log and judged: each once, whatever comes in between."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from kubeloop.contract.monitoring import Labels
from kubeloop.errors import InputError
from kubeloop.monitoring.labels.storing import Label, store_labels
from kubeloop.monitoring.log.keeping import forget
from kubeloop.monitoring.log.models import LoggedModel
from kubeloop.monitoring.log.moving import move_all
from kubeloop.monitoring.log.reading import micros
from kubeloop.monitoring.log.windows import WindowKey
from kubeloop.monitoring.watching.reading import logged
from kubeloop.monitoring.watching.results import last_windows
from kubeloop.monitoring.watching.watcher import Watched, Watcher
from kubeloop.monitoring.windows.judge import Judge
from kubeloop.store.tables import watch_streams, watch_windows
from tests.monitoring.watching import worlds
from tests.monitoring.watching.worlds import MODEL, ROWS, Writer, rows


@pytest.fixture
def start(now: dt.datetime) -> dt.datetime:
    """Long ago: all is mature."""
    return now - dt.timedelta(days=100)


@pytest.fixture
def watcher(engine: sa.Engine) -> Watcher:
    return made(engine)


def made(engine: sa.Engine, time: str | None = None, asked: int = ROWS) -> Watcher:
    watched = Watched(Judge(worlds.profile(time, asked)), Labels())
    return Watcher(engine, "default", lambda key: watched if key.version == "7" else None)


def look(watcher: Watcher, now: dt.datetime, clock_s: float = 0.0) -> list[dict[str, Any]]:
    """Two looks, the second of them when all has settled."""
    return [*watcher.look(now, clock_s), *watcher.look(now, clock_s + watcher.settle_s)]


def test_windows_by_rows_say_what_moved_and_are_judged_once(
    engine: sa.Engine, tmp_path: Path, watcher: Watcher, start: dt.datetime, now: dt.datetime
) -> None:
    rng = np.random.default_rng(1)
    writer = Writer(tmp_path, start)
    writer.write(rows(rng, ROWS))
    writer.write(rows(rng, ROWS, shift=2.0))
    writer.write(rows(rng, ROWS // 2))
    writer.close()
    move_all(engine, tmp_path, now)
    assert list(watcher.look(now, 0.0)) == [], "what has just come has not settled"
    calm, moved = watcher.look(now, 10.0)
    assert (calm["told"], calm["alarm"], calm["rows"], calm["number"], calm["closed"]) == ([], False, ROWS, 1, "rows")
    assert moved["told"][0] == "drift:y"
    assert sorted(moved["told"]) == moved["present"] == moved["fresh"]
    assert (moved["from"], moved["version"], moved["stream"]) == ("2025-11-21T12:01:40+00:00", "7", "inputs")
    shape = moved["shapes"][0]
    assert (shape["column"], shape["told"]) == ("y", True)
    assert shape["window"][len(shape["window"]) // 2] < 0.1 < 0.4 < shape["training"][len(shape["training"]) // 2]
    assert watcher.streams["heart", "predictor", "7", "inputs"].rows == ROWS // 2
    assert look(made(engine), now) == [], "another process goes on where this one was"
    with engine.connect() as connection:
        kept = connection.execute(sa.select(watch_windows.c.id, watch_windows.c.alarm)).all()
    assert {tuple(row) for row in kept} == {(calm["id"], False), (moved["id"], True)}
    forget(engine, start + dt.timedelta(seconds=ROWS))
    assert [one["id"] for one in last_windows(engine, "default", 9)] == [moved["id"]], "what ended before is forgotten"


def test_a_window_is_full_with_the_rows_that_can_be_judged(
    engine: sa.Engine, tmp_path: Path, start: dt.datetime, now: dt.datetime
) -> None:
    """A contract that asks for more than the training rows suffice for gets windows of all that they do."""
    rng = np.random.default_rng(3)
    writer = Writer(tmp_path, start)
    writer.write(rows(rng, 2 * ROWS + 1))
    writer.close()
    move_all(engine, tmp_path, now)
    watcher = made(engine, asked=10 * ROWS)
    found = look(watcher, now)
    assert [(one["rows"], one["judged"], one["closed"]) for one in found] == [(ROWS, ROWS, "rows")] * 2
    assert watcher.streams["heart", "predictor", "7", "inputs"].rows == 1


def test_windows_by_time_close_full_or_not(
    engine: sa.Engine, tmp_path: Path, start: dt.datetime, now: dt.datetime
) -> None:
    rng = np.random.default_rng(1)
    writer = Writer(tmp_path, start, step_s=120)  # 30 an hour; windows end at whole hours
    writer.write(rows(rng, 75))
    writer.close()
    move_all(engine, tmp_path, now)
    soon = start + dt.timedelta(hours=2, minutes=31)
    found = look(made(engine, "1h"), soon)
    assert [(one["rows"], one["closed"], one["judged"]) for one in found] == [(30, "time", 0), (30, "time", 0)]
    assert found[0]["notes"] == ["30 rows, at least 50 are needed: not judged"]
    later = look(made(engine, "1h"), now)  # nothing has come for so long: the hour is over
    (last,) = (one for one in later if one["stream"] == "inputs")
    assert (last["rows"], last["number"]) == (15, 3)


def test_losses_are_judged_once_labels_are_there_and_the_rows_mature(
    engine: sa.Engine, tmp_path: Path, watcher: Watcher, start: dt.datetime, now: dt.datetime
) -> None:
    rng = np.random.default_rng(3)
    writer = Writer(tmp_path, start)
    tables = [rows(rng, ROWS), rows(rng, 2 * ROWS)]
    names = [writer.write(table) for table in tables]
    writer.close()
    move_all(engine, tmp_path, now)
    found = [
        Label(ident=name, by="event", row=0, value=value, observed_at=micros(start))
        for turned, table, events in zip((False, True), tables, names, strict=True)
        for name, value in zip(events, worlds.truths(rng, worlds.answered(table), turned), strict=True)
    ]
    with engine.begin() as connection:
        store_labels(connection, 1, found[: 2 * ROWS], micros(now))
    young = now - dt.timedelta(days=80)
    assert [one["stream"] for one in look(watcher, young)] == ["inputs"] * 3, "no row is older than 30 days yet"
    before, after = look(watcher, now, 100.0)
    assert (before["stream"], before["told"], before["rows"]) == ("labels", [], ROWS)
    assert after["told"] == ["loss:model.loss", "residual:model.residual"]
    assert after["lag_s"][0] == pytest.approx(100 * 86_400, rel=0.01)


def test_many_rows_without_labels_close_a_window_that_says_so(
    engine: sa.Engine, tmp_path: Path, watcher: Watcher, start: dt.datetime, now: dt.datetime
) -> None:
    writer = Writer(tmp_path, start)
    writer.write(rows(np.random.default_rng(3), 20 * ROWS))
    writer.close()
    move_all(engine, tmp_path, now)
    (found,) = (one for one in look(watcher, now) if one["stream"] == "labels")
    assert (found["rows"], found["seen"], found["closed"]) == (0, 20 * ROWS, "futile")
    assert found["notes"] == ["0 rows, at least 50 are needed: not judged"]


def test_events_that_come_behind_their_window_are_counted(
    engine: sa.Engine, tmp_path: Path, watcher: Watcher, start: dt.datetime, now: dt.datetime
) -> None:
    rng = np.random.default_rng(1)
    first, second, late = (
        Writer(tmp_path / str(place), start + dt.timedelta(seconds=second))
        for place, second in enumerate((0, 1000, 0.5))
    )
    first.write(rows(rng, ROWS))
    first.close()
    move_all(engine, tmp_path / "0", now)
    assert [one["late"] for one in look(watcher, now) if one["stream"] == "inputs"] == [0]
    late.number = 1_000
    late._start -= 1_000_000_000  # the same seconds, other ids
    late.write(rows(rng, 7))
    late.close()
    second.number = 2_000
    second._start -= 2_000_000_000
    second.write(rows(rng, ROWS))
    second.close()
    for place in ("1", "2"):
        move_all(engine, tmp_path / place, now)
    assert [(one["rows"], one["late"]) for one in look(watcher, now, 100.0)] == [(ROWS, 7)]


def test_bad_cells_and_lone_answers_cost_their_rows_alone(
    engine: sa.Engine, tmp_path: Path, watcher: Watcher, start: dt.datetime, now: dt.datetime
) -> None:
    writer = Writer(tmp_path, start)
    table = rows(np.random.default_rng(1), ROWS)
    writer.write(table[: ROWS - 3])
    bad: list[list[Any]] = [[[1], 0.0, "a"], [0.0, {"a": 1}, "a"], [1e400, "high", "a"]]
    writer.write_rows(bad, ["no"] * 3, [[0.5, 0.5]] * 3)
    writer.close()
    move_all(engine, tmp_path, now)
    (found,) = look(watcher, now)
    assert (found["rows"], found["skipped"], found["told"]) == (ROWS - 3, {"bad_cell": 3}, [])
    assert "3 left out: bad_cell" in found["notes"]


def test_versions_have_windows_of_their_own_and_those_without_reference_are_named(
    engine: sa.Engine,
    tmp_path: Path,
    start: dt.datetime,
    now: dt.datetime,
    altered: Callable[..., LoggedModel],
) -> None:
    rng = np.random.default_rng(1)
    for version in ("7", "8", "9"):
        writer = Writer(tmp_path / version, start, altered(MODEL, version=version))
        writer.number = int(version) * 1000
        writer.write(rows(rng, ROWS, shift=3.0 if version == "8" else 0.0))
        writer.close()
        move_all(engine, tmp_path / version, now)
    watched = Watched(Judge(worlds.profile()), Labels())

    def find(key: WindowKey) -> Watched | None:
        if key.version == "9":
            raise InputError("a reference profile was expected, it has none", "train again")
        return watched

    watcher = Watcher(engine, "default", find)
    assert {one["version"]: one["alarm"] for one in look(watcher, now)} == {"7": False, "8": True}
    assert watcher.unwatched == {("heart", "predictor", "9"): "a reference profile was expected, it has none"}


def test_two_that_watch_the_same_judge_each_window_once(
    engine: sa.Engine, tmp_path: Path, start: dt.datetime, now: dt.datetime
) -> None:
    writer = Writer(tmp_path, start)
    writer.write(rows(np.random.default_rng(1), 4 * ROWS))
    writer.close()
    move_all(engine, tmp_path, now)
    one, other = made(engine), made(engine)
    assert list(one.look(now, 0.0)) == list(other.look(now, 0.0)) == []
    both = [one.look(now, 10.0), other.look(now, 10.0)]
    numbers: list[int] = []
    while len(numbers) < 4:
        for side in both:
            numbers += [found["number"] for found in [next(side, None)] if found is not None]
        both = [watcher.look(now, 20.0) for watcher in (one, other)]
    assert numbers == [1, 2, 3, 4]
    with engine.connect() as connection:
        assert connection.execute(sa.select(watch_streams.c.windows).where(watch_streams.c.stream == "inputs")).all()
        assert connection.execute(sa.select(sa.func.count()).select_from(watch_windows)).scalar() == 4
    assert len(logged(engine, "default")) == 1

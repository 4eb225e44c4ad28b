"""Labels that come late, twice, corrected, by key, for nobody, or never."""

import datetime as dt
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from kubeloop.errors import InputError
from kubeloop.monitoring.labels.files import Columns, read_labels
from kubeloop.monitoring.labels.joining import Joined, join
from kubeloop.monitoring.labels.storing import Label, store_labels
from kubeloop.monitoring.log.models import LoggedModel
from kubeloop.monitoring.log.moving import move_all
from kubeloop.monitoring.log.naming import number_of_service
from kubeloop.monitoring.log.reading import micros
from kubeloop.monitoring.log.records import Speaker
from kubeloop.monitoring.log.windows import WindowKey, read_window
from kubeloop.monitoring.log.writer import open_log

DAY = dt.timedelta(days=1)
KEY = WindowKey("default", "heart")
Tell = Callable[..., dict[str, int]]


@pytest.fixture
def predicted(engine: sa.Engine, tmp_path: Path, model: LoggedModel, now: dt.datetime) -> None:
    """p1 is predicted on days 0, 10 and 40; p2 on day 0, as the second row of one request."""
    writer = open_log(tmp_path / "log", Speaker("default", "heart", "predictor", model), "required")
    writer.append("a", micros(now), [[1, "1"], [2, "1"]], [True, False], keys=["p1", "p2"])
    writer.append("b", micros(now + 10 * DAY), [[3, "1"]], [True], keys=["p1"])
    writer.append("c", micros(now + 40 * DAY), [[4, "1"]], [True], keys=["p1"])
    writer.close()
    move_all(engine, tmp_path / "log", now)


@pytest.fixture
def tell(engine: sa.Engine) -> Tell:
    """Store labels as they would arrive at a moment."""

    def store(arrived: dt.datetime, *found: dict[str, Any], service: str = "heart") -> dict[str, int]:
        with engine.begin() as connection:
            number = number_of_service(connection, "default", service, "predictor")
            return dict(store_labels(connection, number, [Label(**one) for one in found], micros(arrived)))

    return store


def known(engine: sa.Engine, at: dt.datetime) -> list[Any]:
    """The labels of a/0, a/1, b/0, c/0 as known at a moment."""
    found = joined(engine, at).values.tolist()
    assert {type(value) for value in found} <= {bool, type(None)}, "1 and 0 are said of classes that are booleans"
    return found


def joined(engine: sa.Engine, at: dt.datetime) -> Joined:
    return join(engine, read_window(engine, KEY), 30 * DAY, at)


@pytest.mark.usefixtures("predicted")
def test_by_event_new_twice_corrected_and_taken_back(engine: sa.Engine, tell: Tell, now: dt.datetime) -> None:
    a1 = {"by": "event", "ident": "a", "row": 1, "value": 1}
    assert tell(now + DAY, a1, a1, {"by": "event", "ident": "nobody", "value": 0}) == {"new": 2, "duplicate": 1}
    assert tell(now + 2 * DAY, a1) == {"duplicate": 1}
    assert tell(now + 3 * DAY, a1 | {"value": 0}) == {"corrected": 1}
    assert tell(now + 4 * DAY, a1 | {"value": None}) == {"corrected": 1}
    assert [known(engine, now + day * DAY)[1] for day in (0, 1, 2, 3, 4)] == [None, True, True, False, None]


@pytest.mark.usefixtures("predicted")
def test_by_key_a_label_belongs_to_the_latest_prediction_before_it(
    engine: sa.Engine, tell: Tell, now: dt.datetime
) -> None:
    def p1(value: object, day: int) -> dict[str, Any]:
        return {"by": "key", "ident": "p1", "value": value, "observed_at": micros(now + day * DAY)}

    tell(now + 50 * DAY, p1(1, -1))  # before anything was predicted
    assert known(engine, now + 60 * DAY) == [None] * 4
    tell(now + 51 * DAY, p1(1, 20))
    tell(now + 52 * DAY, p1(0, 45))
    assert known(engine, now + 60 * DAY) == [None, None, True, False]
    tell(now + 53 * DAY, p1(0, 21))  # a correction for the prediction of day 10
    tell(now + 54 * DAY, {"by": "key", "ident": "p2", "value": 1})
    assert known(engine, now + 60 * DAY) == [None, True, False, False]
    assert known(engine, now + 52 * DAY) == [None, None, True, False], "what was known then can be told again"
    # p1 was predicted again within 30 days: the truth went to the later prediction.
    assert joined(engine, now + 60 * DAY).superseded.tolist() == [True, False, False, False]


@pytest.mark.usefixtures("predicted")
def test_labels_of_another_service_are_not_ours(engine: sa.Engine, tell: Tell, now: dt.datetime) -> None:
    assert tell(now, {"by": "event", "ident": "a", "value": 1}, service="other") == {"new": 1}
    assert known(engine, now + DAY) == [None] * 4


LINES = [
    {"event_id": "007", "row": 1, "value": True, "observed_at": "2026-03-01T12:00:00Z"},
    {"event_id": "b", "row": 0, "value": None, "observed_at": "2026-03-01T12:00:00Z"},
]


def csv(path: Path) -> None:
    path.write_text("event_id,row,value,observed_at\n007,1,true,2026-03-01T12:00:00Z\nb,0,,2026-03-01T12:00:00Z\n")


def lines(path: Path) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES))


def parquet(path: Path) -> None:
    moment = dt.datetime(2026, 3, 1, 12)  # noqa: DTZ001 - without a zone it is UTC
    pq.write_table(pa.Table.from_pylist([line | {"observed_at": moment} for line in LINES]), path)


@pytest.mark.parametrize(("name", "write"), [("l.csv", csv), ("l.jsonl", lines), ("l.parquet", parquet)])
def test_files(tmp_path: Path, now: dt.datetime, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    assert read_labels(tmp_path / name, Columns(event_id="event_id")) == [
        Label(by="event", ident="007", row=1, value=True, observed_at=micros(now)),
        Label(by="event", ident="b", row=0, value=None, observed_at=micros(now)),
    ]


@pytest.mark.parametrize(
    ("text", "columns", "said"),
    [
        ("id,vale\n1,2\n", Columns(key="id"), "a column 'value' was expected, there are id, vale; did you mean 'vale'"),
        ("id,value\n1,2\n,3\n", Columns(key="id"), "row 2 has no id or key"),
        ("id,row,value\n1,-1,2\n", Columns(event_id="id"), "row 1 has no whole number from 0"),
        ("id,value,observed_at\n1,2,soon\n", Columns(key="id"), "row 1 has no moment with a time zone"),
        ("id,value\n1,2,3\n", Columns(key="id"), "is no such file"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, text: str, columns: Columns, said: str) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_labels(tmp_path / "l.csv", columns)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "l.txt").touch()
    for name, said in (("none.csv", "cannot be read"), ("l.txt", "ends in .csv, .parquet, .jsonl or .ndjson")):
        with pytest.raises(InputError, match=said):
            read_labels(tmp_path / name, Columns(key="id"))


def test_many_labels_at_once(engine: sa.Engine, tell: Tell, now: dt.datetime) -> None:
    found: Sequence[dict[str, Any]] = [{"by": "key", "ident": f"p{n % 1200}", "value": n // 1200} for n in range(2400)]
    assert tell(now, *found) == {"new": 1200, "corrected": 1200}

"""From segments to SQL: every record once, whatever died in between."""

import datetime as dt
from pathlib import Path

import pytest
import sqlalchemy as sa

from kubeloop.monitoring.labels.storing import Label, labels_to_json
from kubeloop.monitoring.log import moving, records
from kubeloop.monitoring.log.models import LoggedModel
from kubeloop.monitoring.log.moving import Moved, move_all
from kubeloop.monitoring.log.records import ANSWER, BOTH, LABELS, REQUEST, Speaker
from kubeloop.monitoring.log.segments import SegmentFiles, frame
from kubeloop.store.tables import labels, log_segments, prediction_keys, predictions


@pytest.fixture
def speaker(model: LoggedModel) -> Speaker:
    return Speaker("default", "heart", "predictor", model)


def segment(root: Path, speaker: Speaker, *payloads: bytes) -> Path:
    files = SegmentFiles(root, "test")
    files.write([frame(payload) for payload in payloads], [frame(records.definition(0, speaker))])
    files.close()
    (path,) = files.folder.glob("*.seg")
    return path


def stored(engine: sa.Engine) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        columns = (predictions.c[name] for name in ("event_id", "at", "answered_at", "inputs", "outputs"))
        found = connection.execute(sa.select(*columns).order_by(predictions.c.event_id))
        return [(*row[:3], *(None if value is None else bytes(value) for value in row[3:])) for row in found]


def test_request_and_answer_are_one_row_in_any_order_and_the_first_stays(
    engine: sa.Engine, tmp_path: Path, speaker: Speaker, now: dt.datetime
) -> None:
    ask = records.encode(REQUEST, 0, 100, "a", b"[[1,2]]")
    answer = records.encode(ANSWER, 0, 130, "a", b"", b"[[true],null]")
    other = records.encode(REQUEST, 0, 999, "a", b"[[9,9]]")
    segment(tmp_path / "log", speaker, answer)
    move_all(engine, tmp_path / "log", now)
    assert stored(engine) == [("a", 130, 130, None, b"[[true],null]")]
    segment(tmp_path / "log", speaker, ask)
    segment(tmp_path / "log", speaker, records.encode(BOTH, 0, 200, "b ü", b"[[3,4]]", b"[[false],null]"))
    move_all(engine, tmp_path / "log", now)
    segment(tmp_path / "log", speaker, other, ask, answer, ask)
    moved = move_all(engine, tmp_path / "log", now)
    # Of four records two repeat one of their file, and what is left of them brings nothing that the store has not.
    assert (moved.segments, moved.records, moved.again) == (1, 4, 3)
    assert stored(engine) == [
        ("a", 100, 130, b"[[1,2]]", b"[[true],null]"),
        ("b ü", 200, 200, b"[[3,4]]", b"[[false],null]"),
    ]
    assert list((tmp_path / "log").iterdir()) == []


def test_a_mover_that_dies_before_or_after_the_commit_moves_nothing_twice(
    engine: sa.Engine, tmp_path: Path, speaker: Speaker, now: dt.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = labels_to_json([Label(by="event", ident="a", value=True)])
    path = segment(
        tmp_path / "log",
        speaker,
        records.encode(REQUEST, 0, 1, "a", b"[[1,2]]", keys=b'["p-1"]'),
        records.encode(LABELS, 0, 5, "", label),
    )
    with monkeypatch.context() as dying:
        dying.setattr(moving, "log_segments", None)
        with pytest.raises(AttributeError):
            move_all(engine, tmp_path / "log", now)
    assert stored(engine) == []
    content = path.read_bytes()
    first = move_all(engine, tmp_path / "log", now)
    assert (first.records, first.labels) == (2, {"new": 1})
    path.parent.mkdir()
    (path.parent / "writer.lock").touch()
    path.write_bytes(content)  # it died before it removed the file
    with engine.begin() as connection:
        connection.execute(sa.delete(predictions))  # and retention took the rows since
    again = move_all(engine, tmp_path / "log", now)
    assert (again.segments, again.records) == (1, 0)
    assert stored(engine) == []
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(labels)).scalar() == 1
        assert connection.execute(sa.select(prediction_keys.c.key)).scalars().all() == ["p-1"]
        assert connection.execute(sa.select(log_segments.c.records)).scalars().all() == [2]


def test_torn_and_altered_segments(engine: sa.Engine, tmp_path: Path, speaker: Speaker, now: dt.datetime) -> None:
    asks = [records.encode(REQUEST, 0, number, f"e{number}", b"[[1,2]]") for number in range(3)]
    torn = segment(tmp_path / "torn", speaker, *asks)
    torn.write_bytes(torn.read_bytes()[:-1])
    moved = move_all(engine, tmp_path / "torn", now)
    assert (moved.torn, moved.damaged, moved.records) == (1, 0, 2)
    altered = segment(tmp_path / "altered", speaker, *asks)
    content = bytearray(altered.read_bytes())
    content[content.index(b"e1")] ^= 1
    altered.write_bytes(content)
    assert move_all(engine, tmp_path / "altered", now) == Moved(segments=1, records=1, again=1, damaged=1)
    assert altered.with_suffix(".damaged").is_file()
    assert [row[0] for row in stored(engine)] == ["e0", "e1"]

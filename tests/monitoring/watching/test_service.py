"""The detector service over real HTTP: windows, pages, metrics, CloudEvents, and what a kill -9 leaves."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kubeloop.monitoring.log.models import model_of
from kubeloop.monitoring.log.moving import move_all
from kubeloop.monitoring.log.reading import micros
from kubeloop.monitoring.log.records import Speaker
from kubeloop.monitoring.log.writer import open_log
from kubeloop.packaging.package import Package
from kubeloop.packaging.read import read_package
from kubeloop.site import Site, laptop
from kubeloop.store import open_engine
from tests.monitoring.log.sinks import REQUEST, RESPONSE, Client, SinkProcess, outcomes
from tests.monitoring.log.test_sink import HOSTILE
from tests.monitoring.watching.service import ROWS, Receiver, Service, make_package, people, published, text_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_package(tmp_path_factory.mktemp("watched"))


@pytest.fixture
def home(tmp_path: Path) -> Site:
    return laptop(tmp_path / "home")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver(refuse=2)
    yield found
    found.close()


@pytest.fixture
def service(home: Site, receiver: Receiver) -> Iterator[Service]:
    assert home.home is not None
    home.home.mkdir(parents=True, exist_ok=True)
    found = Service(home.home, "--tell", receiver.url)
    yield found
    found.close()


def log(site: Site, package: Package, rows: list[list[Any]], first: int, hour: int, version: str = "") -> None:
    """Requests of one row with the model's answers, a second apart."""
    assert site.home is not None
    start = micros(dt.datetime(2026, 3, 1, hour, tzinfo=dt.UTC))
    model = model_of(package.manifest, version or package.digest)
    writer = open_log(site.home / "log", Speaker("default", "heart", "predictor", model), "bounded")
    said = package.predict(rows)
    assert said.labels is not None
    assert said.probabilities is not None
    for number, (row, label, shares) in enumerate(zip(rows, said.labels, said.probabilities.tolist(), strict=True)):
        writer.append(f"event-{first + number:06}", start + number * 1_000_000, [row], [label], [shares])
    writer.close()
    engine = open_engine(site)
    move_all(engine, site.home / "log", dt.datetime.now(dt.UTC))
    engine.dispose()


def test_a_service_and_its_life(home: Site, service: Service, receiver: Receiver, folder: Path) -> None:
    """One story: windows, metrics, pages, a receiver that refuses at first, a kill -9, a version without reference."""
    digest = published(home, folder)
    package = read_package(folder)
    rng = np.random.default_rng(0)
    log(home, package, people(rng, ROWS), 0, 1)
    log(home, package, people(rng, ROWS, older=60.0), 1000, 2)
    log(home, package, people(rng, ROWS // 2), 2000, 3)
    service.start()
    (last,) = service.until(lambda: [one for one in service.windows() if one["number"] == 2])
    assert {"drift:age", "outside:age"} <= set(last["told"])
    assert last["version"] == digest

    who = 'component="predictor",namespace="default",service="heart",stream="inputs"'
    waiting = f'kubeloop_watch_open_rows{{{who},version="{digest}"}}'
    service.until(lambda: service.metrics().get(waiting) == ROWS // 2)
    metrics = service.metrics()
    told = 'kubeloop_watch_told{component="predictor",feature="age",namespace="default",service="heart",signal="drift"'
    assert metrics[f'{told},stream="inputs",version="{digest}"}}'] == 1.0
    assert metrics[f'kubeloop_watch_window_rows{{{who},version="{digest}"}}'] == ROWS
    assert metrics[f"kubeloop_watch_windows_total{{{who}}}"] == 2

    status, page = service.get(f"/windows/{last['id']}")
    assert status == 200
    said = text_of(page)
    assert "heart: age lies outside what is allowed" in said or "heart: age is distributed otherwise" in said
    assert page.count('class="plot-svg"') >= 2
    assert "<b>age</b> (told)" in page
    assert json.loads(service.get(f"/windows/{last['id']}.json")[1]) == last
    assert service.get("/windows/nothing")[0] == 404
    index = text_of(service.get("/")[1])
    assert "1 window of 2 told something" in index
    assert f"inputs and answers: {ROWS // 2:,} of {ROWS:,} rows." in index
    assert service.get("/health/ready") == (200, "ready\n")

    service.until(lambda: len(receiver.by_id()) >= 2)
    assert receiver.refused == 2
    calm, alarm = receiver.by_id().values()
    assert [event["type"].rpartition(".")[2] for event in (calm, alarm)] == ["calm", "alarm"]
    assert (alarm["id"], alarm["source"]) == (last["id"], "/kubeloop/default/heart/predictor")
    assert alarm["data"]["told"] == last["told"]

    service.kill()
    log(home, package, people(rng, ROWS), 3000, 4)
    log(home, package, people(rng, 1), 9000, 5, version="7")
    service.start()
    (third,) = service.until(lambda: [one for one in service.windows() if one["number"] == 3])
    assert (third["rows"], third["late"], third["present"]) == (ROWS, 0, [])
    assert third["from"] == "2026-03-01T03:00:00+00:00", "the half window that was open when it was killed"
    # Killed between the receiver's answer and its own note of it, it tells a window twice, under the same id.
    service.until(lambda: len(receiver.by_id()) >= 3)
    assert list(receiver.by_id())[2] == third["id"]
    (unwatched,) = service.until(lambda: json.loads(service.get("/windows.json")[1])["unwatched"])
    assert unwatched["version"] == "7"
    assert "a package's digest was expected as version of heart, its events say '7'" in unwatched["reason"]
    assert "its events say" in text_of(service.get("/")[1])
    assert service.stop() == 0
    assert service.errors.read_text().count("warning: windows wait to be told") == 1


@pytest.mark.slow
def test_hostile_events_are_counted_and_poison_no_window(
    home: Site, service: Service, folder: Path, tmp_path: Path
) -> None:
    """The stream of the sink's enemies, and those that it must store, between a window's good events."""
    digest, package = published(home, folder), read_package(folder)
    rng = np.random.default_rng(5)
    sink = SinkProcess(tmp_path, [model_of(package.manifest, digest)]).start().ready()
    good = iter(people(rng, ROWS))
    told = json.dumps({"model-version": digest})
    seconds = iter(range(10_000))
    sent = 0

    def post(client: Client, body: Any, event_id: str, kind: str = REQUEST, **more: str) -> None:
        nonlocal sent
        sent += 1
        at = f"2026-03-01T12:{next(seconds) // 60:02}:00Z"
        status, _ = client.event(body, event_id, kind, **{"Ce_Time": at, "Ce_Annotations": told, **more})
        assert status in (200, 202, 400), (event_id, status)

    def fine(client: Client, event_id: str) -> None:
        row = next(good)
        said = package.predict([row])
        assert said.labels is not None
        assert said.probabilities is not None
        answer = {"predictions": [str(said.labels[0])], "probabilities": said.probabilities.tolist()}
        post(client, {"instances": [row]}, event_id)
        post(client, answer, event_id, RESPONSE)

    stored: list[tuple[Any, str, dict[str, str]]] = [
        ({"instances": [["sixty", True, "none"]]}, REQUEST, {}),
        ({"instances": [[[1], True, {}]]}, REQUEST, {}),
        ({"predictions": ["yes"]}, RESPONSE, {}),  # an orphan
        ({"predictions": [{"a": 1}] * 7}, RESPONSE, {}),
        ({"instances": [[61, True, "none"]]}, REQUEST, {"Ce_Annotations": '{"model-version":"8"}'}),
    ]
    try:
        with Client(sink.port) as client:
            for number, (_, body, more, _) in enumerate(HOSTILE):
                fine(client, f"good {number}")
                post(client, body, more.get("Ce_Id", f"hostile {number}"), more.get("Ce_Type", REQUEST), **more)
            for number, (body, kind, more) in enumerate(stored):
                post(client, body, f"stored {number}", kind, **more)
            post(client, {"instances": [[33.0, True, "some"]]}, "good 0")  # an id used twice: the first one stays
            next_one = len(HOSTILE)
            for number in range(next_one, ROWS):
                fine(client, f"good {number}")
            counted = outcomes(client)
        assert counted["id_used_twice"] == 1
        odd = sum(counted.get(word, 0) for word in ("odd_time", "unknown_version", "further_columns"))
        assert sum(counted.values()) - odd == sent, "each is counted under one outcome"
        service.start()
        (window,) = service.until(lambda: [one for one in service.windows() if one["version"] == digest])
        assert (window["rows"], window["late"], window["judged"]) == (ROWS - 2, 0, ROWS // 2), window["notes"]
        kinds = {signal["kind"] for signal in window["signals"] if signal["told"]}
        assert not kinds & {"mistyped", "missing", "unseen", "outside", "outliers", "novel", "duplicates"}, kinds
        assert window["skipped"] == {"bad_cell": 2, "no_request": 2}
        assert service.get("/health/live")[0] == 200
        (unwatched,) = service.until(lambda: json.loads(service.get("/windows.json")[1])["unwatched"])
        assert unwatched["version"] == "8"
        assert service.stop() == sink.stop() == 0
    finally:
        sink.close()

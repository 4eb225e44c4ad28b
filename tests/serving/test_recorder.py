"""The predictor's own log: whatever way an answer took, its row is in the log under the id that the client was told."""

import asyncio
import datetime as dt
import gzip
import json
import os
import struct
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from kubeloop.monitoring.log.commits import CommitLog
from kubeloop.monitoring.log.models import model_of
from kubeloop.monitoring.log.moving import move_all
from kubeloop.monitoring.log.records import Speaker
from kubeloop.monitoring.log.segments import SegmentFiles
from kubeloop.monitoring.log.windows import Window, WindowKey, read_window
from kubeloop.monitoring.log.writer import LogWriter
from kubeloop.packaging.package import Package
from kubeloop.packaging.read import read_package
from kubeloop.serving import process
from kubeloop.serving.front import Head
from kubeloop.serving.logbook import Logbook
from kubeloop.serving.model import PackageModel
from kubeloop.serving.recorder import RecordedApp, Recorder, recorded_infer
from kubeloop.serving.request_log import RequestLog
from kubeloop.serving.rpc import _Servicer
from kubeloop.serving.tally import Tally
from kubeloop.site import laptop
from kubeloop.store import open_engine
from tests.serving.conftest import make_package

NAME = "toy"
ROW = {"age": 61.5, "dose": 0.25, "ward": "north", "smoker": True}
CELLS = list(ROW.values())
V1, V2 = f"/v1/models/{NAME}:predict", f"/v2/models/{NAME}/infer"
NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def columns(rows: int) -> dict[str, Any]:
    kinds = {"age": "FP64", "dose": "FP64", "ward": "BYTES", "smoker": "BOOL"}
    return {
        "inputs": [
            {"name": name, "shape": [rows], "datatype": kind, "data": [ROW[name]] * rows}
            for name, kind in kinds.items()
        ]
    }


def written(home: Path) -> Window:
    """What the log holds."""
    engine = open_engine(laptop(home))
    move_all(engine, home / "log", NOW)
    found = read_window(engine, WindowKey("default", NAME))
    engine.dispose()
    return found


@pytest.fixture(scope="module", params=["bounded", "required"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package whose contract asks for a mode."""
    mode = str(request.param)
    return make_package(tmp_path_factory.mktemp(mode), 1, monitoring={"log": {"mode": mode}})


def test_every_way_to_an_answer_ends_in_the_log(folder: Path, tmp_path: Path) -> None:
    package, home = read_package(folder), tmp_path / "home"
    words = ("--log", str(home / "log"), "--namespace", "default")
    running = process.start(folder, NAME, tmp_path / "out", home, logging=words)
    try:
        process.wait_ready(running)
        with httpx.Client(base_url=running.url, timeout=60) as client:

            def post(path: str, body: Any, event_id: str, **headers: str) -> httpx.Response:
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                named = {"content-type": "application/json", "x-request-id": event_id}
                named |= {name.replace("_", "-"): value for name, value in headers.items()}
                return client.post(path, content=content, headers=named)

            v1 = {"instances": [CELLS]}
            envelope = {"specversion": "1.0", "id": "x", "source": "s", "type": "t", "time": "2026-01-01T00:00:00Z"}
            answers = {
                "list": post(V1, v1, "list"),
                "object": post(V1, {"instances": [{**ROW, "more": "Jane Doe"}]}, "object"),
                "v2": post(V2, columns(1), "v2"),
                "gzip": post(V1, gzip.compress(json.dumps(v1).encode()), "gzip", content_encoding="gzip"),
                "event": post(V1, {**envelope, "data": v1}, "event", content_type="application/cloudevents+json"),
                "large": post(V1, {"instances": [CELLS] * 3000}, "large"),
                "large-v2": post(V2, columns(3000), "large-v2"),
            }
            own = client.post(V1, json=v1)
            assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 200)
            assert post(V1, {"instances": [["old"]]}, "wrong").status_code == 400
            metrics = client.get("/metrics").text
    finally:
        process.stop(running)
    count = f'kubeloop_predictor_log_total{{model="{NAME}",outcome="stored",version="{package.digest}"}} 8.0'
    assert count in metrics
    window = written(home)
    rows = dict(zip(*np.unique(window.event_ids.astype(str), return_counts=True), strict=True))
    ids = [*answers, own.headers["x-request-id"]]
    assert rows == dict.fromkeys(ids, 1) | {"large": 3000, "large-v2": 3000}
    assert set(map(tuple, (row.values() for row in window.features.slice(0, 20).to_pylist()))) == {
        (61.5, 0.25, "north", 1.0)
    }
    expected = package.predict([ROW])
    assert window.probabilities is not None
    assert expected.probabilities is not None
    assert expected.labels is not None
    np.testing.assert_allclose(window.probabilities, np.repeat(expected.probabilities, len(window), 0), rtol=1e-12)
    assert set(window.predictions) == {expected.labels[0]}
    assert set(window.versions) == {package.digest}
    assert not any(b"Jane" in path.read_bytes() for path in home.rglob("*.db*"))


class Answers:
    """A front that answers all alike."""

    starts = (b"POST",)
    gate: Any = None

    def __init__(self, package: Package) -> None:
        said = package.predict([ROW])
        assert said.labels is not None
        assert said.probabilities is not None
        body = json.dumps({"predictions": said.labels.tolist(), "probabilities": said.probabilities.tolist()}).encode()
        head = b"HTTP/1.1 200 OK\r\nx-request-id: %b\r\ncontent-length: %d\r\n\r\n"
        self.response = head % (b"id-1", len(body)) + body

    def gather(self, data: bytes, defaults: object, finish: Any) -> bool:
        finish(self.response)
        return True

    def head(self, text: bytes) -> Head | None:
        return None

    def answer(self, *_: Any) -> bytes | None:
        return self.response


HEAD = Head(False, 0, None, False, b"", True)
BODY = json.dumps({"instances": [CELLS]}).encode()


@pytest.fixture(scope="module")
def package(packages: tuple[Path, Path]) -> Package:
    return read_package(packages[0])


def book(package: Package, root: Path, mode: Any, **words: Any) -> tuple[Logbook, CommitLog]:
    """A log with other bounds than a predictor's."""
    model = model_of(package.manifest, package.digest)
    log = CommitLog(SegmentFiles(root, "predictor"), **words)
    writer = LogWriter(log, Speaker("default", NAME, "predictor", model), mode, None)
    return Logbook(writer, [column.name for column in model.columns], Tally(NAME)), log


def counted(tally: Tally) -> dict[str, float]:
    family = next(family for family in tally.collect() if family.name == "kubeloop_predictor_log")
    return {sample.labels["outcome"]: sample.value for sample in family.samples}


@pytest.fixture
def front(package: Package) -> Any:
    return Answers(package)


def test_required_lets_an_answer_leave_when_it_is_on_disk_and_not_before(
    package: Package, tmp_path: Path, front: Any
) -> None:
    async def story() -> tuple[bytes | None, bool, list[bytes | None]]:
        may, asked = asyncio.Event(), asyncio.get_running_loop()

        def sync(descriptor: int) -> None:
            asyncio.run_coroutine_threadsafe(may.wait(), asked).result(60)
            os.fdatasync(descriptor)

        kept, _ = book(package, tmp_path, "required", sync=sync)
        recorder, told = Recorder(front, kept, asked), asyncio.Queue[bytes | None]()
        at_once = recorder.answer(HEAD, BODY, 0.0, None, told.put_nowait)
        early = recorder.gather(b"POST\r\n\r\n" + BODY, None, told.put_nowait) and told.empty()
        may.set()
        late = [await asyncio.wait_for(told.get(), 60) for _ in range(2)]
        await asyncio.to_thread(kept.close)
        return at_once, early, late

    assert asyncio.run(story()) == (None, True, [front.response] * 2)


@pytest.mark.parametrize("trouble", ["full", "disk"])
def test_required_refuses_what_cannot_be_logged(package: Package, tmp_path: Path, front: Any, trouble: str) -> None:
    def broken(_: int) -> None:
        raise OSError(28, "No space left on device")

    async def story() -> tuple[bytes | None, dict[str, float]]:
        words: dict[str, Any] = {"waiting_bytes": 0} if trouble == "full" else {"sync": broken}
        tally_book, _ = book(package, tmp_path, "required", **words)
        told = asyncio.Queue[bytes | None]()
        recorder = Recorder(front, tally_book, asyncio.get_running_loop())
        made = recorder.answer(HEAD, BODY, 0.0, None, told.put_nowait)
        made = made if made is not None else await asyncio.wait_for(told.get(), 60)
        counts = counted(tally_book._tally)
        await asyncio.to_thread(tally_book.close)
        return made, counts

    made, counts = asyncio.run(story())
    assert made is not None
    assert made.startswith(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n")
    assert b"the inference log has no room, or its disk refuses" in made
    assert counts == ({"refused": 1.0} if trouble == "full" else {"stored": 1.0})


def test_bounded_answers_though_the_log_is_full_and_counts_it(package: Package, tmp_path: Path, front: Any) -> None:
    async def story() -> tuple[list[bytes | None], dict[str, float]]:
        kept, _ = book(package, tmp_path, "bounded", waiting_bytes=0)
        recorder = Recorder(front, kept, asyncio.get_running_loop())
        made = [recorder.answer(HEAD, BODY, 0.0, None, lambda _: None)]
        assert recorder.gather(b"POST\r\n\r\n" + BODY, None, made.append)
        await asyncio.to_thread(kept.close)
        return made, counted(kept._tally)

    assert asyncio.run(story()) == ([front.response] * 2, {"lost": 2.0})


def test_the_careful_path_refuses_too(package: Package, tmp_path: Path, front: Any) -> None:
    kept, _ = book(package, tmp_path, "required", waiting_bytes=0)
    body = front.response.partition(b"\r\n\r\n")[2]

    async def app(_: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"x-request-id", b"id-1"), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    transport = httpx.ASGITransport(app=RecordedApp(app, lambda: kept))  # type: ignore[arg-type]

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.post(V1, content=BODY)

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "the inference log has no room" in answer.json()["error"]
    kept.close()


def grpc_request(*, raw: bool) -> Any:
    """Two rows, with their values in messages or as raw bytes."""
    asked = pb.ModelInferRequest(model_name=NAME, id="grpc-1")
    for name, value in ROW.items():
        kind = {"ward": "BYTES", "smoker": "BOOL"}.get(name, "FP64")
        item = asked.inputs.add(name=name, datatype=kind, shape=[2])
        if raw:
            text = struct.pack("<I", 5) + b"north"
            cell = text if kind == "BYTES" else struct.pack("<d" if kind == "FP64" else "<?", value)
            asked.raw_input_contents.append(cell * 2)
        else:
            plain = str(value).encode() if kind == "BYTES" else value
            getattr(item.contents, f"{kind.lower()}_contents").extend([plain] * 2)
    return asked


@pytest.mark.parametrize("raw", [False, True], ids=["contents", "raw"])
def test_grpc_ends_in_the_log(packages: tuple[Path, Path], tmp_path: Path, raw: bool) -> None:
    model = PackageModel(NAME, packages[0], None)
    model.open()
    model.ready = True
    kept, _ = book(model.package, tmp_path / "home" / "log", "required")

    async def infer(_: Any, context: Any) -> Any:
        servicer = _Servicer(None, None, model, Tally(NAME), RequestLog(NAME, "off"))
        return await servicer.ModelInfer(grpc_request(raw=False), context)

    async def ask() -> Any:
        return await recorded_infer(lambda: kept)(infer)(grpc_request(raw=raw), None)

    answer = asyncio.run(ask())
    kept.close()
    model.pool.shutdown()
    window = written(tmp_path / "home")
    assert window.event_ids.tolist() == ["grpc-1"] * 2
    assert window.features.to_pylist() == [{"age": 61.5, "dose": 0.25, "ward": "north", "smoker": 1.0}] * 2
    labels = next(output for output in answer.outputs if output.name == "predictions").contents.bytes_contents
    assert window.predictions.tolist() == [label.decode() for label in labels]
    assert window.probabilities is not None


@pytest.mark.bench
def test_what_the_log_costs_a_request(package: Package, tmp_path: Path, front: Any) -> None:
    """Bounded: CPU of the loop's thread and of the one that writes, per request of one row; stated: 10 microseconds."""
    kept, _ = book(package, tmp_path, "bounded", linger_s=0.05)
    data = b"POST\r\n\r\n" + BODY
    loop = asyncio.new_event_loop()
    recorder = Recorder(front, kept, loop)
    best = {"with": 1.0, "without": 1.0}
    for _ in range(7):
        for name, asked in (("without", front), ("with", recorder)):
            began = time.process_time()
            for _ in range(20_000):
                asked.gather(data, None, lambda _: None)
            best[name] = min(best[name], (time.process_time() - began) / 20_000)
    kept.close()
    loop.close()
    cost = (best["with"] - best["without"]) * 1e6
    print(f"\nbounded log: {cost:.1f} us of CPU a request of one row")
    assert counted(kept._tally).keys() == {"stored"}
    assert cost < 10

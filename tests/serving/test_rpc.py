"""gRPC V2 over loopback: right answers by the short way, and wrong requests as the client's mistakes."""

import asyncio
import io
import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from kserve.model_repository import ModelRepository
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from kubeloop.scoring.errors import Unscorable
from kubeloop.serving.model import PackageModel
from kubeloop.serving.request_log import RequestLog
from kubeloop.serving.rpc import Grpc, _Servicer
from kubeloop.serving.server import _Closed, _Truthful
from kubeloop.serving.tally import Tally

ROW = {"age": 61.5, "dose": 0.25, "ward": "north", "smoker": True}
FIELDS = {"age": "FP64", "dose": "FP64", "ward": "BYTES", "smoker": "BOOL"}
LINES = io.BytesIO()
"""What the request log of `served` has written."""

CONTENTS = {"FP64": "fp64_contents", "BYTES": "bytes_contents", "BOOL": "bool_contents"}


@pytest.fixture(scope="module")
def served(packages: tuple[Path, Path]) -> Iterator[tuple[Any, PackageModel, Tally]]:
    """A stub's call, the model behind it, and what was counted."""
    model, tally = PackageModel("toy", packages[0], None), Tally("toy")
    model.open()
    model.ready = True
    tally.columns = model.codec.rules.names
    assert model.scorer is not None
    repository = ModelRepository()
    repository.update(model)
    loop = asyncio.new_event_loop()
    log = RequestLog("toy", "all", LINES.write)
    limits = {"grpc_max_send_message_length": 2**23, "grpc_max_receive_message_length": 2**23}
    server = Grpc(
        0,
        _Truthful(repository, model),
        _Closed(repository),
        kwargs=limits,
        grace_period=1,
        host="127.0.0.1",
        model=model,
        tally=tally,
        log=log,
    )
    ports: list[int] = []

    async def serve() -> None:
        task = asyncio.create_task(server.start(1))
        while not server.port:
            await asyncio.sleep(0.01)
        ports.append(server.port)
        await task

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        while not ports:
            thread.join(0.01)
            assert thread.is_alive()
        with grpc.insecure_channel(f"127.0.0.1:{ports[0]}") as channel:
            call = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                request_serializer=lambda made: made.SerializeToString(),
                response_deserializer=pb.ModelInferResponse.FromString,
            )
            yield call, model, tally
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop)
        thread.join(10)
        loop.close()
        log.close()
        model.pool.shutdown()


def request(row: dict[str, Any] = ROW, **more: Any) -> Any:
    made = pb.ModelInferRequest(model_name="toy", **more)
    for name, value in row.items():
        item = made.inputs.add(name=name, datatype=FIELDS[name], shape=[1])
        plain = value.encode() if isinstance(value, str) else value
        getattr(item.contents, CONTENTS[FIELDS[name]]).append(plain)
    return made


def counted(tally: Tally) -> dict[str, float]:
    return {
        s.labels["code"]: s.value for m in tally.collect() for s in m.samples if s.name == "kubeloop_requests_total"
    }


def test_answers_are_the_packages(served: tuple[Any, PackageModel, Tally]) -> None:
    call, model, tally = served
    expected = model.package.predict([ROW])
    answer = call(request(id="r-1"), timeout=180)
    assert (answer.model_name, answer.model_version, answer.id) == ("toy", model.version, "r-1")
    labels, probabilities = answer.outputs
    assert [text.decode() for text in labels.contents.bytes_contents] == expected.labels.tolist()
    assert list(probabilities.shape) == [1, 2]
    assert np.abs(np.array(probabilities.contents.fp64_contents) - expected.probabilities[0]).max() <= 1e-12
    assert counted(tally)["200"] >= 1
    again = call(request(), timeout=180)
    assert again.id == ""


def test_a_line_has_the_id_that_the_client_sent(served: tuple[Any, PackageModel, Tally]) -> None:
    call, _, _ = served
    call(request(), timeout=180, metadata=[("x-request-id", "g-1")])
    with pytest.raises(grpc.RpcError):
        call(request({**ROW, "age": float("inf")}), timeout=180, metadata=[("x-request-id", "g-2")])
    end = time.monotonic() + 60
    while b'"g-2"' not in LINES.getvalue():
        assert time.monotonic() < end
        time.sleep(0.01)
    lines = {line["id"]: line for line in map(json.loads, LINES.getvalue().splitlines())}
    assert [(lines[key]["protocol"], lines[key]["code"], lines[key]["rows"]) for key in ("g-1", "g-2")] == [
        ("grpc", 200, 1),
        ("grpc", 400, 0),
    ]


def test_raw_contents_and_missing_values(served: tuple[Any, PackageModel, Tally]) -> None:
    call, model, _ = served
    wanted = model.package.predict([{**ROW, "dose": None}]).probabilities[0]
    plain = call(request({**ROW, "dose": float("nan")}), timeout=180)
    packed = request()
    for item in packed.inputs:
        item.ClearField("contents")
    packed.raw_input_contents.extend(
        [np.array([61.5]).tobytes(), np.array([np.nan]).tobytes(), b"\x05\x00\x00\x00north", b"\x01"]
    )
    raw = call(packed, timeout=180)
    for found in (list(plain.outputs[1].contents.fp64_contents), list(raw.outputs[1].contents.fp64_contents)):
        assert np.abs(np.array(found or np.frombuffer(raw.raw_output_contents[1])) - wanted).max() <= 1e-12


def packed() -> Any:
    """All values behind the inputs, as bytes."""
    made = request()
    for item in made.inputs:
        item.ClearField("contents")
    values = [np.array([61.5]).tobytes(), np.array([np.nan]).tobytes(), b"\x05\x00\x00\x00north", b"\x01"]
    made.raw_input_contents.extend(values)
    return made


def two_rows(kind: str = "FP32") -> Any:
    made = pb.ModelInferRequest(model_name="toy", id="r-2")
    made.parameters["content_type"].string_param = "pd"
    kinds = {**FIELDS, "age": kind}
    values = {"age": [61, 130], "dose": [-0.5, float("nan")], "ward": [b"north", b"1"], "smoker": [False, True]}
    fields = {**CONTENTS, "FP32": "fp32_contents", "INT64": "int64_contents", "INT32": "int_contents"}
    for name, column in reversed(values.items()):
        item = made.inputs.add(name=name, datatype=kinds[name], shape=[2, 1])
        getattr(item.contents, fields[kinds[name]]).extend(column)
    return made


def changed(**parts: Any) -> Any:
    """A right request with one input changed."""
    made = request()
    for key, value in parts.items():
        if isinstance(value, list):
            del getattr(made.inputs[0], key)[:]
            getattr(made.inputs[0], key).extend(value)
        else:
            setattr(made.inputs[0], key, value)
    return made


@pytest.fixture(scope="module")
def servicer(served: tuple[Any, PackageModel, Tally]) -> Any:
    found = _Servicer(None, None, served[1], served[2], RequestLog("toy", "off"))
    if found.at_once(request().SerializeToString(), None) is None:
        pytest.skip("no compiler made the evaluator")
    return found


@pytest.mark.parametrize(
    "made",
    [request(), request(id="r"), request({**ROW, "dose": float("nan")}), packed(), two_rows(), two_rows("INT64"),
     two_rows("INT32"), two_rows("FP64")],
    ids=range(8),
)  # fmt: skip
def test_plain_messages_are_answered_by_bytes_as_with_objects(servicer: Any, served: Any, made: Any) -> None:
    _, model, _ = served
    given = pb.ModelInferResponse.FromString(servicer.at_once(made.SerializeToString(), None))
    raw = list(made.raw_input_contents)
    if raw:  # texts in bytes are more than the way by objects takes
        made.raw_input_contents[:] = []
        for item, value in zip(made.inputs, [[61.5], [float("nan")], [b"north"], [True]], strict=True):
            getattr(item.contents, CONTENTS[item.datatype]).extend(value)
    assert given == servicer._short(made, model.scorer, 0.0, None)


@pytest.mark.parametrize(
    "made",
    [pb.ModelInferRequest(), pb.ModelInferRequest(model_name="toy"), request({**ROW, "ward": "nowhere"}),
     request(model_version="other"), changed(name="other"), changed(datatype="INT8"), changed(shape=[2]),
     changed(shape=[1, 1, 1]), changed(shape=[0]), changed(shape=[2**40]), changed(datatype="INT64")],
    ids=range(11),
)  # fmt: skip
def test_all_other_messages_are_left_alone(servicer: Any, made: Any) -> None:
    assert servicer.at_once(made.SerializeToString(), None) is None


def test_mutated_messages_are_answered_as_with_objects_or_left_alone(servicer: Any, served: Any) -> None:
    rng = random.Random(4)
    plain = [made.SerializeToString() for made in (request(id="r"), packed(), two_rows(), two_rows("INT64"))]
    answered = 0
    for _ in range(3000):
        body = bytearray(rng.choice(plain))
        for _ in range(rng.randint(1, 2)):
            at = rng.randrange(len(body))
            body[at : at + rng.randrange(2)] = bytes(rng.randrange(256) for _ in range(rng.randrange(3)))
        given = servicer.at_once(bytes(body), None)
        if given is None:
            continue
        try:
            wanted = servicer._short(pb.ModelInferRequest.FromString(bytes(body)), served[1].scorer, 0.0, None)
        except (DecodeError, Unscorable):  # in what is stepped over, or texts in bytes
            continue
        answered += 1
        assert pb.ModelInferResponse.FromString(given) == wanted, bytes(body)
    assert answered > 100


@dataclass(frozen=True)
class Raw:
    """Bytes in the place of a message."""

    content: bytes

    def SerializeToString(self) -> bytes:
        return self.content


def test_bytes_that_are_no_message(served: tuple[Any, PackageModel, Tally]) -> None:
    """Whoever sends them made a mistake, and is told so."""
    with pytest.raises(grpc.RpcError, match="no ModelInferRequest") as raised:
        served[0](Raw(b"\xff\xff"), timeout=60)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]


def wrong_width() -> Any:
    made = request()
    del made.inputs[0]
    return made


def text_for_a_number() -> Any:
    made = request()
    made.inputs[0].datatype = "BYTES"
    made.inputs[0].contents.bytes_contents.append(b"old")
    made.inputs[0].contents.ClearField("fp64_contents")
    return made


def another_model() -> Any:
    made = request()
    made.model_name = "other"
    return made


@pytest.mark.parametrize(
    ("made", "code", "says"),
    [
        (wrong_width(), grpc.StatusCode.INVALID_ARGUMENT, "column 'age' is missing"),
        (text_for_a_number(), grpc.StatusCode.INVALID_ARGUMENT, "column 'age', row 1: a number was expected"),
        (pb.ModelInferRequest(model_name="toy"), grpc.StatusCode.INVALID_ARGUMENT, "no tensor came"),
        (another_model(), grpc.StatusCode.NOT_FOUND, "other"),
    ],
)
def test_wrong_requests(served: tuple[Any, PackageModel, Tally], made: Any, code: Any, says: str) -> None:
    with pytest.raises(grpc.RpcError, match=says) as raised:
        served[0](made, timeout=180)
    assert raised.value.code() == code  # type: ignore[attr-defined]
    status = "404" if code == grpc.StatusCode.NOT_FOUND else "400"
    assert counted(served[2])[status] >= 1

"""The sink over real HTTP, with the events of KServe's agent and those of its enemies."""

import base64
import gzip
import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kubeloop.monitoring.log.models import LoggedColumn, LoggedModel
from kubeloop.monitoring.log.windows import WindowKey, read_window
from kubeloop.serving.sink_events import binary_event
from kubeloop.site import laptop
from kubeloop.store import open_engine
from tests.monitoring.log.sinks import AT, RESPONSE, Client, SinkProcess, agent_headers, outcomes

V1 = {"instances": [[63, "1"]]}
ANSWER = {"predictions": [True], "probabilities": [[0.25, 0.75]]}
MODEL = LoggedModel(
    version="7",
    task="binary",
    columns=(LoggedColumn(name="age", kind="number"), LoggedColumn(name="sex", kind="category")),
    classes=(False, True),
    positive=True,
)


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[SinkProcess]:
    found = SinkProcess(tmp_path, [MODEL]).start().ready()
    yield found
    found.close()


def tensor(name: str, datatype: str, shape: list[int], data: list[object]) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def binary(name: str, datatype: str, shape: list[int], size: int) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}


def structured(event_id: str, body: object, **more: object) -> dict[str, object]:
    found: dict[str, object] = {
        "specversion": "1.0",
        "id": event_id,
        "source": "http://localhost:9081/",
        "type": "org.kubeflow.serving.inference.request",
        "namespace": "default",
        "inferenceservicename": "heart",
        "component": "predictor",
        "data": body,
    }
    return {name: value for name, value in (found | more).items() if value is not None}


def test_every_form_of_a_prediction_ends_as_the_same_row(sink: SinkProcess) -> None:
    per_column = [tensor("sex", "BYTES", [1], ["1"]), tensor("age", "FP64", [1, 1], [[63.0]])]
    header = json.dumps({"inputs": [binary("age", "FP64", [1], 8), binary("sex", "BYTES", [1], 5)]}).encode()
    tail = struct.pack("<d", 63.0) + struct.pack("<I", 1) + b"1"
    length = json.dumps({"Inference-Header-Content-Length": [str(len(header))]})
    forms = {
        "v1-list": V1,
        "v1-object": {"instances": [{"age": 63, "sex": "1", "name": "Jane Doe"}]},
        "v2-one-tensor": {"inputs": [tensor("input-0", "BYTES", [1, 2], ["63", "1"])]},
        "v2-per-column": {"inputs": per_column},
        "v2-binary, and a ü": header + tail,
        "gzip": gzip.compress(json.dumps(V1).encode()),
    }
    v2_answer = [tensor("predictions", "BOOL", [1], [True]), tensor("probabilities", "FP64", [1, 2], [0.25, 0.75])]
    json_part = json.dumps({"outputs": [binary("predictions", "BOOL", [1], 1), binary("p", "FP64", [1, 2], 16)]})
    answer_tail = b"\1" + struct.pack("<dd", 0.25, 0.75)
    renamed = json_part.replace('"p"', '"probabilities"').encode() + answer_tail
    answers = {"v2-per-column": {"outputs": v2_answer}, "v2-binary, and a ü": renamed}
    with Client(sink.port) as client:
        for event_id, body in forms.items():
            assert client.event(answers.get(event_id, ANSWER), event_id, RESPONSE) == (202, "")  # before its request
            more = {"Ce_Metadata": length} if event_id.startswith("v2-binary") else {}
            assert client.event(body, event_id, **more) == (202, "")
        one = structured("structured", V1)
        status, _, _ = client.post("/", json.dumps(one).encode(), {"Content-Type": "application/cloudevents+json"})
        assert status == 202
        encoded = base64.b64encode(json.dumps(V1).encode()).decode()
        batch = [structured("batch-1", V1), structured("batch-2", {}, data=None, data_base64=encoded)]
        kind = {"Content-Type": "application/cloudevents-batch+json; charset=UTF-8"}
        assert client.post("/", json.dumps(batch).encode(), kind)[0] == 202
        counted = outcomes(client)
    assert counted["stored"] == 2 * len(forms) + 3
    assert counted["further_columns"] == 1
    assert sink.stop() == 0
    engine = open_engine(laptop(sink.folder / "home"))
    window = read_window(engine, WindowKey("default", "heart", version="7"))
    assert set(window.event_ids) == {*forms, "structured", "batch-1", "batch-2"}
    assert window.features.to_pylist() == [{"age": 63.0, "sex": "1"}] * len(window)
    assert window.answered.sum() == len(forms)
    assert all(label is True for label in window.predictions[window.answered])
    assert window.probabilities is not None
    np.testing.assert_array_equal(window.probabilities[window.answered], [[0.25, 0.75]] * len(forms))
    binary_events = np.array([event_id in forms for event_id in window.event_ids])
    # To the microsecond: the agent's nanoseconds are cut.
    assert set(window.times[binary_events]) == {np.datetime64("2026-03-01T12:00:00.312218")}
    everything = b"".join(path.read_bytes() for path in sink.folder.rglob("*.db*"))
    assert b"Jane" not in everything, "a column that the model does not have was written"
    engine.dispose()


HOSTILE: list[tuple[str, bytes, dict[str, str], int]] = [
    ("empty", b"", {"Content_Type": "None"}, 200),  # a logged GET
    ("not_a_prediction", b'{"status":"alive"}', {"Ce_Type": RESPONSE, "Content_Type": "None"}, 200),
    ("not_a_prediction", b'{"name":"heart","ready":true}', {}, 200),
    ("not_json", b"# HELP request_preprocess_seconds\n", {}, 200),
    ("not_json", b'{"instances": [[63, 1]', {}, 200),
    ("not_json", b'{"instances": [[NaN, "1"]]}', {}, 200),
    ("not_json", b"[" * 100_000, {}, 200),
    ("not_json", b'{"a":' * 50_000, {}, 200),
    ("not_an_object", b"[1]", {}, 200),
    ("grpc", b"\0\0\0\0\5\n\3abc", {}, 200),
    ("bad_gzip", b"\x1f\x8bnot gzip at all", {}, 200),
    ("bad_gzip", gzip.compress(b'{"instances": [[63, "1"]]}')[:-6], {}, 200),
    ("too_large", gzip.compress(b"0" * (70 * 2**20)), {}, 200),
    ("no_rows", b'{"instances": []}', {}, 200),
    ("no_rows", b'{"instances": 7}', {}, 200),
    ("no_row", b'{"instances": [7]}', {}, 200),
    ("other_width", b'{"instances": [[63, "1", 5]]}', {}, 200),
    ("other_columns", b'{"instances": [{"age": 63}]}', {}, 200),
    ("bad_tensor", b'{"inputs": [{"name": "x", "datatype": "FP99", "shape": [1, 2], "data": [1, 2]}]}', {}, 200),
    ("bad_tensor", b'{"inputs": [{"name": "x", "datatype": "FP64", "shape": [9, 2], "data": [1, 2]}]}', {}, 200),
    ("bad_tensor", b'{"inputs": ["x"]}', {}, 200),
    ("other_columns", b'{"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [1]}]}', {}, 200),
    ("bad_key", b'{"instances": [[63, "1"]], "keys": ["a", "b"]}', {}, 200),
    ("bad_key", b'{"instances": [[63, "1"]], "keys": [{}]}', {}, 200),
    ("explanation", b'{"explanations": []}', {"Ce_Type": RESPONSE}, 200),
    ("unknown_outputs", b'{"outputs": []}', {"Ce_Type": RESPONSE}, 200),
    ("other_type", b"{}", {"Ce_Type": "dev.knative.ping"}, 200),
    ("no_service", b"{}", {"Ce_Inferenceservicename": "None"}, 200),
    ("unknown_service", b"{}", {"Ce_Inferenceservicename": "evil"}, 200),
    ("unknown_service", b"{}", {"Ce_Namespace": "elsewhere"}, 200),
    ("unknown_service", b"{}", {"Ce_Component": "transformer"}, 200),
    ("bad_id", b"{}", {"Ce_Id": "x" * 600}, 200),
    ("bad_id", b"{}", {"Ce_Id": ""}, 200),
    ("not_an_event", b"{}", {"Ce_Id": "None"}, 400),
    ("not_an_event", b"{}", {"Ce_Specversion": "None"}, 400),
    ("not_an_event", b"{}", {"Content_Type": "application/cloudevents+json"}, 400),
    ("not_an_event", b"[", {"Content_Type": "application/cloudevents+json"}, 400),
    ("not_an_event", b"{}", {"Content_Type": "application/cloudevents-batch+json"}, 400),
    ("golden", b'{"instances": [[63, "1"]]}', {"Ce_Id": "kubeloop-golden"}, 200),
    ("golden", b'{"instances": [[63, "1"]]}', {"Ce_Metadata": '{"X-Request-Id":["kubeloop-golden"]}'}, 200),
    ("odd_time", b'{"instances": [[63, "1"]]}', {"Ce_Time": "2999-01-01T00:00:00Z"}, 202),
    ("odd_time", b'{"instances": [[63, "1"]]}', {"Ce_Time": "yesterday"}, 202),
    ("odd_time", b'{"instances": [[63, "1"]]}', {"Ce_Time": "None"}, 202),
    ("unknown_version", b'{"instances": [[63, "1"]]}', {"Ce_Annotations": '{"model-version":"8"}'}, 202),
    ("stored", b'{"instances": [[63, "1"]]}', {"Ce_Annotations": "{{{", "Ce_Metadata": "[7]"}, 202),
    ("stored", b'{"instances": [["sixty", [1]]]}', {}, 202),  # told when a window is read
]


def test_every_hostile_event_is_counted_under_a_reason_and_poisons_nothing(sink: SinkProcess) -> None:
    with Client(sink.port) as client:
        for number, (reason, body, more, status) in enumerate(HOSTILE):
            before = outcomes(client)
            more = {"Ce_Id": f"hostile {number}", **more}
            got, _ = client.event(body, "", **more)
            after = outcomes(client)
            assert (number, got) == (number, status)
            assert after.get(reason, 0) == before.get(reason, 0) + 1, (number, reason, after)
        assert client.event(V1, "good") == (202, "")
        assert client.event(V1, "good") == (202, "")
        assert client.event({"instances": [[64, "0"]]}, "good") == (202, "")
        counted = outcomes(client)
        assert (counted["duplicate"], counted["id_used_twice"]) == (1, 1)
        status, said, _ = client.post("/events", b"x" * (17 * 2**20), agent_headers("big"))
        assert status == 413
        assert said == b"a body has at most 16777216 bytes\n"
    assert sink.stop() == 0
    assert (sink.folder / "sink.err").read_bytes() == b""
    engine = open_engine(laptop(sink.folder / "home"))
    window = read_window(engine, WindowKey("default", "heart"))
    stored = sum(status == 202 for _, _, _, status in HOSTILE)
    assert len(window) == stored  # all but the bad cell, and the good one
    assert window.skipped == {"bad_cell": 1}
    assert set(window.versions) == {"7", "8"}
    assert window.features.to_pylist() == [{"age": 63.0, "sex": "1"}] * stored
    recent = np.datetime64(time.time_ns() // 1000, "us") - np.timedelta64(10, "m")
    assert (window.times > recent).sum() == 3, "a time that is not believable is when the event arrived"
    engine.dispose()


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("2024-02-29T23:59:59.999999999Z", 1_709_251_199_999_999),
        ("2026-03-01T12:00:00.31Z", 1_772_366_400_310_000),
        ("2026-03-01T13:30:00.5+01:30", 1_772_366_400_500_000),
        ("1969-12-31T23:59:59.999999Z", None),
        ("2026-03-01T12:00:00", None),
    ],
)
def test_the_moment_of_an_event_is_exact_to_the_microsecond(text: str, at: int | None) -> None:
    headers = {name.lower().encode(): value.encode() for name, value in agent_headers("x", Ce_Time=text).items()}
    assert binary_event(headers, b"{}", 2_000_000_000_000_000).at == at


def test_labels_are_posted_and_refused_with_a_reason(sink: SinkProcess) -> None:
    good = {"service": "heart", "labels": [{"event_id": "a b", "value": True}, {"key": "p-1", "value": False}]}
    refusals = [
        ({}, 400, b"service: Field required"),
        ({"service": "heart", "labels": []}, 400, b"at least 1 item"),
        ({"service": "heart", "labels": [{"value": 1}]}, 400, b"exactly one of event_id and key was expected"),
        ({"service": "heart", "labels": [{"key": "a", "value": [1]}]}, 400, b"labels.0.value"),
        (
            {"service": "heart", "labels": [{"key": "a", "value": 1, "observed_at": "2026-01-01T00:00:00"}]},
            400,
            b"observed_at needs a time zone",
        ),
        ({"service": "other", "labels": [{"key": "a", "value": 1}]}, 404, b"the log keeps nothing of 'other'"),
    ]
    with Client(sink.port) as client:
        assert client.post("/labels", json.dumps(good).encode(), {})[:2] == (202, b'{"taken":2}')
        for body, status, said in refusals:
            got = client.post("/labels", json.dumps(body).encode(), {})
            assert got[0] == status
            assert said in got[1]
    assert sink.stop() == 0


def test_what_was_acknowledged_before_a_kill_is_read_after_it(sink: SinkProcess) -> None:
    with Client(sink.port) as client:
        for number in range(20):
            assert client.event(V1, f"event {number}")[0] == 202
    sink.kill()
    sink.start().ready()
    with Client(sink.port) as client:
        assert client.event(V1, "event 3")[0] == 202  # sent again: it may have been lost for all its sender knows
    assert sink.stop() == 0
    engine = open_engine(laptop(sink.folder / "home"))
    window = read_window(engine, WindowKey("default", "heart"), since=AT)
    assert sorted(window.event_ids) == sorted(f"event {number}" for number in range(20))
    assert list((sink.root).iterdir()) == []
    engine.dispose()

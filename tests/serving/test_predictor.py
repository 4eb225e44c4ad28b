"""The predictor over loopback: answers, and what it says to wrong requests."""

import base64
import gzip
import json
import struct
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

ROW = {"age": 61.5, "dose": 0.25, "ward": "north", "smoker": True}
OTHER = {"age": 30.0, "dose": None, "ward": "elsewhere", "smoker": False}
VALUES = list(ROW.values())
NAME = "toy"


def tensors(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    kinds = {"age": "FP64", "dose": "FP64", "ward": "BYTES", "smoker": "BOOL"}
    return [
        {"name": name, "shape": [len(rows)], "datatype": kinds[name], "data": [row[name] for row in rows]}
        for name in ROW
    ]


def one(data: Any, shape: Any = (1, 4), datatype: Any = "BYTES") -> dict[str, Any]:
    return {"inputs": [{"name": "input-0", "shape": list(shape), "datatype": datatype, "data": data}]}


def test_v1_answers_as_the_package_does(endpoint: Any) -> None:
    expected = endpoint.package.predict([ROW, OTHER])
    wanted = {"predictions": expected.labels.tolist(), "probabilities": expected.probabilities.tolist()}
    shuffled = dict(reversed(ROW.items()))
    for rows in ([ROW, OTHER], [VALUES, list(OTHER.values())], [shuffled, OTHER]):
        answer = endpoint.v1({"instances": rows})
        assert (answer.status_code, answer.json()) == (200, wanted)
    assert endpoint.v1({"instances": []}).json() == {"predictions": [], "probabilities": []}
    assert endpoint.v1({"instances": [{**ROW, "age": "61.5"}]}).json()["predictions"] == wanted["predictions"][:1]


def test_v2_answers_as_the_package_does(endpoint: Any) -> None:
    expected = endpoint.package.predict([ROW, OTHER])
    flat = [VALUES[0], VALUES[1], "north", "true"]
    outputs = [
        {"name": "predictions", "datatype": "BYTES", "shape": [2], "data": expected.labels.tolist()},
        {"name": "probabilities", "datatype": "FP64", "shape": [2, 2], "data": expected.probabilities.ravel().tolist()},
    ]
    answer = endpoint.v2({"id": "r-1", "inputs": tensors(ROW, OTHER)}).json()
    assert answer == {"model_name": NAME, "model_version": endpoint.package.digest, "id": "r-1", "outputs": outputs}
    first = outputs[0]["data"][0]
    for body in (one(flat), one([flat]), one([VALUES]), {"inputs": list(reversed(tensors(ROW)))}):
        assert endpoint.v2(body).json()["outputs"][0]["data"] == [first]
    named = endpoint.v2({"inputs": tensors(ROW), "outputs": [{"name": "probabilities"}]}).json()
    assert [output["name"] for output in named["outputs"]] == ["probabilities"]


def test_v2_binary_tensors(endpoint: Any) -> None:
    text = b"north"
    parts = [np.array([61.5]).tobytes(), np.array([0.25]).tobytes(), struct.pack("<I", len(text)) + text, b"\x01"]
    inputs = tensors(ROW)
    for entry, part in zip(inputs, parts, strict=True):
        del entry["data"]
        entry["parameters"] = {"binary_data_size": len(part)}
    head = json.dumps({"inputs": inputs}).encode()
    length = str(len(head))
    answer = endpoint.v2(head + b"".join(parts), inference_header_content_length=length)
    assert answer.json()["outputs"] == endpoint.v2({"inputs": tensors(ROW)}).json()["outputs"]
    for body, size in (
        (head + b"".join(parts)[:-1], length),
        (head + b"".join(parts) + b"x", length),
        (head, "99999"),
        (head, "-1"),
        (head + b"\xff" * sum(map(len, parts)), length),
    ):
        answer = endpoint.v2(body, inference_header_content_length=size)
        assert (answer.status_code, set(answer.json())) == (400, {"error"})


@pytest.mark.parametrize(
    ("headers", "packed"),
    [
        ({"content_type": "application/json; charset=utf-8"}, False),
        ({"content_type": "application/x-www-form-urlencoded"}, False),
        ({"content_type": "text/plain"}, False),
        ({"content_type": ""}, False),
        ({"content_encoding": "gzip"}, True),
    ],
)
def test_content_types_and_encodings(endpoint: Any, headers: dict[str, str], packed: bool) -> None:
    for ask, body in ((endpoint.v1, {"instances": [ROW]}), (endpoint.v2, {"inputs": tensors(ROW)})):
        content = json.dumps(body).encode()
        assert ask(gzip.compress(content) if packed else content, **headers).status_code == 200


V1_BAD = [
    (b"", "the body is empty"),
    (b"{", "is not JSON"),
    (b'{"instances": [[NaN, 1, "a", true]]}', "NaN and Infinity"),
    (b'{"instances": [[-Infinity, 1, "a", true]]}', "NaN and Infinity"),
    (b"\xff\xfe", "is not JSON"),
    (b"[" * 100_000, "is not JSON"),
    (b"[]", "a JSON object was expected, a list came"),
    (b"{}", "`instances` is missing"),
    ({"inputs": []}, "a V2 body came"),
    ({"instances": 3}, "`instances` should be a list"),
    ({"instances": {"age": 1}}, "`instances` should be a list"),
    ({"instances": VALUES}, "row 1 of 4"),
    ({"instances": [VALUES, VALUES[:3]]}, "row 2 of 2 has 3 values, 4 were expected"),
    ({"instances": [[*VALUES, 1]]}, "row 1 of 1 has 5 values"),
    ({"instances": [["old", 1, "a", True]]}, "column 'age', row 1: a number was expected, the value is the text 'old'"),
    ({"instances": [[1, 1, "a", "maybe"]]}, "column 'smoker', row 1"),
    ({"instances": [[1, [2], "a", True]]}, "column 'dose', row 1"),
    ({"instances": [[1, 1, {"a": 1}, True]]}, "column 'ward', row 1"),
    (
        {"instances": [{"agee": 1, "dose": 1, "ward": "a", "smoker": True}]},
        "no column 'age', but an unknown column 'agee'",
    ),
    ({"instances": [{"age": 1}]}, "no column 'dose'"),
    ({"instances": [None]}, "row 1 of 1 is null"),
    (b'{"instances": [[1e999, 1, "a", true]]}', ""),
]


@pytest.mark.parametrize(("body", "says"), V1_BAD, ids=range(len(V1_BAD)))
def test_bad_v1(endpoint: Any, body: Any, says: str) -> None:
    answer = endpoint.v1(body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]
    assert "Traceback" not in answer.text


def test_bad_v1_names_column_and_row(endpoint: Any) -> None:
    answer = endpoint.v1({"instances": [VALUES, [1, "x", "a", True]]}).json()
    assert (answer["column"], answer["row"]) == ("dose", 2)
    assert "give a number" in answer["error"]


FP = {"name": "age", "shape": [1], "datatype": "FP64", "data": [1]}
V2_BAD = [
    (b"", "the body is empty"),
    (b"{", "is not JSON"),
    (b'{"inputs": [{"name": "a", "shape": [1], "datatype": "FP64", "data": [NaN]}]}', "NaN and Infinity"),
    ({}, "`inputs` should be a list of tensors, nothing came"),
    ({"inputs": []}, "an empty list came"),
    ({"inputs": {}}, "an object came"),
    ({"instances": []}, "a V1 body came"),
    ({"id": 3, "inputs": [FP]}, "`id` should be a text"),
    ({"inputs": [3]}, "input 1 should be an object"),
    ({"inputs": [{"name": "age"}]}, "input 1 has no `shape`"),
    ({"inputs": [{**FP, "name": 3}]}, "the name of input 1"),
    (one([1, 2, 3, 4], [1, 4], "FP99"), "datatype 'FP99'"),
    (one([1, 2, 3, 4], [1, 4], 8), "datatype 8"),
    (one([1, 2, 3], [1, 4], "FP64"), "has 3 values for the shape [1, 4]"),
    (one([1, 2, 3, 4], [2, 4], "FP64"), "has 4 values for the shape [2, 4]"),
    (one([1, 2, 3], [1, 3], "FP64"), "[n, 4] was expected"),
    (one([1, 2, 3, 4], [-1, 4], "FP64"), "no right shape"),
    (one([1, 2, 3, 4], ["1", 4], "FP64"), "no right shape"),
    (one([1, 2, 3, 4], [], "FP64"), "no right shape"),
    (one([[1, 2], [3]], [1, 4], "FP64"), "ragged"),
    (one([[1, 2], 3, 4], [1, 4], "FP64"), "ragged"),
    (one("abcd"), "has a text as data"),
    (one(["x", 1, "a", True]), "column 'age', row 1"),
    (one([1.5, 1, 1, 1], [1, 4], "INT64"), "is no INT64"),
    (one([2, 1, 1, 1], [1, 4], "BOOL"), "is no BOOL"),
    ({"inputs": [FP]}, "the tensor of column 'dose' is missing"),
    ({"inputs": [*tensors(ROW), FP]}, "comes twice"),
    (
        {"inputs": [*tensors(ROW)[:3], {**FP, "name": "smokr"}]},
        "column 'smoker' is missing, but an unknown 'smokr' came",
    ),
    ({"inputs": [*tensors(ROW)[:3], {**FP, "name": "smoker", "shape": [2], "data": [1, 0]}]}, "has 2 rows"),
    ({"inputs": [*tensors(ROW)[:3], {**FP, "name": "smoker", "shape": [1, 1, 1]}]}, "[n] or [n, 1]"),
    ({"inputs": tensors(ROW), "outputs": [{"name": "probabilites"}]}, "did you mean 'probabilities'?"),
    ({"inputs": tensors(ROW), "outputs": 3}, "`outputs` should be a list"),
    ({"inputs": tensors(ROW), "outputs": ["predictions"]}, "an object with a name"),
    ({"inputs": [{"name": "age", "shape": [1], "datatype": "FP64"}]}, "neither `data` nor a binary_data_size"),
]


@pytest.mark.parametrize(("body", "says"), V2_BAD, ids=range(len(V2_BAD)))
def test_bad_v2(endpoint: Any, body: Any, says: str) -> None:
    answer = endpoint.v2(body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}
    assert says in answer.json()["error"]


def test_neither_path_nor_method_nor_encoding_is_a_5xx(endpoint: Any) -> None:
    client = endpoint.client
    for method, path, status in (
        ("POST", "/v1/models/other:predict", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/v1/models/other", 404),
        ("POST", f"/v1/models/{NAME}:explain", 404),
        ("POST", f"/v2/models/{NAME}/versions/1/infer", 404),
        ("GET", f"/v2/models/{NAME}/versions/1/ready", 404),
        ("GET", f"/v1/models/{NAME}:predict", 405),
        ("DELETE", f"/v2/models/{NAME}/infer", 405),
        ("GET", "/nothing", 404),
        ("POST", "/", 405),
    ):
        assert client.request(method, path).status_code == status, path
    body = {"instances": [ROW]}
    assert endpoint.v1(body, content_type="application/json; charset=utf-16").status_code == 415
    assert endpoint.v1(body, content_encoding="br").status_code == 415
    assert endpoint.v1(body, content_encoding="gzip").status_code == 400
    assert endpoint.v1(gzip.compress(b"[" * 200)[:-4], content_encoding="gzip").status_code == 400
    assert endpoint.v1(gzip.compress(b" " * 70_000_000), content_encoding="gzip").status_code == 413
    assert endpoint.v1(b" " * 70_000_000).status_code == 413


def test_cloud_events(endpoint: Any) -> None:
    wanted = endpoint.v1({"instances": [ROW]}).json()
    attributes = {"specversion": "1.0", "id": "1", "source": "me", "type": "t"}
    binary = endpoint.v1({"instances": [ROW]}, **{f"ce_{key}": value for key, value in attributes.items()})
    assert (binary.json(), binary.headers["ce-type"]) == (wanted, "io.kserve.inference.response")
    structured = {"content_type": "application/cloudevents+json; charset=UTF-8"}
    data = {"instances": [ROW]}
    event: dict[str, Any]
    for event in ({"data": data}, {"data_base64": base64.b64encode(json.dumps(data).encode()).decode()}):
        answer = endpoint.v1({**attributes, **event}, **structured)
        assert answer.headers["content-type"] == "application/cloudevents+json"
        assert answer.json()["data"] == wanted
    for event in ({}, attributes, {**attributes, "data": 3}, {**attributes, "data_base64": "%"}, {"data": data}):
        assert endpoint.v1(event, **structured).status_code == 400
    broken = endpoint.v1(b"{", **{f"ce_{key}": value for key, value in attributes.items()})
    assert broken.status_code == 400
    assert endpoint.v1([], content_type="application/cloudevents-batch+json").status_code == 415


def test_unload_by_strangers_is_refused(endpoint: Any) -> None:
    for verb in ("load", "unload"):
        assert endpoint.client.post(f"/v2/repository/models/{NAME}/{verb}").status_code == 403
    assert endpoint.v1({"instances": [ROW]}).status_code == 200


def test_metadata_says_what_this_is(endpoint: Any) -> None:
    assert endpoint.v1({"instances": [VALUES]}).status_code == 200
    found = endpoint.client.get(f"/v2/models/{NAME}").json()
    assert [(entry["name"], entry["datatype"]) for entry in found["inputs"]] == [
        ("age", "FP64"),
        ("dose", "FP64"),
        ("ward", "BYTES"),
        ("smoker", "BOOL"),
    ]
    assert found["outputs"][1] == {"name": "probabilities", "datatype": "FP64", "shape": [-1, 2]}
    assert found["versions"] == [endpoint.package.digest]
    assert found["parameters"]["classes"] == ["no", "yes"]
    assert found["parameters"]["signature"] == "unsigned"
    assert "scikit-learn" in found["parameters"]["libraries"]
    version = f"/v2/models/{NAME}/versions/{endpoint.package.digest}/ready"
    for path in (f"/v1/models/{NAME}", f"/v2/models/{NAME}/ready", version):
        assert endpoint.client.get(path).json() == {"name": NAME, "ready": True}
    assert endpoint.client.get("/v2/health/ready").json() == {"ready": True}
    assert NAME in endpoint.client.get("/metrics").text


def test_mistakes_of_clients_leave_no_word_in_the_log(endpoint: Any) -> None:
    for path in ("/nothing", "/v2/models/other"):
        endpoint.client.get(path)
    endpoint.v1(b"{")
    log: Path = endpoint.running.log
    lines = [line for line in log.read_text().splitlines() if not line.startswith('{"time":')]
    assert len(lines) == 1, lines
    (loud,) = lines  # said once, when the package was loaded
    assert "is UNSIGNED" in loud


def test_a_body_does_not_block_the_health_check(endpoint: Any) -> None:
    """While a large request is answered, health answers again and again."""
    body = json.dumps({"instances": [VALUES] * 60_000}).encode()
    done = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=endpoint.running.url, timeout=60) as client:
            assert client.post(f"/v1/models/{NAME}:predict", content=body).status_code == 200
        done.set()

    thread = threading.Thread(target=ask)
    thread.start()
    meanwhile = 0
    while not done.is_set() and thread.is_alive():
        assert endpoint.client.get("/v2/health/live").status_code == 200
        meanwhile += 1
    thread.join()
    assert done.is_set()
    assert meanwhile > 3  # the last one may have waited for the end

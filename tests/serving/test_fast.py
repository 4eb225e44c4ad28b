"""The fast path: it answers as the careful path does, frames what comes in any pieces, and leaves the rest alone."""

import json
import socket
import struct
from typing import Any

import numpy as np
import pytest

from kubeloop.serving.gate import BusyError, Line

ROW = {"age": 61.5, "dose": 0.25, "ward": "north", "smoker": True}
OTHER = {"age": 30.0, "dose": None, "ward": "south", "smoker": False}
VALUES = list(ROW.values())
V1, V2 = "/v1/models/toy:predict", "/v2/models/toy/infer"
KINDS = {"age": "FP64", "dose": "FP64", "ward": "BYTES", "smoker": "BOOL"}


def tensors(*rows: dict[str, Any], deep: bool = False) -> list[dict[str, Any]]:
    size = len(rows)
    shape = [size, 1] if deep else [size]
    return [
        {"name": name, "shape": shape, "datatype": KINDS[name], "data": [row[name] for row in rows]} for name in ROW
    ]


def one(data: Any, rows: int) -> list[dict[str, Any]]:
    return [{"name": "all", "shape": [rows, 4], "datatype": "BYTES", "data": data}]


PLAIN = [
    (V1, {"instances": [ROW]}),
    (V1, {"instances": [ROW, OTHER]}),
    (V1, {"instances": [VALUES, list(OTHER.values())]}),
    (V1, {"instances": [dict(reversed(ROW.items()))]}),
    (V1, {"instances": [{**ROW, "age": 200.0, "ward": "nowhere"}]}),
    (V2, {"inputs": tensors(ROW, OTHER)}),
    (V2, {"inputs": tensors(ROW, OTHER, deep=True), "id": "r-1", "parameters": {"content_type": "pd"}}),
    (V2, {"inputs": list(reversed(tensors(ROW)))}),
    (V2, {"inputs": one(VALUES, 1)}),
    (V2, {"inputs": one([VALUES, VALUES], 2)}),
]
ODD = [
    (V1, {"instances": [{**ROW, "age": "61.5"}]}, 200),
    (V1, {"instances": [{**ROW, "ward": 1}]}, 200),
    (V1, {"instances": []}, 200),
    (V1, {"instances": [{**ROW, "further": 1}]}, 200),
    (V1, {"instances": [VALUES[:3]]}, 400),
    (V1, {"instances": [ROW, VALUES]}, 200),
    (V1, {"instances": {}}, 400),
    (V1, [], 400),
    (V2, {"inputs": [*tensors(ROW), {"name": "further", "shape": [1], "datatype": "FP64", "data": [1]}]}, 200),
    (V2, {"inputs": tensors(ROW), "outputs": [{"name": "predictions"}]}, 200),
    (V2, {"inputs": [{**tensors(ROW)[0], "shape": [2]}, *tensors(ROW)[1:]]}, 400),
    (V2, {"inputs": [{**tensors(ROW)[0], "datatype": "INT64"}, *tensors(ROW)[1:]]}, 400),
    (V2, {"inputs": tensors(ROW), "id": 3}, 400),
]


@pytest.mark.parametrize(("path", "body"), PLAIN, ids=range(len(PLAIN)))
def test_plain_requests_are_answered_as_the_careful_path_does(fast: Any, path: str, body: Any) -> None:
    content, before = json.dumps(body).encode(), fast.scorer.asked
    given = fast.post(path, content)
    assert given.status_code == 200
    assert fast.scorer.asked > before
    # White space around the charset is more than the fast path takes.
    careful = fast.post(path, content, content_type="application/json; charset = utf-8", expect="")
    assert careful.json() == given.json()
    for name in ("x-kubeloop-outside", "content-type"):
        assert careful.headers.get(name) == given.headers.get(name)


@pytest.mark.parametrize(("path", "body", "status"), ODD, ids=range(len(ODD)))
def test_all_else_is_left_to_the_careful_path(fast: Any, endpoint: Any, path: str, body: Any, status: int) -> None:
    content = json.dumps(body).encode()
    given = fast.post(path, content)
    wanted = (endpoint.v1 if path == V1 else endpoint.v2)(content)
    assert given.status_code == wanted.status_code == status
    assert given.json() == wanted.json()


def test_values_outside_the_rules_are_named_and_counted(fast: Any) -> None:
    given = fast.post(V1, json.dumps({"instances": [{**ROW, "age": 200.0, "ward": "nowhere"}]}).encode())
    assert given.headers["x-kubeloop-outside"] == "age, ward"
    extra = fast.post(V1, json.dumps({"instances": [{**ROW, "Größe": 1}]}).encode())
    assert extra.headers["x-kubeloop-ignored"] == "Gr%C3%B6%C3%9Fe"
    assert "x-kubeloop-outside" not in extra.headers
    counted = {
        (sample.name, sample.labels.get("column")): sample.value for m in fast.tally.collect() for sample in m.samples
    }
    assert counted[("kubeloop_requests_outside_rules_total", "ward")] >= 1


def test_binary_tensors(fast: Any) -> None:
    inputs = tensors(ROW, OTHER)
    parts = [np.array([61.5, 30.0]).tobytes(), np.array([0.25, np.nan]).tobytes()]
    for entry, part in zip(inputs, parts, strict=False):
        del entry["data"]
        entry["parameters"] = {"binary_data_size": len(part)}
    before = fast.scorer.asked
    wanted = fast.post(V2, json.dumps({"inputs": tensors(ROW, OTHER)}).encode()).json()
    for packed in (inputs, [*inputs[:2], _bytes(inputs[2]), _bools(inputs[3])]):
        tail = b"".join(parts)
        if packed is not inputs:
            tail += b"".join(struct.pack("<I", 5) + text for text in (b"north", b"south")) + b"\x01\x00"
            assert all("data" not in entry for entry in packed)
        head = json.dumps({"inputs": packed}).encode()
        given = fast.post(V2, head + tail, inference_header_content_length=str(len(head)))
        assert given.json() == wanted
    assert fast.scorer.asked > before


def _bytes(entry: dict[str, Any]) -> dict[str, Any]:
    return {**{k: v for k, v in entry.items() if k != "data"}, "parameters": {"binary_data_size": 18}}


def _bools(entry: dict[str, Any]) -> dict[str, Any]:
    return {**{k: v for k, v in entry.items() if k != "data"}, "parameters": {"binary_data_size": 2}}


def raw(path: str, body: bytes, *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def read(stream: Any, *told: bytes) -> bytes:
    """Status, body and some headers of one answer; nothing where the connection was closed."""
    status = stream.readline()
    if not status:
        return b""
    headers: dict[bytes, bytes] = {}
    while (line := stream.readline().strip()) != b"":
        key, _, value = line.partition(b": ")
        headers[key] = value
    body = stream.read(int(headers.get(b"content-length", b"0")))
    return b" ".join((status.split()[1], body, *(headers[key] for key in told)))


def talk(port: int, pieces: list[bytes], answers: int) -> list[bytes]:
    """Send pieces over one connection and read so many responses; fewer when it is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=180) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        with connection.makefile("rb") as stream:
            found: list[bytes] = []
            while len(found) < answers and (answer := read(stream)):
                found.append(answer)
            return found


BODY = json.dumps({"instances": [ROW]}).encode()
WHOLE = raw(V1, BODY)
HEALTH = raw("/", b"", method="GET")


def test_any_cut_of_a_stream_of_requests_gives_the_same_answers(fast: Any) -> None:
    """Ours, uvicorn's, an odd one and ours again, pipelined, cut at every place in turn and byte by byte."""
    odd = raw(V1, json.dumps({"instances": [{**ROW, "age": "61.5"}]}).encode())
    chunked = b"".join(
        (f"POST {V1} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode(),
         f"{len(BODY):x}\r\n".encode(), BODY, b"\r\n0\r\n\r\n")
    )  # fmt: skip
    stream = WHOLE + HEALTH + WHOLE + odd + chunked + WHOLE
    wanted = talk(fast.port, [stream], 6)
    assert [answer[:3] for answer in wanted] == [b"200", b"404", b"200", b"200", b"200", b"200"]
    assert len({answer for answer in wanted if answer[:3] == b"200"}) == 1
    step = 37  # a prime: it meets all kinds of places
    for cut in range(1, len(stream), step):
        assert talk(fast.port, [stream[:cut], stream[cut:]], 6) == wanted, cut
    assert talk(fast.port, [stream[i : i + 1] for i in range(len(stream))], 6) == wanted


@pytest.mark.parametrize(
    "request_",
    [
        raw(V1, BODY, f"content-length: {len(BODY) + 1}"),
        raw(V1, BODY, "transfer-encoding : chunked"),
        WHOLE.replace(b"host: x", b"host: x\n folded: y"),
        WHOLE.replace(b"content-length: ", b"content-length: -"),
    ],
)
def test_ambiguous_framing_is_not_guessed(fast: Any, request_: bytes) -> None:
    """Two lengths, a folded header: whoever reads them otherwise than the proxy before us lets requests be smuggled."""
    before = fast.scorer.asked
    answers = talk(fast.port, [request_ + WHOLE], 1)
    assert fast.scorer.asked == before
    assert answers[0].startswith(b"400")


def test_close_and_request_ids(fast: Any) -> None:
    assert len(talk(fast.port, [raw(V1, BODY, "connection: close") + WHOLE], 2)) == 1
    assert fast.post(V1, BODY, x_request_id="mine-1").headers["x-request-id"] == "mine-1"
    ids = {fast.post(V1, BODY).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    assert fast.post(V1, b"{", x_request_id="mine-2").headers["x-request-id"] == "mine-2"


def test_who_does_not_send_the_whole_request_in_time_gets_408(fast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fast.limit, "seconds", 0.2)
    for piece in (WHOLE[:-5], HEALTH[:-5]):
        assert talk(fast.port, [piece], 1)[0].startswith(b"408")


def test_a_large_body_is_scored_aside(fast: Any) -> None:
    body = json.dumps({"instances": [ROW] * 2000}).encode()
    assert len(body) > 64 * 2**10
    given = talk(fast.port, [raw(V1, body) + WHOLE], 2)
    assert len(json.loads(given[0][4:])["predictions"]) == 2000
    assert given[1].startswith(b"200")


def test_a_large_body_is_turned_away_where_too_many_wait_for_the_scoring_thread(
    fast: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(line: Line, budget_s: float) -> None:
        raise BusyError

    body = json.dumps({"instances": [ROW] * 2000}).encode()
    monkeypatch.setattr(Line, "enter", full)
    given = fast.post(V1, body)
    assert (given.status_code, given.headers["retry-after"]) == (503, "1")
    assert fast.post(V1, BODY).status_code == 200  # a small one needs no thread
    monkeypatch.undo()
    assert fast.post(V1, body).status_code == 200


def test_above_capacity_requests_are_turned_away_at_once(fast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast.front.gate, "late", lambda arrived: True)
    given = fast.post(V1, BODY)
    assert (given.status_code, given.headers["retry-after"]) == (503, "1")
    assert "above its capacity" in given.json()["error"]
    monkeypatch.undo()
    assert fast.post(V1, BODY).status_code == 200

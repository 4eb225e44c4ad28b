"""What comes in one round of the event loop: scored as one block, and each connection has the answer of its own."""

import json
import logging
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from kubeloop.serving.front import INLINE, TOGETHER

from .test_fast import OTHER, ROW, V1, V2, WHOLE, raw, read, talk, tensors

CLIENTS = 40
AGES = [{**ROW, "age": 20.0 + place} for place in range(CLIENTS)]


@contextmanager
def one_round(served: Any) -> Iterator[None]:
    """Hold the event loop, so that all that is sent meanwhile comes in its next round."""
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        go.wait(60)

    served.loop.call_soon_threadsafe(hold)
    assert held.wait(60)
    try:
        yield
    finally:
        go.set()


class Counted:
    """Compiled code that says how many requests came at once."""

    def __init__(self, bodies: Any) -> None:
        self._bodies = bodies
        self.sizes: list[int] = []

    def answer(self, v2: bool, body: bytes) -> Any:
        return self._bodies.answer(v2, body)

    def answers(self, asked: Any) -> Any:
        self.sizes.append(len(asked))
        return self._bodies.answers(asked)


@pytest.fixture
def counted(compiled: Any, monkeypatch: pytest.MonkeyPatch) -> Counted:
    made = Counted(compiled.front._bodies)
    monkeypatch.setattr(compiled.front, "_bodies", made)
    return made


def together(served: Any, requests: list[bytes], *told: bytes, end: bool = False) -> list[bytes]:
    """Each request on a connection of its own, all in one round; what `read` says of the answers."""
    with ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=180)) for _ in requests
        ]
        streams = [stack.enter_context(connection.makefile("rb")) for connection in connections]
        for connection, stream, request in zip(connections, streams, requests, strict=True):
            connection.sendall(request)
            read(stream)
        with one_round(served):
            for connection, request in zip(connections, requests, strict=True):
                connection.sendall(request)
                if end:
                    connection.shutdown(socket.SHUT_WR)
        found = [read(stream, *told) for stream in streams]
        assert not end or all(stream.read() == b"" for stream in streams)
    return found


def v1(*rows: Any) -> bytes:
    return raw(V1, json.dumps({"instances": list(rows)}).encode())


def v2(**more: Any) -> bytes:
    return raw(V2, json.dumps({"inputs": tensors(ROW, OTHER), **more}).encode())


@pytest.mark.parametrize("end", [False, True], ids=["open", "half closed"])
def test_all_of_a_round_are_answered_each_its_own(compiled: Any, counted: Counted, end: bool) -> None:
    requests = [v1(row) for row in AGES]
    alone = [talk(compiled.port, [request], 1)[0] for request in requests]
    assert len(set(alone)) > CLIENTS // 2
    counted.sizes.clear()
    assert together(compiled, requests, end=end) == alone
    assert sum(counted.sizes[-3:]) == CLIENTS
    assert max(counted.sizes) == TOGETHER


def test_a_round_of_all_kinds(compiled: Any, counted: Counted) -> None:
    """Rows of several requests, two protocols, ids, and what only the careful path can answer or explain."""
    requests = [
        *(v1(ROW, OTHER, ROW), v2(), v2(id="r-1"), v1({**ROW, "age": "61.5"}), v1({**ROW, "age": "old"}), v1(OTHER)),
        *(raw(V1, b"{"), v1({**ROW, "ward": "nowhere"}), v1(*[ROW] * 50), v2(id="r-2"), v1(ROW)),
    ]
    alone = [talk(compiled.port, [request], 1)[0] for request in requests]
    assert {answer[:3] for answer in alone} == {b"200", b"400"}
    assert together(compiled, requests) == alone
    assert counted.sizes[-1] == len(requests)


def test_who_comes_through_a_gateway_with_an_id_of_its_own_is_gathered_too(compiled: Any, counted: Counted) -> None:
    """No two of these heads are alike, so none of them is known."""
    requests = [raw(V1, json.dumps({"instances": [row]}).encode(), f"x-request-id: {row['age']}") for row in AGES]
    alone = [talk(compiled.port, [request], 1)[0] for request in requests]
    counted.sizes.clear()
    given = together(compiled, requests, b"x-request-id")
    assert given == [b"%b %a" % (answer, row["age"]) for answer, row in zip(alone, AGES, strict=True)]
    assert sum(counted.sizes[-3:]) == CLIENTS
    assert max(counted.sizes) == TOGETHER


def test_a_longer_body_is_judged_by_itself(compiled: Any, counted: Counted) -> None:
    """Sixteen long ones together would keep who comes behind them waiting, with nobody looking at the clock."""
    long = v1(*[ROW] * 80)
    assert len(long) > INLINE // TOGETHER
    wanted = talk(compiled.port, [long], 1)
    counted.sizes.clear()
    assert together(compiled, [long] * 20) == wanted * 20
    assert counted.sizes == []


def test_who_left_does_not_keep_the_others_from_their_answers(compiled: Any) -> None:
    with socket.create_connection(("127.0.0.1", compiled.port), timeout=180) as gone:
        gone.sendall(WHOLE)
        assert gone.recv(2**16)
        # Closed without a farewell: the server reads the request, and then that there is nobody.
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with one_round(compiled):
            gone.sendall(WHOLE)
            gone.close()
    assert len(set(together(compiled, [WHOLE] * 5))) == 1


def test_what_follows_a_gathered_request_is_answered_after_it(compiled: Any) -> None:
    """Pipelined behind it while it waits, whole and in two pieces."""
    wanted = talk(compiled.port, [v1(ROW), v1(OTHER)], 2)
    with socket.create_connection(("127.0.0.1", compiled.port), timeout=180) as connection:
        stream = connection.makefile("rb")
        connection.sendall(v1(ROW))
        assert read(stream) == wanted[0]
        connection.sendall(v1(ROW) + v1(OTHER) + v1(ROW)[:50])
        assert [read(stream), read(stream)] == wanted
        connection.sendall(v1(ROW)[50:] + v1(OTHER))
        assert [read(stream), read(stream)] == wanted


def test_a_late_round_is_turned_away_whole(compiled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [WHOLE] * 20
    wanted = together(compiled, requests)
    late = iter([False] * len(requests) + [True] * 2)  # first each alone, then twice for two blocks
    monkeypatch.setattr(compiled.front.gate, "late", lambda arrived: next(late))
    turned_away = together(compiled, requests)
    assert {answer[:3] for answer in turned_away} == {b"503"}
    monkeypatch.undo()
    assert together(compiled, requests) == wanted


def test_a_connection_that_fails_does_not_take_the_others_along(
    compiled: Any, caplog: pytest.LogCaptureFixture
) -> None:
    front, told = compiled.front, list[bytes | None]()
    done = threading.Event()

    def fails(_: bytes | None) -> None:
        raise OSError("the connection broke")

    def last(response: bytes | None) -> None:
        told.append(response)
        done.set()

    def gather() -> None:
        for finish in (told.append, fails, last):
            assert front.gather(WHOLE, [], finish)

    talk(compiled.port, [WHOLE], 1)
    with caplog.at_level(logging.ERROR, "kserve.kubeloop"):
        compiled.loop.call_soon_threadsafe(gather)
        assert done.wait(60)
    assert len(told) == 2
    assert all(response is not None and response.startswith(b"HTTP/1.1 200") for response in told)
    assert "an answer could not be handed over: OSError: the connection broke" in caplog.text
    assert talk(compiled.port, [WHOLE], 1)[0].startswith(b"200")


def test_a_shutdown_lets_a_round_be_answered(compiled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What uvicorn does to each connection at its end, in the midst of a round."""
    gather = compiled.front.gather

    def then_end(data: bytes, defaults: object, finish: Any) -> bool:
        compiled.loop.call_soon(finish.__self__.shutdown)
        return bool(gather(data, defaults, finish))

    with socket.create_connection(("127.0.0.1", compiled.port), timeout=180) as connection:
        stream = connection.makefile("rb")
        connection.sendall(WHOLE)
        wanted = read(stream)
        monkeypatch.setattr(compiled.front, "gather", then_end)
        connection.sendall(WHOLE)
        assert read(stream) == wanted
        assert stream.read() == b""

"""The request log: a line for each request, written aside, and what is not in it."""

import json
import threading
import time
from typing import Any

import pytest

from kubeloop.serving import request_log
from kubeloop.serving.request_log import RequestLog

V1 = "/v1/models/toy:predict"
ROW = {"age": 61.5, "dose": 0.25, "ward": "north", "smoker": True}
BODY = json.dumps({"instances": [ROW, ROW]}).encode()


def lines(written: bytes | bytearray) -> list[dict[str, Any]]:
    return [json.loads(line) for line in bytes(written).splitlines()]


def until(condition: Any) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


class Out:
    """Takes at most so many bytes at a time, and none while it is held."""

    def __init__(self, most: int = 1 << 20) -> None:
        self.got, self.sizes, self.most = bytearray(), list[int](), most
        self.asked, self.go = threading.Event(), threading.Event()
        self.go.set()

    def __call__(self, piece: bytes) -> int:
        self.asked.set()
        assert self.go.wait(60)
        self.got += piece[: self.most]
        self.sizes.append(len(piece))
        return min(len(piece), self.most)


def test_a_line_says_who_asked_what_came_of_it_and_when() -> None:
    out = Out()
    log = RequestLog("50%d", "all", out)
    log.set("all", "sha256-1")
    now, began = time.time(), time.perf_counter()
    log.note(began, 0.00125, b'a"\\b', "v1", 200, 3)
    log.note(began, 2.0, b"", "grpc", 503, 0)
    log.close()
    first, second = lines(out.got)
    moment = request_log.datetime.fromisoformat(first.pop("time"))
    assert abs(moment.timestamp() - now) < 60
    assert moment.utcoffset() == request_log.datetime.now(request_log.UTC).utcoffset()
    assert first == {
        "level": "info",
        "id": 'a"\\b',
        "model": "50%d",
        "version": "sha256-1",
        "protocol": "v1",
        "code": 200,
        "rows": 3,
        "seconds": 0.00125,
    }
    assert (second["level"], second["id"], second["code"], second["seconds"]) == ("error", None, 503, 2.0)


def test_a_clock_that_is_set_while_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Out()
    log = RequestLog("toy", "all", out)
    log.note(time.perf_counter(), 0.1, b"before", "v1", 200, 1)
    until(lambda: b"before" in out.got)
    monkeypatch.setattr(request_log, "time", lambda: time.time() + 7200)
    log.note(time.perf_counter(), 0.1, b"after", "v1", 200, 1)
    log.close()
    before, after = (request_log.datetime.fromisoformat(line["time"]) for line in lines(out.got))
    assert 7200 <= (after - before).total_seconds() < 7260


@pytest.mark.parametrize(("level", "codes"), [("all", [200, 400, 503]), ("errors", [400, 503]), ("off", [])])
def test_levels(level: Any, codes: list[int]) -> None:
    out = Out()
    log = RequestLog("toy", level, out)
    assert (log.answered is None) == (level != "all")
    for code in (200, 400, 503):
        log.note(0.0, 0.1, b"x", "v2", code, 1)
    log.close()
    assert [line["code"] for line in lines(out.got)] == codes


def test_pieces_are_whole_lines_that_a_pipe_takes_at_once_and_short_writes_are_gone_on_with() -> None:
    whole, short = Out(), Out(most=100)
    for out in (whole, short):
        log = RequestLog("toy", "all", out)
        out.go.clear()  # however the threads take turns
        for place in range(200):
            log.note(float(place), 0.1, b"%d" % place, "v1", 200, 1)
        out.go.set()
        log.close()
        assert [line["id"] for line in lines(out.got)] == [str(place) for place in range(200)]
        assert max(out.sizes) <= 4096
    assert len(whole.sizes) < 20


def test_who_does_not_read_holds_up_nobody_and_what_is_lost_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log, "MOST", 5)
    out = Out()
    out.go.clear()
    log = RequestLog("toy", "all", out)
    log.note(0.0, 0.1, b"first", "v1", 200, 1)
    assert out.asked.wait(60)
    for place in range(8):
        log.note(0.0, 0.1, b"%d" % place, "v1", 200, 1)
    out.go.set()
    log.close()
    *kept, last = lines(out.got)
    assert [line["id"] for line in kept] == ["first", "0", "1", "2", "3", "4"]
    assert (last["lost"], last["level"]) == (3, "warning")


def test_a_broken_pipe_ends_the_log_and_not_the_endpoint(capfd: pytest.CaptureFixture[str]) -> None:
    def broken(piece: bytes) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    log = RequestLog("toy", "all", broken)
    log.note(0.0, 0.1, b"x", "v1", 200, 1)
    until(lambda: log.level == "off")
    log.note(0.0, 0.1, b"x", "v1", 200, 1)
    log.close()
    assert "the request log is not written any more: Broken pipe" in capfd.readouterr().err


def test_every_way_to_an_answer_gives_its_line(fast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answered at once, by the careful path, wrong, and turned away; nothing of the body is in any of them."""
    fast.post(V1, BODY, x_request_id="ok-1")
    fast.post(V1, BODY, x_request_id="ok-2", content_encoding="identity")
    fast.post(V1, b'{"instances": [["planted-value"]]}', x_request_id="bad-1")
    monkeypatch.setattr(fast.front.gate, "late", lambda arrived: True)
    fast.post(V1, BODY, x_request_id="late-1")
    until(lambda: b"late-1" in fast.written.getvalue())
    found = {line["id"]: (line["code"], line["rows"], line["level"]) for line in lines(fast.written.getvalue())}
    assert found["ok-1"] == found["ok-2"] == (200, 2, "info")
    assert found["bad-1"] == (400, 0, "warning")
    assert found["late-1"] == (503, 0, "error")
    assert b"planted-value" not in fast.written.getvalue()


def test_a_predictor_writes_its_errors_on_standard_output_by_default(endpoint: Any) -> None:
    endpoint.v1(BODY, x_request_id="told-not")
    endpoint.v1(b"{", x_request_id="told-1")
    until(lambda: '"told-1"' in endpoint.running.log.read_text())
    text = endpoint.running.log.read_text()
    (line,) = [json.loads(line) for line in text.splitlines() if '"told-1"' in line]
    assert (line["code"], line["model"], line["version"]) == (400, "toy", endpoint.package.digest)
    assert "told-not" not in text

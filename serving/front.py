"""What all connections of a predictor share: which requests are answered at once, how, and when one is turned away."""

import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from time import perf_counter
from urllib.parse import quote

from kubeloop.scoring.errors import Unscorable
from kubeloop.serving.batching import Batcher
from kubeloop.serving.fast import Codec, Rows, Scorer, Scores
from kubeloop.serving.gate import BusyError, Gate
from kubeloop.serving.request_log import RequestLog
from kubeloop.serving.tally import Tally
from kubeloop.serving.wire import dump

_LOG = logging.getLogger("kserve.kubeloop")  # beneath the one that the server sets up

INLINE = 64 * 2**10
"""Bytes of a body that are parsed and scored on the event loop; a larger one would hold up the health check."""

TOGETHER = 16
"""Requests that are scored as one block, between two looks at the clock; all of them are no more than `INLINE`."""

LONGEST = 8 * 2**20
"""Bytes of a body that are collected here; kserve's application takes the larger ones, up to `door.MAX_BODY`."""

REQUEST_ID = "x-request-id"
OUTSIDE = "x-kubeloop-outside"
IGNORED = "x-kubeloop-ignored"

ID = re.compile(rb"[\x21-\x7e]{1,200}")
"""What a request's id may be, to be sent back as it came."""

HEAD_END = b"\r\n\r\n"

_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_CLOSE = b"connection: close\r\n"
_CACHED = 256
_MEDIA = frozenset((b"", b"application/json", b"application/octet-stream", b"application/x-www-form-urlencoded",
                    b"text/plain"))  # fmt: skip
_CHARSETS = frozenset((b"", b"charset=utf-8", b'charset="utf-8"', b"charset=us-ascii"))
_CONNECTIONS = (b"keep-alive", b"close")
_WHOLE = re.compile(rb"[0-9]{1,12}")
_JSON_LENGTH = b"inference-header-content-length"
_FOR_KSERVE = frozenset((b"content-encoding", b"transfer-encoding", b"expect", b"upgrade"))

Finish = Callable[[bytes | None], None]
"""Takes a response; None: the request has to take the careful path."""


@dataclass(frozen=True)
class Head:
    """What a recognised request's head says.

    Attributes:
        v2: Whether it asks over V2.
        length: Bytes of the body.
        json_length: How many of them are JSON, with binary tensors behind; None: all.
        close: Whether the client wants the connection closed.
        request_id: The client's id of the request; empty: none.
        plain: Whether the body is short enough to be gathered, all of it JSON, and the connection stays open.
    """

    v2: bool
    length: int
    json_length: int | None
    close: bool
    request_id: bytes
    plain: bool


class Front:
    """The fast path of one loaded package.

    Args:
        name: The model's name on the path.
        codec: The package's codec.
        scorer: Its compiled plan; None: scikit-learn scores, in batches.
        batcher: For what cannot be scored on the event loop.
        gate: Says when a request came too late.
        tally: Where answers are counted.
        log: Where they get a line.
        submit: Runs work in the scoring thread and hands its result to a callback on the event loop; raises a BusyError
            where too much waits there.
    """

    def __init__(
        self,
        name: str,
        codec: Codec,
        scorer: Scorer | None,
        batcher: Batcher,
        gate: Gate,
        tally: Tally,
        log: RequestLog,
        submit: Callable[[Callable[[], bytes | None], Finish], None],
    ) -> None:
        self._codec = codec
        self._scorer = scorer
        self._bodies = codec.compiled(scorer)
        self._batcher = batcher
        self._tally = tally
        self._log = log
        self._submit = submit
        self.gate = gate
        self._v1 = b"POST /v1/models/" + quote(name).encode() + b":predict HTTP/1.1\r\n"
        self._v2 = b"POST /v2/models/" + quote(name).encode() + b"/infer HTTP/1.1\r\n"
        self.starts = (self._v1, self._v2)
        self._heads: dict[bytes, Head] = {}
        self._defaults: tuple[object, bytes] = (None, b"")
        self._gathered: list[tuple[bool, bytes, Head, Finish]] = []
        self.new_id = request_ids()
        gate.at_end = self._answer_gathered

    def gather(self, data: bytes, defaults: object, finish: Finish) -> bool:
        """Keep what is one whole request with a plain head and a short body until this round of the event loop ends.

        What comes in one round is scored as one block, so that a forest is gone through once for all of it.

        Args:
            data: What came on a connection that waits for a request.
            defaults: As `answer` takes them.
            finish: Takes the response, or None: `answer` has to be asked.

        Returns:
            Whether it was kept; `finish` is called then, and not before this method has returned.
        """
        if self._bodies is None:
            return False
        text, end, body = data.partition(HEAD_END)
        head = self._heads.get(text) or (self.head(text) if end and text.startswith(self.starts) else None)
        if head is None or head.length != len(body) or not head.plain:
            return False
        if self._defaults[0] is not defaults:
            self._defaults = (defaults, _joined(defaults))
        self.gate.arrived()
        if len(self._gathered) == TOGETHER:
            self._answer_gathered()
        self._gathered.append((head.v2, body, head, finish))
        return True

    def _answer_gathered(self) -> None:
        if not self._gathered:
            return
        asked, self._gathered = self._gathered, []
        arrived = self.gate.arrived()
        late = self.gate.late(arrived)
        bodies = self._bodies
        assert bodies is not None
        found = [None] * len(asked) if late else bodies.answers(asked)
        for (_, _, head, finish), made in zip(asked, found, strict=True):
            try:
                if late:
                    finish(self.turned_away(head, arrived))
                else:
                    finish(None if made is None else self._told(head, *made, arrived))
            except Exception as error:  # noqa: BLE001 - what befalls one connection is not for those behind it
                _LOG.error("an answer could not be handed over: %s: %s", type(error).__name__, error)

    def head(self, text: bytes) -> Head | None:
        """What a request's head says, without the empty line; None: it is not for the fast path."""
        found = self._heads.get(text)
        if found is None:
            found = self._read(text)
            # A head with an id of its own does not come again.
            if found is not None and not found.request_id:
                if len(self._heads) >= _CACHED:
                    self._heads.clear()
                self._heads[text] = found
        return found

    def _read(self, text: bytes) -> Head | None:
        v2 = text.startswith(self._v2)
        found = _headers(text[len(self._v2 if v2 else self._v1) :])
        if found is None:
            return None
        media, _, charset = found.get(b"content-type", b"").lower().partition(b";")
        connection = found.get(b"connection", b"keep-alive").lower()
        request_id = found.get(b"x-request-id", b"")
        plain = media.strip() in _MEDIA and charset.strip() in _CHARSETS and connection in _CONNECTIONS
        if not plain or (request_id and ID.fullmatch(request_id) is None):
            return None
        length, json_length = found.get(b"content-length", b""), found.get(_JSON_LENGTH)
        if not _WHOLE.fullmatch(length) or int(length) > LONGEST:
            return None
        if json_length is not None and not (v2 and _WHOLE.fullmatch(json_length) and int(json_length) <= int(length)):
            return None
        binary = None if json_length is None else int(json_length)
        close, size = connection == b"close", int(length)
        return Head(v2, size, binary, close, request_id, size <= INLINE // TOGETHER and binary is None and not close)

    def answer(self, head: Head, body: bytes, arrived: float, defaults: object, finish: Finish) -> bytes | None:
        """The response to a request, or None when `finish` will be given it.

        Args:
            head: Its head.
            body: Its body, whole.
            arrived: When it came, by `Gate.arrived`.
            defaults: uvicorn's default headers, a list that is replaced when one changes.
            finish: Takes the response later.

        Raises:
            Unscorable: It is not plainly right, and has to take the careful path.
        """
        if self.gate.late(arrived):
            return self.turned_away(head, arrived)
        if self._defaults[0] is not defaults:
            self._defaults = (defaults, _joined(defaults))
        scorer = self._scorer
        if len(body) > INLINE:
            score = self._batcher.predict if scorer is None else scorer.score_rows
            try:
                self._submit(lambda: self._aside(head, body, arrived, score), finish)
            except BusyError:
                return self.turned_away(head, arrived)
            return None
        if (made := self._plainest(head, body)) is not None:
            return self._told(head, *made, arrived)
        rows, request_id = self._rows(head, body)
        if scorer is not None:
            return self._response(head, rows, scorer.score_rows(rows), request_id, arrived)

        def done(scores: Scores | None) -> None:
            try:
                finish(None if scores is None else self._response(head, rows, scores, request_id, arrived))
            except Unscorable:
                finish(None)

        if not self._batcher.put(rows, done):
            return self.turned_away(head, arrived)
        return None

    def turned_away(self, head: Head, arrived: float) -> bytes:
        """503, at once."""
        protocol, seconds = "v2" if head.v2 else "v1", perf_counter() - arrived
        self._tally.count(protocol, 503, seconds)
        self._log.note(arrived, seconds, head.request_id, protocol, 503, 0)
        return _TURNED_AWAY % (_CLOSE if head.close else b"")

    def _plainest(self, head: Head, body: bytes) -> tuple[bytes, int, Sequence[str]] | None:
        """What compiled code answers by itself: the body, its rows, the columns with a value outside their rules."""
        return None if self._bodies is None or head.json_length is not None else self._bodies.answer(head.v2, body)

    def _rows(self, head: Head, body: bytes) -> tuple[Rows, str | None]:
        if head.v2:
            return self._codec.v2_rows(body, head.json_length)
        return self._codec.v1_rows(body), None

    def _aside(self, head: Head, body: bytes, arrived: float, score: Callable[[Rows], Scores]) -> bytes | None:
        """In the scoring thread."""
        try:
            if (made := self._plainest(head, body)) is not None:
                return self._told(head, *made, arrived)
            rows, request_id = self._rows(head, body)
            return self._response(head, rows, score(rows), request_id, arrived)
        except Exception:  # noqa: BLE001 - a model may raise anything; the careful path says what it is
            return None

    def _response(self, head: Head, rows: Rows, scores: Scores, request_id: str | None, arrived: float) -> bytes:
        codec = self._codec
        outside = codec.rules.outside(rows)
        body = codec.v2_body(scores, request_id) if head.v2 else codec.v1_body(scores)
        return self._told(head, body, len(rows), outside, arrived)

    def _told(self, head: Head, body: bytes, rows: int, outside: Sequence[str], arrived: float) -> bytes:
        extra = b""
        if outside:
            self._tally.outside(outside)
            extra = b"%b: %b\r\n" % (OUTSIDE.encode(), named(outside))
        if head.close:
            extra += _CLOSE
        protocol, seconds = "v2" if head.v2 else "v1", perf_counter() - arrived
        self._tally.count(protocol, 200, seconds, rows)
        request_id = head.request_id or self.new_id()
        if (note := self._log.answered) is not None:
            note(arrived, seconds, request_id, protocol, 200, rows)
        return b"%b%b\r\n%bcontent-length: %d\r\n\r\n%b" % (self._defaults[1], request_id, extra, len(body), body)


def _headers(text: bytes) -> dict[bytes, bytes] | None:
    """The headers with lower-case names; None where one is malformed, comes twice, or asks for the careful path."""
    found: dict[bytes, bytes] = {}
    for line in text.split(b"\r\n"):
        matched = _HEADER.fullmatch(line)
        if matched is None:
            return None
        key = matched[1].lower()
        if key in found or key in _FOR_KSERVE or key.startswith(b"ce-"):
            return None
        found[key] = matched[2].strip()
    return found


def request_ids() -> Callable[[], bytes]:
    """Ids for requests that came without: drawn once for the process, then counted."""
    mine, numbers = os.urandom(6).hex().encode(), count(1)
    return lambda: b"%b-%x" % (mine, next(numbers))


def named(columns: Sequence[str]) -> bytes:
    """Column names as a header value, percent-encoded where a header cannot carry them."""
    return ", ".join(quote(name, safe=" /()[]") for name in columns).encode("ascii")


def _joined(defaults: object) -> bytes:
    """How an answer begins, up to its request's id."""
    assert isinstance(defaults, list)
    lines = b"".join(b"%b: %b\r\n" % pair for pair in defaults)
    return b"HTTP/1.1 200 OK\r\n%bcontent-type: application/json\r\nx-request-id: " % lines


_BUSY = dump({"error": "this endpoint is above its capacity; ask again in a second"})
_TURNED_AWAY = b"".join(
    (
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-type: application/json\r\n%bcontent-length: ",
        str(len(_BUSY)).encode(),
        b"\r\n\r\n",
        _BUSY.replace(b"%", b"%%"),
    )
)

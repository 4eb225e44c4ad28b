"""The ASGI door in front of kserve's application: all that concerns our model is answered here, the rest by kserve.

kserve answers many mistakes of clients with 500, tells the model's internals and logs tracebacks; here they are 4xx.
"""

import asyncio
import logging
import re
import traceback
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from kubeloop.errors import InputError, KubeloopError
from kubeloop.serving import events, wire
from kubeloop.serving.front import ID, IGNORED, OUTSIDE, REQUEST_ID, named
from kubeloop.serving.gate import BusyError
from kubeloop.serving.protocol import TIME_LIMIT_S
from kubeloop.serving.request_log import RequestLog
from kubeloop.serving.tally import Tally

if TYPE_CHECKING:
    from kubeloop.serving.model import Reply

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_LOG = logging.getLogger("kserve.kubeloop")  # beneath the one that the server sets up

MAX_BODY = 64 * 2**20
"""Bytes of a body, also after decompression."""

_V1 = re.compile(r"/v1/models/(?P<name>[^/:]+)(?::(?P<verb>[^/]+))?/?")
_V2 = re.compile(r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?(?:/(?P<verb>[^/]+))?/?")
_JSON: Headers = [(b"content-type", b"application/json")]
_OUTSIDE, _IGNORED = OUTSIDE.encode(), IGNORED.encode()
_TEXT = ("utf-8", "utf8", "us-ascii", "ascii")


class Served(Protocol):
    """What the door asks."""

    name: str
    ready: bool

    @property
    def version(self) -> str:
        """The package's digest, once ready."""

    def reply(self, body: bytes, json_length: int | None, *, v2: bool) -> "Reply":
        """Answer a body; runs outside the event loop."""

    def metadata(self) -> dict[str, Any]:
        """V2 metadata, once ready."""

    async def run(self, work: Callable[[], Any]) -> Any:
        """Run work in the scoring thread."""


class _StatusError(Exception):
    """An answer that is neither 200 nor 400."""

    def __init__(self, status: int, error: str, headers: Headers | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.headers = headers or []


@dataclass
class _Made:
    """A response."""

    body: bytes
    headers: Headers = field(default_factory=lambda: _JSON)
    status: int = 200
    rows: int = 0


@dataclass
class Door:
    """The outermost ASGI application.

    Attributes:
        app: kserve's application.
        model: The one model of this process.
        tally: Where answers are counted.
        log: Where they get a line.
        new_id: Gives ids to requests that came without.
        time_limit_s: Within which a request is answered, else it gets 504.
    """

    app: App
    model: Served
    tally: Tally
    log: RequestLog
    new_id: Callable[[], bytes]
    time_limit_s: float = TIME_LIMIT_S

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it to kserve."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(("/v1/models/", "/v2/models/", "/v2/repository/")):
            await self.app(scope, receive, send)
            return
        began = perf_counter()
        v2 = path.startswith("/v2/")
        try:
            made = await self._answer(scope, receive, path)
        except _Gone:
            return
        except _StatusError as error:
            made = _Made(wire.dump({"error": str(error)}), [*_JSON, *error.headers], error.status)
        except InputError as error:
            made = _Made(wire.dump((wire.v2_error if v2 else wire.v1_error)(error)), _JSON, 400)
        except KubeloopError as error:
            made = _Made(wire.dump({"error": error.problem}), _JSON, 500)
        except Exception as error:  # noqa: BLE001 - a model may raise anything
            made = _Made(wire.dump({"error": "the model failed on this request"}), _JSON, 500)
            _say_where(error)
        request_id = _request_id(scope) or self.new_id()
        if path.endswith((":predict", "/infer")):
            protocol, seconds = "v2" if v2 else "v1", perf_counter() - began
            self.tally.count(protocol, made.status, seconds, made.rows)
            self.log.note(began, seconds, request_id, protocol, made.status, made.rows)
        told = [(REQUEST_ID.encode(), request_id)]
        told.append((b"content-length", str(len(made.body)).encode()))
        await send({"type": "http.response.start", "status": made.status, "headers": [*made.headers, *told]})
        await send({"type": "http.response.body", "body": made.body})

    async def _answer(self, scope: Scope, receive: Receive, path: str) -> _Made:
        if path.startswith("/v2/repository/"):
            raise _StatusError(403, "models are loaded and unloaded by whoever runs this server, not over the network")
        found = (_V1 if path.startswith("/v1/") else _V2).fullmatch(path)
        if found is None:
            raise _StatusError(404, "there is nothing at this path")
        self._known(found["name"], found.groupdict().get("version"))
        verb = found["verb"]
        if verb in ("predict", "infer"):
            _only("POST", scope)
            self._loaded()
            return await self._infer(scope, receive, v2=verb == "infer")
        if verb == "explain":
            raise _StatusError(404, f"the model {self.model.name!r} has no explainer")
        if verb not in (None, "ready"):
            raise _StatusError(404, f"there is no {verb!r}; ask for a prediction, for readiness or for metadata")
        _only("GET", scope)
        self._loaded()
        if path.startswith("/v2/") and verb is None:
            return _Made(wire.dump(self.model.metadata()))
        return _Made(wire.dump({"name": self.model.name, "ready": True}))

    def _known(self, name: str, version: str | None) -> None:
        if name != self.model.name:
            raise _StatusError(404, f"there is no model {name[:100]!r}; this server has {self.model.name!r}")
        if version is not None and not (self.model.ready and version == self.model.version):
            raise _StatusError(404, f"there is no version {version[:100]!r} here; leave the version out")

    def _loaded(self) -> None:
        if not self.model.ready:
            raise _StatusError(503, f"the model {self.model.name!r} is loading", [(b"retry-after", b"1")])

    async def _infer(self, scope: Scope, receive: Receive, *, v2: bool) -> _Made:
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        content_type = _content_type(headers.get("content-type", ""))
        body = await _body(headers, receive)
        encoding = headers.get("content-encoding", "identity").strip().lower()

        def work() -> _Made:
            plain, event = events.unwrap(headers, content_type, decompressed(body, encoding))
            reply = self.model.reply(plain, json_length_of(headers), v2=v2)
            self.tally.outside(reply.outside)
            told = [
                (key, named(names)) for key, names in ((_OUTSIDE, reply.outside), (_IGNORED, reply.ignored)) if names
            ]
            if event is None:
                return _Made(wire.dump(reply.answer), [*_JSON, *told], rows=reply.rows)
            wrapped, around = events.wrap(event, self.model.name, reply.answer)
            return _Made(wrapped, [*around, *told], rows=reply.rows)

        try:
            made: _Made = await asyncio.wait_for(self.model.run(work), self.time_limit_s)
        except TimeoutError:
            raise _StatusError(
                504, f"no answer was made within {self.time_limit_s:g} s; send fewer rows per request"
            ) from None
        except BusyError:
            raise _StatusError(
                503, "this endpoint is above its capacity; ask again in a second", [(b"retry-after", b"1")]
            ) from None
        return made


def _request_id(scope: Scope) -> bytes:
    """The client's own, where it can be sent back."""
    found = next((value for key, value in scope["headers"] if key == REQUEST_ID.encode()), b"")
    return found if ID.fullmatch(found) else b""


def _say_where(error: Exception) -> None:
    """Class and place of a failure that nobody foresaw; its message may quote a row."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    _LOG.error("a request failed with %s at %s:%d", type(error).__name__, Path(last.filename).name, last.lineno)


class _Gone(Exception):
    """The client left before its request was whole."""


def _only(method: str, scope: Scope) -> None:
    if scope["method"] != method:
        raise _StatusError(405, f"use {method} here, not {scope['method']}", [(b"allow", method.encode())])


def _content_type(value: str) -> str:
    """The media type without parameters. Any is read as JSON: `curl -d` says that it sends a form."""
    message = Message()
    message["content-type"] = value.replace("\n", " ").replace("\r", " ")
    charset = message.get_content_charset() or "utf-8"
    if charset.lower() not in _TEXT:
        raise _StatusError(415, f"the charset {charset[:40]!r} is not read here; send UTF-8")
    media = value.partition(";")[0].strip().lower()
    if media == "application/cloudevents-batch+json":
        raise _StatusError(415, "batches of CloudEvents are not read here; send one event per request")
    return media


async def _body(headers: dict[str, str], receive: Receive) -> bytes:
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length) > MAX_BODY:
        raise _too_large()
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY:
            raise _too_large()
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _too_large() -> _StatusError:
    error = f"the body has more than {MAX_BODY} bytes; send fewer rows per request"
    # The rest of the body is not read, so the connection cannot be used again.
    return _StatusError(413, error, [(b"connection", b"close")])


def decompressed(body: bytes, encoding: str) -> bytes:
    """A body as its Content-Encoding says."""
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise _StatusError(415, f"the content encoding {encoding[:40]!r} is not read here; send gzip or none")
    unzip = zlib.decompressobj(wbits=31)
    try:
        plain = unzip.decompress(body, MAX_BODY + 1)
    except zlib.error:
        raise InputError("the body is no gzip", "send gzip, or no Content-Encoding") from None
    if len(plain) > MAX_BODY:
        raise _too_large()
    if not unzip.eof:
        raise InputError("the gzip body ends too early", "send it whole")
    return plain


def json_length_of(headers: dict[str, str]) -> int | None:
    """Length of the JSON part of a body with binary tensors behind it."""
    text = headers.get("inference-header-content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise InputError(
            "Inference-Header-Content-Length should be a whole number", "give the length of the JSON in bytes"
        )
    return int(text)

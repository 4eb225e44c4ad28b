"""The sink: what KServe's logger posts is on disk before it is acknowledged.

| request | answer |
| --- | --- |
| `POST /` or any other path but those below: a CloudEvent, or a batch of them | 202 it is on disk, or was already; 200 with `X-Kubeloop-Skipped: <reason>` it can never be used, do not send it again; 400 it is no CloudEvent; 413 too large; 503 no room now |
| `POST /labels` | 202 on disk; 400 with what to mend; 404 no such service; 503 no room now |
| `GET /health/live`, `GET /health/ready` | 200; ready is 503 while the disk refuses |
| `GET /metrics` | Prometheus |
"""  # noqa: E501 - a table

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from kubeloop.monitoring.log.commits import Commit, FullError
from kubeloop.monitoring.log.privacy import UnusableError
from kubeloop.serving.sink_events import BATCH, STRUCTURED, NotAnEventError, binary_event, structured_event
from kubeloop.serving.sink_intake import Intake
from kubeloop.serving.sink_labels import RefusedLabelsError, posted_labels

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY = 16 * 2**20
"""Bytes of one body."""

HELD_BYTES = 64 * 2**20
"""Bytes of bodies that are held at once; beyond them requests are answered 503."""

WAITING = 1024
"""Requests that wait for the disk at once; beyond them they are answered 503."""

_RETRY = (b"retry-after", b"1")


class _EndError(Exception):
    """How a request ends when it does not end well."""

    def __init__(self, status: int, text: str = "", *headers: tuple[bytes, bytes]) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers


class Sink:
    """The ASGI application: events and labels are taken here, the rest is Starlette's.

    Args:
        intake: Takes events.
        metrics: Prometheus' text, when it is asked for.
        waiting: Requests that wait for the disk at once.
    """

    def __init__(self, intake: Intake, metrics: Callable[[], bytes], waiting: int = WAITING) -> None:
        self._intake = intake
        self._limit = waiting
        self._requests = 0
        self._held = 0
        self._broken = ""
        self._futures: dict[Commit, asyncio.Future[None]] = {}
        self._metrics = metrics
        self._pages = Starlette(
            routes=[
                Route("/", self._hello),
                Route("/health/live", self._hello),
                Route("/health/ready", self._ready),
                Route("/metrics", self._told),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._pages(scope, receive, send)
            return
        held = 0
        self._requests += 1
        try:
            if self._requests > self._limit:
                raise self._full("over_capacity")
            body = await self._body(scope, receive)
            held = len(body)
            status, text, headers = await self._taken(scope, body)
        except _EndError as end:
            status, text, headers = end.status, str(end), end.headers
        finally:
            self._requests -= 1
            self._held -= held
        content = text.encode("utf-8")
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-length", b"%d" % len(content)), *headers],
            }
        )
        await send({"type": "http.response.body", "body": content})

    def _full(self, reason: str) -> _EndError:
        self._intake.skip(reason)
        return _EndError(503, "there is no room now; send it again later\n", _RETRY)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body, counted into `_held` once it is whole; what is under way is counted as it comes."""
        chunks: list[bytes] = []
        size = 0
        try:
            more = True
            while more:
                message = await receive()
                chunk = message.get("body", b"")
                size += len(chunk)
                self._held += len(chunk)
                self._refuse_body(message["type"], size)
                chunks.append(chunk)
                more = message.get("more_body", False)
        except BaseException:
            self._held -= size
            raise
        return b"".join(chunks)

    def _refuse_body(self, kind: str, size: int) -> None:
        if kind == "http.disconnect":
            self._intake.skip("cut_off")
            raise _EndError(400, "the body ended early\n")
        if size > MAX_BODY:
            self._intake.skip("too_large")
            # The rest is not read, so the connection cannot be used again.
            raise _EndError(413, f"a body has at most {MAX_BODY} bytes\n", (b"connection", b"close"))
        if self._held > HELD_BYTES:
            raise self._full("over_capacity")

    async def _taken(self, scope: Scope, body: bytes) -> tuple[int, str, tuple[tuple[bytes, bytes], ...]]:
        if scope["path"] == "/labels":
            return await self._labels(body)
        headers = dict(scope["headers"])
        media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
        try:
            if media == BATCH:
                return await self._batch(body)
            now = self._intake.clock()
            event = (
                structured_event(orjson.loads(body), now) if media == STRUCTURED else binary_event(headers, body, now)
            )
            commit = self._intake.take(event)
        except UnusableError as error:
            self._intake.skip(error.reason)
            return 200, "", ((b"x-kubeloop-skipped", error.reason.encode()),)
        except (NotAnEventError, orjson.JSONDecodeError) as error:
            self._intake.skip("not_an_event")
            raise _EndError(400, f"{error}\n") from None
        except FullError:
            raise self._full("over_capacity") from None
        if commit is None:
            return 200, "", ((b"x-kubeloop-skipped", self._intake.reason.encode()),)
        await self._synced(commit)
        return 202, "", ()

    async def _batch(self, body: bytes) -> tuple[int, str, tuple[tuple[bytes, bytes], ...]]:
        """All events of a batch; where there is no room for all, those that were taken are duplicates next time."""
        documents = orjson.loads(body)
        if not isinstance(documents, list):
            raise NotAnEventError("a batch is a JSON list of CloudEvents")
        last: Commit | None = None
        for document in documents:
            try:
                commit = self._intake.take(structured_event(document, self._intake.clock()))
            except UnusableError as error:
                self._intake.skip(error.reason)
                continue
            if commit is not last and last is not None:
                await self._synced(last)
            last = commit or last
        if last is not None:
            await self._synced(last)
        return 202, "", ()

    async def _labels(self, body: bytes) -> tuple[int, str, tuple[tuple[bytes, bytes], ...]]:
        try:
            namespace, service, found = posted_labels(body)
            commit = self._intake.take_labels(namespace, service, found)
        except (RefusedLabelsError, UnusableError) as error:
            self._intake.skip("bad_labels")
            raise _EndError(400, f"{error}\n") from None
        except FullError:
            raise self._full("over_capacity") from None
        if commit is None:
            self._intake.skip("unknown_service")
            raise _EndError(404, f"the log keeps nothing of {service!r} in namespace {namespace!r}\n")
        await self._synced(commit)
        return 202, orjson.dumps({"taken": len(found)}).decode("ascii"), ((b"content-type", b"application/json"),)

    async def _synced(self, commit: Commit) -> None:
        """Wait for the disk; all requests of one sync wait for one future."""
        if not commit.done:
            waiting = self._futures.get(commit)
            if waiting is None:
                waiting = self._futures[commit] = asyncio.get_running_loop().create_future()
                commit.when_done(partial(self._tell, asyncio.get_running_loop()))
            await waiting
        if commit.error is not None:
            self._broken = str(commit.error)
            self._intake.skip("disk_error")
            raise _EndError(503, "the disk refused; send it again later\n", _RETRY)
        self._broken = ""

    def _tell(self, loop: asyncio.AbstractEventLoop, commit: Commit) -> None:
        """In the committing thread."""
        loop.call_soon_threadsafe(self._wake, commit)

    def _wake(self, commit: Commit) -> None:
        waiting = self._futures.pop(commit)
        if not waiting.done():
            waiting.set_result(None)

    async def _hello(self, _: Request) -> Response:
        return PlainTextResponse("kubeloop sink: post CloudEvents of KServe's logger to any path, labels to /labels\n")

    async def _ready(self, _: Request) -> Response:
        if self._broken or self._requests >= self._limit:
            return PlainTextResponse("the disk refuses\n" if self._broken else "no room\n", 503)
        return PlainTextResponse("ready\n")

    async def _told(self, _: Request) -> Response:
        return Response(self._metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

"""In front of every way to an answer: what leaves as 200 is logged first, and waits for the disk where it must.

These wrap the fast path, the application and gRPC from outside, and cost nothing where the log is off.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from kubeloop.monitoring.log.commits import Commit, FullError
from kubeloop.packaging.manifest import GOLDEN_ID
from kubeloop.serving import events
from kubeloop.serving.door import decompressed, json_length_of
from kubeloop.serving.front import INLINE, Finish, Front, Head
from kubeloop.serving.logbook import Asked, Logbook, micros_now
from kubeloop.serving.rpc import Infer
from kubeloop.serving.wire import dump

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_HEAD_END = b"\r\n\r\n"
_PREDICTIONS = (":predict", "/infer")
_OK = b"HTTP/1.1 200"
_ID = b"\r\nx-request-id: "
_ERROR = dump({"error": "the inference log has no room, or its disk refuses; ask again in a second"})
_REFUSED = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_ERROR), _ERROR)
)


class Recorder:
    """The fast path with a log; see `kubeloop.serving.front.Front`, whose methods these are.

    Args:
        front: Answers.
        book: Keeps.
        loop: The event loop on which all methods are called.
    """

    def __init__(self, front: Front, book: Logbook, loop: asyncio.AbstractEventLoop) -> None:
        self._front = front
        self._book = book
        self._loop = loop
        self._waiting: dict[Commit, list[tuple[bytes, Finish]]] = {}
        self.starts: tuple[bytes, ...] = front.starts
        self.gate = front.gate

    def head(self, text: bytes) -> Head | None:
        """As the front's."""
        return self._front.head(text)

    def gather(self, data: bytes, defaults: object, finish: Finish) -> bool:
        """As the front's."""
        at = micros_now()

        def kept(response: bytes | None) -> None:
            self._finish(Asked(data[data.find(_HEAD_END) + 4 :], None, at), response, finish)

        return self._front.gather(data, defaults, kept)

    def answer(self, head: Head, body: bytes, arrived: float, defaults: object, finish: Finish) -> bytes | None:
        """As the front's; what must be on disk first is given to `finish`."""
        asked = Asked(body, head.json_length, micros_now())

        def kept(response: bytes | None) -> None:
            self._finish(asked, response, finish)

        response = self._front.answer(head, body, arrived, defaults, kept)
        return response if response is None else self._kept(asked, response, finish)

    def _finish(self, asked: Asked, response: bytes | None, finish: Finish) -> None:
        """Hand a response on once it is logged; None at once."""
        made = response if response is None else self._kept(asked, response, finish)
        if made is not None or response is None:
            finish(made)

    def _kept(self, asked: Asked, response: bytes, finish: Finish) -> bytes | None:
        """The response, once it is logged; None: `finish` will be given it."""
        if not response.startswith(_OK):
            return response
        if len(asked.body) > INLINE:
            # Reading a large body again would hold up the health check.
            reading = self._loop.run_in_executor(None, self._keep, asked, response)
            reading.add_done_callback(lambda done: self._wait(done.result(), response, finish, at_once=False))
            return None
        return self._wait(self._keep(asked, response), response, finish, at_once=True)

    def _keep(self, asked: Asked, response: bytes) -> Commit | bool:
        """What to wait for; True: nothing, False: there is no room."""
        start = response.find(_ID) + len(_ID)
        event_id = response[start : response.find(b"\r\n", start)].decode("ascii")
        if event_id == GOLDEN_ID:
            return True
        try:
            commit = self._book.keep(event_id, asked, response[response.find(_HEAD_END) + 4 :])
        except FullError:
            return False
        return True if commit is None else commit

    def _wait(self, kept: Commit | bool, response: bytes, finish: Finish, *, at_once: bool) -> bytes | None:
        if isinstance(kept, bool):
            made = response if kept else _REFUSED
            if not at_once:
                finish(made)
            return made
        if kept not in self._waiting:
            self._waiting[kept] = []
            kept.when_done(self._tell)
        self._waiting[kept].append((response, finish))
        return None

    def _tell(self, commit: Commit) -> None:
        """In the committing thread."""
        self._loop.call_soon_threadsafe(self._synced, commit)

    def _synced(self, commit: Commit) -> None:
        for response, finish in self._waiting.pop(commit):
            finish(response if commit.error is None else _REFUSED)


class RecordedApp:
    """The careful path with a log.

    Args:
        app: Answers.
        book: Keeps.
    """

    def __init__(self, app: App, book: Callable[[], Logbook | None]) -> None:
        self._app = app
        self._book = book

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a prediction leaves when it is logged."""
        book = self._book()
        if book is None or scope["type"] != "http" or not scope["path"].rstrip("/").endswith(_PREDICTIONS):
            await self._app(scope, receive, send)
            return
        at, chunks = micros_now(), list[bytes]()
        messages: list[MutableMapping[str, Any]] = []

        async def heard() -> MutableMapping[str, Any]:
            message = await receive()
            chunks.append(message.get("body", b""))
            return message

        async def said(message: MutableMapping[str, Any]) -> None:
            messages.append(message)

        await self._app(scope, heard, said)
        if messages and messages[0]["status"] == 200 and (b"x-request-id", GOLDEN_ID.encode()) not in scope["headers"]:
            answer = b"".join(message.get("body", b"") for message in messages)
            if not await _logged(book, dict(scope["headers"]), dict(messages[0]["headers"]), chunks, answer, at):
                content = [(b"content-length", b"%d" % len(_ERROR)), (b"content-type", b"application/json")]
                messages = [
                    {"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"1"), *content]},
                    {"type": "http.response.body", "body": _ERROR},
                ]
        for message in messages:
            await send(message)


async def _logged(
    book: Logbook,
    headers: dict[bytes, bytes],
    told: dict[bytes, bytes],
    chunks: list[bytes],
    answer: bytes,
    at: int,
) -> bool:
    named = {key.decode("latin-1"): value.decode("latin-1") for key, value in headers.items()}
    media = named.get("content-type", "").partition(";")[0].strip().lower()

    def keep() -> Commit | None:
        encoding = named.get("content-encoding", "identity").strip().lower()
        body, event = events.unwrap(named, media, decompressed(b"".join(chunks), encoding))
        made = orjson.dumps(orjson.loads(answer)["data"]) if event is not None and event.structured else answer
        return book.keep(told[b"x-request-id"].decode("latin-1"), Asked(body, json_length_of(named), at), made)

    try:
        commit = await asyncio.to_thread(keep)
    except FullError:
        return False
    return await _synced(commit)


async def _synced(commit: Commit | None) -> bool:
    """Whether a record is on disk; True where nobody waits for it."""
    if commit is None:
        return True
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def tell(_: Commit) -> None:
        loop.call_soon_threadsafe(done.set)

    commit.when_done(tell)
    await done.wait()
    return commit.error is None


def recorded_infer(book: Callable[[], Logbook | None]) -> Callable[[Infer], Infer]:
    """What puts a log around `ModelInfer` of gRPC.

    Args:
        book: Keeps; None until the package is loaded, and where nothing is logged.
    """
    import uuid

    from grpc import StatusCode  # type: ignore[import-untyped]

    def around(infer: Infer) -> Infer:
        async def answer(request: Any, context: Any) -> Any:
            at, made, keeper = micros_now(), await infer(request, context), book()
            if keeper is None:
                return made
            body, length = _v2_bytes("inputs", request.inputs, request.raw_input_contents)
            answered, _ = _v2_bytes("outputs", made.outputs, made.raw_output_contents)
            try:
                # In a thread: reading large tensors would hold up the health check.
                words = (request.id or str(uuid.uuid4()), Asked(body, length, at), answered)
                fine = await _synced(await asyncio.to_thread(keeper.keep, *words))
            except FullError:
                fine = False
            if not fine:
                await context.abort(StatusCode.UNAVAILABLE, orjson.loads(_ERROR)["error"])
            return made

        return answer

    return around


_CONTENTS = [field.name for field in pb.InferTensorContents.DESCRIPTOR.fields]


def _v2_bytes(word: str, tensors: Any, raw: Any) -> tuple[bytes, int]:
    """Tensors of gRPC as V2 over HTTP has them: JSON, and binary tensors behind it; and how long the JSON is."""
    entries: list[dict[str, Any]] = []
    for place, tensor in enumerate(tensors):
        entry = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        if raw:
            entry["parameters"] = {"binary_data_size": len(raw[place])}
        else:
            held = next(
                (list(getattr(tensor.contents, name)) for name in _CONTENTS if getattr(tensor.contents, name)), []
            )
            entry["data"] = [value.decode("utf-8") if isinstance(value, bytes) else value for value in held]
        entries.append(entry)
    document = orjson.dumps({word: entries})
    return document + b"".join(raw), len(document)

"""The local gateway: relays bytes between the public port and the predictor that serves now.

It follows HTTP/1.1 just far enough to know where a response ends, and so between which bytes a connection can be moved
to another predictor: at a switch nobody's connection is cut, and the next request on it goes to the new one. A request
that died with its predictor before one byte of an answer came is asked again of the next one: predictions change
nothing. One that takes the next predictor with it too is given up.
"""

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass, field

HOST = "127.0.0.1"
DIAL_S = 60.0
"""How long a request waits for a predictor before it gets 503, in seconds: many times what one takes to come up."""

_CHUNK = 2**16
_REPLAY = 2**20  # bytes of a request kept for asking it again
_HEAD = 2**16
_RETRY_S = 0.05
_LAST_ANSWER_TRIES = 1200  # a minute
_LOSSES = 20
"""How often one predictor may lose one request: a dying one takes connections for some moments more."""
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_ERROR = b'{"error":"no predictor answers; it is being started again"}'
_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_ERROR), _ERROR)
)


@dataclass(eq=False)
class Target:
    """A predictor as the relay sees it.

    Attributes:
        port: Its port on 127.0.0.1.
        busy: Exchanges in flight: a request came, its response is not complete.
    """

    port: int
    busy: int = 0


class Relay:
    """What all connections share: the target of new requests."""

    def __init__(self) -> None:
        self.target: Target | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client connection; for `asyncio.start_server`."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await _Connection(self, reader, writer).run()
        finally:
            self._connections.discard(task)
            writer.close()

    async def idle(self, target: Target, deadline_s: float) -> bool:
        """Wait until a target has nothing in flight; False if it still has after `deadline_s` seconds."""
        end = asyncio.get_running_loop().time() + deadline_s
        while target.busy and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(_RETRY_S)
        return not target.busy

    async def close(self) -> None:
        """Cut all connections."""
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)


@dataclass
class _Response:
    """Where the response in flight ends, as far as Content-Length says it."""

    head: bytearray = field(default_factory=bytearray)
    left: int | None = None

    def feed(self, data: bytes) -> bool:
        """Take bytes; True when the response is complete."""
        if self.left is None:
            self.head += data
            while (end := self.head.find(b"\r\n\r\n")) >= 0:
                if not self.head.startswith(b"HTTP/1.1 1"):
                    return self._body(end)
                del self.head[: end + 4]  # 100 Continue: the response is yet to come
            if len(self.head) > _HEAD:
                self.head.clear()
            return False
        self.left -= len(data)
        return self.left <= 0

    def _body(self, end: int) -> bool:
        found = _LENGTH.search(self.head, 0, end)
        self.left = int(found[1]) - (len(self.head) - end - 4) if found else 2**62  # chunked: known by the next request
        return self.left <= 0


@dataclass(eq=False)
class _Link:
    """One connection to a predictor."""

    target: Target
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    over: bool = False


class _Connection:
    """One client connection and the predictor connection behind it, which may change between exchanges."""

    def __init__(self, relay: Relay, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._relay = relay
        self._reader = reader
        self._writer = writer
        self._lock = asyncio.Lock()
        self._link: _Link | None = None
        self._pumps: set[asyncio.Task[None]] = set()
        # The exchange: who has it in flight, whether its response has begun, its request while it may be asked again,
        # and who lost it.
        self._counted: Target | None = None
        self._response: _Response | None = None
        self._request: bytearray | None = bytearray()
        self._lost: list[Target] = []

    async def run(self) -> None:
        """Relay until either side has closed."""
        try:
            while data := await self._reader.read(_CHUNK):
                if not await self._forward(data):
                    self._writer.write(_UNAVAILABLE)
                    await self._writer.drain()
                    return
            await self._last_answer()
        except ConnectionError:
            pass
        finally:
            for pump in self._pumps:
                pump.cancel()
            self._unlink()
            self._count(None)

    async def _last_answer(self) -> None:
        """A client may close its side once it has asked."""
        for _ in range(_LAST_ANSWER_TRIES):
            if self._counted is None or self._writer.is_closing():
                return
            await asyncio.sleep(_RETRY_S)

    async def _forward(self, data: bytes) -> bool:
        """Send a client's bytes on; False when no predictor took them in time."""
        async with self._lock:
            # Bytes after a response has begun are the next request.
            first = self._counted is None or self._response is not None
            if first:
                self._count(None)
                self._response = None
                self._request = bytearray()
                self._lost = []
            self._keep(data)
            link = self._link
            if link is None or link.over or (first and link.target is not self._relay.target):
                return await self._ask_again()
            self._count(link.target)
            await _write(link, data)
            return True

    def _keep(self, data: bytes) -> None:
        if self._request is not None:
            self._request += data
            if len(self._request) > _REPLAY:
                self._request = None

    def _count(self, target: Target | None) -> None:
        """Book the exchange in flight on a target, or on none."""
        if self._counted is not None:
            self._counted.busy -= 1
        if target is not None:
            target.busy += 1
        self._counted = target

    async def _ask_again(self) -> bool:
        """Send the whole request, as far as it came, to the target of the moment; call it with the lock held."""
        if self._request is None:
            return False
        self._unlink()
        end = asyncio.get_running_loop().time() + DIAL_S
        while asyncio.get_running_loop().time() < end:
            if self._lost:
                await asyncio.sleep(_RETRY_S)
            target = self._relay.target
            if target is not None:
                # Booked before the first await: a switch in this very moment must see it.
                self._count(target)
                try:
                    reader, writer = await asyncio.open_connection(HOST, target.port)
                except OSError:
                    self._count(None)
                else:
                    link = self._link = _Link(target, reader, writer)
                    pump = asyncio.create_task(self._pump(link))
                    self._pumps.add(pump)
                    pump.add_done_callback(self._pumps.discard)
                    await _write(link, bytes(self._request))
                    return True
            await asyncio.sleep(_RETRY_S)
        return False

    def _given_up(self, target: Target) -> bool:
        """Book that a target lost the request; whether that is enough."""
        self._lost.append(target)
        return len(set(self._lost)) > 1 or len(self._lost) > _LOSSES

    async def _pump(self, link: _Link) -> None:
        """Send a predictor's bytes back, until it closes."""
        with suppress(ConnectionError):
            while data := await link.reader.read(_CHUNK):
                if self._link is not link:
                    return
                if self._response is None:
                    self._response = _Response()
                if self._response.feed(data):
                    self._count(None)
                self._writer.write(data)
                await self._writer.drain()
        link.over = True
        async with self._lock:
            if self._link is not link:
                return
            if self._counted is not None and self._response is None:
                if not self._given_up(link.target) and await self._ask_again():
                    return
                self._writer.write(_UNAVAILABLE)
            # Between exchanges a client need not learn that its predictor was replaced: it keeps its connection.
            if self._counted is not None or link.target is self._relay.target:
                self._writer.close()

    def _unlink(self) -> None:
        if self._link is not None:
            self._link.writer.close()
            self._link = None


async def _write(link: _Link, data: bytes) -> None:
    with suppress(ConnectionError):  # the pump sees it too, and asks again
        link.writer.write(data)
        await link.writer.drain()

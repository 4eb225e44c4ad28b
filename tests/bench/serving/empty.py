"""Answers whatever comes with one fixed line, by the event loop of our predictor: `python empty.py PORT`.

The path says for how many microseconds it is busy before it answers. So it shows what the clients of any server would
see on this machine that takes as long for a request: whoever takes longer meets the machine's own pauses more often.
"""

import asyncio
import sys
from time import perf_counter

import uvloop

_BODY = b'{"predictions":["no"],"probabilities":[[0.5123456789012345,0.4876543210987655]]}'
_BEGIN = b"POST /"
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)


class Empty(asyncio.Protocol):
    """One connection, whose requests come each in one piece."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by asyncio."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if data.startswith(_BEGIN):
            until = perf_counter() + int(data[len(_BEGIN) : data.index(b" ", len(_BEGIN))]) / 1e6
            while perf_counter() < until:
                pass
        self._transport.write(_ANSWER)


async def main(port: int) -> None:
    """Serve until a signal ends it."""
    server = await asyncio.get_running_loop().create_server(Empty, "127.0.0.1", port)
    await server.serve_forever()


uvloop.run(main(int(sys.argv[1])))

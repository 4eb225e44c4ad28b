"""The gateway's relay over real sockets: what a dying predictor loses is asked again, and not without end."""

import asyncio
import struct
from socket import SO_LINGER, SOL_SOCKET

import pytest

from kubeloop.serving.relay import HOST, Relay, Target

ASKED = b"POST /v1/models/toy:predict HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Predictor:
    """Takes connections, and resets as many as it is told to once the request has come."""

    def __init__(self, losses: float) -> None:
        self.losses = losses
        self.asked = 0

    async def start(self) -> Target:
        self._server = await asyncio.start_server(self._handle, HOST, 0)
        return Target(int(self._server.sockets[0].getsockname()[1]))

    def close(self) -> None:
        self._server.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(len(ASKED)) == ASKED:
            self.asked += 1
            if self.asked <= self.losses:
                writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                break
            writer.write(ANSWER)
        writer.close()


async def exchange(relay: Relay, times: int = 1) -> list[bytes]:
    """Status lines that one client reads on one connection, until it is closed or has its answers."""
    server = await asyncio.start_server(relay.handle, HOST, 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    lines = []
    for _ in range(times):
        writer.write(ASKED)
        head = await reader.readuntil(b"\r\n\r\n")
        lines.append(head.partition(b"\r\n")[0])
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    writer.close()
    server.close()
    await relay.close()
    return lines


@pytest.mark.parametrize("losses", [0, 1, 2, 5])
def test_a_request_that_a_predictor_lost_is_asked_again(losses: int) -> None:
    """A dying process resets connections before it closes its listener: more than one attempt may be lost to it."""

    async def run() -> tuple[list[bytes], int]:
        predictor, relay = Predictor(losses), Relay()
        relay.target = await predictor.start()
        lines = await exchange(relay, times=3)
        predictor.close()
        return lines, predictor.asked

    lines, asked = asyncio.run(run())
    assert lines == [b"HTTP/1.1 200 OK"] * 3
    assert asked == 3 + losses


def test_the_next_predictor_answers_what_the_last_one_lost() -> None:
    async def run() -> tuple[list[bytes], Target]:
        dying, fresh, relay = Predictor(1), Predictor(0), Relay()
        old = relay.target = await dying.start()
        new = await fresh.start()
        dying.close()
        asking = asyncio.create_task(exchange(relay))
        while not old.busy:  # it waits for a predictor that refuses connections
            await asyncio.sleep(0)
        relay.target = new
        lines = await asking
        fresh.close()
        assert fresh.asked == 1
        return lines, old

    lines, old = asyncio.run(run())
    assert lines == [b"HTTP/1.1 200 OK"]
    assert old.busy == 0


def test_a_request_that_takes_a_second_predictor_with_it_is_given_up() -> None:
    async def run() -> tuple[list[bytes], int, int]:
        first, second, relay = Predictor(float("inf")), Predictor(float("inf")), Relay()
        relay.target, following = await first.start(), await second.start()
        asking = asyncio.create_task(exchange(relay))
        while not first.asked:
            await asyncio.sleep(0)
        relay.target = following
        lines = await asking
        first.close()
        second.close()
        return lines, first.asked, second.asked

    lines, *asked = asyncio.run(run())
    assert lines == [b"HTTP/1.1 503 Service Unavailable"]
    assert asked == [1, 1]


def test_a_live_predictor_that_never_answers_a_request_is_not_asked_without_end() -> None:
    async def run() -> tuple[list[bytes], int]:
        predictor, relay = Predictor(float("inf")), Relay()
        relay.target = await predictor.start()
        lines = await exchange(relay)
        predictor.close()
        return lines, predictor.asked

    lines, asked = asyncio.run(run())
    assert lines == [b"HTTP/1.1 503 Service Unavailable"]
    assert asked == 21

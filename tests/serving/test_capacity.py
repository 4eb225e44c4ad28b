"""Capacity: the open-loop generator, the search for the rate that breaks the promise, and the plan made of it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kubeloop.contract.serving import Serving
from kubeloop.serving import capacity, load, process

NAME = "toy"


class Slow:
    """A server that answers one request at a time, each after so long, and turns away what would wait too long."""

    def __init__(self, each_s: float, most: int) -> None:
        self.each_s, self.most, self.queue = each_s, most, 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(2)
                if self.queue >= self.most:
                    writer.write(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n")
                    continue
                self.queue += 1
                async with self.one:
                    await asyncio.sleep(self.each_s)
                self.queue -= 1
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def offered(self, rate: float, seconds: float) -> load.Outcome:
        self.one = asyncio.Lock()
        async with await asyncio.start_server(self.handle, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await load.offer(port, load.http_request("/", b"{}"), rate, seconds, 32)


def test_a_latency_counts_from_when_the_request_was_due() -> None:
    """A server of 100 a second, offered 200: a closed loop would see 10 ms each; half of these wait for seconds."""
    outcome = asyncio.run(Slow(0.01, 10_000).offered(200, 1.0))
    assert outcome.asked == 200
    assert outcome.failed == 0
    assert outcome.p99_s > 0.3


def test_refusals_are_counted_apart() -> None:
    outcome = asyncio.run(Slow(0.01, 2).offered(300, 1.0))
    assert outcome.refused > 100
    assert outcome.answered + outcome.refused == 300


def test_a_server_that_hangs_up_has_failed() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async def run() -> load.Outcome:
        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
            return await load.offer(server.sockets[0].getsockname()[1], load.http_request("/", b"{}"), 20, 0.2, 4)

    outcome = asyncio.run(run())
    assert (outcome.answered, outcome.failed, outcome.p99_s) == (0, 4, float("inf"))


def outcome(rate: float, p99_s: float, refused: int = 0, behind: bool = False) -> load.Outcome:
    return load.Outcome(rate, 1.0, int(rate) - refused, refused, 0, p99_s / 2, p99_s, 0.0, 0.0, behind)


@pytest.mark.parametrize(("knee", "behind"), [(130.0, False), (1000.0, False), (7777.0, True)])
def test_the_search_ends_beneath_the_knee(knee: float, behind: bool) -> None:
    def attempt(rate: float) -> Any:
        return capacity._Tried(outcome(rate, 0.01 if rate <= knee else 1.0, behind=behind and rate > knee), 0.1)

    best, at_least = capacity._search(attempt, lambda tried: capacity._holds(tried.outcome, Serving()))
    assert knee / 1.1 <= best.outcome.rate <= knee
    assert at_least == behind


def test_one_pause_of_the_machine_does_not_end_the_search() -> None:
    asked: list[float] = []

    def attempt(rate: float) -> Any:
        asked.append(rate)
        paused = asked.count(rate) == 1 and len(set(asked)) % 2 == 0
        return capacity._Tried(outcome(rate, 1.0 if paused or rate > 1000 else 0.01), 0.1)

    best, _ = capacity._search(attempt, lambda tried: capacity._holds(tried.outcome, Serving()))
    assert 1000 / 1.1 <= best.outcome.rate <= 1000
    assert max(map(asked.count, asked)) == 2


def test_refusals_and_a_late_generator_break_the_promise() -> None:
    assert capacity._holds(outcome(100, 0.05), Serving())
    assert not capacity._holds(outcome(100, 0.05, refused=2), Serving())
    assert not capacity._holds(outcome(100, 0.05, behind=True), Serving())


def test_the_plan_carries_the_peak_with_headroom() -> None:
    measured = capacity.Measurement(
        rate=1000, promised_p99_ms=100, p50_ms=1, p99_ms=9, cpu_ms=0.8, memory_mb=300, rows=1, at_least=False
    )
    serving = Serving.model_validate({"resources": {"cpu": "500m"}, "replicas": {"minimum": 1, "maximum": 2}})
    plan = capacity.plan(measured, serving, mean=1500, peak=6900)
    assert plan.rate_per_replica == 700
    assert (plan.min_replicas, plan.max_replicas) == (3, 10)
    assert plan.knative == {"minReplicas": 3, "maxReplicas": 10, "scaleMetric": "rps", "scaleTarget": 700}
    # 700 a second of 0.8 ms are 0.56 cores, of the half that was asked for: more than all of it.
    assert plan.standard == {"minReplicas": 3, "maxReplicas": 10, "scaleMetric": "cpu", "scaleTarget": 90}


def test_a_real_predictor_is_measured(packages: tuple[Path, Path], endpoint: Any) -> None:
    said: list[str] = []
    manifest = endpoint.package.manifest
    body = capacity.request_body(manifest, 3)
    assert endpoint.v1(body).status_code == 200
    assert len(endpoint.v1(body).json()["predictions"]) == 3
    monkey = process.Predictor(endpoint.running.process, endpoint.running.port, packages[0], endpoint.running.log)
    measured = capacity.measure(monkey, NAME, manifest, 1, 0.3, said.append)
    # What a busy machine carries is not ours to say: whatever held was within the promise.
    assert measured.p99_ms <= 100 or not any(line.endswith("holds") for line in said)
    assert measured.rate > 0
    assert measured.memory_mb > 50
    assert said[0].split()[0] == "50/s"

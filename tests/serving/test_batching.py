"""Micro-batches: who came in one round of the event loop shares a call; nobody waits for a timer or a wrong row."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kubeloop.errors import InputError
from kubeloop.serving import batching
from kubeloop.serving.batching import Batcher
from kubeloop.serving.fast import Rows, Scores
from kubeloop.serving.gate import FEW, BusyError, Line


class Model:
    """Doubles numbers, refuses text, and notes how many rows came at once; holds a call until it is let go."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, rows: Rows) -> Scores:
        assert self.go.wait(60)
        self.sizes.append(len(rows))
        if any(row[0] == "boom" for row in rows):
            raise ZeroDivisionError
        if any(isinstance(row[0], str) for row in rows):
            raise InputError("a number was expected", "send one")
        return [[row[0] * 2.0] for row in rows]


def asked(model: Model, *rounds: list[Any], budget_s: float = 60.0, hold: bool = False) -> list[list[Any]]:
    """What each request of each round was answered with; "full" where it was not taken. A round of the loop between."""

    async def run() -> list[list[Any]]:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as pool:
            batcher = Batcher(model, pool, loop, budget_s)
            told: list[list[asyncio.Future[Any]]] = []
            for values in rounds:
                told.append([loop.create_future() for _ in values])
                for value, future in zip(values, told[-1], strict=True):
                    if not batcher.put([[value]], future.set_result):
                        future.set_result("full")
                await asyncio.sleep(0)
            if hold:
                model.go.set()
            async with asyncio.timeout(60):
                return [[await future for future in futures] for futures in told]

    return asyncio.run(run())


def test_who_came_in_one_round_shares_a_call() -> None:
    model = Model()
    assert asked(model, [1.0, 2.0, 3.0]) == [[[[2.0]], [[4.0]], [[6.0]]]]
    assert model.sizes == [3]


def test_what_queued_while_a_batch_ran_is_the_next() -> None:
    model = Model()
    model.go.clear()
    assert asked(model, [1.0], [2.0, 3.0], [4.0], hold=True) == [[[[2.0]]], [[[4.0]], [[6.0]]], [[[8.0]]]]
    assert model.sizes == [1, 3]


def test_who_asks_again_at_once_shares_the_next_call_with_those_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it each half of the clients would be scored in turn, for ever."""
    monkeypatch.setattr(batching, "_LINGER_SHARE", 1e9)
    monkeypatch.setattr(batching, "_LINGER_MOST_S", 60.0)  # the call comes when all are back, however slow they are
    model = Model()
    model.go.clear()

    async def run() -> None:
        loop = asyncio.get_running_loop()

        async def client(batcher: Batcher, asks: int) -> None:
            for _ in range(asks):
                answered = loop.create_future()
                assert batcher.put([[1.0]], answered.set_result)
                assert await answered == [[2.0]]
                for _ in range(3):
                    await asyncio.sleep(0)

        with ThreadPoolExecutor(1) as pool:
            batcher = Batcher(model, pool, loop, 60.0)
            first = [asyncio.create_task(client(batcher, 3)) for _ in range(4)]
            for _ in range(3):
                await asyncio.sleep(0)
            second = [asyncio.create_task(client(batcher, 2)) for _ in range(4)]
            await asyncio.sleep(0)
            model.go.set()
            async with asyncio.timeout(60):
                await asyncio.gather(*first, *second)

    asyncio.run(run())
    assert model.sizes == [4, 8, 8]


def test_who_does_not_ask_again_is_not_waited_for() -> None:
    model = Model()
    model.go.clear()
    assert asked(model, [1.0, 2.0], [3.0], hold=True) == [[[[2.0]], [[4.0]]], [[[6.0]]]]
    assert model.sizes == [2, 1]


def test_a_wrong_row_keeps_nobody_else_from_an_answer() -> None:
    model = Model()
    assert asked(model, [1.0, "text", 3.0]) == [[[[2.0]], None, [[6.0]]]]
    assert model.sizes == [3, 1, 1, 1]


def test_a_model_that_breaks_on_a_row_answers_the_others_and_whoever_comes_next() -> None:
    model = Model()
    assert asked(model, [1.0, "boom", 3.0]) == [[[[2.0]], None, [[6.0]]]]
    model.go.clear()
    assert asked(model, ["boom"], [4.0], hold=True) == [[None], [[[8.0]]]]


def test_what_would_wait_too_long_is_turned_away_and_a_lone_request_never() -> None:
    model = Model()
    model.go.clear()
    (answers,) = asked(model, [1.0] * 100, hold=True)
    assert answers.count("full") == 100 - 64
    assert asked(Model(), [1.0], budget_s=0.0) == [[[[2.0]]]]


def test_the_careful_path_takes_a_few_and_then_what_fits_into_the_promise() -> None:
    line = Line()
    for _ in range(FEW):
        line.enter(0.05)
    line.enter(0.05)  # nothing is known yet of how long each takes
    line.leave(1.0)
    with pytest.raises(BusyError):
        line.enter(0.05)
    line.enter(60.0)
    for _ in range(FEW + 1):
        line.leave(0.0)
    line.enter(0.0)

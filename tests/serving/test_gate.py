"""Who is turned away, by clocks that the test moves."""

from collections.abc import Callable

import pytest

from kubeloop.serving import gate
from kubeloop.serving.gate import PATIENCE, Gate

PROMISE_S = 0.1


class Clocks:
    """The machine's clock and the thread's own; stands for an event loop too, whose rounds the test ends."""

    def __init__(self) -> None:
        self.now = self.worked = 1.0
        self.soon: list[Callable[[], object]] = []

    def call_soon(self, work: Callable[[], object]) -> None:
        self.soon.append(work)

    def work(self, seconds: float) -> None:
        self.now += seconds
        self.worked += seconds

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def end_round(self) -> None:
        (last,) = self.soon
        self.soon.clear()
        last()


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    monkeypatch.setattr(gate, "perf_counter", lambda: made.now)
    monkeypatch.setattr(gate, "thread_time", lambda: made.worked)
    return made


@pytest.fixture
def judge(clocks: Clocks) -> Gate:
    return Gate(clocks, PROMISE_S)  # type: ignore[arg-type]


def accepted(judge: Gate, clocks: Clocks, asked: int, each_s: float) -> int:
    """How many of a round's requests are answered, each with so much work."""
    taken = 0
    for _ in range(asked):
        if not judge.late(judge.arrived()):
            taken += 1
            clocks.work(each_s)
    clocks.end_round()
    return taken


def test_what_fits_the_promise_is_answered(judge: Gate, clocks: Clocks) -> None:
    for _ in range(5):
        assert accepted(judge, clocks, 4, 0.01) == 4


def test_the_first_round_of_a_flood_is_no_longer_than_the_promise(judge: Gate, clocks: Clocks) -> None:
    """Whoever came in a first round was taken in, and waited for all that came before."""
    before = clocks.now
    assert accepted(judge, clocks, 500, 0.03) == 4
    assert clocks.now - before < PROMISE_S + 0.03
    assert accepted(judge, clocks, 500, 0.03) == 4
    assert accepted(judge, clocks, 500, 0.03) == 2  # half of the promise: they waited for the round before, too


def test_a_pause_of_the_machine_turns_nobody_away(judge: Gate, clocks: Clocks) -> None:
    arrived = judge.arrived()
    clocks.pause(30.0)
    assert not judge.late(arrived)
    clocks.end_round()
    assert accepted(judge, clocks, 9, 0.001) == 9


def test_a_machine_that_pauses_again_and_again_is_full(judge: Gate, clocks: Clocks) -> None:
    for _ in range(PATIENCE):
        arrived = judge.arrived()
        clocks.pause(0.2)
        assert not judge.late(arrived)
        clocks.end_round()
    arrived = judge.arrived()
    clocks.pause(0.2)
    assert judge.late(arrived)
    clocks.end_round()
    assert accepted(judge, clocks, 1, 0.001) == 1  # a round without a pause
    arrived = judge.arrived()
    clocks.pause(0.2)
    assert not judge.late(arrived)

"""Two promoters race 200 times, in processes of their own, some of them killed: one champion, and nothing apart."""

import multiprocessing
import os
import random
import signal
import time

import pytest

from kubeloop.errors import KubeloopError, RefusedError
from kubeloop.ledger import verify
from kubeloop.registry.champions import champion
from kubeloop.rollout.desired import desired
from kubeloop.rollout.promotion import promote, reconcile

RACES = 200
FORK = multiprocessing.get_context("fork")


def run(racer):
    """One promoter; says how it ended."""
    site, endpoint, digest, line, now = racer
    line.send("ready")
    line.recv()
    try:
        promote(site, "heart", digest, f"race-{os.getpid()}", endpoint.apply, now)
        line.send("won")
    except RefusedError:
        line.send("refused")
    except KubeloopError as error:
        line.send(repr(error))


def race(site, endpoint, rivals, now, kill_after_s):
    """Two promoters at once, the first one killed after a while if wanted; exit code of the first, outcomes.

    Each has a line of its own: of what processes share, a killed one may hold the lock for ever.
    """
    lines = [FORK.Pipe() for _ in rivals]
    racers = [
        FORK.Process(target=run, args=((site, endpoint, digest, line, now),))
        for digest, (_, line) in zip(rivals, lines, strict=True)
    ]
    for racer in racers:
        racer.start()
    for ours, _ in lines:
        assert ours.recv() == "ready"
    for ours, _ in lines:
        ours.send("go")
    if kill_after_s is not None:
        time.sleep(kill_after_s)  # anywhere within its steps
        os.kill(racers[0].pid, signal.SIGKILL)
    for racer in racers:
        racer.join()
    said = sorted(ours.recv() for (ours, _), racer in zip(lines, racers, strict=True) if racer.exitcode == 0)
    for ends in lines:
        for end in ends:
            end.close()
    return racers[0].exitcode, said


@pytest.mark.timeout(900)  # half a minute alone on two cores; minutes where others work beside it
@pytest.mark.slow
def test_two_hundred_races(site, engine, digests, endpoint, judge, whole, now):
    promote(site, "heart", digests[0], "run", endpoint.apply, now)
    draw = random.Random(0)
    present, killed = digests[0], 0
    for number in range(RACES):
        rivals = [digest for digest in digests if digest != present]
        for digest in rivals:
            judge(digest, present)
        before = champion(engine, "default", "heart").revision
        deadly = number % 4 == 3
        code, said = race(site, endpoint, rivals, now, draw.uniform(0.0, 0.08) if deadly else None)
        killed += code == -signal.SIGKILL
        if deadly:
            reconcile(site, "heart", endpoint.apply, now)
        row = champion(engine, "default", "heart")
        if code == 0:
            assert said == ["refused", "won"]
            assert row.revision == before + 1
        assert row.revision - before in (0, 1)
        present = row.digest
        assert endpoint.serves == desired(engine, "default", "heart").digest == present
        if deadly:
            whole(present)
    assert killed > 10
    assert verify(engine, "default") > RACES * 3

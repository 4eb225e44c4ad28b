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
    """One promoter; puts down how it ended."""
    site, endpoint, digest, start, outcomes, now = racer
    start.wait()
    try:
        promote(site, "heart", digest, f"race-{os.getpid()}", endpoint.apply, now)
        outcomes.put("won")
    except RefusedError:
        outcomes.put("refused")
    except KubeloopError as error:
        outcomes.put(repr(error))


def race(site, endpoint, rivals, now, kill_after_s):
    """Two promoters at once, the first one killed after a while if wanted; exit code of the first, outcomes."""
    start, outcomes = FORK.Barrier(3), FORK.Queue()
    racers = [FORK.Process(target=run, args=((site, endpoint, digest, start, outcomes, now),)) for digest in rivals]
    for racer in racers:
        racer.start()
    start.wait()
    if kill_after_s is not None:
        time.sleep(kill_after_s)  # anywhere within its steps
        os.kill(racers[0].pid, signal.SIGKILL)
    for racer in racers:
        racer.join()
    return racers[0].exitcode, sorted(outcomes.get() for racer in racers if racer.exitcode == 0)


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

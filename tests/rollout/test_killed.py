"""kill -9 between every pair of steps, in a real process, and then whatever command comes next."""

import os
import signal
from collections.abc import Callable

import pytest

from kubeloop.errors import InputError
from kubeloop.registry.champions import champion
from kubeloop.rollout import steps
from kubeloop.rollout.promotion import promote, reconcile, rollback

BORDERS = [
    ("append", "before", 1),
    ("append", "after", 1),
    ("want", "before", 1),
    ("want", "after", 1),
    ("move_champion", "after", 1),
    ("mirror_alias", "after", 1),
    ("append", "before", 2),
    ("append", "after", 2),
]
"""Between which calls the process dies: a step's name in `steps`, which side of it, at which of its calls."""


def die_at(border: tuple[str, str, int], command: Callable[[], object]) -> None:
    """Run `command` in a child process that is killed at the border."""
    name, side, call = border
    child = os.fork()
    if child == 0:
        real, calls = getattr(steps, name), 0

        def deadly(*args: object, **kwargs: object) -> object:
            nonlocal calls
            calls += 1
            if calls == call and side == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            found = real(*args, **kwargs)
            if calls == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        setattr(steps, name, deadly)
        try:
            command()
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize("border", BORDERS, ids=lambda border: "-".join(map(str, border)))
def test_promotion(border, first, site, engine, digests, endpoint, judge, whole, now):
    if not first:
        promote(site, "heart", digests[0], "run", endpoint.apply, now)
        judge(digests[1], digests[0])
    before = None if first else digests[0]
    die_at(border, lambda: promote(site, "heart", digests[1], "run", endpoint.apply, now))
    row = champion(engine, "default", "heart")
    moved = row is not None and row.digest == digests[1]
    found = reconcile(site, "heart", endpoint.apply, now)
    after = found["champion"]
    # What moved is finished; what never began stays so; the first one goes forward, a later one is undone.
    assert after == (digests[1] if moved or (first and border != BORDERS[0]) else before)
    whole(after)
    assert reconcile(site, "heart", endpoint.apply, now)["actions"] == []
    # The same command again ends well, wherever it was stopped.
    facts = promote(site, "heart", digests[1], "run", endpoint.apply, now)
    assert facts["outcome"] in ("promoted", "already champion")
    whole(digests[1])


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize("border", BORDERS, ids=lambda border: "-".join(map(str, border)))
def test_the_same_promotion_again_resumes(border, first, site, digests, endpoint, judge, whole, now):
    if not first:
        promote(site, "heart", digests[0], "run", endpoint.apply, now)
        judge(digests[1], digests[0])
    die_at(border, lambda: promote(site, "heart", digests[1], "run", endpoint.apply, now))
    promote(site, "heart", digests[1], "run", endpoint.apply, now)
    whole(digests[1])


@pytest.mark.parametrize("border", BORDERS[:6], ids=lambda border: "-".join(map(str, border)))
def test_rollback(border, site, engine, digests, endpoint, judge, whole, now):
    promote(site, "heart", digests[0], "run", endpoint.apply, now)
    judge(digests[1], digests[0])
    promote(site, "heart", digests[1], "run", endpoint.apply, now)
    die_at(border, lambda: rollback(site, "heart", endpoint.apply, now))
    reconcile(site, "heart", endpoint.apply, now)
    began = border[:2] != ("append", "before")
    whole(digests[0] if began else digests[1])
    if began:
        with pytest.raises(InputError, match="a champion before"):
            rollback(site, "heart", endpoint.apply, now)


@pytest.mark.parametrize("border", BORDERS[:4], ids=lambda border: "-".join(map(str, border)))
def test_reconcile_may_be_killed_too(border, site, digests, endpoint, judge, whole, now):
    promote(site, "heart", digests[0], "run", endpoint.apply, now)
    judge(digests[1], digests[0])
    die_at(("want", "after", 1), lambda: promote(site, "heart", digests[1], "run", endpoint.apply, now))
    die_at(border, lambda: reconcile(site, "heart", endpoint.apply, now))
    reconcile(site, "heart", endpoint.apply, now)
    whole(digests[0])

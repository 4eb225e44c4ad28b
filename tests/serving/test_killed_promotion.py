"""kill -9 between every pair of promotion steps beside a running `kubeloop serve`: it follows the row."""

from typing import Any

import httpx
import pytest

from kubeloop.ledger import append, verify
from kubeloop.registry.champions import champion
from kubeloop.rollout.promotion import promote
from kubeloop.rollout.steps import answered_here
from kubeloop.serving.local import running
from kubeloop.site import Site
from kubeloop.store.engine import open_engine
from tests.rollout.test_killed import BORDERS, die_at
from tests.serving.test_local import until
from tests.serving.test_rollback import NAME, NOW, ROW, kubeloop, serving, two

__all__ = ["two"]


@pytest.mark.slow
def test_the_endpoint_follows_the_row(site: Site, two: dict[str, Any]) -> None:
    engine = open_engine(site)
    with serving(site):
        ended = {moved_though_killed(site, engine, two, border) for border in BORDERS}
    assert ended == {True, False}  # some were finished, some undone
    verify(engine, "default")
    engine.dispose()


def moved_though_killed(site: Site, engine: Any, answers: dict[str, Any], border: tuple[str, str, int]) -> bool:
    """Whether the other version is champion after a killed promotion and a `reconcile`; the endpoint must agree."""
    present = champion(engine, "default", NAME).digest
    (other,) = set(answers) - {present}
    judged = {"baseline": "champion", "champion": present}
    body = {"name": NAME, "version": 0, "digest": other, "run": "again", "judged_against": judged}
    append(engine, "default", "registration", body, NOW)
    die_at(border, lambda: promote(site, NAME, other, "run", answered_here(site), NOW))
    kubeloop(site, "reconcile", NAME)
    row = champion(engine, "default", NAME).digest
    until(lambda: running(site.home)[0].digest == row)
    url = f"{running(site.home)[0].url}/v1/models/{NAME}:predict"
    assert httpx.post(url, json={"instances": [ROW]}, timeout=180).json()["probabilities"] == answers[row]
    return bool(row == other)

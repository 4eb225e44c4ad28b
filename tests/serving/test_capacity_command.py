"""`kubeloop capacity NAME` as a person types it, and the autoscaling fields that it proposes."""

import datetime as dt
import json
import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from kserve import V1beta1PredictorSpec

from kubeloop.cli import capacity_
from kubeloop.contract.serving import Serving
from kubeloop.packaging.read import read_package
from kubeloop.registry.champions import move_champion
from kubeloop.registry.versions import register
from kubeloop.serving import capacity
from kubeloop.site import Site
from kubeloop.store import open_engine
from tests.front_door import run_command

NAME = "toy"
NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
MEASURED = capacity.Measurement(
    rate=1000, promised_p99_ms=100, p50_ms=1, p99_ms=9, cpu_ms=0.8, memory_mb=300, rows=1, at_least=True
)
SERVING = Serving.model_validate({"replicas": {"minimum": 1, "maximum": 2}})


@pytest.fixture
def home(site: Site, packages: tuple[Path, Path]) -> Path:
    """A home in which the first package is champion."""
    engine, package = open_engine(site), read_package(packages[0])
    register(engine, site, packages[0], "made", NOW)
    move_champion(engine, site.namespace, NAME, package.digest, 0, NOW)
    engine.dispose()
    assert site.home is not None
    return site.home


def test_what_is_proposed_are_fields_of_a_predictor_in_values_that_kserve_takes() -> None:
    planned = capacity.plan(MEASURED, SERVING, mean=1500, peak=6900)
    fields = set(V1beta1PredictorSpec.attribute_map.values())
    for proposed, metrics in ((planned.knative, {"rps", "concurrency"}), (planned.standard, {"cpu", "memory"})):
        assert set(proposed) <= fields
        assert proposed["scaleMetric"] in metrics
        assert all(type(proposed[key]) is int for key in ("minReplicas", "maxReplicas", "scaleTarget"))
        assert 0 < proposed["minReplicas"] <= proposed["maxReplicas"]


def test_the_words_that_a_person_reads() -> None:
    text = capacity_._text(MEASURED, capacity.plan(MEASURED, SERVING, mean=1500, peak=6900))
    for line in (
        "one replica carries at least 1,000 requests per second:"
        " p50 1.00 ms, p99 9.00 ms, 0.800 ms of CPU each, 300 MB",
        "planned for 700/s each; expected 1,500/s, at most 6,900/s",
        "    replicas: {minimum: 3, maximum: 10}",
        "    autoscaling: {metric: rps, target: 700}",
        "    autoscaling: {metric: cpu, target: 56}",
    ):
        assert line in text.splitlines()
    assert "give --mean and --peak" in capacity_._text(MEASURED, None)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "a home with runs was expected"),
        (["--mean", "0"], "0.0 is not in the range"),
        (["--seconds", "0.1"], "0.1 is not in the range"),
    ],
)
def test_what_it_is_not_given(words: list[str], problem: str, tmp_path: Path) -> None:
    said = CliRunner().invoke(capacity_.command, [NAME, "--home", str(tmp_path / "none"), *words])
    assert said.exit_code != 0
    assert problem in said.output + str(said.exception)


@pytest.mark.slow
def test_capacity_of_a_champion(home: Path) -> None:
    """The real command, a predictor of its own, small loads; the plan follows from what was measured."""
    words = ["--home", str(home), "--seconds", "0.2", "--mean", "20", "--peak", "100000", "--json"]
    said = run_command("capacity", NAME, *words, cwd=home)
    assert said.code == 0, said.err
    found: dict[str, Any] = json.loads(said.out)
    measured, planned = found["measured"], found["plan"]
    assert measured["rate"] > 0
    assert measured["cpu_ms"] > 0
    assert measured["memory_mb"] > 50
    assert (measured["rows"], measured["promised_p99_ms"]) == (1, 100)
    per_replica = measured["rate"] * capacity.HEADROOM
    assert planned["rate_per_replica"] == pytest.approx(per_replica)
    assert planned["min_replicas"] == max(1, math.ceil(20 / per_replica))
    assert planned["max_replicas"] == max(planned["min_replicas"], math.ceil(100_000 / per_replica))
    assert planned["knative"]["maxReplicas"] == planned["standard"]["maxReplicas"] == planned["max_replicas"]

"""From a judged model to a version, in the words of the component `register`."""

from dataclasses import dataclass
from typing import Any

import pytest

from kubeloop.packaging.read import read_package
from kubeloop.packaging.store import fetch
from kubeloop.registry.enter import enter


@dataclass
class Run:
    site: Any
    now: Any
    run_id: str = "run-1"


@pytest.mark.usefixtures("no_mirror")
def test_it_builds_publishes_and_registers(site, packages, models, tmp_path, now):
    model = packages[0].parent / "model"
    context: Any = Run(site, now)
    facts = enter(context, models.contract(), models.DATA, models.evaluation(), model, tmp_path / "out")
    assert facts["version"] == 1
    assert read_package(fetch(site, facts["digest"]), facts["digest"]).name == facts["name"] == "heart"
    assert read_package(tmp_path / "out").digest == facts["digest"] == read_package(packages[0]).digest

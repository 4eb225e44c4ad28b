"""A record of each kind of run, a Site, and the pages of both."""

from pathlib import Path

import pytest

from kubeloop.reports.run_page import run_page
from kubeloop.site import Site, laptop
from kubeloop.tracking.record import RunRecord
from tests.reports.kinds import RUNS


@pytest.fixture(scope="session")
def runs() -> dict[str, RunRecord]:
    """A record of each kind."""
    return {name: make() for name, make in RUNS.items()}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A laptop."""
    home: Path = tmp_path_factory.mktemp("home")
    return laptop(home)


@pytest.fixture(scope="session")
def pages(runs: dict[str, RunRecord], site: Site) -> dict[str, str]:
    """The page of each kind."""
    return {name: run_page(record, site) for name, record in runs.items()}

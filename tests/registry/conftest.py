"""Three different packages of one model, and a fresh laptop per test."""

import datetime as dt
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import sqlalchemy as sa

from kubeloop.packaging.read import Package, read_package
from kubeloop.registry import mirror
from kubeloop.registry.champions import move_champion
from kubeloop.registry.versions import register
from kubeloop.site.model import Site, laptop
from kubeloop.store import open_engine

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def _load() -> ModuleType:
    file = Path(__file__).parents[1] / "packaging" / "models.py"
    spec = importlib.util.spec_from_file_location("kubeloop_test_models", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODELS = sys.modules.setdefault("kubeloop_test_models", _load())


@pytest.fixture
def now() -> dt.datetime:
    return NOW


@pytest.fixture(scope="session")
def models() -> ModuleType:
    return MODELS


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three packages of one name; no test may change them."""
    return [MODELS.package(tmp_path_factory.mktemp("packages"), c=c) for c in (1.0, 0.5, 0.1)]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return laptop(tmp_path / "home")


@pytest.fixture
def engine(site: Site) -> Iterator[sa.Engine]:
    found = open_engine(site)
    yield found
    found.dispose()


@pytest.fixture
def champion(site: Site, engine: sa.Engine, packages: list[Path], now: dt.datetime) -> Package:
    """The first package, registered and serving."""
    found = read_package(packages[0])
    register(engine, site, packages[0], "run-1", now)
    move_champion(engine, site.namespace, found.name, found.digest, 0, now)
    return found


@pytest.fixture
def no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow takes a second to import; its own tests are elsewhere."""
    monkeypatch.setattr(mirror, "_told", lambda _tell: "done")

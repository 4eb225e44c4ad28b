"""One trained model and one package per task, for all tests of the room."""

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kubeloop_test_models", Path(__file__).with_name("models.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODELS = sys.modules.setdefault("kubeloop_test_models", _load())


@pytest.fixture(scope="session")
def models() -> ModuleType:
    return MODELS


@pytest.fixture(scope="session", params=["binary", "multiclass", "regression"])
def any_package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MODELS.package(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that no test may change."""
    return MODELS.package(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def package(kept: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(kept, tmp_path / "package"))

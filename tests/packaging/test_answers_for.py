"""The seven things a package must answer for, one test each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kubeloop.learning
from kubeloop import __version__
from kubeloop.contract import Contract
from kubeloop.digests import file_digest
from kubeloop.errors import InputError
from kubeloop.packaging.manifest import Manifest
from kubeloop.packaging.read import read_package
from kubeloop.packaging.verify import verify


@pytest.fixture
def manifest(kept: Path) -> Manifest:
    return verify(kept)[0]


def test_code_of_model_and_preprocessing(manifest, kept):
    room = Path(kubeloop.learning.__file__).parent
    sources = {f"code/kubeloop/learning/{path.name}": file_digest(path) for path in room.glob("*.py")}
    assert {"code/kubeloop/learning/features.py", "code/kubeloop/learning/inputs.py"} <= set(sources)
    assert manifest.code() == sources
    assert manifest.code_version == __version__
    for name, digest in sources.items():
        assert file_digest(kept / name) == digest


def test_hyperparameters_and_configuration(manifest, models):
    assert manifest.estimator["kind"] == "logistic_regression"
    assert manifest.estimator["parameters"]["C"] == 1.0
    contract = Contract.model_validate(manifest.contract)
    assert contract == models.contract()
    assert manifest.contract["seed"] == contract.seed


def test_training_and_validation_data_by_digest_and_place(models, tmp_path):
    import json

    from kubeloop.packaging.build import build

    model = models.train(tmp_path)
    described = json.loads((model / "model.json").read_text())
    development = json.loads((tmp_path / "development/table.json").read_text())["digest"]
    (model / "model.json").write_text(json.dumps(described | {"development": development}))
    judged = models.evaluation(test="sha256-" + "7" * 64)
    build(model, models.contract(), judged, models.DATA, tmp_path / "package")
    data = verify(tmp_path / "package")[0].data
    assert data.digest == models.DATA
    assert [(source.name, source.place) for source in data.sources] == [("people", "people.csv")]
    assert (data.training.digest, data.training.rows) == (development, 60)
    assert (data.validation.digest, data.validation.rows) == ("sha256-" + "7" * 64, 60)


def test_a_runnable_model(kept):
    assert read_package(kept).prove() == 0.0


def test_environment_with_library_versions_and_variables(models, tmp_path, monkeypatch):
    import json
    from importlib.metadata import version

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("KUBELOOP_SECRET_X", "hunter2")
    package = models.package(tmp_path)
    environment = verify(package)[0].environment
    assert {"numpy", "scikit-learn", "scipy", "skops"} <= set(environment.libraries)
    assert all(version(name) == found for name, found in environment.libraries.items())
    assert environment.variables["OMP_NUM_THREADS"] == "1"
    assert environment.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    host = json.loads((package / "detached/host.json").read_text())
    assert host["installed"]["pandas"] == version("pandas")
    assert not [path for path in package.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]


def test_documentation(kept):
    text = (kept / "README.md").read_text()
    for part in (
        "Who is ill?",
        "ward 3",
        "What was measured",
        "What it reads",
        "What it was fitted with",
        "test_package.py",
    ):
        assert part in text


def test_test_code_and_data(manifest, kept):
    assert len(manifest.golden.requests) == 12
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test/test_package.py"]
    done = subprocess.run(command, cwd=kept, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    verify(kept)


def test_the_users_own_code_must_be_what_was_trained_with(models, tmp_path, monkeypatch):
    import json

    from kubeloop.packaging.build import build

    model = models.train(tmp_path)
    described = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps(described | {"code": "sha256-" + "5" * 64}))
    with pytest.raises(InputError, match=r"features\.code should be the file that the model was trained with"):
        build(model, models.contract(), models.evaluation(), models.DATA, tmp_path / "package")
    assert not (tmp_path / "package").exists()

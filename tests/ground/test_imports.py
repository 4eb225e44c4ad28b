"""The locked set imports together, and `import kubeloop` brings in none of it."""

import json
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

SMOKE = {
    "alembic": "alembic",
    "alibi-detect": "alibi_detect.cd",
    "click": "click",
    "cmaes": "cmaes",
    "duckdb": "duckdb",
    "filelock": "filelock",
    "fsspec": "fsspec",
    "holidays": "holidays",
    "jinja2": "jinja2",
    "kfp": "kfp.compiler",
    "kfp-kubernetes": "kfp.kubernetes",
    "kserve": "kserve",
    "kubeflow-katib": "kubeflow.katib",
    "kubeflow-katib-api": "kubeflow_katib_api.models",
    "kubernetes": "kubernetes.client",
    "matplotlib": "matplotlib.figure",
    "mlflow-skinny": "mlflow",
    "model-signing": "model_signing.verifying",
    "numpy": "numpy",
    "optuna": "optuna",
    "pandas": "pandas",
    "psutil": "psutil",
    "psycopg": "psycopg",
    "pyarrow": "pyarrow.parquet",
    "pydantic": "pydantic",
    "pyopenssl": "OpenSSL.crypto",
    "pyyaml": "yaml",
    "rich": "rich.console",
    "s3fs": "s3fs",
    "scikit-learn": "sklearn.ensemble",
    "scikit-optimize": "skopt",
    "scipy": "scipy.stats",
    "skops": "skops.io",
    "sqlalchemy": "sqlalchemy",
    "sqlglot": "sqlglot",
    "threadpoolctl": "threadpoolctl",
}
HEAVY = {
    "alibi_detect",
    "duckdb",
    "kfp",
    "kserve",
    "kubernetes",
    "matplotlib",
    "mlflow",
    "numba",
    "numpy",
    "optuna",
    "pandas",
}
HEAVY |= {"pyarrow", "scipy", "skops", "sklearn", "sqlalchemy", "sqlglot", "rich", "jinja2", "transformers", "pydantic"}


def declared(root: Path) -> list[Requirement]:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    texts = project["dependencies"] + [text for extra in project["optional-dependencies"].values() for text in extra]
    return [Requirement(text) for text in texts]


def test_every_declared_library_is_smoked(root: Path) -> None:
    assert {requirement.name for requirement in declared(root)} == set(SMOKE)


def test_installed_versions_are_the_declared_ones(root: Path) -> None:
    wrong = [
        str(need)
        for need in declared(root)
        if not need.specifier.contains(metadata.version(need.name), prereleases=True)
    ]
    assert not wrong


def test_the_locked_set_imports_together() -> None:
    """Two of the breakages that this catches are invisible to a resolver: they show only when all are imported."""
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    done = subprocess.run(
        [sys.executable, "-c", code, *SMOKE.values()], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("module", ["kubeloop", "kubeloop.errors", "kubeloop.digests"])
def test_import_is_light(module: str, tmp_path: Path) -> None:
    code = f"import json, sys, {module}; print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert HEAVY & set(json.loads(done.stdout)) == set()

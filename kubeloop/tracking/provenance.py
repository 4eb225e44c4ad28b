"""What a run was made with: the contract as it stood, the state of its folder, the versions of the libraries."""

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

from kubeloop import __version__
from kubeloop.contract import Contract
from kubeloop.digests import document_digest

LIBRARIES = (
    "duckdb",
    "kfp",
    "kserve",
    "matplotlib",
    "mlflow-skinny",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "skops",
    "sqlglot",
)
"""Those whose version can change what a run finds."""

_GIT_S = 5.0


def provenance(contract: Contract, folder: Path) -> dict[str, Any]:
    """Facts for a run's record, known before its first task: so a refused run has them too.

    Args:
        contract: With all its defaults; the same form as in a package's manifest.
        folder: Where loop.yaml lies.

    Returns:
        `document` (the contract), `contract_digest`, `code` and `libraries`.
    """
    document = contract.model_dump(mode="json")
    return {
        "document": document,
        "contract_digest": document_digest(document),
        "code": code(folder),
        "libraries": libraries(),
    }


def code(folder: Path | None = None) -> dict[str, Any]:
    """The version of kubeloop; `commit` and `changed` (since that commit) where `folder` is kept in git."""
    found: dict[str, Any] = {"kubeloop": __version__}
    commit = _git(folder, "rev-parse", "--verify", "HEAD") if folder is not None else None
    if commit:
        found |= {"commit": commit, "changed": bool(_git(folder, "status", "--porcelain", "-uno", "--", "."))}
    return found


def libraries() -> dict[str, str]:
    """Python and the installed libraries, by name."""
    found = {"python": python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _git(folder: Path | None, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=_GIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None

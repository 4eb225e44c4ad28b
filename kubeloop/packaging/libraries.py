"""Which library versions score here."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distributions, version

from kubeloop.packaging.manifest import Environment

VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    *("OPENBLAS_CORETYPE", "MKL_CBWR", "NPY_DISABLE_CPU_FEATURES"),
)
"""Variables on which the last bits of a fit depend."""


def installed() -> dict[str, str]:
    """Every distribution installed here, by name, with its version."""
    return {found.name: found.version for found in sorted(distributions(), key=lambda found: found.name or "")}


def present_environment(names: Mapping[str, str]) -> Environment:
    """This process's Python, variables, and the versions of the named libraries; one not installed is `absent`."""
    return Environment(
        python=".".join(platform.python_version_tuple()[:2]),
        implementation=platform.python_implementation(),
        libraries={name: _installed(name) for name in sorted(names)},
        variables={name: os.environ[name] for name in VARIABLES if name in os.environ},
    )


def differences(fitted: Environment, present: Environment) -> list[str]:
    """What differs, each as ``scikit-learn 1.9.1, here 1.9.2``; empty if nothing does."""
    pairs = [
        ("python", fitted.python, present.python),
        ("implementation", fitted.implementation, present.implementation),
        *((name, wanted, present.libraries.get(name, "absent")) for name, wanted in sorted(fitted.libraries.items())),
    ]
    return [f"{name} {wanted}, here {here}" for name, wanted, here in pairs if wanted != here]


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"

"""The semantic version, derived and never chosen: schema changed = major, features changed = minor, data = patch.

What a client sees is the schema; how columns become answers is the features, the learner and its parameters; all else
(rows, seed, library versions) is data: the same promise, kept by other numbers.
"""

from typing import Any

from kubeloop.digests import document_digest
from kubeloop.packaging.manifest import Manifest

Shape = dict[str, str]
"""Digests of `schema` and `features`."""

FIRST = "1.0.0"


def shape_of(manifest: Manifest) -> Shape:
    """What of a package the next version is held against."""
    schema = {
        "task": manifest.task,
        "classes": list(manifest.classes),
        "positive": manifest.positive,
        "columns": [[feature.name, feature.kind] for feature in manifest.features],
    }
    # Parameters as the contract gives them: defaults that a library adds are no choice of anybody's.
    features: dict[str, Any] = {
        "features": manifest.contract.get("features"),
        "estimator": manifest.contract.get("estimator"),
        "parameters": manifest.estimator.get("parameters"),
    }
    return {"schema": document_digest(schema), "features": document_digest(features)}


def following(previous: str | None, before: Shape | None, now: Shape) -> str:
    """The number of a version.

    Args:
        previous: The semantic number of the version before it; None: there is none, or it has none.
        before: That version's shape.
        now: This version's shape.
    """
    if previous is None or before is None:
        return FIRST
    major, minor, patch = (int(part) for part in previous.split("."))
    if before.get("schema") != now["schema"]:
        return f"{major + 1}.0.0"
    if before.get("features") != now["features"]:
        return f"{major}.{minor + 1}.0"
    return f"{major}.{minor}.{patch + 1}"

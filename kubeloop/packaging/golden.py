"""Golden requests: rows made up from the schema alone, whose answers prove that a model scores as when it was judged.

No training row is ever copied: cells are drawn per column, from its range and its categories, apart from the others.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from kubeloop.errors import IntegrityError
from kubeloop.learning.answers import Answers
from kubeloop.packaging.manifest import Cell, Feature, Golden

UNKNOWN = "kubeloop-unknown"
"""A category that no training table holds."""

TOLERANCE = 1e-12
"""How far an answer may be off, relative to the expected one where that is above 1."""

_MIXED = 7
_DEFAULT_RANGE = (-1.0, 1.0)


def requests_of(features: Sequence[Feature]) -> tuple[tuple[Cell, ...], ...]:
    """12 rows in feature order: all at the middle, the minimum, the maximum, missing, unknown, then mixed ones."""
    fixed = [
        tuple(_at(feature, 0.5) for feature in features),
        tuple(_at(feature, 0.0) for feature in features),
        tuple(_at(feature, 1.0) for feature in features),
        tuple(None if feature.nullable else _at(feature, 0.5) for feature in features),
        tuple(_unknown(feature) for feature in features),
    ]
    mixed = [tuple(_mixed(feature, row) for feature in features) for row in range(_MIXED)]
    return tuple(fixed + mixed)


def golden_of(requests: tuple[tuple[Cell, ...], ...], answers: Answers) -> Golden:
    """The requests with the answers as plain JSON types.

    Args:
        requests: n rows in feature order.
        answers: n answers of the estimator to them.
    """
    return Golden(requests=requests, **_plain(answers))


def difference(golden: Golden, answers: Answers) -> float:
    """The largest difference between expected and given numbers, relative above 1; infinite if a label differs."""
    given = _plain(answers)
    if given["labels"] != golden.labels:
        return float("inf")
    pairs = ((golden.probabilities, given["probabilities"]), (golden.values, given["values"]))
    # NumPy's maximum keeps a NaN, Python's may lose it.
    return float(np.max([_apart(expected, got) for expected, got in pairs]))


def prove(golden: Golden, answers: Answers, what: str) -> float:
    """Hold answers against the golden ones.

    Args:
        golden: What the judged model answered.
        answers: What was answered now to the same requests, in the same order.
        what: Who answered, for the message.

    Returns:
        The largest difference seen.

    Raises:
        IntegrityError: A label differs, or a number by more than `TOLERANCE`.
    """
    apart = difference(golden, answers)
    if not apart <= TOLERANCE:
        raise IntegrityError(
            f"{what} should answer the golden requests as the judged model did, within {TOLERANCE:g}, "
            f"but {'a label differs' if apart == float('inf') else f'an answer is off by {apart:.3g}'}",
            "install the library versions of the package's manifest, or train and judge again with the present ones",
            difference=None if apart == float("inf") else apart,
        )
    return apart


def _at(feature: Feature, share: float) -> Cell:
    """The cell at a share (0 to 1) of the feature's range or list of categories."""
    if feature.kind == "boolean":
        return share >= 0.5
    if feature.kind == "category":
        known = feature.categories or (UNKNOWN,)
        return known[min(int(share * len(known)), len(known) - 1)]
    low = min(_DEFAULT_RANGE[0], feature.maximum or 0.0) if feature.minimum is None else feature.minimum
    high = max(_DEFAULT_RANGE[1], low) if feature.maximum is None else feature.maximum
    # Both ends exactly, and no overflow where the range is wider than a float.
    return float(low * (1.0 - share) + high * share)


def _unknown(feature: Feature) -> Cell:
    if feature.kind != "category":
        return _at(feature, 0.25)
    return UNKNOWN


def _mixed(feature: Feature, row: int) -> Cell:
    draw = hashlib.sha256(f"{row}:{feature.name}".encode()).digest()
    if feature.nullable and draw[0] % 8 == 0:
        return None
    if feature.kind == "category" and draw[0] % 8 == 1:
        return _unknown(feature)
    return _at(feature, draw[1] / 256)


def _plain(answers: Answers) -> dict[str, Any]:
    return {
        "labels": None if answers.labels is None else tuple(np.asarray(answers.labels).tolist()),
        "probabilities": None
        if answers.probabilities is None
        else tuple(tuple(row) for row in np.asarray(answers.probabilities, dtype=np.float64).tolist()),
        "values": None if answers.values is None else tuple(np.asarray(answers.values, dtype=np.float64).tolist()),
    }


def _apart(expected: Any, got: Any) -> float:
    if expected is None or got is None:
        return 0.0 if expected is got else float("inf")
    left, right = np.asarray(expected, dtype=np.float64), np.asarray(got, dtype=np.float64)
    if left.shape != right.shape:
        return float("inf")
    return float(np.max(np.abs(left - right) / np.maximum(1.0, np.abs(left)), initial=0.0))

"""Two versions side by side: metrics, features, data, contract, and what they were made with."""

from collections.abc import Iterator, Mapping
from typing import Any

from kubeloop.packaging.libraries import differences
from kubeloop.packaging.manifest import Feature, Manifest
from kubeloop.registry.semantic import FIRST, following, shape_of

_MISSING = "absent"


def compare(old: Manifest, new: Manifest) -> dict[str, Any]:
    """What differs from `old` to `new`.

    Returns:
        `metrics`: name -> old, new (value, low, high, n; None where one lacks it), difference and whether the intervals
        overlap; `features`: added, removed, changed (name -> old and new words), order; `data`: old, new, same, rows;
        `contract` and `code`: dotted key -> old and new; `libraries`: sentences; `change`: major, minor, patch or none.
    """
    return {
        "metrics": {name: _metric(old, new, name) for name in sorted(old.metrics.keys() | new.metrics.keys())},
        "features": _features(old, new),
        "data": _data(old, new),
        "contract": changes(old.contract, new.contract),
        "code": changes(_code(old), _code(new)),
        "libraries": differences(old.environment, new.environment),
        "change": _change(old, new),
    }


def changes(old: Any, new: Any, place: str = "") -> dict[str, list[Any]]:
    """Every leaf of two JSON documents that differs: dotted place -> [old, new]; lists are compared as wholes.

    Of a part that only one of them has, the leaves that say something are told.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found: dict[str, list[Any]] = {}
        for key in [*old, *(key for key in new if key not in old)]:
            below = f"{place}.{key}" if place else str(key)
            found |= changes(old.get(key, _MISSING), new.get(key, _MISSING), below)
        return found
    if isinstance(old, Mapping) and new in (None, _MISSING):
        return {below: [leaf, new] for below, leaf in _leaves(old, place)}
    if isinstance(new, Mapping) and old in (None, _MISSING):
        return {below: [old, leaf] for below, leaf in _leaves(new, place)}
    return {} if old == new else {place: [old, new]}


def _leaves(document: Mapping[str, Any], place: str) -> Iterator[tuple[str, Any]]:
    for key, found in document.items():
        if isinstance(found, Mapping):
            yield from _leaves(found, f"{place}.{key}")
        elif found not in (None, [], ""):
            yield f"{place}.{key}", found


def _metric(old: Manifest, new: Manifest, name: str) -> dict[str, Any]:
    before, after = old.metrics.get(name), new.metrics.get(name)
    found: dict[str, Any] = {
        "old": before.model_dump(mode="json") if before else None,
        "new": after.model_dump(mode="json") if after else None,
        "difference": after.value - before.value if before and after else None,
        "overlap": None,
    }
    if before and after and None not in (before.low, before.high, after.low, after.high):
        # Two sets of rows may differ: overlapping intervals prove nothing either way, and the page says so.
        found["overlap"] = bool(before.low <= after.high and after.low <= before.high)  # type: ignore[operator]
    return found


def _features(old: Manifest, new: Manifest) -> dict[str, Any]:
    before = {feature.name: feature for feature in old.features}
    after = {feature.name: feature for feature in new.features}
    shared = [name for name in before if name in after]
    return {
        "added": [name for name in after if name not in before],
        "removed": [name for name in before if name not in after],
        "changed": {name: [words(before[name]), words(after[name])] for name in shared if before[name] != after[name]},
        "order": shared == [name for name in after if name in before],
    }


def words(feature: Feature) -> str:
    """A feature in a few words."""
    if feature.kind == "category":
        said = f"{len(feature.categories or ())} categories"
    elif feature.kind == "number":
        low, high = ("any" if end is None else f"{end:g}" for end in (feature.minimum, feature.maximum))
        said = f"number from {low} to {high}"
    else:
        said = "boolean"
    return said + (", may be missing" if feature.nullable else "")


def _data(old: Manifest, new: Manifest) -> dict[str, Any]:
    return {
        "old": old.data.digest,
        "new": new.data.digest,
        "same": old.data.digest == new.data.digest,
        "training_rows": [manifest.training_rows.get("rows") for manifest in (old, new)],
    }


def _code(manifest: Manifest) -> dict[str, Any]:
    return {"kubeloop": manifest.code_version} | {
        name: digest for name, digest in manifest.files.items() if name.startswith("code/")
    }


def _change(old: Manifest, new: Manifest) -> str:
    before, after = shape_of(old), shape_of(new)
    if old.digest() == new.digest():
        return "none"
    number = following(FIRST, before, after)
    return "major" if number[0] != "1" else "minor" if number.split(".")[1] != "0" else "patch"

"""What others have changed in an object that we applied: reported, never overwritten without a word."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kubeloop.cluster.api import MANAGER, Document

# Parts of Kubernetes and KServe that rightly write into our objects.
_EXPECTED = ("manager", "kube-controller-manager", "kserve-controller-manager", "horizontal-pod-autoscaler")


@dataclass(frozen=True)
class Change:
    """A field that somebody else has set.

    Attributes:
        path: Such as `spec.predictor.maxReplicas`.
        manager: Who, by field manager.
        time: When, as the API says it.
        value: What is there now.
        ours: What we would apply; None: nothing.
    """

    path: str
    manager: str
    time: str
    value: Any
    ours: Any

    def __str__(self) -> str:
        wanted = f", ours is {self.ours!r}" if self.ours is not None else ""
        return f"{self.path} is {self.value!r}{wanted} ({self.manager}, {self.time})"


def drift(live: Document, applied: Document) -> list[Change]:
    """The fields of `spec` and `metadata` that others own.

    Args:
        live: The object as it is, with its `managedFields`.
        applied: What we would apply.
    """
    found = []
    for entry in live["metadata"].get("managedFields", []):
        if entry["manager"] in (MANAGER, *_EXPECTED) or entry.get("subresource"):
            continue
        for steps in _leaves(entry.get("fieldsV1", {}), ()):
            if steps[0] not in ("spec", "metadata") or _dig(live, steps) == _dig(applied, steps):
                continue
            path = ".".join(steps)
            found.append(Change(path, entry["manager"], entry.get("time", ""), _dig(live, steps), _dig(applied, steps)))
    return found


def _leaves(fields: dict[str, Any], steps: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The paths that an entry of managedFields owns; lists that are owned as one end there."""
    inner = {key: value for key, value in fields.items() if key.startswith("f:")}
    if not inner and steps:
        yield steps
    for key, value in inner.items():
        yield from _leaves(value, (*steps, key.removeprefix("f:")))


def _dig(document: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        if not isinstance(document, dict) or step not in document:
            return None
        document = document[step]
    return document

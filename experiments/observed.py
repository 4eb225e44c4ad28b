"""Katib's trials as ours: what has ended, and what we make of its values."""

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any

from kubeloop.cluster.api import Document
from kubeloop.experiments.search import Search
from kubeloop.experiments.trials import Status, Trial

ENDS: tuple[Status, ...] = ("Succeeded", "Failed", "EarlyStopped", "MetricsUnavailable", "Killed")


def condition(document: Document, types: tuple[str, ...]) -> Mapping[str, Any] | None:
    """The latest condition of these types that holds."""
    conditions = (document.get("status") or {}).get("conditions") or []
    return next((each for each in reversed(conditions) if each["type"] in types and each["status"] == "True"), None)


def state(document: Document) -> str:
    """All conditions as one text, which changes when one of them does."""
    conditions = (document.get("status") or {}).get("conditions") or []
    return ",".join(f"{each['type']}={each['status']}" for each in conditions)


def trials_of(search: Search, documents: list[Document], begin: int = 0) -> list[Trial]:
    """Katib's trials that have ended, in the order of their creation.

    Args:
        search: What they belong to.
        documents: All trials of the Experiment.
        begin: The number of the first.
    """
    ordered = sorted(
        documents, key=lambda each: (each["metadata"].get("creationTimestamp", ""), each["metadata"]["name"])
    )
    found = [_trial(search, number, document) for number, document in enumerate(ordered, begin)]
    return [trial for trial in found if trial is not None]


def _trial(search: Search, number: int, document: Document) -> Trial | None:
    end = condition(document, ENDS)
    if end is None:
        return None
    status: Status = end["type"]
    metrics, strange = _metrics(search, document)
    reason = "" if status == "Succeeded" else str(end.get("message") or end.get("reason") or "")
    objective = search.objective.metric
    if status == "Succeeded" and objective not in metrics:
        # Katib calls it succeeded, and can even call it the best.
        got = strange.get(objective)
        status = "MetricsUnavailable"
        reason = f"no {objective} was reported" if got is None else f"{objective} is {got!r}, which is no finite number"
    usable = status in ("Succeeded", "EarlyStopped")
    told = document.get("status") or {}
    started = _moment(told.get("startTime") or document["metadata"].get("creationTimestamp"))
    return Trial(
        number=number,
        name=str(document["metadata"]["name"]),
        assignment={each["name"]: str(each["value"]) for each in document["spec"].get("parameterAssignments") or ()},
        status=status,
        reason=reason,
        value=metrics.get(objective) if usable else None,
        metrics=metrics,
        started=started,
        finished=_moment(told.get("completionTime") or end.get("lastTransitionTime"), started),
    )


def _metrics(search: Search, document: Document) -> tuple[dict[str, float], dict[str, str]]:
    found: dict[str, float] = {}
    strange: dict[str, str] = {}
    for each in ((document.get("status") or {}).get("observation") or {}).get("metrics") or ():
        texts = [str(each.get(key, "")) for key in ("latest", search.objective.strategy(each["name"]))]
        values = [_finite(text) for text in texts]
        # A NaN leaves Min and Max of earlier reports standing; the latest one tells of it.
        if None in values:
            strange[each["name"]] = texts[values.index(None)]
        else:
            found[each["name"]] = float(values[1] or 0.0)
    return found, strange


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _moment(text: Any, default: dt.datetime | None = None) -> dt.datetime:
    if not text:
        return default or dt.datetime.fromtimestamp(0, dt.UTC)
    return dt.datetime.fromisoformat(str(text).replace("Z", "+00:00"))

"""Why a search on Katib does not move; Katib itself never says."""

import math
from collections.abc import Mapping
from typing import Any

from kubeloop.cluster.api import EVENT, POD, Api, Document, Kind
from kubeloop.cluster.pods import symptoms
from kubeloop.experiments.observed import ENDS, condition

TRIAL = Kind("apis/kubeflow.org/v1beta1", "trials", "Trial")
SUGGESTION = Kind("apis/kubeflow.org/v1beta1", "suggestions", "Suggestion")
OF_EXPERIMENT = "katib.kubeflow.org/experiment"
"""Katib's label on a search's trials and pods."""

OF_SUGGESTION = "katib.kubeflow.org/deployment"
"""Its label on the pod of a suggestion service alone."""

COLLECTOR = "metrics-logger-and-collector"
_LINES = 5


def hopeless(api: Api, name: str) -> str | None:
    """What waiting never mends, so soon as it shows: an image that cannot be had, a container that cannot be made."""
    for pod in api.list(POD, f"{OF_EXPERIMENT}={name}"):
        for symptom in symptoms(pod, "", 0.0):  # at 0 s no node is too busy yet, and no volume too slow
            return f"{symptom.what} (pod {symptom.pod}): {symptom.detail}"
    return None


def cause(api: Api, name: str) -> str | None:
    """Why nothing moves; None where a trial works, however long it takes."""
    pods = api.list(POD, f"{OF_EXPERIMENT}={name}")
    for pod in pods:
        for symptom in symptoms(pod, "", math.inf):
            return f"{symptom.what} (pod {symptom.pod}): {symptom.detail}"
    return (
        _suggestion(api, name)
        or _collector(api, name, pods)
        or _refused(api, name)
        or (None if any(_works(pod) for pod in pods) else "no cause is to be seen in its pods, trials and suggestion")
    )


def _suggestion(api: Api, name: str) -> str | None:
    found = api.get(SUGGESTION, name)
    if found is None:
        return "Katib has made no suggestion for it; see whether its controller runs: kubectl -n kubeflow get pods"
    failing = condition(found, ("Failed",))
    if failing is not None:
        return f"its suggestion service failed: {failing.get('message')}"
    if condition(found, ("DeploymentReady",)) is not None:
        return None
    return _refused(api, name) or f"its suggestion service is not ready; see the Deployment {name}-*"


def _collector(api: Api, name: str, pods: list[Document]) -> str | None:
    """A trial whose program has ended, and of which Katib knows no metric."""
    ended = {_job(pod): pod for pod in pods if not _is_suggestion(pod) and _ended(pod)}
    for trial in api.list(TRIAL, f"{OF_EXPERIMENT}={name}"):
        its_name = str(trial["metadata"]["name"])
        if condition(trial, ENDS) is not None or (trial.get("status") or {}).get("observation"):
            continue
        pod = ended.get(its_name)
        if pod is None:
            continue
        said = api.log(str(pod["metadata"]["name"]), COLLECTOR, _LINES).strip()
        tail = f"; it said last: {said}" if said else ""
        return f"trial {its_name} has ended, and its container {COLLECTOR} reports no metric{tail}"
    return None


def _refused(api: Api, name: str) -> str | None:
    """What the API server said no to: a quota, the namespace's Pod Security, a webhook."""
    for event in reversed(api.list(EVENT, fields="type=Warning")):
        about = str((event.get("involvedObject") or {}).get("name", ""))
        if about.startswith(f"{name}-") and event.get("reason") == "FailedCreate":
            return f"{event['involvedObject'].get('kind')} {about} may make no pod: {event.get('message')}"
    return None


def _is_suggestion(pod: Document) -> bool:
    return OF_SUGGESTION in (pod["metadata"].get("labels") or {})


def _job(pod: Document) -> str:
    labels: Mapping[str, Any] = pod["metadata"].get("labels") or {}
    return str(labels.get("batch.kubernetes.io/job-name") or labels.get("job-name") or "")


def _ended(pod: Document) -> bool:
    """Whether a container other than the collector has ended, so that the collector has all there will be."""
    found = pod.get("status", {}).get("containerStatuses") or []
    return any(each["name"] != COLLECTOR and "terminated" in each.get("state", {}) for each in found)


def _works(pod: Document) -> bool:
    return not _is_suggestion(pod) and pod.get("status", {}).get("phase") == "Running"

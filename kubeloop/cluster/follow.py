"""Follow a rollout to its end, or to the first sign that it will never come.

The InferenceService's own Ready stays true after a bad update, and its observedGeneration is another object's. What
counts are the Deployment that carries our revision and the pods of its newest ReplicaSet; and with Knative that its
revision, which owns that Deployment, gets all requests.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kubeloop.cluster.api import DEPLOYMENT, EVENT, ISVC, POD, REPLICA_SET, Api, Document
from kubeloop.cluster.inference_service import REVISION
from kubeloop.cluster.pods import Symptom, symptoms
from kubeloop.errors import PermanentError, TransientError

POLL_S = 1.0
CONTROLLER_S = 120.0
"""How long KServe's controller may take to act: a second, and a minute after it has lost the API server or its node."""

_AWAY_S = 5.0
"""A look that takes so long has waited for the API server; what others did not do meanwhile does not count."""

STALE_S = 10.0
"""For how long a word of the InferenceService may still be about what was applied before."""

WEBHOOK_S = 60.0
"""How long somebody else's admission webhook, such as Katib's, may be away: pods are tried again until it is back."""

LOG_LINES = 15
_ALL = 100
"""Percent of the requests."""


@dataclass
class Seen:
    """What the cluster says of a service at one moment.

    Attributes:
        service: The InferenceService.
        deployment: The Deployment of its predictor; None: there is none yet.
        pods: Those of the ReplicaSet with our revision.
        warnings: The latest warning of each of these pods, by pod.
    """

    service: Document
    deployment: Document | None = None
    pods: list[Document] = field(default_factory=list)
    warnings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What a moment means.

    Attributes:
        done: The new revision, and nothing else, serves.
        waits_for: What is missing still, for a person.
        stopped: Why it will never serve; None: it may.
    """

    done: bool = False
    waits_for: str = ""
    stopped: Symptom | None = None


def look(api: Api, name: str, revision: str) -> Seen:
    """Read what there is of a service."""
    seen = Seen(api.get(ISVC, name) or {})
    label = f"serving.kserve.io/inferenceservice={name}"
    found = api.list(DEPLOYMENT, label)
    seen.deployment = next((item for item in found if _is_newest(item, name, seen.service)), None)
    sets = [item for item in api.list(REPLICA_SET, label) if _marker(item["spec"]["template"]) == revision]
    owners = {item["metadata"]["uid"] for item in sets}
    seen.pods = [item for item in api.list(POD, label) if owners & {owner["uid"] for owner in _owners(item)}]
    waiting = {item["metadata"]["name"] for item in seen.pods if not _is_ready(item)}
    if waiting:
        for event in api.list(EVENT, fields="type=Warning,involvedObject.kind=Pod"):
            if (pod := event["involvedObject"]["name"]) in waiting:
                seen.warnings[pod] = f"{event.get('reason', '')}: {event.get('message', '')}"
    return seen


def judge(seen: Seen, revision: str, waited_s: float) -> Verdict:
    """What a moment means; pure.

    Args:
        seen: The moment.
        revision: Our marker.
        waited_s: Seconds since it was applied.
    """
    stopped = next(iter(_stopped(seen, revision, waited_s)), None)
    if stopped is not None:
        return Verdict(stopped=stopped)
    if seen.deployment is None or _marker(seen.deployment["spec"]["template"]) != revision:
        return Verdict(waits_for="KServe's controller to take the new revision up")
    status, wanted = seen.deployment.get("status", {}), _copies(seen.service, seen.deployment)
    current = seen.deployment["metadata"]["generation"] == status.get("observedGeneration")
    numbers = [status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas")]
    if not current or numbers != [wanted] * 3:
        return Verdict(waits_for=f"{numbers[0]} of {wanted} copies of the new revision, {numbers[2]} answering")
    if knative := _knative_revision(seen.deployment):
        return _taken_over(seen.service, knative)
    if _reason(seen.service, "PredictorReady") != "NewReplicaSetAvailable" or not _ready(seen.service):
        return Verdict(waits_for="the InferenceService to say that it is ready")
    return Verdict(done=True)


def _copies(service: Document, deployment: Document) -> int:
    """How many copies there must be: a new Deployment begins with one, and its autoscaler brings the others later."""
    copies = int(deployment["spec"].get("replicas", 1))
    if _knative_revision(deployment):  # it starts, and waits for, as many as it should
        return copies
    return max(copies, int(service.get("spec", {}).get("predictor", {}).get("minReplicas", 1)))


def _taken_over(service: Document, revision: str) -> Verdict:
    """Knative's own word for a revision of its own, which Ready alone is not: that may be about the one before."""
    told = predictor_status(service)
    shares = {item.get("revisionName"): item.get("percent") for item in told.get("traffic", [])}
    if told.get("latestReadyRevision") != revision or shares.get(revision) != _ALL:
        return Verdict(waits_for=f"Knative to send all requests to {revision}")
    return Verdict(done=True)


def follow(api: Api, name: str, revision: str, deadline_s: float) -> float:
    """Wait until a revision, and nothing else, serves.

    Args:
        api: Where.
        name: The InferenceService.
        revision: Its marker in the pods' annotations.
        deadline_s: When to give up.

    Returns:
        Seconds waited.

    Raises:
        PermanentError: It will never serve; with the reason and the container's last lines.
        TransientError: It does not yet, and the time is over.
    """
    began = there = time.monotonic()
    while True:
        asked = time.monotonic()
        seen = look(api, name, revision)
        waited = time.monotonic() - began
        if time.monotonic() - asked > _AWAY_S:
            there = time.monotonic()
        verdict = judge(seen, revision, time.monotonic() - there)
        if verdict.done:
            return waited
        if verdict.stopped is not None:
            raise explained(api, name, verdict.stopped)
        if waited > deadline_s:
            raise TransientError(
                f"{name} should serve within {deadline_s:.0f} s, and still waits for {verdict.waits_for}",
                "see whether the node has room left, or raise cluster.deadline_s in site.yaml; what served before "
                "serves on",
                name=name,
            )
        time.sleep(POLL_S)


def _stopped(seen: Seen, revision: str, waited_s: float) -> Iterator[Symptom]:
    told = _marker({"metadata": seen.service.get("spec", {}).get("predictor", {})})
    if not seen.service:
        yield Symptom("somebody has deleted it meanwhile", "", _OVERTAKEN)
    elif told and told != revision:
        yield Symptom("another deployment has taken its place meanwhile", "", _OVERTAKEN)
    for pod in seen.pods:
        yield from symptoms(pod, seen.warnings.get(pod["metadata"]["name"], ""), waited_s)
    deployment = seen.deployment
    taken_up = deployment is not None and _marker(deployment["spec"]["template"]) == revision
    if deployment is not None and taken_up:
        yield from _failing(deployment, waited_s)
    model = seen.service.get("status", {}).get("modelStatus", {})
    if model.get("transitionStatus") == "InvalidSpec" and waited_s > STALE_S:
        failure = model.get("lastFailureInfo", {})
        yield Symptom("KServe calls its specification invalid", failure.get("message", ""), "mend what it names")
    if not taken_up and waited_s > CONTROLLER_S:
        yield Symptom(
            f"KServe's controller has not acted on it for {CONTROLLER_S:.0f} s",
            "",
            "see whether it runs: kubectl -n kserve get pods; what was asked for stays there and comes up with it",
        )


def _failing(deployment: Document, waited_s: float) -> Iterator[Symptom]:
    status = deployment.get("status", {})
    if deployment["metadata"]["generation"] != status.get("observedGeneration"):
        return  # its conditions are of what was there before
    for condition in status.get("conditions", []):
        kind, holds = condition["type"], condition["status"] == "True"
        if (kind, holds) == ("ReplicaFailure", True):
            message = condition.get("message", "")
            if "failed calling webhook" not in message:
                yield Symptom("its pods may not be created", message, _ROOM)
            elif waited_s > WEBHOOK_S:
                yield Symptom(f"a webhook that judges its pods has not answered for {WEBHOOK_S:.0f} s", message, _HOOK)
        if (kind, holds) == ("Progressing", False):
            yield Symptom("no new copy got ready in ten minutes", condition.get("message", ""), _SLOW)


def explained(api: Api, name: str, stopped: Symptom) -> PermanentError:
    """What is said of a pod that cannot come up: why, and the last lines of its log."""
    said = ""
    if stopped.pod and stopped.container:
        text = api.log(stopped.pod, stopped.container, LOG_LINES, previous=stopped.restarted)
        text = text or api.log(stopped.pod, stopped.container, LOG_LINES)
        said = "".join(f"\n    {line}" for line in text.strip().splitlines()[-LOG_LINES:])
        said = f"\n  its last lines:{said}" if said else "\n  it said nothing"
    detail = f": {stopped.detail}" if stopped.detail else ""
    return PermanentError(
        f"{name} does not come up: {stopped.what}{detail}{said}", stopped.fix, name=name, pod=stopped.pod
    )


def _marker(template: Document) -> str:
    annotations: dict[str, str] = template["metadata"].get("annotations") or {}
    return annotations.get(REVISION, "")


def predictor_status(service: Document) -> dict[str, Any]:
    """What an InferenceService says of its predictor; empty: nothing yet."""
    return dict(service.get("status", {}).get("components", {}).get("predictor", {}))


def _is_newest(deployment: Document, name: str, service: Document) -> bool:
    """Whether it runs the newest pods of a model: there is one of that name, or with Knative one for each revision."""
    if deployment["metadata"]["name"] == f"{name}-predictor":
        return True
    revision = _knative_revision(deployment)
    return revision is not None and revision == predictor_status(service).get("latestCreatedRevision")


def _knative_revision(deployment: Document) -> str | None:
    found = deployment["metadata"].get("labels", {}).get("serving.knative.dev/revision")
    return None if found is None else str(found)


def _owners(item: Document) -> list[dict[str, Any]]:
    return list(item["metadata"].get("ownerReferences", []))


def _conditions(item: Document) -> dict[str, dict[str, Any]]:
    return {found["type"]: found for found in item.get("status", {}).get("conditions", [])}


def _reason(service: Document, kind: str) -> str:
    return str(_conditions(service).get(kind, {}).get("reason", ""))


def _ready(service: Document) -> bool:
    return bool(_conditions(service).get("Ready", {}).get("status") == "True")


def _is_ready(pod: Document) -> bool:
    return bool(_conditions(pod).get("Ready", {}).get("status") == "True")


_OVERTAKEN = "see `kubeloop ledger` for who it was, then deploy again if this one is still wanted"
_ROOM = "ask for less in serving.resources, or have the namespace's quota or policy changed"
_HOOK = "see whether the Service that it names has a pod that runs; pods are made as soon as it answers"
_SLOW = "see the pod's log, and whether its readiness probe can ever be answered"

"""What a pod's status says of why it will never run, in a person's words."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kubeloop.cluster.api import Document

RESTARTS = 2
"""A container that ended so often is not waited for any longer."""

UNSCHEDULABLE_S = 5.0
PASSING_S = 50.0
"""So long is waited for what often passes by itself; said within a minute."""

_PASSING = ("Insufficient", "unbound immediate PersistentVolumeClaims")
"""A full node may have room once pods that are ending are gone, or the cluster may add one; whoever makes volumes for
claims takes ten seconds and more for one."""

MOUNT_S = 20.0
"""A volume's first failure may be a race with whoever makes it; so long is waited."""

_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_CONFIG = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")


@dataclass(frozen=True)
class Symptom:
    """Why something does not come up.

    Attributes:
        what: In a person's words.
        detail: What Kubernetes says.
        fix: What to do.
        pod: Which pod; empty: none.
        container: Which of its containers has something to say; empty: none.
        restarted: Whether what it said is that of its end before.
    """

    what: str
    detail: str
    fix: str
    pod: str = ""
    container: str = ""
    restarted: bool = False


def symptoms(pod: Document, warning: str, waited_s: float) -> Iterator[Symptom]:
    """Everything in a pod that waiting does not mend.

    Args:
        pod: The pod.
        warning: Its latest warning event; empty: none.
        waited_s: Seconds since the rollout began.
    """
    name, status = pod["metadata"]["name"], pod.get("status", {})
    for condition in status.get("conditions", []):
        bad = condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable"
        message = str(condition.get("message", ""))
        passing = any(words in message for words in _PASSING)
        if bad and waited_s > (PASSING_S if passing else UNSCHEDULABLE_S):
            yield Symptom("no node can take its pod", message, _NODES, name)
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        yield from _container(name, container, _limit(pod, container["name"]))
    if warning.startswith("FailedMount") and waited_s > MOUNT_S:
        yield Symptom("a volume of its pod cannot be mounted", warning.partition(": ")[2], _MOUNT, name)


def _container(pod: str, status: dict[str, Any], limit: str) -> Iterator[Symptom]:
    name, state = status["name"], status.get("state", {})
    waiting = state.get("waiting", {})
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _IMAGE:
        what = f"the image {status.get('image', '')} of {name} cannot be had"
        yield Symptom(what, message or reason, _PULL, pod)
    if reason in _CONFIG:
        yield Symptom(f"the container {name} cannot be made", message or reason, _MADE, pod)
    ended = status.get("lastState", {}).get("terminated") or state.get("terminated") or {}
    if ended.get("reason") == "OOMKilled":
        yield Symptom(f"{name} was ended for taking more than its {limit} of memory", "", _MEMORY, pod, name, True)
    elif status.get("restartCount", 0) >= RESTARTS and not status.get("ready", False):
        what = f"{name} ended {status['restartCount']} times, the last time with exit code {ended.get('exitCode', '?')}"
        yield Symptom(what, "", _ENDED, pod, name, True)


def _limit(pod: Document, container: str) -> str:
    for item in pod["spec"].get("containers", []):
        if item["name"] == container:
            return str(item.get("resources", {}).get("limits", {}).get("memory", "limit"))
    return "limit"


_NODES = "ask for less in serving.resources, add a node, or make the claim or toleration that it names"
_PULL = "correct cluster.image in site.yaml, push that image, or name the registry's credential in cluster.pull_secrets"
_MADE = "make the ConfigMap or Secret that it names: `kubeloop install` does"
_MEMORY = "raise serving.resources.memory in loop.yaml"
_MOUNT = "make what it names: the ConfigMap by `kubeloop install`, the claim by whoever owns the storage"
_ENDED = "mend what its last lines say, then deploy again"

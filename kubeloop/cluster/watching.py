"""Apply a model's detector service, and follow it until it listens; or leave everything as it was."""

import re
import time
from collections.abc import Iterator
from contextlib import suppress

from kubeloop.cluster.api import DEPLOYMENT, EVENT, POD, Api, Document, Refused
from kubeloop.cluster.follow import POLL_S, explained
from kubeloop.cluster.inference_service import REVISION
from kubeloop.cluster.lint import image_findings
from kubeloop.cluster.monitor_service import CLAIM, CONFIG_MAP, MonitorService
from kubeloop.cluster.pods import Symptom, symptoms
from kubeloop.errors import InputError, KubeloopError, TransientError

_LONGEST = 63 - len("-monitor") - 10  # the Deployment's name and a ReplicaSet's hash must fit into a label
_SETTINGS_BYTES = 1_000_000
"""A ConfigMap holds 1 MiB."""


def lint(service: MonitorService) -> Iterator[str]:
    """What a cluster would refuse, or run wrongly: a sentence each."""
    name = service.name.removesuffix("-monitor")
    if not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name) or len(name) > _LONGEST:
        yield f"name: at most {_LONGEST} small letters, digits and dashes were expected, a letter first; got {name!r}"
    container = service.of(DEPLOYMENT)["spec"]["template"]["spec"]["containers"][0]
    yield from image_findings("cluster.monitor", container["image"])
    size = len(service.of(CONFIG_MAP)["data"]["services.json"].encode("utf-8"))
    if size > _SETTINGS_BYTES:
        yield f"the model's columns take {size:,} bytes as settings, at most {_SETTINGS_BYTES:,} were expected"


def watch(api: Api, service: MonitorService, deadline_s: float) -> float:
    """Lint, apply, and wait until a pod of this revision takes events.

    Args:
        api: Where.
        service: What shall watch.
        deadline_s: When to give up.

    Returns:
        Seconds waited.

    Raises:
        InputError: The lint found something.
        PermanentError: The cluster refused an object, or its pod cannot come up. What was not there before is removed
            again; a service that listened before listens on.
        TransientError: It did not come up in time.
    """
    findings = list(lint(service))
    if findings:
        raise InputError(
            f"{service.name} cannot run as it is:\n" + "\n".join(f"    {finding}" for finding in findings),
            "mend the name in loop.yaml, or `cluster` in site.yaml",
        )
    new = api.get(DEPLOYMENT, service.name) is None
    try:
        _apply(api, service)
        return _follow(api, service, deadline_s)
    except BaseException:  # also a cancel: what was not there before must not stay behind
        if new:
            with suppress(KubeloopError):
                unwatch(api, service)
        raise


def unwatch(api: Api, service: MonitorService) -> None:
    """Delete the objects of a detector service; what it has acknowledged stays on the claim."""
    for kind, document in reversed(service.documents):
        if kind != CLAIM:
            api.delete(kind, document["metadata"]["name"])


def _apply(api: Api, service: MonitorService) -> None:
    """All of them are asked for in a dry run before any is changed."""
    for dry in (True, False):
        for kind, document in service.documents:
            try:
                # Its objects are ours alone: what others have changed in them is taken back.
                api.apply(kind, document, force=True, dry_run=dry)
            except Refused as refused:
                raise api.explained(refused, "patch", kind) from refused


def _follow(api: Api, service: MonitorService, deadline_s: float) -> float:
    began = time.monotonic()
    while True:
        waited = time.monotonic() - began
        deployment = api.get(DEPLOYMENT, service.name) or {}
        if _listens(deployment, service.revision):
            return round(waited, 3)
        found = next(_stopped(api, service, waited), None)
        if found is not None:
            raise explained(api, service.name, found)
        if waited > deadline_s:
            raise TransientError(
                f"{service.name} should take events within {deadline_s:.0f} s, and does not yet",
                "see whether the node has room left, or raise cluster.deadline_s in site.yaml",
                name=service.name,
            )
        time.sleep(POLL_S)


def _listens(deployment: Document, revision: str) -> bool:
    if not deployment or _revision(deployment["spec"]["template"]) != revision:
        return False
    status = deployment.get("status", {})
    if deployment["metadata"].get("generation") != status.get("observedGeneration"):
        return False
    return [status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas")] == [1, 1, 1]


def _stopped(api: Api, service: MonitorService, waited_s: float) -> Iterator[Symptom]:
    labels = service.of(DEPLOYMENT)["spec"]["selector"]["matchLabels"]
    pods = api.list(POD, ",".join(f"{key}={value}" for key, value in labels.items()))
    ours = {pod["metadata"]["name"]: pod for pod in pods if _revision(pod) == service.revision}
    warnings = {
        event["involvedObject"]["name"]: f"{event.get('reason', '')}: {event.get('message', '')}"
        for event in (api.list(EVENT, fields="type=Warning,involvedObject.kind=Pod") if ours else ())
    }
    for name, pod in ours.items():
        yield from symptoms(pod, warnings.get(name, ""), waited_s)


def _revision(template: Document) -> str:
    return str((template["metadata"].get("annotations") or {}).get(REVISION, ""))

"""Make the InferenceService of a model serve one package, or leave everything as it was."""

import time
from dataclasses import dataclass
from typing import Any

from kubeloop.cluster import lint
from kubeloop.cluster.api import ISVC, Api, Refused
from kubeloop.cluster.drift import drift
from kubeloop.cluster.follow import follow, predictor_status
from kubeloop.cluster.inference_service import MODE, PACKAGE, REVISION, InferenceService
from kubeloop.errors import KubeloopError, PermanentError

_GONE_S = 30.0
_POLL_S = 0.2


@dataclass(frozen=True)
class Served:
    """What a deployment found.

    Attributes:
        changed: Whether anything had to be applied.
        seconds: How long until the revision, and nothing else, served.
        previous: The package that was served before; None: none.
        drift: What others had changed, a sentence each; it was taken back.
        url: The address inside of the cluster.
    """

    changed: bool
    seconds: float
    previous: str | None
    drift: tuple[str, ...]
    url: str


def serve(api: Api, service: InferenceService, deadline_s: float, *, force: bool = False) -> Served:
    """Lint, ask the server for a dry run, apply, and follow the rollout to its end.

    Args:
        api: Where.
        service: What shall serve.
        deadline_s: When to give up.
        force: Take back fields that somebody else has changed; they are reported in any case.

    Raises:
        InputError: The lint found something.
        PermanentError: The cluster refused it, others have changed it, or it cannot come up. A service that was not
            there before is removed again; one that was serves on with its old pods.
        TransientError: It did not come up in time.
    """
    lint.check(service)
    name, document = service.metadata.name, service.document()
    before = api.get(ISVC, name)
    changes = drift(before, document) if before else []
    if changes and not force:
        raise PermanentError(
            f"somebody else has changed the InferenceService {name}:\n" + "\n".join(f"    {item}" for item in changes),
            "put the change into loop.yaml and run again, or take it back with `kubeloop reconcile --force`",
            name=name,
            changes=[str(item) for item in changes],
        )
    try:
        applied = _apply(api, document, name, force=force)
        seconds = follow(api, name, service.revision, deadline_s)
    except BaseException:  # also a cancel: what was not there before must not stay behind
        if before is None and revision_of(api, name)[1] == service.revision:
            _take_away(api, name)
        raise
    previous = _annotation(before, PACKAGE)
    same = before is not None and before["metadata"]["resourceVersion"] == applied["metadata"]["resourceVersion"]
    url = str(applied.get("status", {}).get("address", {}).get("url") or _url(api, name))
    return Served(not same, round(seconds, 3), previous, tuple(str(item) for item in changes), url)


def proxied_service(api: Api, name: str) -> str:
    """The Service of a model that has pods of its own behind it, for the API server's proxy.

    Knative's own of the model's name leads to its gateway; the one that leads to the pods bears the revision's name.
    """
    live = api.get(ISVC, name) or {}
    if live.get("metadata", {}).get("annotations", {}).get(MODE) != "Knative":
        return f"{name}-predictor"
    return f"{predictor_status(live).get('latestReadyRevision')}-private"


def revision_of(api: Api, name: str) -> tuple[str | None, str | None]:
    """Package and revision that the cluster was last told to serve; None, None where there is no such service."""
    live = api.get(ISVC, name)
    return _annotation(live, PACKAGE), _annotation(live, REVISION)


def _take_away(api: Api, name: str) -> None:
    """Delete a service and wait until it is gone, so that whoever tries again meets nothing of it."""
    api.delete(ISVC, name)
    end = time.monotonic() + _GONE_S
    while api.get(ISVC, name) is not None and time.monotonic() < end:
        time.sleep(_POLL_S)


def _apply(api: Api, document: dict[str, Any], name: str, *, force: bool) -> dict[str, Any]:
    try:
        api.apply(ISVC, document, force=force, dry_run=True)
        return api.apply(ISVC, document, force=force)
    except Refused as refused:
        raise _explained(api, refused, name) from refused


def _explained(api: Api, refused: Refused, name: str) -> KubeloopError:
    if refused.reason == "Conflict" and refused.causes:
        fields = "\n".join(f"    {field}: {message}" for field, message in refused.causes)
        return PermanentError(
            f"fields of the InferenceService {name} belong to somebody else:\n{fields}",
            "put the change into loop.yaml and run again, or take it back with `kubeloop reconcile --force`",
            name=name,
        )
    if "failed calling webhook" in refused.message:
        return PermanentError(
            f"KServe's webhook does not answer, so nothing was changed: {refused.message}",
            "see whether its controller runs: kubectl -n kserve get pods",
            name=name,
        )
    return api.explained(refused, "patch", ISVC)


def _annotation(live: dict[str, Any] | None, key: str) -> str | None:
    if live is None:
        return None
    found = live["spec"].get("predictor", {}).get("annotations", {}).get(key)
    return None if found is None else str(found)


def _url(api: Api, name: str) -> str:
    return f"http://{name}-predictor.{api.namespace}.svc.cluster.local"

"""Where a trial's pod runs: like the task that searches, so that what holds for one holds for the other."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kubeloop.cluster.api import POD, Api, Document
from kubeloop.errors import InputError, PermanentError
from kubeloop.experiments.search import Template
from kubeloop.site.addresses import access
from kubeloop.site.model import Site

POD_NAME = "KFP_POD_NAME"
"""The variable by which a KFP task knows its own pod."""

_TASK = "main"
"""Argo's name for the container that is the task."""

_SITE, _SECRET = "/etc/kubeloop/site", "/etc/kubeloop/secret"
_OWN = ("KFP_", "ARGO_", "KUBELOOP_RUN_ID", "KUBELOOP_NAMESPACE")
"""Variables of the task that are about the task itself."""

_BY_REFERENCE = ("configMap", "secret", "persistentVolumeClaim")
_LIKE_TASKS = {"limits": {"cpu": "1", "memory": "2Gi"}}
"""What the pipeline gives a task that is told nothing else."""

_CONFINED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What Pod Security `restricted` asks; Katib copies it to its collector where its `injectSecurityContext` is on."""


@dataclass(frozen=True)
class Placement:
    """What trials' pods have in common with the task that searches; Kubernetes' own words.

    Attributes:
        image: The trainer's.
        resources: Of a trial.
        env: Its variables.
        volumes: ConfigMaps, Secrets and claims, by reference.
        mounts: Where they are.
        pod: Further fields of the pod: tolerations, nodeSelector, affinity, imagePullSecrets.
        owner: Owner reference to the workflow; None: there is none.
    """

    image: str
    resources: Mapping[str, Any] = field(default_factory=lambda: _LIKE_TASKS)
    env: tuple[Mapping[str, Any], ...] = ()
    volumes: tuple[Mapping[str, Any], ...] = ()
    mounts: tuple[Mapping[str, Any], ...] = ()
    pod: Mapping[str, Any] = field(default_factory=dict)
    owner: Mapping[str, Any] | None = None


def runs_away(site: Site, environ: Mapping[str, str]) -> bool:
    """Whether a search's trials are pods: those of a task in a pod, and of a Site that names their image."""
    return site.cluster is not None and (POD_NAME in environ or site.cluster.trainer is not None)


def placement(site: Site, api: Api, environ: Mapping[str, str]) -> Placement:
    """Where this task's trials run: like the task's own pod, elsewhere as the Site says.

    Raises:
        PermanentError: The own pod cannot be read.
        InputError: The Site names no image.
    """
    found = _like(_own_pod(api, environ[POD_NAME])) if POD_NAME in environ else _by_site(site)
    return _with_store(site, _with_settings(site, found))


def placed(template: Template, where: Placement) -> Template:
    """A trial's Job, put into its place; without empty lists, which Katib's webhook refuses."""
    spec = copy.deepcopy(dict(template.spec))
    pod = spec["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    container |= {"image": where.image, "resources": dict(where.resources), "securityContext": _CONFINED}
    lists = {"env": where.env, "volumeMounts": where.mounts}
    container |= {word: list(items) for word, items in lists.items() if items}
    pod |= {"automountServiceAccountToken": False, "enableServiceLinks": False, **where.pod}
    pod |= {"volumes": list(where.volumes)} if where.volumes else {}
    return replace(template, spec=spec)


def _own_pod(api: Api, name: str) -> Document:
    found = api.list(POD, fields=f"metadata.name={name}")  # the Role may list pods, and not get them
    if not found:
        raise PermanentError(
            f"this task's own pod {name} should be in the namespace {api.namespace}, and is not",
            "set the Site's namespace to the one in which the pipeline runs",
        )
    return found[0]


def _like(pod: Document) -> Placement:
    spec, owners = pod["spec"], pod["metadata"].get("ownerReferences") or []
    container = next((each for each in spec["containers"] if each["name"] == _TASK), spec["containers"][0])
    volumes = {each["name"]: each for each in spec.get("volumes", []) if any(key in each for key in _BY_REFERENCE)}
    mounts = [each for each in container.get("volumeMounts", []) if each["name"] in volumes]
    used = {each["name"] for each in mounts}
    words = ("tolerations", "nodeSelector", "affinity", "imagePullSecrets")
    return Placement(
        image=container["image"],
        resources=container.get("resources") or _LIKE_TASKS,
        env=tuple(each for each in container.get("env", []) if not _is_own(each)),
        volumes=tuple(volumes[name] for name in volumes if name in used),
        mounts=tuple(mounts),
        pod={word: spec[word] for word in words if spec.get(word)},
        owner=_plain(owners[0]) if owners else None,
    )


def _is_own(variable: Mapping[str, Any]) -> bool:
    about_pod = "fieldRef" in (variable.get("valueFrom") or {})
    return about_pod or str(variable["name"]).startswith(_OWN)


def _plain(owner: Mapping[str, Any]) -> dict[str, Any]:
    return {key: owner[key] for key in ("apiVersion", "kind", "name", "uid")}


def _by_site(site: Site) -> Placement:
    if site.cluster is None or site.cluster.trainer is None:
        raise InputError(
            f"the Site {site.name} should name the image of its trials, and names none",
            "write cluster.trainer into its site.yaml: the pipeline's image, as images.lock has it",
        )
    secrets = [{"name": name} for name in site.cluster.pull_secrets]
    return Placement(site.cluster.trainer, pod={"imagePullSecrets": secrets} if secrets else {})


def _with_settings(site: Site, found: Placement) -> Placement:
    """The Site and its Secret, unless the task's pod has brought them."""
    assert site.cluster is not None
    name = site.cluster.settings
    kinds = {
        _SITE: {"name": "site", "configMap": {"name": name, "optional": True}},
        _SECRET: {"name": "secret", "secret": {"secretName": name, "optional": True}},
    }
    missing = {path: kind for path, kind in kinds.items() if path not in {each["mountPath"] for each in found.mounts}}
    return replace(
        found,
        volumes=(*found.volumes, *missing.values()),
        mounts=(
            *found.mounts,
            *({"name": kind["name"], "mountPath": path, "readOnly": True} for path, kind in missing.items()),
        ),
    )


def _with_store(site: Site, found: Placement) -> Placement:
    """The store's claim, where it is one and the task's pod has not brought it."""
    volume = access(site, site.store).volume
    if volume is None or volume[1] in {each["mountPath"] for each in found.mounts}:
        return found
    claim = {"name": "store", "persistentVolumeClaim": {"claimName": volume[0], "readOnly": True}}
    mount = {"name": "store", "mountPath": volume[1], "readOnly": True}
    return replace(found, volumes=(*found.volumes, claim), mounts=(*found.mounts, mount))

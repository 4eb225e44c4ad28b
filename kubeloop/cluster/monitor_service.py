"""The detector service of a model: what takes the events of its logger and judges windows of them, beside its endpoint.

A Deployment of one copy, its settings, a Service that the logger's address names, and who may talk to it. A pod has two
containers of one image: the sink, which acknowledges what is on disk, and the detectors, which read the log behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kubeloop.cluster.api import DEPLOYMENT, Document, Kind
from kubeloop.cluster.inference_service import (
    FETCHED,
    PACKAGE_SIZE,
    REVISION,
    SITE_FOLDER,
    START_PROBES,
    fetching,
)
from kubeloop.cluster.manifest import PORT, Resources, SecurityContext
from kubeloop.digests import document_digest
from kubeloop.errors import InputError
from kubeloop.site.addresses import access, store_port
from kubeloop.site.model import Site
from kubeloop.site.urls import REFERENCE

CONFIG_MAP = Kind("api/v1", "configmaps", "ConfigMap")
CLAIM = Kind("api/v1", "persistentvolumeclaims", "PersistentVolumeClaim")
SERVICE = Kind("api/v1", "services", "Service")
NETWORK_POLICY = Kind("apis/networking.k8s.io/v1", "networkpolicies", "NetworkPolicy")

SINK, DETECTOR = "sink", "detector"
"""The containers."""

PAGES = 8081
"""Where the detectors show their windows, and their gauges."""

SETTINGS = "/etc/kubeloop/monitor"
"""Where `services.json` is mounted: which models are watched, in the form of `kubeloop log services`."""

HOME = "/var/lib/kubeloop"
"""The service's own folder on a claim: what it has acknowledged lies there until it is in SQL."""

LOG_KEY = "log-key"
"""The secret under which the sink hashes cells (`kubeloop.monitoring.log.privacy`)."""

_HOME_SIZE = "5Gi"
"""Of the service's own claim: the sink refuses events once 4 GiB wait for SQL."""

_SECRET_FOLDER = "/etc/kubeloop/secret"  # noqa: S105 - a place, not a secret
_SQL_PORTS = {"postgresql": 5432, "mysql": 3306}


@dataclass(frozen=True)
class MonitorService:
    """All objects of one detector service.

    Attributes:
        name: Of each of them.
        revision: The marker of all that rolls its pod.
        documents: Kind and object, in the order in which they are applied: policy and settings before what needs them.
    """

    name: str
    revision: str
    documents: tuple[tuple[Kind, Document], ...]

    def of(self, kind: Kind) -> Document:
        """The object of a kind."""
        return next(document for found, document in self.documents if found == kind)


@dataclass(frozen=True)
class _Kept:
    """Where a pod finds packages, and keeps what it has acknowledged; volumes `store` and `home`.

    Attributes:
        store: The volume with packages, and where it is mounted.
        home: The volume of the sink's own folder, and which part of it.
        words: For the detectors: where packages lie, if not in the Site's store.
        fetch: Brings packages there first.
        claim: The specification of a claim of the service's own.
    """

    store: tuple[dict[str, Any], str]
    home: tuple[dict[str, Any], dict[str, str]]
    words: tuple[str, ...] = ()
    fetch: dict[str, Any] | None = None
    claim: dict[str, Any] | None = None


def monitor_service(site: Site, name: str, services: str, packages: Sequence[str] = ()) -> MonitorService:
    """The objects that watch a model.

    Args:
        site: Its `cluster.monitor` names the image, its store the claim or the bucket.
        name: The model.
        services: Text of `services.json`.
        packages: Digests of the versions that are watched; they are fetched where the store is no claim.

    Raises:
        InputError: The Site names no cluster or no image for it, or a store that a pod cannot mount.
    """
    if site.cluster is None or site.cluster.monitor is None:
        raise InputError(
            f"the Site {site.name} should name the detector's image, and names none",
            "write `monitor:` with the image of images/detector under `cluster:` in its site.yaml",
        )
    own = f"{name}-monitor"
    kept = _kept(site, name, packages)
    template = _template(site, name, services, kept)
    revision = document_digest(template)[7:19]
    template["metadata"]["annotations"][REVISION] = revision
    spec = {
        "replicas": 1,
        "revisionHistoryLimit": 2,
        # The new one listens before the old one goes: KServe's logger asks once, and what is not taken then is lost.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "selector": {"matchLabels": _selector(name)},
        "template": template,
    }
    ports = [
        {"name": "http", "port": 80, "targetPort": PORT, "protocol": "TCP"},
        {"name": "pages", "port": PAGES, "targetPort": PAGES, "protocol": "TCP"},
    ]
    parts = (
        (NETWORK_POLICY, "networking.k8s.io/v1", {"spec": _policy(site, name)}),
        *(() if kept.claim is None else ((CLAIM, "v1", {"spec": kept.claim}),)),
        (CONFIG_MAP, "v1", {"data": {"services.json": services}}),
        (SERVICE, "v1", {"spec": {"type": "ClusterIP", "selector": _selector(name), "ports": ports}}),
        (DEPLOYMENT, "apps/v1", {"spec": spec}),
    )
    metadata = {"name": own, "namespace": site.namespace, "labels": _labels(name)}
    documents = tuple(
        (kind, {"apiVersion": version, "kind": kind.kind, "metadata": metadata, **body})
        for kind, version, body in parts
    )
    return MonitorService(own, revision, documents)


def _selector(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/component": "monitor"}


def _labels(name: str) -> dict[str, str]:
    """`part-of` is the label by which the predictors' own policy lets them reach us."""
    managed = {"app.kubernetes.io/managed-by": "kubeloop", "app.kubernetes.io/part-of": "kubeloop"}
    return {**_selector(name), **managed}


def _template(site: Site, name: str, services: str, kept: _Kept) -> dict[str, Any]:
    how = site.cluster
    assert how is not None
    scrape = {"prometheus.io/scrape": "true", "prometheus.io/port": str(PAGES), "prometheus.io/path": "/metrics"}
    volumes = [
        {"name": "store", **kept.store[0]},
        {"name": "home", **kept.home[0]},
        {"name": "settings", "configMap": {"name": f"{name}-monitor"}},
        {"name": "site", "configMap": {"name": how.settings}},
        {"name": "secret", "secret": {"secretName": how.settings, "optional": True, "items": _secrets(site)}},
        {"name": "scratch", "emptyDir": {"sizeLimit": "256Mi"}},
    ]
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 60,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000},
        "containers": [_sink(site, kept), _detector(site, name, kept)],
        "volumes": volumes,
    }
    if kept.fetch is not None:
        spec["initContainers"] = [kept.fetch]
    if kept.claim is not None:  # which one node alone can mount: the new pod comes to where the old one is
        near = {"labelSelector": {"matchLabels": _selector(name)}, "topologyKey": "kubernetes.io/hostname"}
        spec["affinity"] = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [near]}}
    if how.pull_secrets:
        spec["imagePullSecrets"] = [{"name": item} for item in how.pull_secrets]
    # The settings' digest rolls the pod when they change: it reads them once.
    annotations = {**scrape, "kubeloop-settings": document_digest({"services": services})[7:19]}
    return {"metadata": {"labels": _labels(name), "annotations": annotations}, "spec": spec}


def _sink(site: Site, kept: _Kept) -> dict[str, Any]:
    """Its readiness is the pod's, by which the Service sends events: a database that is away stops none of them."""
    home = {"name": "home", "mountPath": HOME, **kept.home[1]}
    settings = {"name": "settings", "mountPath": SETTINGS, "readOnly": True}
    return {
        **_container(site, SINK, "kubeloop.serving.sink_process", PORT, ["--services", f"{SETTINGS}/services.json"]),
        "env": [{"name": "KUBELOOP_HOME", "value": HOME}],
        "readinessProbe": _probe("/health/ready", PORT, 2, 3),
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [home, settings, *_MOUNTS],
    }


def _detector(site: Site, name: str, kept: _Kept) -> dict[str, Any]:
    store = {"name": "store", "mountPath": kept.store[1], "readOnly": True}
    return {
        **_container(site, DETECTOR, "kubeloop.serving.monitor_process", PAGES, [name, *kept.words]),
        "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
        "volumeMounts": [store, *_MOUNTS],
    }


def _container(site: Site, name: str, module: str, port: int, words: list[str]) -> dict[str, Any]:
    assert site.cluster is not None
    return {
        "name": name,
        "image": site.cluster.monitor,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", module],
        "args": [*words, "--port", str(port)],
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"}],
        "securityContext": SecurityContext().model_dump(mode="json", by_alias=True, exclude_none=True),
        "startupProbe": _probe("/health/live", port, 2, START_PROBES),
        "livenessProbe": _probe("/health/live", port, 10, 6),
        "lifecycle": {"preStop": {"sleep": {"seconds": 8}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


_MOUNTS = [
    {"name": "site", "mountPath": SITE_FOLDER, "readOnly": True},
    {"name": "secret", "mountPath": _SECRET_FOLDER, "readOnly": True},
    {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 - in the pod, its own volume
]
"""Who and where we are, and scratch space."""


def _secrets(site: Site) -> list[dict[str, str]]:
    """The keys of the Secret that sink and detectors read: neither the store's nor the one that signs."""
    return [{"key": key, "path": key} for key in sorted({LOG_KEY, *REFERENCE.findall(site.sql)})]


def _kept(site: Site, name: str, packages: Sequence[str]) -> _Kept:
    """Packages of a claim are read where it is mounted; those of an S3 are fetched, as a predictor's are."""
    found = access(site, site.store)
    if found.volume is not None and site.objects.mount is not None:
        claim, mount = found.volume
        volume = {"persistentVolumeClaim": {"claimName": claim}}
        return _Kept((volume, mount), (volume, {"subPath": f"monitor/{name}"}))
    if not site.store.startswith("s3://"):
        raise InputError(
            f"a store on a claim or in S3 was expected for watching on a cluster, got {site.store}",
            "set store to pvc://<claim>/<path> with objects.mount to where the claim is mounted, or to "
            "s3://<bucket>/<path> with objects.endpoint",
            store=site.store,
        )
    how = site.cluster
    assert how is not None
    assert how.monitor is not None
    sized = Resources(requests={"cpu": "100m", "memory": "512Mi"}, limits={"memory": "512Mi"})
    fetch = fetching(how.monitor, packages, how.settings, found.secrets.values(), sized)
    return _Kept(
        ({"emptyDir": {"sizeLimit": PACKAGE_SIZE}}, FETCHED),
        ({"persistentVolumeClaim": {"claimName": f"{name}-monitor"}}, {}),
        ("--packages", f"{FETCHED}/cache/packages"),
        fetch.model_dump(mode="json", by_alias=True, exclude_none=True),
        {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": _HOME_SIZE}}},
    )


def _probe(path: str, port: int, every_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": every_s,
        "failureThreshold": failures,
        "timeoutSeconds": 2,
    }


def _policy(site: Site, name: str) -> dict[str, Any]:
    """In: the predictors' events; labels and looks at pages of our own pods; Prometheus. Out: names, SQL, the store."""
    predictors = {"matchLabels": {"serving.kserve.io/inferenceservice": name}}
    ours = {"matchLabels": {"app.kubernetes.io/part-of": "kubeloop"}}
    scraper = {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}
    out = [{"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}]
    ports = {port for port in (_sql_port(site), store_port(site)) if port is not None}
    out += [{"ports": [{"port": port, "protocol": "TCP"}]} for port in sorted(ports)]
    return {
        "podSelector": {"matchLabels": _selector(name)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [{"podSelector": predictors}, {"podSelector": ours}],
                "ports": [{"port": PORT, "protocol": "TCP"}],
            },
            {
                "from": [{"podSelector": ours}, {"namespaceSelector": scraper}],
                "ports": [{"port": PAGES, "protocol": "TCP"}],
            },
        ],
        "egress": out,
    }


def _sql_port(site: Site) -> int | None:
    """The port of the Site's SQL store; None for a file."""
    from sqlalchemy.engine import make_url

    url = make_url(site.sql)
    return url.port or _SQL_PORTS.get(url.get_backend_name())

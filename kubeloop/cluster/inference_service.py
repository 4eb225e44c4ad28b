"""The InferenceService of a package, typed: what we send, and nothing that a person did not ask for."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from kubeloop.contract.serving import Serving
from kubeloop.digests import document_digest
from kubeloop.errors import InputError
from kubeloop.site.addresses import access, package_address
from kubeloop.site.model import Cluster, Site
from kubeloop.site.secrets import secret_variable

CONTAINER = "kserve-container"
"""The name by which KServe knows the container that answers."""

PACKAGE, REVISION = "kubeloop-package", "kubeloop-revision"
"""Annotations of the pods: which package, and the digest of all that was applied."""

VERSION = "model-version"
"""Annotation of the pods by which events say who answered, for no header names the pod: again the package. No slash:
the logger's agent gets it as a flag."""

PORT = 8080
SITE_FOLDER = "/etc/kubeloop/site"
_SLEEP_S = 8
"""How long a pod that is told to end still answers, while every proxy learns that it goes (measured: no error)."""

FETCHED = "/mnt/package"
"""Where a package out of an object store lies in the pod."""

_PACKAGE = "2Gi"
"""The most that such a package may take of the node's disk."""

START_PROBES = 90
"""A boot loads scikit-learn and proves the golden requests: seconds, and a minute on a busy node."""


class Strict(BaseModel):
    """camelCase on the wire; an unknown field is our mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class HttpGet(Strict):
    """Where a probe asks."""

    path: str
    port: int


class Probe(Strict):
    """How the kubelet sees that a container is well; by HTTP, for KServe's agent cannot be given another kind."""

    http_get: HttpGet
    period_seconds: int
    failure_threshold: int
    timeout_seconds: int = 2


class Capabilities(Strict):
    """Linux capabilities."""

    drop: tuple[str, ...] = ("ALL",)


class Seccomp(Strict):
    """Seccomp."""

    type: Literal["RuntimeDefault"] = "RuntimeDefault"


class SecurityContext(Strict):
    """What Pod Security `restricted` asks of a container; KServe copies it to the agent that it injects."""

    allow_privilege_escalation: bool = False
    run_as_non_root: bool = True
    run_as_user: int = 1000
    read_only_root_filesystem: bool = True
    capabilities: Capabilities = Capabilities()
    seccomp_profile: Seccomp = Seccomp()


class Port(Strict):
    """A port of a container."""

    container_port: int
    protocol: Literal["TCP"] = "TCP"
    name: str | None = None


class Mount(Strict):
    """A volume inside of a container."""

    name: str
    mount_path: str
    read_only: bool | None = None


class SecretKey(Strict):
    """A key of a Secret."""

    name: str
    key: str


class ValueFrom(Strict):
    """A variable's source."""

    secret_key_ref: SecretKey


class Variable(Strict):
    """An environment variable."""

    name: str
    value: str | None = None
    value_from: ValueFrom | None = None


class Resources(Strict):
    """Kubernetes quantities by name."""

    requests: dict[str, str]
    limits: dict[str, str]


class Sleep(Strict):
    """A pause."""

    seconds: int


class Handler(Strict):
    """What happens before the end."""

    sleep: Sleep


class Lifecycle(Strict):
    """Hooks of a container."""

    pre_stop: Handler = Handler(sleep=Sleep(seconds=_SLEEP_S))


class Container(Strict):
    """The predictor."""

    name: Literal["kserve-container"] = "kserve-container"
    image: str
    image_pull_policy: Literal["IfNotPresent"] = "IfNotPresent"
    args: tuple[str, ...]
    ports: tuple[Port, ...] = (Port(container_port=PORT),)
    env: tuple[Variable, ...] | None = None
    resources: Resources
    security_context: SecurityContext = SecurityContext()
    startup_probe: Probe
    readiness_probe: Probe
    liveness_probe: Probe
    lifecycle: Lifecycle = Lifecycle()
    termination_message_policy: Literal["FallbackToLogsOnError"] = "FallbackToLogsOnError"
    volume_mounts: tuple[Mount, ...]


class InitContainer(Strict):
    """What runs before the predictor, to its end."""

    name: Literal["package"] = "package"
    image: str
    image_pull_policy: Literal["IfNotPresent"] = "IfNotPresent"
    command: tuple[str, ...]
    env: tuple[Variable, ...]
    resources: Resources
    security_context: SecurityContext = SecurityContext()
    termination_message_policy: Literal["FallbackToLogsOnError"] = "FallbackToLogsOnError"
    volume_mounts: tuple[Mount, ...]


class ConfigMap(Strict):
    """A ConfigMap as a volume."""

    name: str


class Claim(Strict):
    """A claim as a volume."""

    claim_name: str
    read_only: bool = True


class EmptyDir(Strict):
    """Scratch space."""

    size_limit: str


class Volume(Strict):
    """A volume of the pod."""

    name: str
    config_map: ConfigMap | None = None
    persistent_volume_claim: Claim | None = None
    empty_dir: EmptyDir | None = None


class Logger(Strict):
    """KServe's request logger; without `mode` it is refused, whatever its documentation says."""

    mode: Literal["all", "request", "response"] = "all"
    url: str
    metadata_headers: tuple[str, ...] = ("X-Request-Id",)
    metadata_annotations: tuple[str, ...] = (VERSION,)


class PullSecret(Strict):
    """A registry's credential by name."""

    name: str


class Predictor(Strict):
    """One component of the InferenceService: pods and how many."""

    annotations: dict[str, str] = Field(default_factory=dict)
    min_replicas: int
    max_replicas: int
    scale_metric: Literal["cpu"] | None = None
    scale_target: int | None = None
    timeout: int
    logger: Logger | None = None
    service_account_name: str | None = None
    automount_service_account_token: bool = False
    enable_service_links: bool = False
    image_pull_secrets: tuple[PullSecret, ...] | None = None
    termination_grace_period_seconds: int = 60
    init_containers: tuple[InitContainer, ...] | None = None
    containers: tuple[Container, ...]
    volumes: tuple[Volume, ...]


class Spec(Strict):
    """Of an InferenceService."""

    predictor: Predictor


class Metadata(Strict):
    """Name and namespace; an annotation here would reach the pods and restart them, so there is none."""

    name: str
    namespace: str
    labels: dict[str, str]


class InferenceService(Strict):
    """`serving.kserve.io/v1beta1`, as far as we use it."""

    api_version: Literal["serving.kserve.io/v1beta1"] = "serving.kserve.io/v1beta1"
    kind: Literal["InferenceService"] = "InferenceService"
    metadata: Metadata
    spec: Spec

    @property
    def revision(self) -> str:
        """The marker of all that was applied, which the pods carry."""
        return self.spec.predictor.annotations[REVISION]

    def document(self) -> dict[str, Any]:
        """As sent."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def inference_service(site: Site, name: str, digest: str, serving: Serving) -> InferenceService:
    """The InferenceService that serves a package of the store.

    Args:
        site: Its `cluster` names image and logger, its store where the package lies.
        name: The model.
        digest: The package.
        serving: The contract's words about the endpoint.

    Raises:
        InputError: The Site names no cluster, or a store that a pod cannot mount.
    """
    how = site.cluster
    if how is None:
        raise InputError(f"the Site {site.name} names no cluster", "write `cluster:` into its site.yaml")
    replicas, asked = serving.replicas, serving.resources
    # No limit of CPU: a throttled boot takes minutes, and a throttled answer misses its SLO.
    sized = Resources(requests={"cpu": asked.cpu, "memory": asked.memory}, limits={"memory": asked.memory})
    placed = _placed(site, how, digest, sized)
    logger = logger_address(site, name)
    scaled = replicas.maximum > replicas.minimum
    predictor = Predictor(
        annotations={PACKAGE: digest, VERSION: digest},
        min_replicas=replicas.minimum,
        max_replicas=replicas.maximum,
        scale_metric="cpu" if scaled else None,
        scale_target=80 if scaled else None,
        timeout=60,
        logger=Logger(url=logger) if logger else None,
        service_account_name=serving.service_account,
        image_pull_secrets=tuple(PullSecret(name=item) for item in how.pull_secrets) or None,
        init_containers=None if placed.fetch is None else (placed.fetch,),
        containers=(
            Container(
                image=how.image,
                args=("--package", placed.folder, "--name", name, "--no-grpc", "--answers", serving.answers),
                resources=sized,
                startup_probe=_probe("/v2/health/ready", 2, START_PROBES),
                readiness_probe=_probe("/v2/health/ready", 2, 3),
                liveness_probe=_probe("/v2/health/live", 10, 6),
                volume_mounts=(
                    Mount(name="store", mount_path=placed.mount, read_only=True),
                    Mount(name="site", mount_path=SITE_FOLDER, read_only=True),
                    Mount(name="scratch", mount_path="/tmp"),  # noqa: S108 - in the pod, its own volume
                ),
            ),
        ),
        volumes=(
            placed.volume,
            Volume(name="site", config_map=ConfigMap(name=how.settings)),
            Volume(name="scratch", empty_dir=EmptyDir(size_limit="256Mi")),
        ),
    )
    return _marked(site, name, predictor)


def _marked(site: Site, name: str, predictor: Predictor) -> InferenceService:
    """With the digest of all that rolls a pod: equal input gives equal revisions, so applying again changes nothing."""
    digest = document_digest(predictor.model_dump(mode="json", by_alias=True, exclude_none=True))
    annotations = {**predictor.annotations, REVISION: digest[7:19]}
    labels = {"app.kubernetes.io/managed-by": "kubeloop", "app.kubernetes.io/name": name}
    return InferenceService(
        metadata=Metadata(name=name, namespace=site.namespace, labels=labels),
        spec=Spec(predictor=predictor.model_copy(update={"annotations": annotations})),
    )


def logger_address(site: Site, name: str) -> str | None:
    """Where KServe's logger of a model sends its events: the Site's sink, or the model's own detector service.

    None: nobody takes them.
    """
    if site.cluster is None or not (site.cluster.logger or site.cluster.monitor):
        return None
    return site.cluster.logger or f"http://{name}-monitor.{site.namespace}.svc.cluster.local/"


@dataclass(frozen=True)
class _Placed:
    """Where a pod finds the package.

    Attributes:
        folder: The package's, in the pod.
        mount: Where `volume` is mounted.
        volume: What holds it.
        fetch: Brings it there first; None: it is there.
    """

    folder: str
    mount: str
    volume: Volume
    fetch: InitContainer | None = None


def _placed(site: Site, how: Cluster, digest: str, sized: Resources) -> _Placed:
    """A claim is mounted whole; what is in S3 is fetched and verified into a volume of the pod.

    Whole, for a `pvc://` storageUri is mounted by its path, and a path that is not there is created empty, so that a
    missing package would look like one. Not by KServe's storage initializer: it verifies nothing, breaks Pod Security
    `restricted`, and hands the credential to whoever serves.
    """
    found = access(site, package_address(site, digest))
    if found.volume is not None:
        claim, mount = found.volume
        folder = f"{mount}/{found.address.removeprefix(f'pvc://{claim}/')}"
        held = Volume(name="store", persistent_volume_claim=Claim(claim_name=claim))
        return _Placed(folder, mount, held)
    if not found.address.startswith("s3://"):
        raise InputError(
            f"a store on a claim or in S3 was expected for serving on a cluster, got {found.address}",
            "set store to pvc://<claim>/<path> with objects.mount, or to s3://<bucket>/<path> with objects.endpoint",
            store=site.store,
        )
    fetch = InitContainer(
        image=how.image,
        command=("python", "-m", "kubeloop.serving.fetch", "--package", digest, "--to", FETCHED),
        env=tuple(_variable(name, how.settings) for name in sorted(found.secrets.values())),
        resources=sized,
        volume_mounts=(
            Mount(name="store", mount_path=FETCHED),
            Mount(name="site", mount_path=SITE_FOLDER, read_only=True),
            Mount(name="scratch", mount_path="/tmp"),  # noqa: S108 - in the pod, its own volume
        ),
    )
    held = Volume(name="store", empty_dir=EmptyDir(size_limit=_PACKAGE))
    return _Placed(f"{FETCHED}/cache/packages/{digest}", FETCHED, held, fetch)


def _variable(secret: str, settings: str) -> Variable:
    return Variable(
        name=secret_variable(secret), value_from=ValueFrom(secret_key_ref=SecretKey(name=settings, key=secret))
    )


def _probe(path: str, every_s: int, failures: int) -> Probe:
    return Probe(http_get=HttpGet(path=path, port=PORT), period_seconds=every_s, failure_threshold=failures)

"""The InferenceService of a package, typed: what we send, and nothing that a person did not ask for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from kubeloop.cluster.manifest import (
    PORT,
    VERSION,
    Claim,
    ConfigMap,
    Container,
    EmptyDir,
    HttpGet,
    InitContainer,
    Lifecycle,
    Logger,
    Mount,
    Probe,
    PullSecret,
    Resources,
    SecretKey,
    Strict,
    ValueFrom,
    Variable,
    Volume,
)
from kubeloop.contract.serving import Autoscaling, Serving
from kubeloop.digests import document_digest
from kubeloop.errors import InputError
from kubeloop.site.addresses import access, package_address
from kubeloop.site.model import Cluster, Site
from kubeloop.site.secrets import secret_variable

CONTAINER = "kserve-container"
"""The name by which KServe knows the container that answers."""

PACKAGE, REVISION = "kubeloop-package", "kubeloop-revision"
"""Annotations of the pods: which package, and the digest of all that was applied."""

MODE = "serving.kserve.io/deploymentMode"
"""Annotation of an InferenceService that is not served as the cluster's ConfigMap says."""

SITE_FOLDER = "/etc/kubeloop/site"
FETCHED = "/mnt/package"
"""Where a package out of an object store lies in the pod."""

PACKAGE_SIZE = "2Gi"
"""The most that such packages may take of the node's disk."""

START_PROBES = 90
"""A boot loads scikit-learn and proves the golden requests: seconds, and a minute on a busy node."""


class Predictor(Strict):
    """One component of the InferenceService: pods and how many."""

    annotations: dict[str, str] = Field(default_factory=dict)
    min_replicas: int
    max_replicas: int
    scale_metric: Literal["cpu", "rps", "concurrency"] | None = None
    scale_target: int | None = None
    timeout: int
    logger: Logger | None = None
    service_account_name: str | None = None
    automount_service_account_token: bool = False
    enable_service_links: bool = False
    image_pull_secrets: tuple[PullSecret, ...] | None = None
    termination_grace_period_seconds: int | None = 60
    init_containers: tuple[InitContainer, ...] | None = None
    containers: tuple[Container, ...]
    volumes: tuple[Volume, ...]


class Spec(Strict):
    """Of an InferenceService."""

    predictor: Predictor


class Metadata(Strict):
    """Name and namespace; an annotation here reaches the pods and restarts them, so there is none that ever changes."""

    name: str
    namespace: str
    labels: dict[str, str]
    annotations: dict[str, str] | None = None


class InferenceService(Strict):
    """`serving.kserve.io/v1beta1`, as far as we use it."""

    api_version: Literal["serving.kserve.io/v1beta1"] = "serving.kserve.io/v1beta1"
    kind: Literal["InferenceService"] = "InferenceService"
    metadata: Metadata
    spec: Spec

    @property
    def on_knative(self) -> bool:
        """Whether Knative runs its pods."""
        return self.metadata.annotations is not None

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
    scaling = _scaling(serving, how)
    predictor = Predictor(
        annotations={PACKAGE: digest, VERSION: digest},
        min_replicas=replicas.minimum,
        max_replicas=replicas.maximum,
        scale_metric=scaling and scaling.metric,
        scale_target=scaling and scaling.target,
        timeout=serving.timeout_s,
        logger=Logger(url=logger) if logger else None,
        service_account_name=serving.service_account,
        image_pull_secrets=tuple(PullSecret(name=item) for item in how.pull_secrets) or None,
        termination_grace_period_seconds=None if how.mode == "knative" else 60,
        init_containers=None if placed.fetch is None else (placed.fetch,),
        containers=(
            Container(
                image=how.image,
                args=("--package", placed.folder, "--name", name, "--no-grpc", "--answers", serving.answers),
                resources=sized,
                startup_probe=_probe("/v2/health/ready", 2, START_PROBES),
                readiness_probe=_probe("/v2/health/ready", 2, 3),
                liveness_probe=_probe("/v2/health/live", 10, 6),
                lifecycle=None if how.mode == "knative" else Lifecycle(),
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
    return _marked(site, how, name, predictor)


def _scaling(serving: Serving, how: Cluster) -> Autoscaling | None:
    """As the contract says; else by the CPU, or as Knative does it; None where there is nothing to scale."""
    if serving.replicas.maximum == serving.replicas.minimum:
        return None
    return serving.autoscaling or (None if how.mode == "knative" else Autoscaling())


def _marked(site: Site, how: Cluster, name: str, predictor: Predictor) -> InferenceService:
    """With the digest of all that rolls a pod: equal input gives equal revisions, so applying again changes nothing."""
    digest = document_digest(predictor.model_dump(mode="json", by_alias=True, exclude_none=True))
    annotations = {**predictor.annotations, REVISION: digest[7:19]}
    labels = {"app.kubernetes.io/managed-by": "kubeloop", "app.kubernetes.io/name": name}
    return InferenceService(
        metadata=Metadata(
            name=name,
            namespace=site.namespace,
            labels=labels,
            annotations={MODE: "Knative"} if how.mode == "knative" else None,
        ),
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
    fetch = fetching(how.image, [digest], how.settings, found.secrets.values(), sized)
    held = Volume(name="store", empty_dir=EmptyDir(size_limit=PACKAGE_SIZE))
    return _Placed(f"{FETCHED}/cache/packages/{digest}", FETCHED, held, fetch)


def fetching(
    image: str, digests: Sequence[str], settings: str, secrets: Iterable[str], sized: Resources
) -> InitContainer:
    """The container that brings packages out of an object store, into the volume `store` at `FETCHED`.

    Args:
        image: One of ours.
        digests: The packages.
        settings: Name of the Secret.
        secrets: Its keys that the object store asks for; no other container of the pod gets them.
        sized: What it may take.
    """
    words = [word for digest in digests for word in ("--package", digest)]
    return InitContainer(
        image=image,
        command=("python", "-m", "kubeloop.serving.fetch", *words, "--to", FETCHED),
        env=tuple(_variable(name, settings) for name in sorted(secrets)),
        resources=sized,
        volume_mounts=(
            Mount(name="store", mount_path=FETCHED),
            Mount(name="site", mount_path=SITE_FOLDER, read_only=True),
            Mount(name="scratch", mount_path="/tmp"),  # noqa: S108 - in the pod, its own volume
        ),
    )


def _variable(secret: str, settings: str) -> Variable:
    return Variable(
        name=secret_variable(secret), value_from=ValueFrom(secret_key_ref=SecretKey(name=settings, key=secret))
    )


def _probe(path: str, every_s: int, failures: int) -> Probe:
    return Probe(http_get=HttpGet(path=path, port=PORT), period_seconds=every_s, failure_threshold=failures)

"""What the CRD's schema lets through and KServe, or a running service, does not forgive: found before anything is sent.

Rules of KServe 0.20's webhooks, and what was seen on its real controllers.
"""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from kubeloop.cluster.inference_service import REVISION, InferenceService, Predictor
from kubeloop.errors import InputError

_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_LONGEST = 63 - len("-predictor-") - 10  # the Deployment's name and a ReplicaSet's hash must fit into a label
_PERCENT = 100
_QUANTITY = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")


def check(service: InferenceService) -> None:
    """Refuse a service that the cluster would refuse, or serve wrongly.

    Raises:
        InputError: All findings, a line each.
    """
    findings = list(lint(service))
    if findings:
        raise InputError(
            f"the InferenceService {service.metadata.name} cannot be served as it is:\n"
            + "\n".join(f"    {finding}" for finding in findings),
            "mend `serving` in loop.yaml, or `cluster` in site.yaml",
        )


def lint(service: InferenceService) -> Iterator[str]:
    """Every finding, in a sentence with what was expected and what came."""
    yield from _named(service.metadata.name)
    predictor = service.spec.predictor
    low, high = predictor.min_replicas, predictor.max_replicas
    if low > high:
        yield f"serving.replicas: minimum should be at most maximum, got {low} and {high}"
    yield from _scaled(predictor, on_knative=service.on_knative)
    if predictor.logger is not None:
        url = urlsplit(predictor.logger.url)
        if url.scheme not in ("http", "https") or not url.hostname:
            yield f"cluster.logger: a URL of http or https was expected, got {predictor.logger.url!r}"
    yield from _annotated(predictor.annotations)
    for container in predictor.containers:
        yield from image_findings("cluster.image", container.image)
        yield from _sized(container.resources.requests)


def _scaled(predictor: Predictor, *, on_knative: bool) -> Iterator[str]:
    metric, target = predictor.scale_metric, predictor.scale_target
    if on_knative and metric == "cpu":
        yield "serving.autoscaling.metric: Knative scales by rps or concurrency, got cpu; write one of these, or none"
    if not on_knative and predictor.min_replicas == 0:
        yield "serving.replicas.minimum: Standard mode cannot scale to 0 and runs 1 copy; write 1"
    if not on_knative and metric in ("rps", "concurrency"):
        yield f"serving.autoscaling.metric: Standard mode scales by cpu, got {metric}, which needs cluster.mode knative"
    if metric == "cpu" and target is not None and target > _PERCENT:
        yield f"serving.autoscaling.target: at most {_PERCENT} percent of the CPU was expected, got {target}"


def _annotated(annotations: dict[str, str]) -> Iterator[str]:
    # The logger's agent takes annotations as one flag, separated by commas, and crashes over one more.
    for key, value in annotations.items():
        if "," in value or "," in key:
            yield f"annotation {key}: no comma was expected, for KServe's agent crashes on it; got {value!r}"
    if not annotations.get(REVISION):
        yield f"annotation {REVISION}: the rollout is followed by it, and it is missing"


def _sized(quantities: dict[str, str]) -> Iterator[str]:
    for key, value in quantities.items():
        if not _QUANTITY.fullmatch(value):
            yield f"serving.resources.{key}: a quantity such as 500m or 1Gi was expected, got {value!r}"


def _named(name: str) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield f"name: lower-case letters, digits and dashes were expected, a letter first; got {name!r}"
    if len(name) > _LONGEST:
        yield f"name: at most {_LONGEST} characters were expected, got {len(name)}"


def image_findings(field: str, image: str) -> Iterator[str]:
    """What is wrong with the image that a field of the Site names."""
    _, at, digest = image.partition("@")
    if at:
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            yield f"{field}: a digest is sha256: and 64 hexadecimal digits, got {digest!r}"
        return
    tag = image.rpartition("/")[2].partition(":")[2]
    if tag in ("", "latest"):
        yield f"{field}: a tag other than latest, or a digest, was expected, got {image!r}"

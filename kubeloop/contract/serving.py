"""The contract's words about the endpoint."""

from typing import Literal

from pydantic import Field

from kubeloop.contract.base import Strict

RequestLogs = Literal["off", "errors", "all"]
"""Which requests get a line of JSON on the predictor's standard output."""


class Resources(Strict):
    """Kubernetes quantities."""

    cpu: str = Field("1", description="Such as 500m or 2.")
    memory: str = Field("1Gi", description="Such as 1Gi.")


class Replicas(Strict):
    """How many copies run."""

    minimum: int = Field(1, ge=0, description="Copies at rest.")
    maximum: int = Field(1, ge=1, description="Copies under load.")


class Autoscaling(Strict):
    """When copies are added and taken away, between the two `replicas`; `kubeloop capacity` finds both."""

    metric: Literal["cpu", "rps", "concurrency"] = Field(
        "cpu", description="What is watched: use of the CPU; with Knative requests per second, or at the same time."
    )
    target: int = Field(80, ge=1, description="Of each copy: percent of `resources.cpu`, or so many requests.")


class Slo(Strict):
    """What the endpoint promises."""

    p99_ms: float = Field(100.0, gt=0, description="99 of 100 answers come within so many milliseconds.")
    availability: float = Field(0.99, gt=0, lt=1, description="Share of requests that are answered.")


class Serving(Strict):
    """The endpoint. `answers`: V1 always carries `predictions` (labels or values); `both` adds `probabilities`."""

    answers: Literal["labels", "probabilities", "both"] = Field("both", description="What an answer carries.")
    resources: Resources = Resources()
    replicas: Replicas = Replicas()
    autoscaling: Autoscaling | None = Field(
        None, description="Left out: at 80% of the CPU, with Knative as Knative does it."
    )
    timeout_s: int = Field(60, ge=1, le=600, description="After so many seconds a request is given up.")
    slo: Slo = Slo()
    request_log: RequestLogs = Field(
        "errors", description="Requests that get a line of JSON in the predictor's log: none, failed ones, all."
    )
    service_account: str | None = Field(None, description="Kubernetes ServiceAccount of the predictor.")

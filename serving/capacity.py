"""How much one replica carries within its promise, and how many replicas the expected load needs."""

import asyncio
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict

from kubeloop.contract.serving import Serving
from kubeloop.packaging.manifest import Manifest
from kubeloop.serving.load import Outcome, http_request, offer
from kubeloop.serving.process import Predictor

HEADROOM = 0.7
"""Share of its capacity that a replica is planned for: the rest is for bursts, and for the minute a new one takes."""

_FIRST_RATE = 50.0
_FASTEST = 200_000.0
_NARROWINGS = 4
_CLOSE = 1.1
_WARM_S = 0.5


class Measurement(BaseModel):
    """What one replica carries.

    Attributes:
        rate: Requests per second at which the promise still holds.
        promised_p99_ms: The promise.
        p50_ms: Median latency at that rate.
        p99_ms: Latency of 99 in 100 at that rate.
        cpu_ms: User and system time of one request at that rate.
        memory_mb: Resident memory afterwards.
        rows: Rows in each request.
        at_least: Whether the generator, not the replica, was at its end: the true rate is higher.
    """

    model_config = ConfigDict(frozen=True)

    rate: float
    promised_p99_ms: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    memory_mb: float
    rows: int
    at_least: bool


class Plan(BaseModel):
    """How the InferenceService should scale.

    Attributes:
        rate_per_replica: Requests per second that a replica is planned for.
        mean: Expected requests per second.
        peak: Expected at most.
        min_replicas: Carry the mean.
        max_replicas: Carry the peak.
        knative: Fields of the predictor for Knative's autoscaler.
        standard: Fields of the predictor for a HorizontalPodAutoscaler.
    """

    model_config = ConfigDict(frozen=True)

    rate_per_replica: float
    mean: float
    peak: float
    min_replicas: int
    max_replicas: int
    knative: dict[str, Any]
    standard: dict[str, Any]


@dataclass(frozen=True)
class _Tried:
    outcome: Outcome
    cpu_s: float


def measure(
    predictor: Predictor,
    name: str,
    manifest: Manifest,
    rows: int,
    seconds: float,
    say: Callable[[str], None],
) -> Measurement:
    """Find the rate at which the contract's latency promise breaks.

    Args:
        predictor: A ready predictor of the package.
        name: The name under which it serves.
        manifest: The package's manifest: its golden requests are asked, its contract has the promise.
        rows: Rows in each request.
        seconds: Of load at each rate that is tried.
        say: Takes a line for each rate tried.
    """
    serving = Serving.model_validate(manifest.contract.get("serving") or {})
    request = http_request(f"/v1/models/{name}:predict", request_body(manifest, rows))
    process = psutil.Process(predictor.process.pid)

    def attempt(rate: float) -> _Tried:
        before = process.cpu_times()
        outcome = asyncio.run(offer(predictor.port, request, rate, seconds))
        after = process.cpu_times()
        cpu_s = after.user + after.system - before.user - before.system
        tried = _Tried(outcome, cpu_s)
        word = "holds" if _holds(outcome, serving) else "breaks"
        say(f"  {rate:9,.0f}/s   p99 {outcome.p99_s * 1e3:8.2f} ms   refused {outcome.refused:6,}   {word}")
        return tried

    asyncio.run(offer(predictor.port, request, _FIRST_RATE, _WARM_S))
    best, at_least = _search(attempt, lambda tried: _holds(tried.outcome, serving))
    outcome = best.outcome
    return Measurement(
        rate=outcome.rate,
        promised_p99_ms=serving.slo.p99_ms,
        p50_ms=outcome.p50_s * 1e3,
        p99_ms=outcome.p99_s * 1e3,
        cpu_ms=best.cpu_s / max(1, outcome.answered) * 1e3,
        memory_mb=process.memory_info().rss / 1e6,
        rows=rows,
        at_least=at_least,
    )


def request_body(manifest: Manifest, rows: int) -> bytes:
    """A V1 body of the package's golden requests, over again until there are enough."""
    return json.dumps({"instances": list(islice(cycle(map(list, manifest.golden.requests)), rows))}).encode()


def plan(measured: Measurement, serving: Serving, mean: float, peak: float) -> Plan:
    """Replicas and autoscaling for an expected load.

    Args:
        measured: Of one replica.
        serving: The contract's words about the endpoint.
        mean: Expected requests per second.
        peak: Expected at most.
    """
    per_replica = measured.rate * HEADROOM
    least = max(serving.replicas.minimum, math.ceil(mean / per_replica))
    most = max(serving.replicas.maximum, least, math.ceil(peak / per_replica))
    use = measured.cpu_ms / 1e3 * per_replica / cores(serving.resources.cpu)
    replicas = {"minReplicas": least, "maxReplicas": most}
    return Plan(
        rate_per_replica=per_replica,
        mean=mean,
        peak=peak,
        min_replicas=least,
        max_replicas=most,
        knative={**replicas, "scaleMetric": "rps", "scaleTarget": max(1, int(per_replica))},
        standard={**replicas, "scaleMetric": "cpu", "scaleTarget": min(90, max(10, round(use * 100)))},
    )


def cores(quantity: str) -> float:
    """A Kubernetes quantity of CPU, such as `500m` or `2`, in cores."""
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def _holds(outcome: Outcome, serving: Serving) -> bool:
    kept = outcome.answered / max(1, outcome.asked) >= serving.slo.availability
    return kept and outcome.p99_s * 1e3 <= serving.slo.p99_ms and not outcome.behind


def _search(attempt: Callable[[float], _Tried], holds: Callable[[_Tried], bool]) -> tuple[_Tried, bool]:
    """The highest rate that holds, and whether only the generator's own end was met.

    The rate is doubled until it breaks, and the gap is then halved on a logarithmic scale. A rate breaks when it does
    so twice: one pause of the machine would end the search far beneath the truth.
    """

    def twice(rate: float) -> _Tried:
        tried = attempt(rate)
        return tried if holds(tried) else attempt(rate)

    tried = twice(_FIRST_RATE)
    rate = _FIRST_RATE
    if not holds(tried):
        while rate > 1 and not holds(tried):
            rate /= 4
            tried = twice(rate)
        return tried, False
    best, low, high, behind = tried, rate, math.inf, False
    while math.isinf(high) and low < _FASTEST:
        tried = twice(low * 2)
        if holds(tried):
            best, low = tried, low * 2
        else:
            high, behind = low * 2, tried.outcome.behind
    for _ in range(_NARROWINGS):
        if high / low < _CLOSE:
            break
        middle = math.sqrt(low * high)
        tried = twice(middle)
        if holds(tried):
            best, low = tried, middle
        else:
            high, behind = middle, tried.outcome.behind
    return best, behind

"""What the sink tells Prometheus."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


class _Collector:
    def __init__(self, counts: Mapping[tuple[str, str, str], int], gauges: Mapping[str, tuple[str, float]]) -> None:
        self._counts = counts
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        events = CounterMetricFamily(
            "kubeloop_log_events",
            "Events by what became of them: stored, duplicate, or the reason why they were odd or not kept.",
            labels=["namespace", "service", "outcome"],
        )
        for who, count in sorted(self._counts.items()):
            events.add_metric(who, count)
        yield events
        for name, (help_text, value) in self._gauges.items():
            yield GaugeMetricFamily(name, help_text, value)


def exposition(counts: Mapping[tuple[str, str, str], int], gauges: Mapping[str, tuple[str, float]]) -> bytes:
    """Prometheus' text format.

    Args:
        counts: By (namespace, service, outcome).
        gauges: By name: help and value.
    """
    registry = CollectorRegistry()
    registry.register(_Collector(counts, gauges))
    return bytes(generate_latest(registry))

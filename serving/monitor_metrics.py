"""What the detector service tells Prometheus: each signal of the last window of each stream, by the feature's name."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_WHO = ("namespace", "service", "component", "version", "stream")
_SIGNAL = (*_WHO, "signal", "feature")
_NUMBERS = {
    "statistic": "Distance of the last window from training, 0 to about 1, or share of its rows.",
    "effect": "What of it is beyond chance.",
    "corrected": "Share of windows with nothing wrong in which any signal is as strong.",
}


class _Collector:
    def __init__(
        self,
        windows: Iterable[Mapping[str, Any]],
        totals: Mapping[tuple[str, str, str], tuple[int, int]],
        open_rows: Mapping[tuple[str, str, str, str], int],
        plain: Mapping[str, tuple[str, float]],
        namespace: str,
    ) -> None:
        self._windows = list(windows)
        self._totals = totals
        self._open = open_rows
        self._plain = plain
        self._namespace = namespace

    def collect(self) -> Iterator[Metric]:
        yield from self._signals()
        yield from self._rows()
        counted = ("namespace", "service", "component", "stream")
        judged = CounterMetricFamily("kubeloop_watch_windows", "Windows judged.", labels=counted)
        alarms = CounterMetricFamily("kubeloop_watch_alarms", "Windows that told something.", labels=counted)
        for who, (windows, told) in sorted(self._totals.items()):
            judged.add_metric([self._namespace, *who], windows)
            alarms.add_metric([self._namespace, *who], told)
        yield from (judged, alarms)
        for name, (help_text, value) in self._plain.items():
            yield GaugeMetricFamily(name, help_text, value)

    def _signals(self) -> Iterator[Metric]:
        families = {
            name: GaugeMetricFamily(f"kubeloop_watch_{name}", words, labels=_SIGNAL) for name, words in _NUMBERS.items()
        }
        told = GaugeMetricFamily("kubeloop_watch_told", "1: the last window told this signal.", labels=_SIGNAL)
        present = GaugeMetricFamily(
            "kubeloop_watch_present", "1: k of the last n windows told it, this one among them.", labels=_SIGNAL
        )
        for window in self._windows:
            for signal in window["signals"]:
                labels = [*(window[name] for name in _WHO), signal["kind"], signal["column"]]
                for name, family in families.items():
                    if signal[name] is not None:
                        family.add_metric(labels, signal[name])
                told.add_metric(labels, signal["told"])
                present.add_metric(labels, signal["name"] in window["present"])
        yield from (*families.values(), told, present)

    def _rows(self) -> Iterator[Metric]:
        rows = GaugeMetricFamily("kubeloop_watch_window_rows", "Rows of the last window.", labels=_WHO)
        late = GaugeMetricFamily(
            "kubeloop_watch_late_events", "Events that came after their window was judged.", labels=_WHO
        )
        left = GaugeMetricFamily(
            "kubeloop_watch_left_out", "Rows or events of the last window that are not in it.", labels=(*_WHO, "reason")
        )
        unusual = GaugeMetricFamily(
            "kubeloop_watch_unusual_rows", "Rows of the last window that are so.", labels=(*_WHO, "kind")
        )
        labelled = GaugeMetricFamily(
            "kubeloop_watch_coverage", "Share of the last window's rows whose truth is known.", labels=_WHO
        )
        for window in self._windows:
            who = [window[name] for name in _WHO]
            rows.add_metric(who, window["rows"])
            late.add_metric(who, window["late"])
            for reason, count in window["skipped"].items():
                left.add_metric([*who, reason], count)
            for kind, found in window["unusual"].items():
                unusual.add_metric([*who, kind], found["count"])
            if window["stream"] == "labels" and window["seen"]:
                labelled.add_metric(who, window["rows"] / window["seen"])
        waiting = GaugeMetricFamily("kubeloop_watch_open_rows", "Rows of the window that is not full yet.", labels=_WHO)
        for (service, component, version, stream), count in sorted(self._open.items()):
            waiting.add_metric([self._namespace, service, component, version, stream], count)
        yield from (rows, late, left, unusual, labelled, waiting)


def exposition(
    windows: Iterable[Mapping[str, Any]],
    totals: Mapping[tuple[str, str, str], tuple[int, int]],
    open_rows: Mapping[tuple[str, str, str, str], int],
    plain: Mapping[str, tuple[str, float]],
    namespace: str,
) -> bytes:
    """Prometheus' text format.

    Args:
        windows: The last window of each stream.
        totals: By service, component and stream: windows, and those that told something.
        open_rows: By service, component, version and stream: rows of the window that is not full yet.
        plain: By name: help and value of gauges without labels.
        namespace: Whose.
    """
    registry = CollectorRegistry()
    registry.register(_Collector(windows, totals, open_rows, plain, namespace))
    return bytes(generate_latest(registry))

"""What a trial reports, read as Katib's metrics collectors read it."""

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kubeloop.experiments.search import Collector, Objective, Strategy

DEFAULT_FILTER = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"
"""Katib's pattern for `name=value` (pkg/metricscollector/v1beta1/common/const.go); `loss=nan` gives an empty value."""

_SAMPLE = re.compile(r"([A-Za-z_:][\w:]*)(?:\{[^}]*\})?\s+(\S+)(?:\s+-?\d+)?")
_SHOWN = 80


@dataclass
class Readings:
    """What one trial has reported so far.

    Attributes:
        objective: What is searched for.
        values: Metric -> its finite values, in order.
        strange: Metric -> what was reported for it and is no finite number.
        trouble: What stopped the collector.
        almost: A line that names the objective and could not be read.
        read: What would have been read, for a person.
    """

    objective: Objective
    values: dict[str, list[float]] = field(default_factory=dict)
    strange: dict[str, str] = field(default_factory=dict)
    trouble: str | None = None
    almost: str | None = None
    read: str = ""

    def take(self, name: str, text: str) -> None:
        """Note a value; what is not finite is noted as strange."""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if math.isfinite(value):
            self.values.setdefault(name, []).append(value)
        else:
            self.strange.setdefault(name, text)

    def of(self, metric: str, strategy: Strategy | None = None) -> float | None:
        """The value of a metric that counts; None where there is none."""
        found = self.values.get(metric)
        if not found:
            return None
        how = strategy or self.objective.strategy(metric)
        return {"min": min(found), "max": max(found), "latest": found[-1]}[how]

    def verdict(self) -> tuple[bool, str]:
        """Whether the objective can be used, and why not."""
        metric = self.objective.metric
        if self.trouble:
            return False, self.trouble
        if metric in self.strange:
            got = self.strange[metric] or "nan, inf or nothing"
            return False, f"{metric} was reported as {got!r}, which is no finite number"
        if self.of(metric) is None:
            printed = f"; it printed {self.almost!r}, and what is read is" if self.almost else "; what is read is"
            return False, f"no {metric} was reported{printed} {self.read}" if self.read else f"no {metric} was reported"
        return True, ""


class LineReader:
    """Reads metrics out of lines, from standard output or a file."""

    def __init__(self, collector: Collector, readings: Readings) -> None:
        self._json = collector.kind == "File" and collector.format == "JSON"
        # \w is ASCII in RE2, which is what Katib matches with.
        self._filters = [re.compile(each, re.ASCII) for each in collector.filters or (DEFAULT_FILTER,)]
        self._names = readings.objective.metrics
        self._readings = readings
        readings.read = _wanted(collector, self._names[0])

    def speaks_of_metrics(self, text: str) -> bool:
        """Whether any line of a text could matter; a flood of others need not be cut into lines."""
        return self._json or any(name in text for name in self._names)

    def read(self, lines: Iterable[str]) -> None:
        """Take in whole lines, without their line ends."""
        for line in lines:
            if self._json:
                self._json_line(line)
            elif any(name in line for name in self._names):
                self._text_line(line)

    def _text_line(self, line: str) -> None:
        found = False
        for name, value in self._matches(line):
            if name in self._names:
                self._readings.take(name, value)
                found = True
        if not found and self._names[0] in line:
            self._readings.almost = self._readings.almost or line.strip()[:_SHOWN]

    def _matches(self, line: str) -> Iterator[tuple[str, str]]:
        for pattern in self._filters:
            for match in pattern.finditer(line):
                if len(match.groups()) > 1:
                    yield (match[1] or "").strip(), (match[2] or "").strip()

    def _json_line(self, line: str) -> None:
        if not line or self._readings.trouble:
            return
        try:
            document: Any = json.loads(line)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            self._readings.trouble = f"the metrics file has a line that is no JSON document: {line[:_SHOWN]!r}"
            return
        for name in self._names:
            value = document.get(name)
            if isinstance(value, str):
                self._readings.take(name, value)
            elif name == self._names[0] and value is not None:
                self._readings.almost = f'{{"{name}": {value}}} with a number, not text'


def _wanted(collector: Collector, metric: str) -> str:
    """How the objective is to be reported."""
    if collector.kind == "PrometheusMetric":
        return f"a sample of {metric} at port {collector.port}, {collector.path}, while the trial runs"
    if collector.kind == "File" and collector.format == "JSON":
        return f'{{"{metric}": "<number>"}} in a line of {collector.path}'
    where = f" in a line of {collector.path}" if collector.kind == "File" else ""
    return (f"{metric} as metricsFormat has it" if collector.filters else f"{metric}=<number>") + where


def read_prometheus(page: str, readings: Readings) -> None:
    """Take in one scrape of a `/metrics` page (text format); of several samples of a name the last counts."""
    found: dict[str, str] = {}
    for line in page.splitlines():
        match = None if line.startswith("#") else _SAMPLE.fullmatch(line.strip())
        if match and match[1] in readings.objective.metrics:
            found[match[1]] = match[2]
    for name, text in found.items():
        readings.take(name, text)

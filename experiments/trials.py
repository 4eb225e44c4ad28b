"""Trials as records and as one table, whoever ran them."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from kubeloop.experiments.search import Search

Status = Literal["Succeeded", "Failed", "EarlyStopped", "MetricsUnavailable", "Killed"]
"""Katib's words; a trial without a usable objective is MetricsUnavailable."""

FAILURES: tuple[Status, ...] = ("Failed", "MetricsUnavailable")
"""Those that count for maxFailedTrialCount."""


@dataclass(frozen=True)
class Trial:
    """A trial that has ended.

    Attributes:
        number: In the order in which they were asked for, from 0.
        name: `<search>-<number>` here, Katib's name on a cluster.
        assignment: Parameter -> value as text.
        status: How it ended.
        reason: Why, where it did not succeed.
        value: The objective; None where there is none. Always finite.
        metrics: Metric -> the value that counts, the objective included.
        started: UTC.
        finished: UTC.
    """

    number: int
    name: str
    assignment: Mapping[str, str]
    status: Status
    reason: str
    value: float | None
    metrics: Mapping[str, float]
    started: dt.datetime
    finished: dt.datetime

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.finished - self.started).total_seconds()

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self) | {"started": self.started.isoformat(), "finished": self.finished.isoformat()}


@dataclass(frozen=True)
class Outcome:
    """A finished search.

    Attributes:
        trials: By number.
        best: The best succeeded one; None where none succeeded.
        ended: `goal`, `trials`, `failed` or `space` (nothing left to try).
        reason: The same for a person.
        kept: How many trials were there from an earlier, interrupted start.
    """

    trials: tuple[Trial, ...]
    best: Trial | None
    ended: Literal["goal", "trials", "failed", "space"]
    reason: str
    kept: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


def from_dict(document: Mapping[str, Any]) -> Trial:
    """The trial that `Trial.to_dict` wrote."""
    times = {key: dt.datetime.fromisoformat(document[key]) for key in ("started", "finished")}
    return Trial(**{**document, **times})


def best_trial(search: Search, trials: Sequence[Trial]) -> Trial | None:
    """The best of the succeeded trials; of equals the earliest."""
    best: Trial | None = None
    for trial in sorted(trials, key=lambda each: each.number):
        if trial.status != "Succeeded" or trial.value is None:
            continue
        if best is None or best.value is None or search.objective.better(trial.value, best.value):
            best = trial
    return best


def table_of(search: Search, trials: Sequence[Trial]) -> Any:
    """Trials as `pyarrow.Table`: the same columns from every executor.

    Returns:
        number int64, name, status, reason text, value float64, `param.<name>` (float64 of double, int64 of int, else
        text; null where it did not matter), `metric.<name>` float64, started, finished timestamp UTC, seconds float64.
    """
    import pyarrow as pa

    types = {"double": pa.float64(), "int": pa.int64()}
    readers: dict[str, Any] = {"double": float, "int": lambda text: int(float(text))}
    moment = pa.timestamp("us", tz="UTC")
    rows = sorted(trials, key=lambda trial: trial.number)
    active = [search.active(trial.assignment) for trial in rows]
    columns: dict[str, Any] = {
        "number": pa.array([trial.number for trial in rows], pa.int64()),
        "name": pa.array([trial.name for trial in rows], pa.string()),
        "status": pa.array([trial.status for trial in rows], pa.string()),
        "reason": pa.array([trial.reason for trial in rows], pa.string()),
        "value": pa.array([trial.value for trial in rows], pa.float64()),
    }
    for parameter in search.parameters:
        read = readers.get(parameter.kind, str)
        values = [read(each[parameter.name]) if parameter.name in each else None for each in active]
        columns[f"param.{parameter.name}"] = pa.array(values, types.get(parameter.kind, pa.string()))
    for name in search.objective.metrics:
        columns[f"metric.{name}"] = pa.array([trial.metrics.get(name) for trial in rows], pa.float64())
    columns["started"] = pa.array([trial.started for trial in rows], moment)
    columns["finished"] = pa.array([trial.finished for trial in rows], moment)
    columns["seconds"] = pa.array([trial.seconds for trial in rows], pa.float64())
    return pa.table(columns)


def write_trials(search: Search, trials: Sequence[Trial], folder: Path) -> None:
    """Write the table of trials as a table folder (Parquet, with its digest) that later tasks can read."""
    from kubeloop.data.tables import write_table

    write_table(table_of(search, trials), folder)

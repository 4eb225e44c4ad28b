"""One neutral hyperparameter search. Katib runs it on a cluster, `experiments.local` runs it here."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["double", "int", "categorical", "discrete"]
Strategy = Literal["min", "max", "latest"]
CollectorKind = Literal["StdOut", "File", "PrometheusMetric"]
Assignment = Mapping[str, str]
"""Parameter name -> value as text, which is how every trial program gets it."""


@dataclass(frozen=True)
class Condition:
    """A parameter matters only where another one has one of some values.

    Attributes:
        parameter: The other one.
        values: Its values, as text.
    """

    parameter: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Parameter:
    """What may vary, and how far.

    Attributes:
        name: As trials know it.
        kind: `double` and `int` have bounds, `categorical` and `discrete` (numbers) have values.
        low: Smallest value, inclusive.
        high: Largest value, inclusive.
        step: Distance of neighbouring values; None: any value (double), 1 (int).
        log: Drawn uniformly on a logarithmic scale; needs low > 0.
        values: As text, in the order of the grid.
        when: Without it the parameter always matters. Samplers draw it all the same, as Katib, which knows no
            conditions, does; tables leave it out.
    """

    name: str
    kind: Kind
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    values: tuple[str, ...] = ()
    when: Condition | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """Low and high of a `double` or `int`."""
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high

    def text(self, value: float | str) -> str:
        """A value as trials get it: whole numbers without a point, doubles with all their digits."""
        if self.kind == "int":
            return str(int(value))
        return number_text(float(value)) if self.kind == "double" else str(value)


def number_text(value: float) -> str:
    """The shortest text that reads back as the same number; whole ones without a point where that is shorter."""
    whole = math.isfinite(value) and value == int(value) and abs(value) < 1e15
    return str(int(value)) if whole else repr(float(value))


@dataclass(frozen=True)
class Objective:
    """What is searched for.

    Attributes:
        metric: Its name in what a trial reports.
        direction: `minimize` or `maximize`.
        goal: The search ends when a trial reaches it; None: it uses its whole budget.
        also: Further metrics that are kept.
        strategies: Which value of a metric counts, where it is not the best one of the trial.
    """

    metric: str
    direction: Literal["minimize", "maximize"]
    goal: float | None = None
    also: tuple[str, ...] = ()
    strategies: Mapping[str, Strategy] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, ...]:
        """All metrics, the objective first."""
        return (self.metric, *self.also)

    def strategy(self, metric: str) -> Strategy:
        """Which value of a metric counts: Katib's default is the best over the trial, not the last."""
        return self.strategies.get(metric, "max" if self.direction == "maximize" else "min")

    def better(self, one: float, other: float) -> bool:
        """Whether `one` is better than `other`."""
        return one > other if self.direction == "maximize" else one < other

    def reached(self, value: float) -> bool:
        """Whether a value is as good as the goal."""
        return self.goal is not None and not self.better(self.goal, value)


@dataclass(frozen=True)
class Algorithm:
    """How the next parameters are chosen: Katib's name and settings (text)."""

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Budget:
    """How much may be spent.

    Attributes:
        trials: At most so many trials; None: until the goal.
        parallel: At most so many at once.
        failed: The search ends at the failure of this number (at the first one for 0); None: failures never end it. A
            trial without a usable metric counts as failed.
    """

    trials: int | None = None
    parallel: int = 3
    failed: int | None = None


@dataclass(frozen=True)
class MedianStop:
    """Katib's medianstop: a trial ends early when it is worse than the mean of the finished ones' means.

    Attributes:
        min_trials: So many succeeded trials must be there first.
        start_step: The check happens once, at this report of the objective.
    """

    min_trials: int = 3
    start_step: int = 4


@dataclass(frozen=True)
class Collector:
    """Where a trial's metrics are read.

    Attributes:
        kind: `StdOut`, `File` or `PrometheusMetric`.
        path: Of the file, or of the HTTP endpoint.
        format: Of the file: `TEXT` or `JSON` (a document a line, numbers as text).
        filters: Regular expressions with two groups, name and value; Katib's own where none.
        port: Of the HTTP endpoint.
    """

    kind: CollectorKind = "StdOut"
    path: str | None = None
    format: Literal["TEXT", "JSON"] = "TEXT"
    filters: tuple[str, ...] = ()
    port: int | None = None


@dataclass(frozen=True)
class TrialParameter:
    """`${trialParameters.<name>}` in the template stands for `reference`, a parameter or a `${trialSpec...}`."""

    name: str
    reference: str
    description: str | None = None


@dataclass(frozen=True)
class Template:
    """The trial.

    Attributes:
        spec: Kubernetes manifest with `${trialParameters.<name>}` in its texts.
        container: The container whose program is the trial.
        parameters: What is filled in.
        more: Words for Katib alone (conditions, retain, primaryPodLabels), as in an Experiment.
    """

    spec: Mapping[str, Any]
    container: str
    parameters: tuple[TrialParameter, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Search:
    """A whole search.

    Attributes:
        name: At most 40 small letters, digits and `-`.
        parameters: In the order of the grid.
        objective: What is searched for.
        algorithm: How.
        budget: With how much.
        template: The trial.
        early: Early stopping, if any.
        collector: Where metrics are read.
        namespace: On a cluster.
        labels: On a cluster.
        annotations: On a cluster.
        resume: Katib's resumePolicy.
    """

    name: str
    parameters: tuple[Parameter, ...]
    objective: Objective
    algorithm: Algorithm
    budget: Budget
    template: Template
    early: MedianStop | None = None
    collector: Collector = Collector()
    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    resume: str = "Never"

    def active(self, assignment: Assignment) -> dict[str, str]:
        """Those parameters that matter, given the others."""
        conditions = {parameter.name: parameter.when for parameter in self.parameters}

        def matters(name: str) -> bool:
            when = conditions.get(name)
            return when is None or (assignment.get(when.parameter) in when.values and matters(when.parameter))

        return {name: value for name, value in assignment.items() if matters(name)}

"""What is asked of windows: are inputs and answers as in training; are the losses, once they are known."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
import sqlalchemy as sa

from kubeloop.contract.durations import length_of
from kubeloop.contract.monitoring import Labels
from kubeloop.errors import InputError
from kubeloop.monitoring.detectors.answers import Answered
from kubeloop.monitoring.labels.joining import join
from kubeloop.monitoring.log.reading import micros
from kubeloop.monitoring.log.windows import LoggedEvent, Window, window_of
from kubeloop.monitoring.performance.coverage import coverage_of
from kubeloop.monitoring.watching.progress import StreamName
from kubeloop.monitoring.watching.reading import Logged
from kubeloop.monitoring.watching.shapes import Shape, input_shapes, label_shapes
from kubeloop.monitoring.windows.judge import Judge
from kubeloop.monitoring.windows.verdict import Verdict

_POISON = (InputError, ValueError, TypeError, ArithmeticError, LookupError)
"""What judging a window may raise without stopping those after it; it is said in the window."""

_UNUSUAL = 20
"""Rows of each unusual kind that are named; all are counted."""


@dataclass(frozen=True)
class Weight:
    """What an event brings to a window.

    Attributes:
        rows: Rows that can be judged.
        seen: Rows that could have been.
    """

    rows: int
    seen: int


@dataclass(frozen=True)
class Said:
    """A window's verdict, with what a person needs to see why.

    Attributes:
        verdict: What the judge says.
        shapes: Distributions that moved most, beside those of training.
        unusual: By `outliers` and `novel`: (event id, row) of the first such rows.
        facts: Further JSON facts.
    """

    verdict: Verdict
    shapes: tuple[Shape, ...]
    unusual: Mapping[str, tuple[tuple[str, int], ...]]
    facts: Mapping[str, Any]


class Question(Protocol):
    """Judges the events of a window."""

    name: StreamName

    def upto(self, settled: int, now: dt.datetime) -> int:
        """Up to which moment events can be judged, microseconds since 1970 UTC; later ones still change."""

    def weigh(self, events: Sequence[LoggedEvent], now: dt.datetime) -> list[Weight]:
        """What each event brings."""

    def judge(self, events: Sequence[LoggedEvent], left_out: Mapping[str, int], now: dt.datetime) -> Said:
        """What is said of a window.

        Args:
            events: Those with rows to judge.
            left_out: By reason: events without.
            now: The clock.
        """


class Inputs:
    """What was asked and answered.

    Args:
        of: Whose events.
        judge: Holds them against the reference.
    """

    name: StreamName = "inputs"

    def __init__(self, of: Logged, judge: Judge) -> None:
        self._of = of
        self._judge = judge

    def upto(self, settled: int, now: dt.datetime) -> int:
        """All that has settled."""
        del now
        return settled

    def weigh(self, events: Sequence[LoggedEvent], now: dt.datetime) -> list[Weight]:
        """Rows of the request; none where only the answer was logged."""
        del now
        counts = [0 if event.inputs is None else len(orjson.loads(event.inputs)) for event in events]
        return [Weight(count, count) for count in counts]

    def judge(self, events: Sequence[LoggedEvent], left_out: Mapping[str, int], now: dt.datetime) -> Said:
        """Inputs and predictions."""
        del now
        window = _window(self._of, events)
        answered = Answered(window.predictions, window.probabilities)
        skipped = dict(window.skipped)
        for reason, count in left_out.items():
            skipped[reason] = skipped.get(reason, 0) + count
        facts = {"skipped": skipped, "unanswered": int((~window.answered).sum())}
        try:
            verdict = self._judge.inputs(window.features, answered, skipped)
            shapes = input_shapes(self._judge.profile, window.features, answered, verdict)
        except _POISON as error:
            return _not_judged(self._judge, len(window), error, facts)
        unusual = {
            kind: tuple((str(window.event_ids[row]), int(window.rows[row])) for row in rows[:_UNUSUAL])
            for kind, rows in verdict.unusual.items()
        }
        return Said(verdict, shapes, unusual, facts)


class Losses:
    """What the answers were worth, of rows old enough that their truth would be there.

    Args:
        store: Where labels lie.
        of: Whose events.
        judge: Holds losses against those of training.
        labels: The contract's words about labels.
    """

    name: StreamName = "labels"

    def __init__(self, store: sa.Engine, of: Logged, judge: Judge, labels: Labels) -> None:
        self._store = store
        self._of = of
        self._judge = judge
        self._labels = labels
        self._maturity = length_of(labels.maturity)

    def upto(self, settled: int, now: dt.datetime) -> int:
        """What is mature, too."""
        return min(settled, micros(now - self._maturity))

    def weigh(self, events: Sequence[LoggedEvent], now: dt.datetime) -> list[Weight]:
        """Answered rows, and those of them with a label."""
        joined = join(self._store, _window(self._of, events), self._maturity, now)
        rows: dict[str, int] = {}
        seen: dict[str, int] = {}
        labelled, answered = joined.labelled.tolist(), joined.window.answered.tolist()
        for place, name in enumerate(joined.window.event_ids):
            seen[name] = seen.get(name, 0) + answered[place]
            rows[name] = rows.get(name, 0) + (answered[place] and labelled[place])
        return [Weight(rows.get(event.event_id, 0), seen.get(event.event_id, 0)) for event in events]

    def judge(self, events: Sequence[LoggedEvent], left_out: Mapping[str, int], now: dt.datetime) -> Said:
        """Losses of the rows whose truth is known."""
        joined = join(self._store, _window(self._of, events), self._maturity, now)
        window = joined.window
        known = joined.labelled & window.answered
        shares = None if window.probabilities is None else window.probabilities[known]
        answered, truth = Answered(window.predictions[known], shares), joined.values[known]
        lag = coverage_of(joined, self._maturity, now).lag_s
        facts = {"skipped": dict(left_out), "lag_s": None if lag is None else list(lag)}
        try:
            verdict = self._judge.labels(answered, truth)
            shapes = label_shapes(self._judge.profile, answered, truth, verdict)
        except _POISON as error:
            return _not_judged(self._judge, int(known.sum()), error, facts)
        return Said(verdict, shapes, {}, facts)


def _window(of: Logged, events: Sequence[LoggedEvent]) -> Window:
    return window_of(of.key, {of.model: of.columns}, of.columns, events)


def _not_judged(judge: Judge, rows: int, error: Exception, facts: Mapping[str, Any]) -> Said:
    why = error.problem if isinstance(error, InputError) else f"our mistake, {type(error).__name__}: {error}"
    note = f"not judged: {why}"
    return Said(Verdict(rows, 0, (), {}, (note,), judge.profile.detectors.engine), (), {}, facts)

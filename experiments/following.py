"""Follow an Experiment to its end: news by watch, a deadline, and a cause where nothing moves."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from kubeloop.cluster.api import Api, Document, Kind, Refused
from kubeloop.errors import PermanentError, TransientError
from kubeloop.experiments.observed import condition, state, trials_of
from kubeloop.experiments.search import Search
from kubeloop.experiments.stalling import OF_EXPERIMENT, TRIAL, cause, hopeless
from kubeloop.experiments.trials import FAILURES, Outcome, Trial, best_trial

EXPERIMENT = Kind("apis/kubeflow.org/v1beta1", "experiments", "Experiment")
_GONE, _FORGOTTEN = 404, 410
_TRANSIENT = 500

OnTrial = Callable[[Trial, Trial | None], None]


@dataclass(frozen=True)
class Patience:
    """How long is waited, in seconds.

    Attributes:
        deadline_s: For the whole search; Katib has no such limit. Just below that of the pipeline's task.
        stall_s: Without any trial beginning or ending, before a cause is looked for.
        hopeless_s: The same, before pods are looked at that no waiting mends.
        look_s: For news, before the clock is looked at again.
        pause_s: After a watch that broke off at once.
    """

    deadline_s: float = 23 * 3600.0
    stall_s: float = 1800.0
    hopeless_s: float = 120.0
    look_s: float = 30.0
    pause_s: float = 1.0


DEFAULT = Patience()


@dataclass
class Following:
    """A search that runs on Katib.

    Attributes:
        search: With the Experiment's name.
        api: Of its namespace.
        patience: How long is waited.
        on_trial: Told of each trial that ends, and of the best so far.
        begin: The number of its first trial.
        trials: Those that have ended.
    """

    search: Search
    api: Api
    patience: Patience
    on_trial: OnTrial
    begin: int = 0
    trials: list[Trial] = field(default_factory=list)
    _states: dict[str, str] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _began: float = field(default_factory=time.monotonic)
    _moved: float = field(default_factory=time.monotonic)
    _suspected: str | None = None

    def to_the_end(self) -> Outcome:
        """Wait until Katib says that it is over.

        Raises:
            PermanentError: It was deleted, failed before any trial, or does not move; the cause is named.
            TransientError: The deadline passed.
        """
        while True:
            experiment = self.api.get(EXPERIMENT, self.search.name)
            if experiment is None:
                raise self._deleted()
            began = time.monotonic()
            for each in chain([experiment], self._news(experiment)):
                self._look()
                end = condition(each, ("Succeeded", "Failed"))
                if end is not None:
                    return self._outcome(end)
                self._check_clock()
            if time.monotonic() - began < self.patience.pause_s:
                time.sleep(self.patience.pause_s)

    def _news(self, experiment: Document) -> Iterator[Document]:
        """The Experiment each time that it changes: its status counts its trials, so it changes whenever one does."""
        version = str(experiment["metadata"].get("resourceVersion", ""))
        try:
            yield from self.api.watch(EXPERIMENT, self.search.name, version, self._rest())
        except Refused as refused:
            if refused.status == _GONE:
                raise self._deleted() from refused
            if refused.status != _FORGOTTEN and refused.status < _TRANSIENT:
                raise self.api.explained(refused, "watch", EXPERIMENT) from refused

    def _rest(self) -> float:
        """How long nothing need be asked: to the next moment at which somebody waits in vain."""
        now, patience = time.monotonic(), self.patience
        moments = (self._began + patience.deadline_s, self._moved + patience.stall_s, now + patience.look_s)
        return min(moment for moment in moments if moment > now) - now

    def _look(self) -> None:
        documents = self.api.list(TRIAL, f"{OF_EXPERIMENT}={self.search.name}")
        states = {str(each["metadata"]["name"]): state(each) for each in documents}
        if states != self._states:
            self._states, self._moved, self._suspected = states, time.monotonic(), None
        self.trials = trials_of(self.search, documents, self.begin)
        for trial in self.trials:
            if trial.name not in self._told:
                self._told.add(trial.name)
                self.on_trial(trial, best_trial(self.search, self.trials))

    def _check_clock(self) -> None:
        now, name = time.monotonic(), self.search.name
        still = now - self._moved
        if still > self.patience.stall_s:
            self._suspect(cause(self.api, name), still)
        elif still > self.patience.hopeless_s:
            self._suspect(hopeless(self.api, name), still)
        if now - self._began > self.patience.deadline_s:
            raise TransientError(
                f"the search {name} did not end within {self.patience.deadline_s:g} s; {len(self._states)} trials "
                "were made",
                "give it more time, or fewer trials",
            )

    def _suspect(self, why: str | None, still_s: float) -> None:
        """Give up at the second sight of the same cause: a pod may just be on its way."""
        if why is not None and why == self._suspected:
            raise PermanentError(
                f"the search {self.search.name} has not moved for {still_s:.0f} s: {why}",
                "mend the cause, and run again",
            )
        self._suspected = why

    def _deleted(self) -> PermanentError:
        return PermanentError(
            f"the Experiment {self.search.name} was deleted while it ran", "run again, and see who deletes it"
        )

    def _outcome(self, end: Mapping[str, Any]) -> Outcome:
        search, trials = self.search, self.trials
        reason = str(end.get("message") or end.get("reason") or end["type"])
        values = [trial.value for trial in trials if trial.status == "Succeeded" and trial.value is not None]
        failed = end["type"] == "Failed"
        if failed and not trials:
            raise PermanentError(f"Katib ended the search {search.name}: {reason}", "mend what it names")
        bound = search.budget.failed
        over = bound is not None and sum(trial.status in FAILURES for trial in trials) >= max(bound, 1)
        if failed and (over or not any(map(search.objective.reached, values))):
            return Outcome(tuple(trials), best_trial(search, trials), "failed", reason)
        reached = any(map(search.objective.reached, values))
        return Outcome(tuple(trials), best_trial(search, trials), "goal" if reached else "trials", reason)

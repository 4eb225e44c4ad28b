"""Katib on one machine: an Experiment's search with its trials as local processes.

What differs from a cluster is on purpose: trials that still run when the search ends are ended, and a trial whose
objective is no finite number has failed and can never be the best.
"""

import datetime as dt
import os
import secrets
import selectors
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kubeloop.errors import InputError, IntegrityError
from kubeloop.experiments.collecting import Readings, read_prometheus
from kubeloop.experiments.journal import Journal, identity
from kubeloop.experiments.process import Limits, Running, Surroundings, start
from kubeloop.experiments.search import Assignment, Search
from kubeloop.experiments.suggesting import Suggester, suggester_of
from kubeloop.experiments.template import program_of, render
from kubeloop.experiments.trials import FAILURES, Outcome, Status, Trial, best_trial, from_dict
from kubeloop.site.processes import child_environment, end_orphans

End = Literal["goal", "trials", "failed", "space"]
_LOOK_S = 0.25
"""How often a metrics file or a Prometheus endpoint is looked at while its trial runs."""
_SCRAPE_S = 5.0
"""How long an endpoint may take to answer; nothing else runs beside such a trial that would wait for it."""


@dataclass(frozen=True)
class Place:
    """Where a search runs.

    Attributes:
        folder: Its own: journal, and a folder a trial.
        home: State root by which its processes are found after a kill.
        workdir: Where trials run.
        limit_s: Seconds for a trial, unless its manifest has fewer; None: no limit.
    """

    folder: Path
    home: Path
    workdir: Path
    limit_s: float | None = None


def run_local(
    search: Search,
    place: Place,
    *,
    seed: int = 0,
    first: Sequence[Assignment] = (),
    on_trial: Callable[[Trial, Trial | None], None] = lambda trial, best: None,
    clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
) -> Outcome:
    """Run a search to its end; one that was killed is taken up where it was.

    Call it from a thread that lives as long as the search: its trials die with that thread.

    Args:
        search: Without lint errors.
        place: Where.
        seed: For the algorithm, unless its settings have `random_state`.
        first: Assignments to try before all others.
        on_trial: Told of each trial that ends, and of the best so far.
        clock: Gives the times of trials, UTC.

    Raises:
        InputError: The algorithm or the trial cannot run here, or the folder holds another search.
    """
    suggester = suggester_of(search, seed, first)
    end_orphans(place.home)
    journal = Journal(place.folder, identity(search, seed, [dict(each) for each in first]))
    work = _Work(search, place, suggester, journal, on_trial, clock)
    try:
        work.resume()
        return work.run()
    finally:
        work.stop("the search was stopped")
        journal.close()


@dataclass
class _Work:
    search: Search
    place: Place
    suggester: Suggester
    journal: Journal
    on_trial: Callable[[Trial, Trial | None], None]
    clock: Callable[[], dt.datetime]
    asked: list[dict[str, str]] = field(default_factory=list)
    ended: dict[int, Trial] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)
    running: dict[int, Running] = field(default_factory=dict)
    began: dict[int, dt.datetime] = field(default_factory=dict)
    averages: list[float] = field(default_factory=list)
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    kept: int = 0

    def resume(self) -> None:
        """Repeat the calls of the journal; trials that were running are waiting again, under their numbers."""
        for event in self.journal.events[1:]:
            if "ask" in event:
                if self.suggester.ask() != event["ask"]:
                    raise IntegrityError(
                        "the interrupted search cannot be taken up: its algorithm answers differently now, after a "
                        "change of version",
                        "start it anew with --fresh",
                        folder=str(self.place.folder),
                    )
                self.asked.append(event["ask"])
                continue
            trial = from_dict(event["end"])
            self.ended[trial.number] = trial
            self._learn(trial, event.get("average"))
        self.waiting = [number for number in range(len(self.asked)) if number not in self.ended]
        self.kept = len(self.ended)

    def run(self) -> Outcome:
        """Fill the free places, wait for something to happen, until the search is over."""
        while True:
            over = self._over()
            if over is None:
                self._fill()
                if not self.running:
                    over = self._over() or ("space", "the algorithm has nothing left to try")
            if over is not None:
                self.stop(over[1])
                trials = tuple(self.ended[number] for number in sorted(self.ended))
                return Outcome(trials, best_trial(self.search, trials), over[0], over[1], self.kept)
            self._wait()

    def _over(self) -> tuple[End, str] | None:
        """Katib's order: goal, failures, trials."""
        budget, objective = self.search.budget, self.search.objective
        ended = self.ended.values()
        if any(t.status == "Succeeded" and t.value is not None and objective.reached(t.value) for t in ended):
            return "goal", f"the goal {objective.goal:g} was reached"
        failures = sum(trial.status in FAILURES for trial in ended)
        if budget.failed is not None and failures and failures >= budget.failed:
            return "failed", f"{failures} trials failed, and maxFailedTrialCount is {budget.failed}"
        if budget.trials is not None and len(self.ended) >= budget.trials:
            return "trials", f"all {budget.trials} trials were run"
        return None

    def _fill(self) -> None:
        budget = self.search.budget
        while len(self.running) < _parallel(self.search):
            if self.waiting:
                self._start(self.waiting.pop(0))
                continue
            if budget.trials is not None and len(self.asked) >= budget.trials:
                return
            given = self.suggester.ask()
            if given is None:
                return
            self.journal.write({"ask": given})
            self.asked.append(given)
            self._start(len(self.asked) - 1)
            if self._over() is not None:
                return

    def _start(self, number: int) -> None:
        search, name = self.search, self._name(number)
        self.began[number] = self.clock()
        try:
            running = start(
                number,
                program_of(render(search, self.asked[number], name), search.template.container),
                Readings(search.objective),
                search.collector,
                Surroundings(
                    self.place.folder / name,
                    self.place.workdir,
                    child_environment(self.place.home),
                    f"{os.getpid()}-{number}-{secrets.token_hex(4)}",
                ),
                Limits(self.place.limit_s, search.early, self._rule()),
            )
        except OSError as error:
            if number == 0 and not self.ended:
                raise InputError(
                    f"the trial's program cannot be started: {error.strerror or error}: {error.filename}",
                    "install it here, or write the path of one that is",
                ) from error
            self._note(number, "Failed", f"its program cannot be started: {error.strerror}", Readings(search.objective))
            return
        self.running[number] = running
        assert running.process.stdout is not None
        self.selector.register(running.process.stdout, selectors.EVENT_READ, number)
        running_fd = os.pidfd_open(running.process.pid)
        self.selector.register(running_fd, selectors.EVENT_READ, (number, running_fd))

    def _rule(self) -> float | None:
        early = self.search.early
        if early is None or len(self.averages) < early.min_trials:
            return None
        return sum(self.averages) / len(self.averages)

    def _wait(self) -> None:
        """Until output comes, a trial ends, or one's time is up."""
        now = time.monotonic()
        polled = self.search.collector.kind != "StdOut"
        soonest = min([each.deadline for each in self.running.values()] + [now + _LOOK_S if polled else float("inf")])
        timeout = None if soonest == float("inf") else max(soonest - now, 0)
        over = []
        for key, _ in self.selector.select(timeout):
            if isinstance(key.data, tuple):
                over.append(key.data)
            elif not self.running[key.data].output():
                self.selector.unregister(key.fileobj)
        now = time.monotonic()
        for running in self.running.values():
            if now >= running.deadline:
                running.end("Failed", f"it ran longer than {running.limits.seconds:g} s")
            self._look(running)
        for number, descriptor in over:
            self.selector.unregister(descriptor)
            os.close(descriptor)
            self._close(number)

    def _look(self, running: Running) -> None:
        if running.collector.kind == "File":
            running.look_at_file()
        elif running.collector.kind == "PrometheusMetric":
            place = f"http://127.0.0.1:{running.collector.port}{running.collector.path}"
            with (
                suppress(urllib.error.URLError, OSError, ValueError),
                urllib.request.urlopen(place, timeout=_SCRAPE_S) as page,
            ):
                read_prometheus(page.read(1_000_000).decode("utf-8", errors="replace"), running.readings)

    def _close(self, number: int) -> None:
        running = self.running.pop(number)
        assert running.process.stdout is not None
        with suppress(KeyError):
            self.selector.unregister(running.process.stdout)
        word, reason = running.close()
        if word == "Succeeded":
            usable, reason = running.readings.verdict()
            word = word if usable else "MetricsUnavailable"
        self._note(number, word, reason, running.readings)  # type: ignore[arg-type]

    def _note(self, number: int, status: Status, reason: str, readings: Readings) -> None:
        metrics = {name: value for name in readings.objective.metrics if (value := readings.of(name)) is not None}
        usable = status in ("Succeeded", "EarlyStopped")
        trial = Trial(
            number=number,
            name=self._name(number),
            assignment=self.asked[number],
            status=status,
            reason=reason,
            value=metrics.get(readings.objective.metric) if usable else None,
            metrics=metrics,
            started=self.began[number],
            finished=self.clock(),
        )
        average = _average(self.search, readings) if status == "Succeeded" else None
        self.journal.write({"end": trial.to_dict(), "average": average})
        self.ended[number] = trial
        self._learn(trial, average)
        self.on_trial(trial, best_trial(self.search, list(self.ended.values())))

    def _learn(self, trial: Trial, average: float | None) -> None:
        self.suggester.tell(trial.number, trial.value)
        if average is not None:
            self.averages.append(average)

    def stop(self, reason: str) -> None:
        """End what still runs. It is not noted: taken up again with a larger budget, these trials run anew."""
        for number, running in list(self.running.items()):
            running.end("Killed", reason)
            running.close()
            del self.running[number]
        for key in list(self.selector.get_map().values()):
            self.selector.unregister(key.fileobj)
            if isinstance(key.data, tuple):
                os.close(key.data[1])

    def _name(self, number: int) -> str:
        return f"{self.search.name}-{number:04d}"


def _parallel(search: Search) -> int:
    # One machine has each port once.
    return 1 if search.collector.kind == "PrometheusMetric" else search.budget.parallel


def _average(search: Search, readings: Readings) -> float | None:
    """What medianstop remembers of a trial: the mean of its first reports."""
    seen = readings.values.get(search.objective.metric, [])
    if search.early is None or not seen:
        return None
    first = seen[: search.early.start_step]
    return sum(first) / len(first)

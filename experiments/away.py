"""A contract's search on the Site's Katib: its first trials beside the task, where the rows are, the others as pods."""

import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kubeloop import __version__
from kubeloop.contract.sections import TrainSection, TuneSection
from kubeloop.digests import document_digest
from kubeloop.errors import TransientError
from kubeloop.experiments.contracted import search_of
from kubeloop.experiments.following import OnTrial, Patience
from kubeloop.experiments.search import Algorithm, Assignment, Budget, Search
from kubeloop.experiments.trials import Outcome, Trial, best_trial
from kubeloop.site.model import Site

MODULE = "kubeloop.experiments.trial"


@dataclass
class Away:
    """A search with a Site's Katib.

    Attributes:
        section: The contract's part, with a search.
        train: What the trial program trains.
        development: Table folder; sent to the store, and taken out of it at the end.
        site: With a cluster.
        run_id: Of our run.
        on_trial: Told of each trial that ends, and of the best so far.
        save: Takes the trials before Katib's own record of them is deleted.
        patience: How long is waited.
        environ: Tells of the own pod.
    """

    section: TuneSection
    train: TrainSection
    development: Path
    site: Site
    run_id: str
    on_trial: OnTrial = lambda trial, best: None
    save: Callable[[tuple[Trial, ...]], None] = lambda trials: None
    patience: Patience = field(default_factory=Patience)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def run(self, first: Sequence[Assignment] = ()) -> Outcome:
        """Search, or give what an earlier run found that asked the same; trials are numbered through.

        Args:
            first: Assignments to try before all others; Katib takes none, so they run here.

        Raises:
            KubeloopError: As `run_local`, `send`, `placement` and `run_cluster` do.
        """
        from kubeloop.data.tables import read_facts
        from kubeloop.experiments.sending import remember, remembered
        from kubeloop.experiments.trial import order_of

        order = order_of(self.section, self.train, read_facts(self.development).digest)
        key = document_digest([order, [dict(each) for each in first], __version__])
        outcome = remembered(self.site, key, self._search(()))
        if outcome is None:
            outcome = self._search_anew(order, first)
            if outcome.best is not None:
                remember(self.site, key, outcome)
        else:
            self.save(outcome.trials)
        return outcome

    def _search_anew(self, order: dict[str, Any], first: Sequence[Assignment]) -> Outcome:
        led = self._lead(order, first) if first else None
        before = () if led is None else led.trials
        budget = _rest(self._search(()).budget, len(before))
        if led is not None and (budget is None or led.ended == "goal"):
            self.save(before)
            return led
        assert budget is not None
        found = self._on_katib(order, budget, before)
        trials = (*before, *found.trials)
        return replace(found, trials=trials, best=best_trial(self._search(()), trials))

    def _search(self, command: Sequence[str]) -> Search:
        return search_of(self.section, self.train.metrics.primary, command)

    def _lead(self, order: dict[str, Any], first: Sequence[Assignment]) -> Outcome:
        from kubeloop.experiments.local import Place, run_local
        from kubeloop.experiments.trial import write_order

        with tempfile.TemporaryDirectory(prefix="kubeloop-") as scratch:
            folder = Path(scratch)
            write_order(folder / "order.json", order, self.development)
            search = self._search([sys.executable, "-m", MODULE, str(folder / "order.json")])
            search = replace(search, budget=Budget(min(len(first), search.budget.trials or len(first)), 1))
            place = Place(folder, folder, folder)
            return run_local(search, place, seed=self.section.seed, first=first, on_trial=self.on_trial)

    def _on_katib(self, order: dict[str, Any], budget: Budget, before: tuple[Trial, ...]) -> Outcome:
        from kubeloop.cluster.api import connect
        from kubeloop.experiments.cluster import experiment_name, run_cluster
        from kubeloop.experiments.placing import placed, placement
        from kubeloop.experiments.sending import send

        api, name = connect(self.site), experiment_name(self.section.name, self.run_id)
        known = list(before)

        def tell(trial: Trial, best: Trial | None) -> None:
            known.append(trial)
            self.on_trial(trial, best_trial(asked, known))

        where = placement(self.site, api, self.environ)
        try:
            reference = send(self.site, name, order, self.development)
            asked = self._search(["python", "-m", MODULE, reference])
            template = placed(asked.template, where)
            asked = replace(asked, budget=budget, algorithm=_seeded(asked, self.section.seed), template=template)
            return run_cluster(
                asked,
                api,
                self.run_id,
                patience=self.patience,
                owner=where.owner,
                on_trial=tell,
                save=lambda trials: self.save((*before, *trials)),
                begin=len(before),
            )
        finally:
            _take_out(self.site, name)


def clean_up(site: Site, name: str, run_id: str) -> bool:
    """Delete what a cancelled run's search left: for an exit handler, since a signal handler has half a second.

    Args:
        site: Where; without a cluster there is nothing to do.
        name: The contract's.
        run_id: Of the run.

    Returns:
        Whether an Experiment was there still.
    """
    if site.cluster is None:
        return False
    from kubeloop.cluster.api import connect
    from kubeloop.experiments.cluster import experiment_name
    from kubeloop.experiments.following import EXPERIMENT
    from kubeloop.experiments.sending import remove

    api, experiment = connect(site), experiment_name(name, run_id)
    there = api.get(EXPERIMENT, experiment) is not None
    if there:
        api.delete(EXPERIMENT, experiment)
    remove(site, experiment)
    return there


def _take_out(site: Site, name: str) -> None:
    from kubeloop.experiments.sending import remove

    try:
        remove(site, name)
    except TransientError as error:
        sys.stderr.write(f"kubeloop: the search's rows are in the store still: {error.problem}\n")


def _rest(budget: Budget, spent: int) -> Budget | None:
    """What is left for Katib, which wants neither more at once nor more failures than trials."""
    if budget.trials is None:
        return budget
    left = budget.trials - spent
    if left <= 0:
        return None
    return Budget(left, min(budget.parallel, left), None if budget.failed is None else min(budget.failed, left))


def _seeded(search: Search, seed: int) -> Algorithm:
    """With the contract's seed, where the algorithm takes one."""
    from kubeloop.experiments.lint_algorithm import SETTINGS

    name, settings = search.algorithm.name, search.algorithm.settings
    takes = "random_state" in SETTINGS[name]
    return Algorithm(name, {"random_state": str(seed), **settings} if takes else settings)

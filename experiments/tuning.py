"""Choosing hyperparameters: the contract's own, or the best of a search on the development rows."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeloop.contract.sections import TrainSection, TuneSection
from kubeloop.errors import KubeloopError, PermanentError
from kubeloop.site.model import Site

if TYPE_CHECKING:
    from kubeloop.experiments.trials import Outcome, Trial

FOLDER = "searches"
"""Below the home: a folder a search, by the digest of all that decides it."""


def choose(section: TuneSection) -> dict[str, Any]:
    """The contract's own parameters.

    Args:
        section: The estimator with the contract's own parameters.

    Returns:
        Facts: `parameters`, and `source`, which says where they came from.
    """
    return {"parameters": dict(section.estimator.parameters), "source": "contract"}


def tune(
    section: TuneSection,
    train: TrainSection,
    development: Path,
    trials: Path,
    site: Site,
    run_id: str,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Search, if the contract asks for it.

    The champion's parameters are the first trial and the contract's own the second, where they lie in the search's
    ranges. On a Site with a cluster the others are Katib's; elsewhere a search that was killed, or that was run before
    on the same rows, is taken up where it was.

    Args:
        section: The contract's part.
        train: What the trial program trains.
        development: Table folder; no other rows are read.
        trials: Takes the table of all trials (see `trials.table_of`); untouched without a search.
        site: Where; its home keeps what the search has learnt.
        run_id: Of our run.
        tell: Told in a line of each trial that ends.

    Returns:
        Facts of `choose`, or `parameters`, `source` (`search`), `estimator`, `leave_out`, `search` (what was searched
        and how it ended) and `trials` (number, status, reason, value, seconds, parameters, metrics of each).

    Raises:
        PermanentError: No trial succeeded, or the search on a cluster could not go on.
        TransientError: It did not end in time there.
    """
    if section.search is None:
        return choose(section)
    from kubeloop.experiments.away import Away
    from kubeloop.experiments.contracted import choice_of, search_of
    from kubeloop.experiments.facts import facts_of
    from kubeloop.experiments.placing import runs_away
    from kubeloop.experiments.trials import write_trials

    search = search_of(section, train.metrics.primary, ())
    led = first_assignments(section, train, site)
    first = [assignment for _, assignment in led]

    def save(done: "tuple[Trial, ...]") -> None:
        write_trials(search, done, trials)

    def on_trial(trial: "Trial", best: "Trial | None") -> None:
        tell(_line(trial, best))

    if runs_away(site, os.environ):
        outcome = Away(section, train, development, site, run_id, on_trial, save).run(first)
    else:
        outcome = _here(section, train, development, site, first, on_trial)
        save(outcome.trials)
    if outcome.best is None:
        raise _nothing(outcome)
    choice = choice_of(section, outcome.best.assignment)
    return {**choice, "source": "search", **facts_of(search, outcome, section.seed, [name for name, _ in led])}


def _here(
    section: TuneSection,
    train: TrainSection,
    development: Path,
    site: Site,
    first: "list[dict[str, str]]",
    on_trial: "Callable[[Trial, Trial | None], None]",
) -> "Outcome":
    from kubeloop.data.tables import read_facts
    from kubeloop.digests import document_digest
    from kubeloop.experiments.contracted import search_of
    from kubeloop.experiments.local import Place, run_local
    from kubeloop.experiments.trial import order_of, write_order

    if site.home is None:
        raise PermanentError(
            "a search was expected to run on a machine with a home, and this Site has none",
            "give the Site a home on a volume, or a cluster with Katib",
        )
    digest = read_facts(development).digest
    asked = section.model_dump(mode="json", exclude={"search": {"trials", "failures", "parallel"}})  # a budget may grow
    parts = [asked, train.model_dump(mode="json"), digest, first]
    folder = site.home / FOLDER / document_digest(parts).removeprefix("sha256-")[:16]
    order = folder / "order.json"
    write_order(order, order_of(section, train, digest), development)
    command = [sys.executable, "-m", "kubeloop.experiments.trial", str(order)]
    search = search_of(section, train.metrics.primary, command)
    return run_local(search, Place(folder, site.home, folder), seed=section.seed, first=first, on_trial=on_trial)


def _line(trial: "Trial", best: "Trial | None") -> str:
    found = f"{trial.value:.6g}" if trial.value is not None else trial.reason
    return f"trial {trial.number}: {trial.status} {found}" + (f"; best {best.value:.6g}" if best else "")


def first_assignments(section: TuneSection, train: TrainSection, site: Site) -> list[tuple[str, dict[str, str]]]:
    """Who comes first, and with which parameters: the champion, then the contract; defaults fill up both."""
    from kubeloop.experiments.contracted import assignment_of
    from kubeloop.learning.estimators import make_estimator

    own = section.estimator
    if section.search is None or section.search.algorithm == "hyperband":
        return []  # its brackets say what comes when
    defaults = make_estimator(own, own.parameters, train.target.task, train.seed).get_params(deep=False)
    led: list[tuple[str, str, Mapping[str, Any]]] = []
    champion = champion_parameters(site, section.name)
    if champion is not None:
        kind = champion[0]
        led.append(("champion", kind, {**(defaults if kind == own.kind else {}), **champion[1]}))
    led.append(("contract", own.kind, defaults))
    found: list[tuple[str, dict[str, str]]] = []
    for who, kind, parameters in led:
        assignment = assignment_of(section, kind, parameters)
        if assignment and assignment not in [known for _, known in found]:
            found.append((who, assignment))
    return found


def champion_parameters(site: Site, name: str) -> tuple[str, dict[str, Any]] | None:
    """Estimator and parameters of the champion, by its manifest; None where there is none, or it cannot be read."""
    import sqlalchemy as sa

    from kubeloop.packaging.read import read_package
    from kubeloop.packaging.store import fetch
    from kubeloop.registry.champions import present_champion

    try:
        row = present_champion(site, name)
        if row is None:
            return None
        words = read_package(fetch(site, row.digest), row.digest, site).manifest.estimator
        return str(words["kind"]), dict(words["parameters"])
    except (KubeloopError, sa.exc.SQLAlchemyError, OSError, ValueError, KeyError):
        return None  # it only would have come first; the gate is what holds against the champion


def _nothing(outcome: "Outcome") -> PermanentError:
    reasons = dict.fromkeys(trial.reason for trial in outcome.trials)
    return PermanentError(
        f"none of the {len(outcome.trials)} trials of the search succeeded: {'; '.join(list(reasons)[:3])}",
        "mend what the reasons name, or narrow the ranges under search: in loop.yaml",
        trials=len(outcome.trials),
    )

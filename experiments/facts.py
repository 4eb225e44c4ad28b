"""A finished search as facts, for records and pages."""

from collections.abc import Sequence
from typing import Any

from kubeloop.experiments.importance import importance
from kubeloop.experiments.search import Search
from kubeloop.experiments.trials import FAILURES, Outcome


def facts_of(search: Search, outcome: Outcome, seed: int, first: Sequence[str] = ()) -> dict[str, Any]:
    """What there is to say of a finished search.

    Args:
        search: The search.
        outcome: How it went.
        seed: For the importance of parameters.
        first: Whose parameters the first trials had.

    Returns:
        JSON types: `search` (metric, direction, algorithm, parallel, best, value, first, failed, kept, ended, reason,
        importance, seconds, parameters) and `trials` (number, status, reason, value, seconds, started, parameters,
        metrics of each).
    """
    best, objective, trials = outcome.best, search.objective, outcome.trials
    return {
        "search": {
            "metric": objective.metric,
            "direction": objective.direction,
            "algorithm": search.algorithm.name,
            "parallel": search.budget.parallel,
            "best": None if best is None else best.number,
            "value": None if best is None else best.value,
            "first": {who: number for number, who in enumerate(first)},
            "failed": sum(trial.status in FAILURES for trial in trials),
            "kept": outcome.kept,
            "ended": outcome.ended,
            "reason": outcome.reason,
            "importance": importance(search, trials, seed),
            "seconds": sum(trial.seconds for trial in trials),
            "parameters": [
                {"name": p.name, "kind": p.kind, "log": p.log, "low": p.low, "high": p.high, "values": list(p.values)}
                for p in search.parameters
            ],
        },
        "trials": [
            {
                "number": trial.number,
                "status": trial.status,
                "reason": trial.reason,
                "value": trial.value,
                "seconds": trial.seconds,
                "started": trial.started.isoformat(),
                "parameters": search.active(trial.assignment),
                "metrics": dict(trial.metrics),
            }
            for trial in trials
        ],
    }

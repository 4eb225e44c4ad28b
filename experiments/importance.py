"""Which parameters a search's result hung on."""

import math

from kubeloop.experiments.search import Parameter, Search
from kubeloop.experiments.trials import Trial

FEWEST = 8
"""So many succeeded trials at least: from fewer, a forest learns noise."""


def importance(search: Search, trials: tuple[Trial, ...], seed: int) -> dict[str, float]:
    """Share of each parameter in what a random forest knows of the objective (permutation importance, Breiman 2001).

    Args:
        search: The search.
        trials: All of them; the succeeded ones count.
        seed: Of forest and shuffles.

    Returns:
        Parameter -> share; together 1. Empty for fewer than `FEWEST` trials, or where nothing mattered.
    """
    known = [trial for trial in trials if trial.status == "Succeeded" and trial.value is not None]
    if len(known) < FEWEST:
        return {}
    import numpy as np
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    table = np.array([[_place(p, search.active(t.assignment).get(p.name)) for p in search.parameters] for t in known])
    values = np.array([trial.value for trial in known])
    forest = RandomForestRegressor(64, random_state=seed, n_jobs=1).fit(table, values)
    found = permutation_importance(forest, table, values, n_repeats=5, random_state=seed, n_jobs=1).importances_mean
    shares = np.clip(found, 0, None)
    total = float(shares.sum())
    if not math.isfinite(total) or total <= 0:
        return {}
    return {p.name: float(share) / total for p, share in zip(search.parameters, shares, strict=True)}


def _place(parameter: Parameter, text: str | None) -> float:
    if text is None:
        return -1.0
    if parameter.values:
        return float(parameter.values.index(text))
    return math.log(float(text)) if parameter.log else float(text)

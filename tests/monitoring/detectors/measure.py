"""What tests and benchmarks measure alike: alarm rates of null windows, and power."""

import numpy as np
import pandas as pd
from scipy.stats import beta

from kubeloop.contract.monitoring import Detectors
from kubeloop.monitoring.detectors.protocol import detector_of
from kubeloop.monitoring.reference.fit import Model, Training, fit_profile
from kubeloop.monitoring.reference.profile import Profile
from kubeloop.monitoring.windows.judge import Judge


def clopper_pearson(alarms: int, windows: int, confidence: float = 0.99) -> tuple[float, float]:
    """The exact interval of a rate."""
    out = (1 - confidence) / 2
    low = 0.0 if alarms == 0 else float(beta.ppf(out, alarms, windows - alarms + 1))
    high = 1.0 if alarms == windows else float(beta.ppf(1 - out, alarms + 1, windows - alarms))
    return low, high


def words(rows: int, **more) -> Detectors:
    return Detectors.model_validate({"window": {"rows": rows, "minimum_rows": min(rows, 100)}} | more)


def fitted(table: pd.DataFrame, schema, detectors: Detectors, seed=0, days: bool = False) -> Profile:
    dependence = ("day", table["day"].to_numpy()) if days else None
    model = Model("flights", "binary", ("in time", "late"), "late", tuple(schema))
    return fit_profile(model, Training(table, dependence=dependence), detectors, seed)


def null_alarms(table, schema, detectors: Detectors, engines, fits: int, per: int, days: bool) -> dict[str, list[bool]]:
    """Of fits * per windows with nothing wrong: whether each was an alarm, by engine.

    Each fit splits the rows, or the whole days, anew: two thirds make the reference, windows are drawn from the rest.
    """
    alarms: dict[str, list[bool]] = {engine: [] for engine in engines}
    size = detectors.window.rows
    for seed in range(fits):
        rng = np.random.default_rng([seed, size])
        unit = table["day"].to_numpy() if days else np.arange(len(table))
        kept = rng.permutation(np.unique(unit))[: 2 * len(np.unique(unit)) // 3]
        inside = np.isin(unit, kept)
        profile = fitted(table[inside], schema, detectors, seed, days)
        judges = {engine: Judge(profile, detector_of(engine)) for engine in engines}
        rest, units = table[~inside], unit[~inside]
        places = {one: np.flatnonzero(units == one) for one in np.unique(units)} if days else {}
        for _ in range(per):
            rows = whole_days(rng, places, size) if days else rng.choice(len(rest), size, replace=False)
            window = rest.iloc[rows]
            for engine, judge in judges.items():
                alarms[engine].append(judge.inputs(window).alarm)
    return alarms


def whole_days(rng: np.random.Generator, places: dict, size: int) -> np.ndarray:
    """Days until they hold enough rows, thinned to `size`."""
    found: list[np.ndarray] = []
    for day in rng.permutation(np.array(list(places))):
        found.append(places[day])
        if sum(map(len, found)) >= size:
            break
    return rng.choice(np.concatenate(found), size, replace=False)

"""The stated rate of false alarms is kept, and what is really there is found."""

import numpy as np
import pandas as pd
import pytest

from kubeloop.monitoring.reference.fit import Model, Training, fit_profile
from kubeloop.monitoring.windows.confirm import Memory
from kubeloop.monitoring.windows.judge import Judge
from tests.monitoring.detectors.measure import clopper_pearson, null_alarms, words
from tests.monitoring.detectors.worlds import flights, schema_of


@pytest.mark.slow
@pytest.mark.parametrize("days", [False, True], ids=["rows", "whole days"])
def test_null_windows_of_real_flights_keep_the_rate(days: bool) -> None:
    table = flights().iloc[::4].reset_index(drop=True)
    detectors = words(500, window={"rows": 500, "minimum_rows": 500})
    alarms = sum(null_alarms(table, schema_of(table), detectors, ["native"], fits=3, per=60, days=days)["native"])
    assert clopper_pearson(alarms, 180)[0] <= 0.05, f"{alarms} of 180"


@pytest.mark.slow
def test_windows_of_whole_days_break_a_reference_that_takes_rows_for_independent() -> None:
    """Why blocks exist: the same windows against a reference that was not told of days."""
    table = flights().iloc[::4].reset_index(drop=True)
    rng = np.random.default_rng(0)
    inside = np.isin(table["day"], rng.permutation(365)[:240] + 1)
    schema = tuple(schema_of(table))
    profile = fit_profile(Model("f", "binary", (), None, schema), Training(table[inside]), words(200), 0)
    judge, rest = Judge(profile), table[~inside]
    alarms = sum(judge.inputs(rows.iloc[:200]).alarm for _, rows in list(rest.groupby("day"))[:30])
    assert alarms >= 25


def normal(rng: np.random.Generator, size: int) -> pd.DataFrame:
    return pd.DataFrame(rng.normal(size=(size, 13)), columns=[f"x{place:02}" for place in range(13)])


@pytest.fixture(scope="module")
def judge() -> Judge:
    table = normal(np.random.default_rng(0), 20_000)
    schema = tuple(schema_of(table, tuple(table.columns)))
    return Judge(fit_profile(Model("n", "regression", (), None, schema), Training(table), words(1000), 0))


@pytest.mark.parametrize(("shift", "power"), [(0.2, 0.8), (0.5, 0.99)])
def test_a_shift_of_one_of_thirteen_features_is_found_in_one_window(judge: Judge, shift: float, power: float) -> None:
    rng, found, windows = np.random.default_rng(1), 0, 150
    for _ in range(windows):
        window = normal(rng, 1000)
        window["x05"] += shift
        found += "drift:x05" in judge.inputs(window).document()["told"]
    assert found >= power * windows


def test_two_of_three_windows_confirm_a_shift_with_a_delay_of_two(judge: Judge) -> None:
    rng = np.random.default_rng(2)
    memory = Memory(judge.profile.detectors.confirm)
    first = None
    for place in range(6):
        window = normal(rng, 1000)
        window["x05"] += 0.3 * (place >= 2)
        confirmed = memory.see(one.answer.signal.name for one in judge.inputs(window).told)
        if confirmed.fresh and first is None:
            first = (place, confirmed.fresh)
    assert first == (3, ("drift:x05",))

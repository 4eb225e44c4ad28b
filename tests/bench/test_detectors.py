"""Detectors measured: alarm rates of null windows, power, real flights month by month, cost beside alibi-detect.

`BENCH_WINDOWS` makes the null windows fewer than 1,000.
"""

import os
import time

import numpy as np
import pandas as pd
import pytest

from kubeloop.contract.monitoring import Confirm
from kubeloop.monitoring.detectors.answers import Answered
from kubeloop.monitoring.reference.fit import Model, Training, fit_profile
from kubeloop.monitoring.windows.confirm import Memory
from kubeloop.monitoring.windows.judge import Judge
from tests.monitoring.detectors.measure import clopper_pearson, fitted, null_alarms, words
from tests.monitoring.detectors.worlds import FLIGHTS, flights, schema_of

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]
WINDOWS = int(os.environ.get("BENCH_WINDOWS", "1000"))


@pytest.mark.parametrize("days", [False, True], ids=["rows", "days"])
@pytest.mark.parametrize("size", [100, 1000, 10_000])
def test_alarm_rate_of_null_windows(size: int, days: bool) -> None:
    """Of windows of one size alone, so that each reference has one null to fit; both engines judge the same windows."""
    table, began = flights(), time.process_time()
    detectors = words(size, window={"rows": size, "minimum_rows": size})
    per = min(WINDOWS, 100)
    fits = -(-WINDOWS // per)
    told = null_alarms(table, schema_of(table), detectors, ["native", "alibi"], fits, per, days)
    for engine, alarms in told.items():
        found = sum(alarms)
        low, high = clopper_pearson(found, fits * per)
        kind = "whole days" if days else "i.i.d."
        print(f"{engine:7} {size:6} rows, {kind}: {found / fits / per:.3f} [{low:.3f}, {high:.3f}]")
        assert low <= 0.05
    print(f"        {fits} references, {per} windows each, {time.process_time() - began:.0f} s of CPU")
    # alibi-detect holds windows against 10,000 rows at most: distances differ by half a row of these.
    assert np.mean(np.array(told["native"]) != np.array(told["alibi"])) <= 0.01


def test_power_in_one_window_and_after_two_of_three() -> None:
    rng = np.random.default_rng(0)

    def draw(size: int) -> pd.DataFrame:
        return pd.DataFrame(rng.normal(size=(size, 13)), columns=[f"x{place:02}" for place in range(13)])

    table = draw(20_000)
    model = Model("n", "regression", (), None, tuple(schema_of(table, tuple(table.columns))))
    judge = Judge(fit_profile(model, Training(table), words(1000), 0))
    for shift, least in ((0.1, 0.0), (0.2, 0.8), (0.5, 0.99)):
        single, delays = 0, []
        for _ in range(200):
            memory, confirmed = Memory(Confirm(windows=2, of=3)), 0
            for place in range(6):
                window = draw(1000)
                window["x05"] += shift
                told = judge.inputs(window).document()["told"]
                single += place == 0 and "drift:x05" in told
                if not confirmed and "drift:x05" in memory.see(told).present:
                    confirmed = place + 1
            delays.append(confirmed)
        late = [delay for delay in delays if delay]
        delay = f"{np.mean(late):.2f} windows" if late else "never"
        print(f"shift {shift} sd: {single / 200:.3f} in one window")
        print(f"    by 2 of 3: {len(late) / 200:.3f} within six windows, after {delay}")
        assert single / 200 >= least


def test_flights_of_january_to_march_then_the_year() -> None:
    table = flights()
    spring = table["day"] <= 90
    judge = Judge(fitted(table[spring], schema_of(table), words(5000), 0, days=True))
    memory = Memory(Confirm(windows=2, of=3))
    told: dict[str, int] = {}
    first: dict[str, int] = {}
    rest = table[~spring]
    for week, rows in rest.groupby((rest["day"] - 91) // 7):
        day = 91 + 7 * int(week)
        for name in memory.see(judge.inputs(rows).document()["told"]).present:
            told[name] = told.get(name, 0) + 1
            first.setdefault(name, day)
    for name, count in sorted(told.items(), key=lambda item: first[item[0]]):
        print(f"{name:24} first in the week of day {first[name]} of 2013, in {count} of 40 weeks")
    assert {"drift:temp", "outside:temp"} & told.keys()
    assert "drift:hour" not in told


def test_a_rule_that_changes_on_the_first_of_july_with_inputs_untouched() -> None:
    """Days of the first quarter drawn again and again, so that inputs are the same all year; only the rule changes."""
    table, rng = flights(), np.random.default_rng(0)
    spring = table[table["day"] <= 90]

    def answer(rows: pd.DataFrame) -> Answered:
        sure = 1 / (1 + np.exp(-(rows["hour"].to_numpy() - 15) / 3))
        return Answered(np.where(sure > 0.5, "late", "in time").astype(object), np.column_stack([1 - sure, sure]))

    def truth(rows: pd.DataFrame, changed: bool) -> np.ndarray:
        chance = answer(rows).probabilities[:, 0 if changed else 1]
        return np.where(rng.random(len(rows)) < chance, "late", "in time").astype(object)

    model = Model("f", "binary", ("in time", "late"), "late", tuple(schema_of(table, FLIGHTS)))
    days = ("day", spring["day"].to_numpy())
    training = Training(spring, answer(spring), truth(spring, False), days)
    judge = Judge(fit_profile(model, training, words(500), 0))
    inputs, labels, alarms, fired = Memory(Confirm()), Memory(Confirm()), 0, None
    for day in range(91, 366):
        rows = spring[spring["day"] == rng.integers(1, 91)]
        said = answer(rows)
        alarms += bool(inputs.see(judge.inputs(rows, said).document()["told"]).fresh)
        if labels.see(judge.labels(said, truth(rows, day >= 182)).document()["told"]).present and fired is None:
            fired = day
    print(
        f"inputs confirmed {alarms} times in 275 windows; losses confirmed first on day {fired}, the change is on 182"
    )
    assert fired is not None
    assert 182 <= fired <= 184
    assert alarms <= 14


@pytest.mark.parametrize(("reference", "size", "least"), [(1000, 100, 20), (10_000, 1000, 20), (100_000, 1000, 60)])
def test_cost_of_a_window_beside_alibi_detect(reference: int, size: int, least: int) -> None:
    """13 features; alibi-detect's KSDrift as shipped, with the raw rows; ours with encoding and the whole decision."""
    from alibi_detect.cd import KSDrift

    from kubeloop.monitoring.reference.bins import Encoded, bin_numbers, encode_columns
    from kubeloop.monitoring.reference.family import fit_family
    from kubeloop.monitoring.reference.null import alone
    from kubeloop.monitoring.reference.signals import Signal

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(reference, 13))
    names = [f"x{place:02}" for place in range(13)]
    columns = [bin_numbers(name, rows[:, place], "ks", (None, None)) for place, name in enumerate(names)]

    def encode(window: np.ndarray) -> Encoded:
        codes = encode_columns(columns, dict(zip(names, window.T.copy(), strict=True)))
        return Encoded(codes, np.zeros((len(codes), 0), dtype=bool), np.arange(len(codes), dtype=np.uint64))

    signals = [Signal("drift", "input", name) for name in names]
    family = fit_family(signals, columns, encode(rows), [size], alone(reference), 400, 0.05, rng)
    null = family.nulls[0]
    stock = KSDrift(rows, p_val=0.05, correction="fdr")
    ratios, differ, rounds = [], 0, 5
    for number in range(rounds):
        windows = [rng.normal(size=(size, 13)) + 0.05 * number for _ in range(8)]
        begun = time.process_time()
        theirs = [bool(stock.predict(window)["data"]["is_drift"]) for window in windows]
        middle = time.process_time()
        ours = [any(one.corrected <= 0.05 for one in family.answer(encode(window), null)) for window in windows]
        ratios.append((middle - begun) / (time.process_time() - middle))
        differ += sum(one != other for one, other in zip(ours, theirs, strict=True))
    shown = ", ".join(f"{ratio:.0f}x" for ratio in ratios)
    print(f"{reference} reference rows, window of {size}: {shown}; {differ} of {8 * rounds} decisions differ")
    assert min(ratios) >= least

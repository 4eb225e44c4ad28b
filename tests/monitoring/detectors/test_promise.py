"""What is promised of one reference: nine of ten that are drawn from the same world keep the stated rate."""

import numpy as np
import pandas as pd
import pytest

from kubeloop.monitoring.reference.fit import Model, Training, fit_profile
from kubeloop.monitoring.reference.null import CONFIDENCE, Null, evidence_of
from kubeloop.monitoring.reference.profile import Profile
from kubeloop.monitoring.windows.judge import Judge
from tests.monitoring.detectors.measure import clopper_pearson, words
from tests.monitoring.detectors.worlds import schema_of


def normal(rng: np.random.Generator, size: int, columns: int = 3) -> pd.DataFrame:
    return pd.DataFrame(rng.normal(size=(size, columns)), columns=[f"x{place}" for place in range(columns)])


def profile_of(table: pd.DataFrame, rows: int, days: np.ndarray | None = None) -> Profile:
    model = Model("n", "regression", (), None, tuple(schema_of(table, tuple(table.columns))))
    dependence = None if days is None else ("day", days)
    return fit_profile(model, Training(table, dependence=dependence), words(rows, outliers={"kind": "none"}), 0)


def null(evidence: int, spread: float = 1.0) -> Null:
    nothing = np.zeros((0, 3))
    smallest = np.linspace(0.001, 1, 1000).astype(np.float32)
    return Null(100, nothing.astype(np.float32), nothing, nothing[:, 0], nothing[:, 0], smallest, evidence, spread)


def test_the_smallest_p_value_is_that_of_as_many_windows_of_which_none_was_as_strong() -> None:
    """Of E windows one more is the strongest with chance 1/(1 + E); what nine of ten stay under is 1 - 0.1^(1/E)."""
    assert null(90).least == pytest.approx(1 / 91)
    assert null(1000).least == pytest.approx(1 - (1 - CONFIDENCE) ** (1 / 1000), rel=1e-6)


def test_few_blocks_keep_the_rate_on_average_and_say_what_nine_of_ten_keep() -> None:
    few, many = null(90), null(1000)
    assert few.corrected(np.array([0.03])) == pytest.approx((1 + 90 * 0.03) / 91, abs=1e-3)
    assert 0.07 < few.upper(0.05) < 0.09
    assert many.upper(0.05) <= 0.0501


def test_a_p_value_is_the_upper_bound_of_clopper_and_pearson_and_spread_raises_it() -> None:
    found = null(1000).corrected(np.array([0.03]))[0]
    assert found == pytest.approx(clopper_pearson(30, 1000, 1 - 2 * (1 - CONFIDENCE))[1], abs=1e-3)
    assert null(1000, 1.5).corrected(np.array([0.02])) == pytest.approx(null(1000).corrected(np.array([0.03])))
    assert null(1000, 2.0).usual(0.05) == pytest.approx(null(1000).usual(0.05) / 2, abs=1e-3)
    assert null(1000, 2.0).corrected(np.array([1.0])) == 1.0


@pytest.mark.parametrize(
    ("taken", "alone", "least", "most"), [(1, False, 99, 100), (5, True, 20, 26), (5, False, 60, 100)]
)
def test_windows_of_several_blocks_are_worth_what_their_blocks_decide(
    taken: int, alone: bool, least: int, most: int
) -> None:
    """100 blocks: an alarm that any strange block sets off is worth 100/5 windows, one by their mean far more."""
    rng = np.random.default_rng(0)
    blocks = np.array([rng.choice(100, taken, replace=False) for _ in range(20_000)])
    levels = rng.normal(size=100)
    shown = levels[blocks].max(axis=1) if alone else np.abs(levels[blocks].mean(axis=1))
    alarms = shown >= np.quantile(shown, 0.95)
    sums = np.bincount(blocks.ravel(), np.repeat(alarms - alarms.mean(), taken), minlength=100).astype(float)
    assert least <= evidence_of(sums, alarms, taken) <= most


def test_small_references_allow_for_their_own_draw_and_large_ones_need_not() -> None:
    rng = np.random.default_rng(0)
    small, large = (profile_of(normal(rng, rows), 100).inputs.nulls[-1] for rows in (250, 20_000))
    assert small.spread > 1.5
    assert large.spread < 1.3
    assert small.usual(0.05) < large.usual(0.05) <= 0.05


def test_windows_that_would_be_silent_for_ever_are_thinned() -> None:
    """Of sixty days a window of two leaves thirty that know nothing of each other; windows of one day leave sixty."""
    rng = np.random.default_rng(1)
    days = np.repeat(np.arange(60), 50)
    table = normal(rng, 3000, 2) + rng.normal(size=(60, 2))[days] ** 3
    profile = profile_of(table, 100, days)
    assert all(one.least <= 0.05 for one in profile.inputs.nulls)


@pytest.mark.slow
def test_nine_of_ten_references_of_600_rows_keep_the_rate() -> None:
    """A hundred windows against one reference, and against the next one."""
    rng = np.random.default_rng(4)
    broken, alarms, references, windows = 0, 0, 20, 100
    for _ in range(references):
        judge = Judge(profile_of(normal(rng, 600), 100))
        found = sum(judge.inputs(normal(rng, 100)).alarm for _ in range(windows))
        broken += clopper_pearson(found, windows, 0.9)[0] > 0.05
        alarms += found
    assert broken <= 3, f"{broken} of {references}, {alarms} alarms"
    assert clopper_pearson(alarms, references * windows)[0] <= 0.05


@pytest.mark.slow
def test_windows_of_one_small_site_keep_the_rate_where_sites_are_blocks() -> None:
    """A reference that takes rows for independent holds a mixture of all sites, which no single one is like."""
    rng = np.random.default_rng(5)
    sizes = np.array([300] * 40 + [60] * 80)
    levels = rng.normal(0, 0.4, (len(sizes), 3))
    site = np.repeat(np.arange(len(sizes)), sizes)
    table = normal(rng, len(site)) + levels[site]
    by_site, alone = Judge(profile_of(table, 50, site)), Judge(profile_of(table, 50))
    windows = [normal(rng, 50) + levels[small] for small in range(40, 120)]
    assert clopper_pearson(sum(by_site.inputs(window).alarm for window in windows), len(windows))[0] <= 0.05
    assert sum(alone.inputs(window).alarm for window in windows) >= len(windows) / 2
    assert by_site.inputs(windows[0] + 2).alarm, "a site that is like none is told"

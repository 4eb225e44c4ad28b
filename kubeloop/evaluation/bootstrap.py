"""Bootstrap intervals, vectorised over resamples."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kubeloop.learning.scores import Floats

RESAMPLES = 2000
_FEW = 10
_CHUNK = 2_000_000  # values at once: 16 MB of indices

Statistic = Callable[[NDArray[np.int64]], Floats]
"""(b, n) row numbers of b resamples -> (b,) values of a metric."""


@dataclass(frozen=True)
class Estimate:
    """A number and how sure it is.

    Attributes:
        value: On the rows as they are.
        low: Lower end of the interval.
        high: Upper end.
        method: How the interval was made.
        n: Rows behind it.
    """

    value: float
    low: float
    high: float
    method: str
    n: int

    @property
    def finite(self) -> bool:
        """Whether all three numbers are."""
        return math.isfinite(self.value) and math.isfinite(self.low) and math.isfinite(self.high)


def resamples(n: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Row numbers of `RESAMPLES` resamples with replacement, in chunks of shape (b, n).

    Args:
        n: Number of rows.
        seed: Equal seeds give equal resamples.
    """
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(n, 1))
    for done in range(0, RESAMPLES, step):
        yield rng.integers(0, n, size=(min(step, RESAMPLES - done), n))


def bootstrap(statistic: Statistic, n: int, seed: int, confidence: float) -> Estimate:
    """Percentile interval, widened for small samples.

    The plain percentile interval is too narrow by about sqrt((n-1)/n) and by normal instead of t quantiles; Hesterberg
    (2015, The American Statistician 69, "expanded percentile") takes the quantiles at Phi(-sqrt(n/(n-1)) t).

    Returns:
        The estimate; a resample in which the statistic is not defined (NaN) is left out.
    """
    from scipy.stats import norm, t

    value = float(statistic(np.arange(n)[None, :])[0])
    draws = np.concatenate([statistic(rows) for rows in resamples(n, seed)])
    draws = draws[np.isfinite(draws)]
    tail = float(norm.cdf(-math.sqrt(n / (n - 1)) * t.ppf((1 + confidence) / 2, n - 1)))
    low, high = np.quantile(draws, [tail, 1 - tail]) if draws.size else (math.nan, math.nan)
    return Estimate(value, float(low), float(high), f"percentile bootstrap, {RESAMPLES} resamples", n)


def studentized(values: Floats, seed: int, confidence: float) -> Estimate:
    """Bootstrap-t interval of a mean (Efron 1981): right for skewed row values too, where percentiles fall short.

    Args:
        values: (n,) row values, n at least 2.
        seed: Of the resamples.
        confidence: Such as 0.95.
    """
    from scipy.stats import t

    n, mean = len(values), float(values.mean())
    error = float(values.std(ddof=1)) / math.sqrt(n)
    parts = []
    for rows in resamples(n, seed):
        drawn = values[rows]
        with np.errstate(divide="ignore", invalid="ignore"):
            parts.append((drawn.mean(axis=1) - mean) / (drawn.std(axis=1, ddof=1) / math.sqrt(n)))
    draws = np.concatenate(parts)
    draws = draws[np.isfinite(draws)]
    tail = (1 - confidence) / 2
    lowest, highest = np.quantile(draws, [tail, 1 - tail]) if draws.size else (0.0, 0.0)
    if n < _FEW:  # so few rows have too few different resamples
        plain = float(t.ppf(1 - tail, n - 1))
        lowest, highest = min(lowest, -plain), max(highest, plain)
    low, high = mean - float(highest) * error, mean - float(lowest) * error
    return Estimate(mean, low, high, f"studentized bootstrap, {RESAMPLES} resamples", n)

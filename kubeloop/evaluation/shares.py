"""Shares of rows, and differences of two shares on the same rows: exact where rows are independent."""

import math

import numpy as np
from numpy.typing import NDArray

from kubeloop.evaluation.bootstrap import Estimate
from kubeloop.evaluation.influence import ratio
from kubeloop.evaluation.judged import block_totals


def exact_share(hits: float, n: float, confidence: float) -> Estimate:
    """A share with the exact interval of Clopper and Pearson; n need not be whole."""
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, hits, n - hits + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return Estimate(hits / n, low, high, "exact (Clopper-Pearson)", int(n))


def share(
    hits: NDArray[np.bool_], trials: NDArray[np.bool_], blocks: NDArray[np.int64] | None, confidence: float
) -> Estimate:
    """Share of hits among trials, given the number of trials.

    In blocks: the exact interval at the effective number of rows (Korn and Graubard 1998, Survey Methodology 24), which
    stays honest near 0 and 1. A sample of hits alone shows no variance: there every block counts as one row.
    """
    tried, hit = int(trials.sum()), int((hits & trials).sum())
    if blocks is None:
        return exact_share(hit, tried, confidence)
    rows = effective_rows(hits & trials, trials, blocks, confidence)
    found = exact_share(hit / tried * rows, rows, confidence)
    groups = len(np.unique(blocks[trials]))
    return Estimate(hit / tried, found.low, found.high, f"Korn-Graubard, {groups} blocks", len(trials))


def effective_rows(
    hits: NDArray[np.bool_], trials: NDArray[np.bool_], blocks: NDArray[np.int64], confidence: float
) -> float:
    """As how many independent rows the trials count, at least 1 and at most as many as there are."""
    from scipy.stats import t

    tried, groups = int(trials.sum()), len(np.unique(blocks[trials]))
    value, given = ratio(hits.astype(np.float64), trials)
    totals = block_totals(given, blocks)
    if groups < 2 or not 0 < value < 1:
        return float(groups)
    variance = float(totals.var(ddof=1)) / len(totals)
    quantile = (1 + confidence) / 2
    few = float(t.ppf(quantile, max(tried - 1, 1)) / t.ppf(quantile, groups - 1)) ** 2
    plain = value * (1 - value) / variance if variance > 0 else float(tried)
    return float(min(max(plain * few, 1.0), tried))


def paired_shares(new: NDArray[np.bool_], old: NDArray[np.bool_], confidence: float) -> Estimate:
    """Difference of two shares on the same rows: Bonett and Price (2012, Psychometrika 77), adjusted Wald."""
    from scipy.stats import norm

    n = len(new)
    gained, lost = (int((new & ~old).sum()) + 1) / (n + 2), (int((old & ~new).sum()) + 1) / (n + 2)
    half = float(norm.ppf((1 + confidence) / 2)) * math.sqrt((gained + lost - (gained - lost) ** 2) / (n + 2))
    middle = gained - lost
    value = float(new.mean() - old.mean())
    return Estimate(value, max(-1.0, middle - half), min(1.0, middle + half), "paired shares (Bonett-Price)", n)

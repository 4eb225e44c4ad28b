"""How sure the calibration error is."""

import math

import numpy as np

from kubeloop.evaluation.bootstrap import Estimate
from kubeloop.evaluation.judged import Judged, block_totals
from kubeloop.learning.scores import Floats, bins_of, calibration_error, claims

_NOTHING = 1e-18
"""A variance of the gaps below this is rounding."""
_LARGE = 1e4


def calibration_estimate(judged: Judged, confidence: float) -> Estimate:
    """The calibration error with its interval; low is 0 where a perfectly calibrated model may look like this.

    The gaps of the bins have means d and covariance S; the weighted sum of their squares T has the mean
    error^2 + trace(WS) and the variance 2 trace((WS)^2) + 4 d'WSWd. A multiple a of a noncentral chi-squared with
    trace(WS) / a degrees of freedom and noncentrality error^2 / a has the same mean (Satterthwaite 1946); a is the
    larger of what either part of the variance asks for. It is inverted for the noncentrality.
    """
    score, came = claims(judged.truth, judged.answers)
    place = bins_of(score)
    count = np.bincount(place)
    gap = np.bincount(place, came - score) / count
    weights = count / count.sum()
    spread = _covariance(came - score, place, judged) * weights[:, None]
    trace, square = float(np.trace(spread)), float((spread * spread.T).sum())
    total = float((weights * gap**2).sum())
    value = calibration_error(judged.truth, judged.answers)
    if judged.blocks is not None:
        value = math.sqrt(max(total - trace, 0.0))
    if trace < _NOTHING:
        return Estimate(value, value, value, "no variance", len(judged))
    tail = (1 - confidence) / 2
    along = float(gap * weights @ (spread.T @ gap)) / total if total > 0 else 0.0
    scale = max(square / trace, along)
    freedom = trace / scale
    low, high = (math.sqrt(scale * _noncentrality(total / scale, freedom, p)) for p in (1 - tail, tail))
    return Estimate(value, min(low, 1.0), min(high, 1.0), f"noncentral chi-squared, {len(count)} bins", len(judged))


def _covariance(error: Floats, place: np.ndarray[tuple[int, ...], np.dtype[np.int64]], judged: Judged) -> Floats:
    """(b, b) covariance of the bins' mean errors."""
    count = np.bincount(place)
    centred = error - (np.bincount(place, error) / count)[place]
    if judged.blocks is None:
        return np.asarray(np.diag(np.bincount(place, centred**2) / (count * (count - 1))), dtype=np.float64)
    n = len(error)
    totals = [
        block_totals(np.where(place == b, centred, 0.0) * n / size, judged.blocks) for b, size in enumerate(count)
    ]
    found = np.atleast_2d(np.cov(np.array(totals)))
    return np.asarray(found / len(totals[0]), dtype=np.float64)


def _noncentrality(seen: float, freedom: float, probability: float) -> float:
    """The noncentrality at which the sum seen has this probability of not being exceeded; 0 if none has."""
    from scipy.optimize import brentq
    from scipy.stats import chi2, ncx2, norm

    if seen > _LARGE:  # its root is normal there, and the distribution function too steep for a computer
        return float(max(math.sqrt(seen) + norm.ppf(1 - probability), 0.0) ** 2 - freedom)
    if chi2.cdf(seen, freedom) <= probability:
        return 0.0
    top = seen + 10 * math.sqrt(seen) + 50.0
    return float(brentq(lambda nc: ncx2.cdf(seen, freedom, nc) - probability, 1e-12, top))

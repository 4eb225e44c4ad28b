"""exp, log and what follows from them, in the very order of roundings that `native.c` has: equal bits in both.

A C library's exp differs from another's, and from NumPy's, in the last bit. These are made of IEEE additions,
multiplications and divisions alone. Errors are below 2 units in the last place, measured by the tests.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LOG2_E = 1.4426950408889634
LN2_HIGH = 6.93147180369123816490e-01
"""log(2) cut to 32 bits, so that a product with an exponent is exact (Cody and Waite 1980)."""
LN2_LOW = 1.90821492927058770002e-10
HIGHEST, LOWEST = 709.782712893384, -745.1332191019412
"""Beyond these exp is infinite, or zero."""

_INVERSE_FACTORIALS = np.array(
    [1.0, 1.0, 2.0, 6.0, 24.0, 120.0, 720.0, 5040.0, 40320.0, 362880.0, 3628800.0, 39916800.0]
)
_MORE = np.array([479001600.0, 6227020800.0])
TAYLOR = 1.0 / np.concatenate([_INVERSE_FACTORIALS, _MORE])
"""1/n! for n = 0 to 13: below half a unit in the last place where |x| <= log(2)/2."""
ODD = 1.0 / np.arange(3.0, 27.0, 2.0)
"""1/3, 1/5, ... 1/25: the series of the inverse hyperbolic tangent."""
SQRT_HALF = 0.7071067811865476


def exp(x: Floats) -> Floats:
    """(any) to (any); NaN stays."""
    safe = np.minimum(np.maximum(x, LOWEST), HIGHEST)
    power = np.rint(safe * LOG2_E)
    rest = (safe - power * LN2_HIGH) - power * LN2_LOW
    value = np.full_like(rest, TAYLOR[-1])
    for factor in TAYLOR[-2::-1]:
        value = value * rest + factor
    known = np.where(np.isnan(power), 0.0, power).astype(np.int32)
    with np.errstate(under="ignore", over="ignore"):
        value = np.ldexp(value, known)
    return np.where(x > HIGHEST, np.inf, np.where(x < LOWEST, 0.0, value))


def log(x: Floats) -> Floats:
    """(any) positive normal numbers to (any); a NaN stays one."""
    part, power = np.frexp(x)
    small = part < SQRT_HALF
    part = np.where(small, part * 2.0, part)
    exponent = np.where(small, power - 1, power).astype(np.float64)
    shift = part - 1.0
    ratio = shift / (2.0 + shift)
    square = ratio * ratio
    series = np.full_like(square, ODD[-1])
    for factor in ODD[-2::-1]:
        series = series * square + factor
    twice = ratio + ratio
    return exponent * LN2_HIGH + (twice + (twice * (square * series) + exponent * LN2_LOW))


def logistic(x: Floats) -> Floats:
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + exp(-x))


def tanh(x: Floats) -> Floats:
    """(any) to (any), to 2e-16 absolute."""
    small = exp(-2.0 * np.abs(x))
    return np.copysign((1.0 - small) / (1.0 + small), x)

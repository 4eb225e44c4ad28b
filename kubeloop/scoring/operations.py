"""What each operation of a plan does, in NumPy: the twin of `native.c`, equal to it bit for bit.

Sums run over the slots in the order in which they are read, one after the other, unless said otherwise.
"""

from collections.abc import Callable

import numpy as np

from kubeloop.scoring import functions
from kubeloop.scoring.errors import Unscorable
from kubeloop.scoring.forest import run_forest
from kubeloop.scoring.plan import Floats, Operation, Plan

Step = Callable[[Operation, Floats], Floats]
"""From (reads, n) to (width, n)."""

_PAIRWISE = 8
DATE_PARTS = (
    *("year", "quarter", "month", "week", "day", "day_of_year"),
    *("weekday", "weekend", "hour", "minute", "epoch_days"),
)
"""Words of `contract.features.DatePart`, by their number in a plan."""


def _column(values: Floats) -> Floats:
    return values[:, np.newaxis]


def _fill(step: Operation, x: Floats) -> Floats:
    return np.where(np.isnan(x), _column(step.floats), x)


def _onehot(step: Operation, x: Floats) -> Floats:
    made = np.zeros((step.width, x.shape[1]))
    place = step.ints[x[0].astype(np.intp)]
    rows = np.flatnonzero(place >= 0)
    made[place[rows], rows] = 1.0
    return made


def _lookup(step: Operation, x: Floats) -> Floats:
    return np.ascontiguousarray(step.floats.reshape(step.width, -1)[:, x[0].astype(np.intp)])


def _pair(step: Operation, x: Floats) -> Floats:
    made: Floats = x[:1] * step.floats[0] + x[1:]
    return made


def _code(step: Operation, x: Floats) -> Floats:
    """The place of a number among sorted ones; `len` where it is none of them, `len + 1` where it is missing."""
    known = step.floats
    place = np.searchsorted(known, x[0])
    same = known[np.minimum(place, len(known) - 1)] == x[0]
    return np.where(np.isnan(x[0]), len(known) + 1, np.where(same, place, len(known))).astype(np.float64)[np.newaxis]


def _dates(step: Operation, x: Floats) -> Floats:
    from kubeloop.learning.transformers import DateParts

    parts = tuple(DATE_PARTS[place] for place in step.ints.tolist())
    return np.ascontiguousarray(DateParts(parts).transform(x.T).T)


def _days(step: Operation, x: Floats) -> Floats:
    known = np.isfinite(x)
    return np.where(known, np.isin(np.floor_divide(np.where(known, x, 0.0), 86_400.0), step.floats), 0.0)


def _linear(step: Operation, x: Floats) -> Floats:
    weights = step.floats[step.width :].reshape(len(x), step.width)
    total = np.zeros((step.width, x.shape[1]))
    for place, row in enumerate(x):
        total = total + _column(weights[place]) * row
    return total + _column(step.floats[: step.width])


def _gauss(step: Operation, x: Floats) -> Floats:
    """Log likelihoods of a Gaussian naive Bayes: priors, constants, means, variances; pairwise sums."""
    width, size = step.width, len(x)
    priors, constants, rest = step.floats[:width], step.floats[width : 2 * width], step.floats[2 * width :]
    means, variances = rest.reshape(2, width, size)
    made = np.empty((width, x.shape[1]))
    for place in range(width):
        apart = x - _column(means[place])
        made[place] = priors[place] + (constants[place] - 0.5 * pairwise(apart * apart / _column(variances[place])))
    return made


def pairwise(x: Floats) -> Floats:
    """(k, n) to (n,): the sum over k in the order of `numpy.sum` along a contiguous axis."""
    size = len(x)
    if size < _PAIRWISE:
        total = np.zeros(x.shape[1])
        for row in x:
            total = total + row
        return total
    if size > 128:
        half = size // 2
        half -= half % _PAIRWISE
        return pairwise(x[:half]) + pairwise(x[half:])
    eight = [x[place] for place in range(_PAIRWISE)]
    whole = size - size % _PAIRWISE
    for start in range(_PAIRWISE, whole, _PAIRWISE):
        eight = [eight[place] + x[start + place] for place in range(_PAIRWISE)]
    total = ((eight[0] + eight[1]) + (eight[2] + eight[3])) + ((eight[4] + eight[5]) + (eight[6] + eight[7]))
    for row in x[whole:]:
        total = total + row
    summed: Floats = total
    return summed


def _normalise(step: Operation, x: Floats) -> Floats:
    """Log likelihoods to probabilities by way of their logarithm, as scikit-learn does."""
    largest = x.max(axis=0)
    total = np.zeros(x.shape[1])
    for row in x:
        total = total + functions.exp(row - largest)
    return functions.exp(x - (largest + functions.log(total)))


def _softmax(step: Operation, x: Floats) -> Floats:
    powers = functions.exp(x - x.max(axis=0))
    total = np.zeros(x.shape[1])
    for row in powers:
        total = total + row
    return powers / total


def _two(step: Operation, x: Floats) -> Floats:
    return np.stack([1.0 - x[0], x[0]])


def _mean(step: Operation, x: Floats) -> Floats:
    """Weighted mean of m runs of `width` slots: m weights, then their sum."""
    runs = x.reshape(-1, step.width, x.shape[1])
    total = np.zeros(runs.shape[1:])
    for weight, run in zip(step.floats[:-1], runs, strict=True):
        total = total + run * weight
    mean: Floats = total / step.floats[-1]
    return mean


def _median(step: Operation, x: Floats) -> Floats:
    """The weighted median: the first of the sorted values at which half of all weight is reached."""
    order = np.argsort(x, axis=0, kind="stable")
    weight = np.cumsum(step.floats[order], axis=0)
    first = (weight >= 0.5 * weight[-1]).argmax(axis=0)
    rows = np.arange(x.shape[1])
    found: Floats = x[order[first, rows], rows][np.newaxis]
    return found


def _clip(step: Operation, x: Floats) -> Floats:
    low, high = step.floats.reshape(2, -1)
    return np.minimum(np.maximum(x, _column(low)), _column(high))


def _interpolate(step: Operation, x: Floats) -> Floats:
    """Along straight lines between points whose first coordinates ascend; beyond them, the outermost one's second."""
    at, to = step.floats.reshape(2, -1)
    if len(at) == 1:
        return np.full_like(x, to[0])
    held = np.minimum(np.maximum(x, at[0]), at[-1])
    low = np.clip(np.searchsorted(at, held), 1, len(at) - 1) - 1  # a NaN would come after the last
    along: Floats = to[low] + (to[low + 1] - to[low]) * ((held - at[low]) / (at[low + 1] - at[low]))
    return along


def _shares(step: Operation, x: Floats) -> Floats:
    """Each by the sum of all; where that is nothing, all alike."""
    total = np.zeros(x.shape[1])
    for row in x:
        total = total + row
    return np.where(total == 0.0, 1.0 / len(x), x / total)


def _finite(step: Operation, x: Floats) -> Floats:
    """Refuses what scikit-learn's learner would; writes nothing."""
    limit = step.floats[0]
    with np.errstate(invalid="ignore"):
        good = np.abs(x) <= limit if step.ints[0] == 0 else ~(np.abs(x) > limit)
    if not good.all():
        raise Unscorable(row=int(np.argmin(good.all(axis=0))))
    return np.empty((0, x.shape[1]))


STEPS: dict[str, Step] = {
    "fill": _fill,
    "subtract": lambda step, x: x - _column(step.floats),
    "divide": lambda step, x: x / _column(step.floats),
    "multiply": lambda step, x: x * _column(step.floats),
    "add": lambda step, x: x + _column(step.floats),
    "clip": _clip,
    "missing": lambda step, x: np.isnan(x).astype(np.float64),
    "onehot": _onehot,
    "lookup": _lookup,
    "pair": _pair,
    "code": _code,
    "product": lambda step, x: x[:1] * x[1:],
    "dates": _dates,
    "days": _days,
    "linear": _linear,
    "forest": run_forest,
    "gauss": _gauss,
    "above": lambda step, x: (x > _column(step.floats)).astype(np.float64),
    "exp": lambda step, x: functions.exp(x),
    "relu": lambda step, x: np.where(x > 0.0, x, 0.0),
    "tanh": lambda step, x: functions.tanh(x),
    "logistic": lambda step, x: functions.logistic(x),
    "two": _two,
    "softmax": _softmax,
    "normalise": _normalise,
    "mean": _mean,
    "median": _median,
    "finite": _finite,
    "interpolate": _interpolate,
    "shares": _shares,
    "log": lambda step, x: functions.log(x),
}
"""Every operation by name; its number in `native.c` is its place here."""

CODES = {name: place for place, name in enumerate(STEPS)}


def run(plan: Plan, inputs: Floats) -> Floats:
    """Run a checked plan.

    Args:
        plan: Checked by `check.check_plan`.
        inputs: (inputs, n) float64, as `plan` describes them.

    Returns:
        (n, k) float64: probabilities, or one value.

    Raises:
        Unscorable: scikit-learn would refuse a row.
    """
    slots = np.empty((plan.slots, inputs.shape[1]))
    slots[: len(inputs)] = inputs
    with np.errstate(all="ignore"):
        for step in plan.operations:
            slots[step.out : step.out + step.width] = STEPS[step.name](step, slots[list(step.reads)])
    return np.ascontiguousarray(slots[list(plan.result)].T)

"""Whether a plan may be run: every slot, table and index in its range. What passes cannot read out of bounds."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from kubeloop.errors import IntegrityError
from kubeloop.scoring.forest import MISSING, MOST_FEATURES, unpack
from kubeloop.scoring.operations import CODES, DATE_PARTS
from kubeloop.scoring.plan import Operation, Plan
from kubeloop.scoring.program import MOST_SLOTS

Sizes = dict[int, int]
"""Slots that hold codes: how many codes there are."""


class _Wrong(Exception):
    pass


def check_plan(plan: Plan, inputs: int) -> None:
    """Refuse a plan that is not whole.

    Args:
        plan: As read.
        inputs: How many features the package has.

    Raises:
        IntegrityError: It would read what it must not; the message says where.
    """
    try:
        _want(len(plan.texts) == inputs, f"{inputs} inputs were expected, {len(plan.texts)} came")
        _want(all(step.width >= 0 for step in plan.operations) and plan.slots <= MOST_SLOTS, "too many slots")
        codes = {slot: len(texts) + 2 for slot, texts in enumerate(plan.texts) if texts is not None}
        for place, step in enumerate(plan.operations):
            _operation(step, codes, f"operation {place}, {step.name}")
        _want(len(plan.result) >= 1 and _within(plan.result, plan.slots), "the result is no written slot")
        _want(plan.output == "probabilities" or len(plan.result) == 1, "one value was expected")
    except (_Wrong, ValueError, IndexError, OverflowError) as error:
        raise IntegrityError(
            f"the scoring plan should be whole, but {error}", "fetch the package again; this one is not loaded"
        ) from error


def _want(true: bool, problem: str) -> None:
    if not true:
        raise _Wrong(problem)


def _within(slots: tuple[int, ...], end: int) -> bool:
    return all(0 <= slot < end for slot in slots)


def _operation(step: Operation, codes: Sizes, where: str) -> None:
    _want(step.name in CODES, f"{where}: there is no such operation")
    _want(_within(step.reads, step.out), f"{where}: reads a slot that is not written yet")
    same, needs = _SHAPES.get(step.name, (None, None))
    if needs is not None:
        _want(needs(step), f"{where}: its numbers do not fit its slots")
    if same:
        _want(len(step.reads) == step.width, f"{where}: one slot for each that is read was expected")
    if step.name in ("onehot", "lookup", "pair"):
        _coded(step, codes, where)
    elif step.name == "code":
        _want(bool((np.diff(step.floats) > 0).all()), f"{where}: its numbers do not ascend")
        codes[step.out] = len(step.floats) + 2
    elif step.name == "multiply" and step.floats.tolist() == [1.0] and step.reads[0] in codes:
        codes[step.out] = codes[step.reads[0]]
    elif step.name == "dates":
        _want(bool(((step.ints >= 0) & (step.ints < len(DATE_PARTS))).all()), f"{where}: there is no such part")
    elif step.name in ("days", "interpolate"):
        numbers = step.floats if step.name == "days" else step.floats[: len(step.floats) // 2]
        _want(bool((np.diff(numbers) > 0).all()), f"{where}: its numbers do not ascend")
    elif step.name == "forest":
        _forest(step, where)


def _coded(step: Operation, codes: Sizes, where: str) -> None:
    """Tables that are read at a code must have one entry for each."""
    _want(all(slot in codes for slot in step.reads), f"{where}: reads what is no code")
    sizes = [codes[slot] for slot in step.reads]
    if step.name == "pair":
        _want(len(sizes) == 2 and step.width == 1 and step.floats.tolist() == [float(sizes[1])], f"{where}: no pair")
        _want(sizes[0] * sizes[1] < 1 << 30, f"{where}: too many pairs")
        codes[step.out] = sizes[0] * sizes[1]
    elif step.name == "onehot":
        _want(len(sizes) == 1 and len(step.ints) == sizes[0], f"{where}: one place for each code was expected")
        _want(bool(((step.ints >= -1) & (step.ints < step.width)).all()), f"{where}: a place beyond its slots")
    else:
        _want(len(sizes) == 1 and len(step.floats) == sizes[0] * step.width, f"{where}: one number for each code")


def _forest(step: Operation, where: str) -> None:
    parts = unpack(step)
    nodes, trees, reads = len(parts.lefts), len(parts.roots), len(step.reads)
    _want(step.width >= 1 and parts.leaf in (1, step.width), f"{where}: leaves of {parts.leaf} values")
    _want(bool(((parts.outs >= 0) & (parts.outs < step.width)).all()), f"{where}: a tree of no class")
    _want(bool(((parts.depths >= 0) & (parts.depths < nodes)).all()), f"{where}: a tree deeper than its nodes")
    _want(parts.starts[0] == 0 and bool((np.diff(parts.starts) >= 0).all()), f"{where}: thresholds out of order")
    _want(bool(((parts.kinds >= 0) & (parts.kinds <= len(parts.sets))).all()), f"{where}: a set that is not there")
    for start, end in pairwise(parts.starts.tolist()):
        edges = parts.edges[start:end]
        _want(len(edges) < MISSING and bool((np.diff(edges) > 0).all()), f"{where}: thresholds that do not ascend")
    ends = np.append(parts.roots[1:], nodes)
    _want(parts.roots[0] == 0 and bool((ends > parts.roots).all()), f"{where}: trees out of order")
    own = np.arange(nodes)
    end = np.repeat(ends, ends - parts.roots)
    leaf = parts.lefts == own
    words = parts.words.astype(np.int64)
    category, feature = words >> 31 == 1, words >> 16 & (MOST_FEATURES - 1)
    _want(bool((leaf | ((parts.lefts > own) & (parts.lefts + 1 < end))).all()), f"{where}: a child outside its tree")
    _want(bool((words[leaf] == MISSING).all()), f"{where}: a leaf that tests")
    _want(trees >= 1 and bool((leaf | (feature < reads)).all()), f"{where}: a feature that is not read")
    _want(bool((~category | ((words & 0xFFFF) < len(parts.sets))).all()), f"{where}: a set that is not there")
    if reads:
        numeric = parts.kinds[np.minimum(feature, reads - 1)] == 0
        _want(bool((leaf | (numeric != category)).all()), f"{where}: a test that does not fit its feature")


def _floats(each: int, more: int = 0) -> Callable[[Operation], bool]:
    return lambda step: len(step.floats) == each * len(step.reads) + more


def _dense(step: Operation) -> bool:
    return step.width >= 1 and len(step.floats) == step.width * (len(step.reads) + 1)


def _gauss(step: Operation) -> bool:
    return step.width >= 1 and len(step.floats) == 2 * step.width * (len(step.reads) + 1)


def _mean(step: Operation) -> bool:
    return step.width >= 1 and len(step.floats) >= 2 and len(step.reads) == step.width * (len(step.floats) - 1)


_SHAPES: dict[str, tuple[bool, Callable[[Operation], bool] | None]] = {
    **{name: (True, _floats(1)) for name in ("fill", "subtract", "divide", "multiply", "add", "above")},
    **dict.fromkeys(("missing", "exp", "log", "relu", "tanh", "logistic"), (True, None)),
    **{name: (True, lambda step: step.width >= 1) for name in ("softmax", "normalise", "shares")},
    "clip": (True, _floats(2)),
    "interpolate": (True, lambda step: step.width == 1 and len(step.floats) >= 2 and len(step.floats) % 2 == 0),
    "onehot": (False, None),
    "lookup": (False, None),
    "pair": (False, None),
    "code": (False, lambda step: len(step.reads) == step.width == 1 and len(step.floats) >= 1),
    "product": (False, lambda step: len(step.reads) == 2 and step.width == 1),
    "dates": (False, lambda step: len(step.reads) == 1 and len(step.ints) == step.width),
    "days": (False, lambda step: len(step.reads) == step.width == 1),
    "linear": (False, _dense),
    "gauss": (False, _gauss),
    "two": (False, lambda step: len(step.reads) == 1 and step.width == 2),
    "mean": (False, _mean),
    "median": (False, lambda step: step.width == 1 and 1 <= len(step.reads) == len(step.floats)),
    "finite": (False, lambda step: step.width == 0 and len(step.floats) == 1 == len(step.ints)),
}

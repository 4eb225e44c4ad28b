"""Intervals of areas under curves: on the logit scale, with a bound where the sample separates the classes."""

import math

import numpy as np
from numpy.typing import NDArray

from kubeloop.evaluation.bootstrap import Estimate, studentized
from kubeloop.evaluation.influence import linear, placements_alike, roc_influence
from kubeloop.evaluation.judged import Judged, block_totals
from kubeloop.learning.scores import Floats, precision_at


def roc_area(judged: Judged, confidence: float) -> Estimate:
    """`roc_auc`, t with the freedom of the smaller class, or of the blocks.

    Rows: DeLong's variance (1988, Biometrics 44). Blocks: Obuchowski's (1997, Biometrics 53).
    """
    if separated(judged):
        return _bound("roc_auc", judged, confidence)
    value, given = linear("roc_auc", judged)
    sizes = np.unique(judged.truth, return_counts=True)[1]
    if judged.blocks is None:
        error, freedom, method = _error_by_class(given, judged.truth), max(int(sizes.min()) - 1, 1), "DeLong"
    else:
        totals = block_totals(given, judged.blocks)
        error, freedom = float(totals.std(ddof=1)) / math.sqrt(len(totals)), len(totals) - 1
        method = f"Obuchowski, {len(totals)} blocks"
    half = float(_t(freedom, confidence)) * error / (value * (1 - value))
    low, high = (_probability(_logit(value) + side * half) for side in (-1, 1))
    return Estimate(value, low, high, f"{method}, logit scale", len(judged))


def pr_area(judged: Judged, confidence: float, seed: int) -> Estimate:
    """`pr_auc`: bootstrap-t of its influences on the logit scale, over rows or blocks.

    A row is in its own precision, which makes the average precision of a sample too large; without itself it is about
    as much too small, so the interval is around the middle of the two; and no end is nearer than that of a t interval.
    """
    if separated(judged):
        return _bound("pr_auc", judged, confidence)
    value, given = linear("pr_auc", judged)
    middle = (_logit(value) + _logit(_without_itself(judged))) / 2
    totals = middle + block_totals(given, judged.blocks) / (value * (1 - value))
    found = studentized(totals, seed, confidence)
    rare = [_units(judged, judged.truth == c) for c in np.unique(judged.truth)]
    half = _t(max(min(*rare, len(totals)) - 1, 1), confidence) * float(totals.std(ddof=1)) / math.sqrt(len(totals))
    ends = min(found.low, middle - half), max(found.high, middle + half)
    low, high = min(_probability(ends[0]), value), max(_probability(ends[1]), value)
    method = found.method if judged.blocks is None else f"{found.method} of {judged.units} blocks"
    return Estimate(value, low, high, f"{method}, logit scale", len(judged))


def _t(freedom: int, confidence: float) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + confidence) / 2, freedom))


def _logit(value: float) -> float:
    return math.log(value / (1 - value))


def _probability(logit: float) -> float:
    return 1 / (1 + math.exp(-min(max(logit, -500.0), 500.0)))


def _without_itself(judged: Judged) -> float:
    """Average precision with every positive row left out of its own precision, which takes the upward bias away."""
    truth, k, found = judged.truth, judged.answers.shape[1], []
    for c in (1,) if k == 2 else range(k):
        positive, score = truth == c, judged.answers[:, c]
        reach = len(score) - np.searchsorted(np.sort(score), score, side="left")
        others = np.maximum(reach - 1, 1)
        held = precision_at(positive, score) * reach - 1
        counts = positive & (reach > 1)
        found.append(float((held[counts] / others[counts]).mean()) if counts.any() else 1.0)
    return min(max(float(np.mean(found)), 1e-6), 1 - 1e-6)


def _error_by_class(given: Floats, truth: NDArray[np.int64]) -> float:
    """The numbers of rows per class are taken as given."""
    parts = [given[truth == c] for c in np.unique(truth)]
    square = sum(len(part) * float(part.var(ddof=1)) for part in parts if len(part) > 1)
    return math.sqrt(square) / len(given)


def separated(judged: Judged) -> bool:
    """Whether the sample is completely in order, or completely in the wrong order: it shows no variance then."""
    k, truth = judged.answers.shape[1], judged.truth
    values = [roc_influence(truth == c, judged.answers[:, c])[0] for c in ((1,) if k == 2 else range(k))]
    return float(np.mean(values)) in (0.0, 1.0)


def _bound(metric: str, judged: Judged, confidence: float) -> Estimate:
    """Where the sample separates the classes completely it shows no variance; but only few pairs are independent."""
    value = linear(metric, judged)[0]
    bound = separation_bound(judged, confidence)
    if metric == "roc_auc":
        low, high = (bound, 1.0) if value == 1.0 else (0.0, 1.0 - bound)
    else:
        low, high = (_pr_bound(judged, confidence), 1.0) if value == 1.0 else (0.0, value)
    return Estimate(value, low, high, "bound for complete separation", len(judged))


def separation_bound(judged: Judged, confidence: float) -> float:
    """Least AUC that a sample with an AUC of 1 leaves possible.

    With m rows in the smaller class there are m disjoint, so independent, pairs; if the true AUC is a, all m are in
    order with probability a^m at most. So an AUC of 1 has the lower bound tail^(1/m); an AUC of 0 by symmetry. Pairs of
    blocks are independent where no block is in two of them.
    """
    if judged.blocks is None:
        pairs = int(np.unique(judged.truth, return_counts=True)[1].min())
    else:
        held = [len(np.unique(judged.blocks[judged.truth == c])) for c in np.unique(judged.truth)]
        pairs = max(min(*held, judged.units // 2), 1)
    return float(((1 - confidence) / 2) ** (1 / pairs))


def _pr_bound(judged: Judged, confidence: float) -> float:
    """Least average precision that complete separation leaves possible, in the worst of the classes.

    A threshold between the classes had no negative above it and no positive below. By the rule of Clopper and Pearson
    for nothing seen (half of the tail each) a share d of the negatives may be above it and a share e of the positives
    below. In the worst case those negatives are on top: the precision at the u-th share of positives is u / (u + c),
    with c = d (1 - p) / p for a share p of positives; its integral from 0 to 1 - e is 1 - e - c log(1 + (1 - e) / c).
    """
    tail, truth, k = (1 - confidence) / 4, judged.truth, judged.answers.shape[1]
    found = []
    for c in (1,) if k == 2 else range(k):
        sizes = [_units(judged, truth == c), _units(judged, truth != c)]
        below, above = (1 - tail ** (1 / max(size, 1)) for size in sizes)
        share = float((truth == c).mean())
        worst = above * (1 - share) / share
        found.append(1 - below - worst * math.log(1 + (1 - below) / worst))
    return max(float(min(found)), 0.0)


def _units(judged: Judged, rows: NDArray[np.bool_]) -> int:
    return int(rows.sum()) if judged.blocks is None else len(np.unique(judged.blocks[rows]))


def both_separated(found: Estimate, new: Judged, old: Judged, confidence: float) -> Estimate:
    """Two models that both separate the sample's classes may still differ elsewhere, unless they rank alike."""
    if found.low != found.high or placements_alike(new, old):
        return found
    room = 1.0 - separation_bound(new, confidence)
    return Estimate(found.value, found.value - room, found.value + room, "bound for complete separation", found.n)

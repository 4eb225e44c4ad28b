"""What makes a single row unusual: fitted on training rows, with the share of them that is called so as stated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.contract.monitoring import Detectors
from kubeloop.learning.inputs import InputColumn, category_text
from kubeloop.monitoring.detectors.centres import Centres, fit_centres, folds_of, unseen_scores, usable
from kubeloop.monitoring.detectors.forest import Forest, fit_forest
from kubeloop.monitoring.reference.bins import Floats, Ints
from kubeloop.monitoring.reference.signals import Signal

_FEWEST_ROWS = 50
_SCORED = 50_000
"""Rows that a forest scores for its threshold; all others of the training rows are taken for usual."""


@dataclass(frozen=True)
class Unusual:
    """Models, and what they say of training rows that they did not learn from.

    Attributes:
        outliers: Or None.
        novel: Or None.
        signals: One per entry of `flags`.
        flags: (n,) bool each.
        notes: Why one is None.
    """

    outliers: Centres | Forest | None
    novel: Centres | None
    signals: tuple[Signal, ...]
    flags: tuple[NDArray[np.bool_], ...]
    notes: tuple[str, ...]


def fit_unusual(
    values: Mapping[str, NDArray[Any]],
    schema: Sequence[InputColumn],
    detectors: Detectors,
    task: str,
    truth: NDArray[Any] | None,
    blocks: Ints,
    seed: int,
) -> Unusual:
    """Fit what is asked for; each threshold is a quantile of scores of rows by models of other blocks.

    Args:
        values: By column.
        schema: The watched inputs.
        detectors: The contract's words.
        task: Of the model.
        truth: (n,) labels, or None.
        blocks: (n,) rows of one number depend on each other.
        seed: Of folds and trees.
    """
    size = len(blocks)
    numbers = [column["name"] for column in schema if column["kind"] in ("number", "boolean")]
    names = usable(values, numbers) if size >= _FEWEST_ROWS and len(np.unique(blocks)) > 1 else ()
    if not names:
        why = f"no number columns that vary, or fewer than {_FEWEST_ROWS} rows: outliers and novel classes are not told"
        return Unusual(None, None, (), (), (why,))
    folds = folds_of(blocks, np.random.default_rng(seed))
    outliers: Centres | Forest | None = None
    novel: Centres | None = None
    signals, flags = [], []
    if detectors.outliers.kind != "none":
        outliers, flagged = _outliers(values, names, detectors, folds, seed)
        signals.append(Signal("outliers", "input"))
        flags.append(flagged)
    if task != "regression" and truth is not None:
        texts = [category_text(label) or "" for label in truth]
        classes = np.unique(np.array(texts), return_inverse=True)[1].astype(np.int64)
        novel, flagged = _centres(values, names, classes, folds, detectors.novel_rate, seed)
        signals.append(Signal("novel", "input"))
        flags.append(flagged)
    return Unusual(outliers, novel, tuple(signals), tuple(flags), ())


def _outliers(
    values: Mapping[str, NDArray[Any]], names: tuple[str, ...], detectors: Detectors, folds: Ints, seed: int
) -> tuple[Centres | Forest, NDArray[np.bool_]]:
    rate = detectors.outliers.rate
    if detectors.outliers.kind == "mahalanobis":
        return _centres(values, names, np.zeros(len(folds), dtype=np.int64), folds, rate, seed)
    forest = fit_forest(values, names, seed, detectors.engine)
    rows = np.random.default_rng(seed).permutation(len(folds))[:_SCORED]
    # A tree sees 256 rows at most: a row's own part in the forest is too small to matter.
    scores = forest.scores({name: values[name][rows] for name in names})
    flagged = np.zeros(len(folds), dtype=bool)
    fitted = replace(forest, threshold=float(np.quantile(scores, 1 - rate)))
    flagged[rows] = scores > fitted.threshold
    return fitted, flagged


def _centres(
    values: Mapping[str, NDArray[Any]], names: tuple[str, ...], classes: Ints, folds: Ints, rate: float, seed: int
) -> tuple[Centres, NDArray[np.bool_]]:
    def part(rows: Ints) -> dict[str, NDArray[Any]]:
        return {name: values[name][rows] for name in names}

    def score(taught: Ints, asked: Ints) -> Floats:
        return fit_centres(part(taught), names, classes[taught], np.random.default_rng(seed)).scores(part(asked))

    scores = unseen_scores(score, folds)
    model = fit_centres(part(np.arange(len(folds))), names, classes, np.random.default_rng(seed))
    threshold = float(np.quantile(scores, 1 - rate))
    return replace(model, threshold=threshold), scores > threshold

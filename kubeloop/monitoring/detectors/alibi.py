"""The engine that lets alibi-detect measure.

A reference holds no rows, so alibi-detect gets bins for values: a column of bin numbers, each as often as the reference
has it. Its statistics of ranks and counts are then those of the native engine. What it decides by itself is not used:
its feature mode corrects nothing, NaN switches a column off for ever, and its p-values take dependent rows for
independent ones. alibi-detect is under BSL 1.1: production use needs a licence of its owner.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

# Imported here and not inside functions: this module itself is imported only where the engine was asked for.
from alibi_detect.cd import ChiSquareDrift, CVMDrift, FETDrift, KSDrift
from alibi_detect.od import Mahalanobis
from numpy.typing import NDArray

from kubeloop.monitoring.detectors.centres import Centres
from kubeloop.monitoring.detectors.forest import Forest
from kubeloop.monitoring.reference.bins import MISSING, UNSEEN, Encoded, Floats
from kubeloop.monitoring.reference.distances import CAP
from kubeloop.monitoring.reference.family import Family

_FIXED = 10**12
"""Rows that alibi-detect's online Mahalanobis believes to have seen: so many that no window moves it."""


class Alibi:
    """See `kubeloop.monitoring.detectors.protocol.Detector`. One per process: it keeps the detectors it built."""

    name = "alibi"

    def __init__(self) -> None:
        self._built: dict[tuple[int, int], Any] = {}
        self._families: dict[int, Family] = {}

    def distances(self, family: Family, window: Encoded) -> Floats:
        """By KSDrift, CVMDrift, ChiSquareDrift and FETDrift, a column at a time: each has its own missing rows."""
        self._families[id(family)] = family  # alive as long as its id is a key
        found = np.full(len(family.columns), np.nan)
        for place, column in enumerate(family.columns):
            codes = window.codes[:, place]
            reference = _values(family, place)
            if column.test == "fet":
                codes, reference = codes[codes < 2], reference[reference < 2]
            else:
                codes = codes[codes != MISSING]
            if not len(codes) or not len(reference):
                continue
            key = (id(family), place)
            if key not in self._built:
                self._built[key] = _detector(column.test, reference)
            said = self._built[key].predict(_shaped(column.test, codes), return_p_val=True, return_distance=True)
            found[place] = _distance(column.test, float(said["data"]["distance"][0]), len(codes), reference)
        return found

    def scores(self, model: Centres | Forest, values: Mapping[str, NDArray[Any]]) -> Floats:
        """By alibi-detect's Mahalanobis around one centre; a forest and many centres score themselves.

        A forest was fitted by alibi-detect's IForest, which has no state of its own to be rebuilt from arrays.
        """
        if isinstance(model, Forest) or len(model.centres) > 1:
            return model.scores(values)
        rows = model.standard(values)
        if not len(rows):
            return np.empty(0)
        detector = Mahalanobis(threshold=model.threshold, n_components=rows.shape[1], start_clip=2 * _FIXED)
        detector.mean, detector.C, detector.n = model.centres[0], np.linalg.inv(model.precision[0]), _FIXED
        return np.asarray(detector.score(rows), dtype=np.float64)


def _values(family: Family, place: int) -> NDArray[np.int64]:
    """Bin numbers of a reference column, each as often as the reference has it, `CAP` in all at most."""
    counts = family.bins[place, : UNSEEN + 1]
    total = int(counts.sum())
    if total > CAP:
        upto = np.rint(np.cumsum(counts) * (CAP / total)).astype(np.int64)
        counts = np.diff(upto, prepend=0)
    return np.repeat(np.arange(UNSEEN + 1), counts)


def _shaped(test: str, codes: NDArray[Any]) -> NDArray[Any]:
    return codes.astype(bool if test == "fet" else np.float64)[:, None]


def _detector(test: str, reference: NDArray[np.int64]) -> Any:
    values = _shaped(test, reference)
    if test == "ks":
        return KSDrift(values, p_val=0.05)
    if test == "cvm":
        return CVMDrift(values, p_val=0.05)
    if test == "fet":
        return FETDrift(values, p_val=0.05, alternative="two-sided")
    return ChiSquareDrift(values, p_val=0.05)


def _distance(test: str, said: float, n: int, reference: NDArray[np.int64]) -> float:
    """alibi-detect's statistic on the scale of `kubeloop.monitoring.reference.distances`."""
    m = len(reference)
    if test == "ks":
        return said
    if test == "cvm":
        return float(np.sqrt(max(0.0, said) * (n + m) / (n * m)))
    if test == "fet":
        usual = float(reference.mean())
        odds = said * usual / (1 - usual) if usual < 1 else np.inf
        share = 1.0 if np.isinf(odds) else odds / (1 + odds)
        return abs(share - usual)
    return float(np.sqrt(said * (n + m) / (n * m)) / 2)

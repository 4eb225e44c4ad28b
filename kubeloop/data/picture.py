"""What a picture of the split shows: the rows over time, and how alike the parts are."""

from typing import Any

import numpy as np

from kubeloop.contract.sections import SplitSection
from kubeloop.data.placing import Placement, microseconds, moment, words

_BARS = 60


def picture(section: SplitSection, rows: Any, placed: Placement) -> dict[str, Any]:
    """Facts for the picture; JSON types.

    Returns:
        over_time: edges (n + 1 moments, ISO 8601), development and test (n counts); empty without `data.time`.
        parts: per fold, then the test: rows, target (mean, or share of one class), low and high (95%, normal); empty
        where a class target has more than two classes.
    """
    return {"over_time": _over_time(section, rows, placed), "parts": _parts(section, rows, placed)}


def _over_time(section: SplitSection, rows: Any, placed: Placement) -> dict[str, Any]:
    if section.time is None or section.time not in rows.column_names or rows.column(section.time).null_count:
        return {}
    moments = microseconds(rows.column(section.time).combine_chunks())
    low, high = int(moments.min()), int(moments.max())
    if low == high:
        return {}
    edges = np.linspace(low, high, _BARS + 1)
    counts = {
        word: np.histogram(moments[side], edges)[0]
        for word, side in (("development", ~placed.test), ("test", placed.test))
    }
    return {"edges": [moment(int(edge)) for edge in edges]} | {word: found.tolist() for word, found in counts.items()}


def _parts(section: SplitSection, rows: Any, placed: Placement) -> list[dict[str, Any]]:
    column = rows.column(section.target.output).combine_chunks()
    if section.target.task == "regression":
        values = np.asarray(column.cast("float64", safe=False).to_numpy(zero_copy_only=False), np.float64)
    else:
        found = words(column)
        classes = sorted(set(found.tolist()))
        if len(classes) != 2:
            return []
        asked = section.target.positive
        named = str(asked).lower() if isinstance(asked, bool) else str(asked)
        values = (found == (named if named in classes else classes[-1])).astype(float)
    masks = [(placed.fold == fold) & ~placed.test for fold in range(placed.folds)] + [placed.test]
    parts = []
    for mask in masks:
        mean, half = float(values[mask].mean()), float(1.96 * values[mask].std() / np.sqrt(mask.sum()))
        parts.append({"rows": int(mask.sum()), "target": mean, "low": mean - half, "high": mean + half})
    return parts

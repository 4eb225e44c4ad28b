"""The primary metric on parts of the test rows: a part that nobody looked at is where a model fails.

How the level is kept over many slices. A gate that lets pass only if the interval of every slice keeps its bound lets a
bad slice pass no more often than one interval alone errs, however many slices there are (an intersection-union test;
Berger 1982, Technometrics 24). A refusal is different: of many good slices one will look bad. So a slice refuses only
where an interval outside its bound has the confidence of all slices together (Bonferroni).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.contract.judgement import Slice
from kubeloop.errors import InputError
from kubeloop.evaluation.bootstrap import Estimate
from kubeloop.evaluation.judged import Judged
from kubeloop.evaluation.metrics import as_fact, measure
from kubeloop.evaluation.sql import compute, rows_in_sql

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SliceEstimate:
    """The metric on one slice.

    Attributes:
        part: What the contract says of it.
        rows: How many test rows are in it.
        found: The metric with its interval; None if it has none.
        wide: With the confidence of all slices together.
        why: Why there is no value.
        few: Why the value says little; or empty.
    """

    part: Slice
    rows: int
    found: Estimate | None
    wide: Estimate | None
    why: str = ""
    few: str = ""


def slice_masks(slices: Sequence[Slice], table: "pd.DataFrame") -> dict[str, NDArray[np.bool_]]:
    """Which rows of a table are in each slice; a row for which the expression is unknown is in none.

    Args:
        slices: Their expressions are DuckDB expressions over the columns.
        table: (n, columns).

    Raises:
        InputError: An expression does not fit the table.
    """
    import duckdb

    if not slices:
        return {}
    masks: dict[str, NDArray[np.bool_]] = {}
    with rows_in_sql(table) as connection:
        for part in slices:
            try:
                masks[part.name] = compute(connection, part.where, "BOOLEAN").astype(np.bool_)
            except duckdb.Error as error:
                raise InputError(
                    f"slice {part.name!r}: {part.where!r} is no condition over the table's columns "
                    f"({str(error).splitlines()[0]})",
                    f"mend slices.{part.name}.where; columns are {', '.join(map(str, table.columns))}",
                    slice=part.name,
                ) from error
    return masks


def slice_estimates(
    slices: Sequence[Slice],
    table: "pd.DataFrame",
    judged: Judged,
    metric: str,
    minimum_rows: int,
    setting: tuple[float, int],
) -> list[SliceEstimate]:
    """The metric on each slice.

    Args:
        slices: Of the contract.
        table: The test rows.
        judged: The same rows.
        metric: Usually the primary one.
        minimum_rows: Fewer rows than this carry a warning.
        setting: Confidence and seed.

    Raises:
        InputError: An expression does not fit the table.
    """
    confidence, seed = setting
    together = 1 - (1 - confidence) / max(len(slices), 1)
    masks, estimates = slice_masks(slices, table), []
    for part in slices:
        rows = judged.rows(masks[part.name])
        few = ""
        if len(rows) < minimum_rows:
            few = f"{len(rows)} rows are fewer than {minimum_rows}: the interval is wide, the value says little"
        found, wide = (measure(metric, rows, level, seed) for level in (confidence, together))
        if isinstance(found, str) or isinstance(wide, str):
            estimates.append(SliceEstimate(part, len(rows), None, None, str(found), few))
        else:
            estimates.append(SliceEstimate(part, len(rows), found, wide, "", few))
    return estimates


def slice_facts(found: Sequence[SliceEstimate], metric: str) -> list[dict[str, Any]]:
    """One record per slice: name, metric, n, value, low, high (None where undefined), method, bounds, warning."""
    facts = []
    for each in found:
        record: dict[str, Any] = dict.fromkeys(("value", "low", "high"))
        record |= {} if each.found is None else dict(as_fact(each.found))
        record |= {"name": each.part.name, "where": each.part.where, "metric": metric, "n": each.rows}
        record |= {side: getattr(each.part, side) for side in ("at_least", "at_most")}
        facts.append({**record, "warning": each.why or each.few})
    return facts


def worst(found: Sequence[SliceEstimate], higher_is_better: bool) -> SliceEstimate | None:
    """The slice with the worst value; None where none has a value."""
    known = [each for each in found if each.found is not None]
    return min(known, key=lambda each: _value(each) if higher_is_better else -_value(each), default=None)


def _value(each: SliceEstimate) -> float:
    return each.found.value if each.found is not None else float("nan")

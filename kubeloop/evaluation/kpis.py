"""What the business watches, as expressions: over rows they are averaged; metrics come by their names.

A KPI over metrics alone takes the ends of their intervals (each at a level that keeps the KPI's, by Bonferroni) through
the expression: it holds whatever the expression does. A KPI over rows is a mean of row values; the metrics in it carry
their own uncertainty by their influences. Row values of two kinds are a share, whose interval is exact.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kubeloop.contract.business import Kpi
from kubeloop.contract.expressions import columns_of
from kubeloop.contract.judgement import METRICS_OF_TASK
from kubeloop.errors import InputError
from kubeloop.evaluation.bootstrap import Estimate, studentized
from kubeloop.evaluation.influence import linear, ratio
from kubeloop.evaluation.judged import Judged, block_totals
from kubeloop.evaluation.metrics import as_fact, measure, point, undefined
from kubeloop.evaluation.shares import share
from kubeloop.evaluation.sql import compute, is_condition, rows_in_sql
from kubeloop.learning.scores import Floats

if TYPE_CHECKING:
    import pandas as pd

_METRICS: frozenset[str] = frozenset(name for names in METRICS_OF_TASK.values() for name in names)
_STEPS = {1: 65, 2: 17, 3: 7}
"""Points along each metric's interval."""


@dataclass(frozen=True)
class KpiEstimate:
    """A KPI with its interval.

    Attributes:
        kpi: What the contract says of it.
        found: None if it has no value, or no honest interval.
        why: Why not.
    """

    kpi: Kpi
    found: Estimate | None
    why: str = ""


def kpi_estimates(
    kpis: Sequence[Kpi], rows: "pd.DataFrame", judged: Judged, setting: tuple[float, int]
) -> list[KpiEstimate]:
    """Every KPI on the test rows.

    Args:
        kpis: Of the contract.
        rows: (n, columns) the test rows' columns, with `prediction` (the class answered, or the value) and `label`.
        judged: The same rows.
        setting: Confidence and seed.

    Raises:
        InputError: An expression does not fit the rows.
    """
    return [_sound(_estimate(kpi, rows, judged, setting)) for kpi in kpis]


def _sound(each: KpiEstimate) -> KpiEstimate:
    if each.found is None or (each.found.finite and each.found.low < each.found.high):
        return each
    return KpiEstimate(each.kpi, None, "it does not vary in these rows, which tells nothing of how it varies")


def _estimate(kpi: Kpi, rows: "pd.DataFrame", judged: Judged, setting: tuple[float, int]) -> KpiEstimate:
    import duckdb

    names = columns_of(kpi.expression)
    # The gate's own words win over columns of the same name.
    metrics: list[str] = [name for name in names if name in _METRICS]
    for metric in metrics:
        if why := undefined(metric, judged):
            return KpiEstimate(kpi, None, f"{metric} has no value: {why}")
    used = [name for name in names if name not in metrics]
    if used and "calibration_error" in metrics:
        return KpiEstimate(kpi, None, "no interval is known for a calibration error together with row values")
    try:
        if not used:
            return _over_metrics(kpi, metrics, judged, setting)
        return _over_rows(kpi, metrics, rows[[name for name in used if name in rows.columns]], judged, setting)
    except duckdb.Error as error:
        raise InputError(
            f"KPI {kpi.name!r}: {kpi.expression!r} is no number over metrics, columns, `prediction` and `label` "
            f"({str(error).splitlines()[0]})",
            f"mend business.kpis.{kpi.name}.expression; columns are {', '.join(map(str, rows.columns))}",
            kpi=kpi.name,
        ) from error


def _over_metrics(kpi: Kpi, metrics: list[str], judged: Judged, setting: tuple[float, int]) -> KpiEstimate:
    import pandas as pd

    if not metrics:
        return KpiEstimate(kpi, None, "it is a constant, which no model changes")
    confidence, seed = setting
    each = 1 - (1 - confidence) / len(metrics)
    known = []
    for name in metrics:
        measured = measure(name, judged, each, seed)
        if isinstance(measured, str):
            return KpiEstimate(kpi, None, f"{name} has no value: {measured}")
        known.append(measured)
    steps = _STEPS.get(len(metrics), 3)
    axes = [np.linspace(one.low, one.high, steps) for one in known]
    places = [[one.value for one in known], *itertools.product(*axes)]
    with rows_in_sql(pd.DataFrame(places, columns=metrics, dtype=np.float64)) as connection:
        found = compute(connection, kpi.expression, "DOUBLE")
    if not np.isfinite(found).all():
        return KpiEstimate(kpi, None, "it is no finite number all over the intervals of its metrics")
    method = f"ends of {', '.join(metrics)}" + (f", each at {each:.4g}" if len(metrics) > 1 else "")
    return KpiEstimate(kpi, Estimate(float(found[0]), float(found.min()), float(found.max()), method, len(judged)))


def _over_rows(
    kpi: Kpi, metrics: list[str], rows: "pd.DataFrame", judged: Judged, setting: tuple[float, int]
) -> KpiEstimate:
    points = {name: point(name, judged) for name in metrics}
    with rows_in_sql(rows.assign(**points)) as connection:
        values = compute(connection, kpi.expression, "DOUBLE")
        condition = is_condition(connection, kpi.expression)
    known = ~np.isnan(values)
    if not known.any() or np.isinf(values).any():
        return KpiEstimate(kpi, None, "it has no finite value" + ("" if known.any() else " in any row"))
    if judged.blocks is not None and judged.units < 2:
        return KpiEstimate(kpi, None, "all rows are of one block, which has no interval")
    kinds = np.unique(values[known])
    if not metrics and (condition or len(kinds) == 2):
        low, high = (0.0, 1.0) if condition else (float(kinds[0]), float(kinds[1]))
        found = share(values == high, known, judged.blocks, setting[0])
        value, first, last = (low + (high - low) * end for end in (found.value, found.low, found.high))
        return KpiEstimate(kpi, Estimate(value, first, last, found.method, int(known.sum())))
    if len(kinds) == 1:
        why = f"it is {kinds[0]:,.6g} in every row, which tells nothing of how it varies"
        return KpiEstimate(kpi, None, why)
    value, given = ratio(values, known)
    for name in metrics:
        given = given + _slope(kpi, name, rows, points) * linear(name, judged)[1]
    confidence, seed = setting
    found = studentized(value + block_totals(np.nan_to_num(given), judged.blocks), seed, confidence)
    return KpiEstimate(kpi, Estimate(value, found.low, found.high, found.method, int(known.sum())))


def _slope(kpi: Kpi, name: str, rows: "pd.DataFrame", points: dict[str, float]) -> float:
    """How much the mean changes with a metric, by a small step to either side."""
    step = 1e-4 * max(abs(points[name]), 1e-2)
    means = []
    for side in (1, -1):
        with rows_in_sql(rows.assign(**{**points, name: points[name] + side * step})) as connection:
            means.append(_mean(compute(connection, kpi.expression, "DOUBLE")))
    return (means[0] - means[1]) / (2 * step)


def _mean(values: Floats) -> float:
    return float(np.nanmean(values))


def kpi_facts(found: Sequence[KpiEstimate]) -> list[dict[str, Any]]:
    """One record per KPI: name, expression, owner, sla, bounds, value, low, high (None where undefined), reason."""
    facts = []
    for each in found:
        record: dict[str, Any] = dict.fromkeys(("value", "low", "high"))
        record |= {} if each.found is None else dict(as_fact(each.found))
        record |= each.kpi.model_dump(include={"name", "expression", "owner", "sla", "at_least", "at_most"})
        facts.append({**record, "reason": each.why})
    return facts

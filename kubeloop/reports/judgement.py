"""What the evaluation section shows: metrics against thresholds, dummy and champion; curves."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from kubeloop.decisions import Check, Decision
from kubeloop.reports import figures, words
from kubeloop.reports.facts import (
    count,
    items,
    mapping,
    mappings,
    minus,
    number,
    numbers,
    percent,
    plural,
    sentence,
    short,
    shown,
    text,
)
from kubeloop.reports.parts import bound_of, estimate_of, kpi_rows, slice_rows, worth
from kubeloop.reports.strips import Points, scale_of, strip

Facts = Mapping[str, Any]
_METHODS = 3
"""Ways to make an interval that a caption names; more go to a table of their own."""
_MATRIX = 12
"""Classes that a confusion matrix shows at most; more are a wall of numbers."""


def evaluation_view(facts: Facts, decision: Decision | None, stopped: bool, absent: str) -> dict[str, Any]:
    """All that the template needs.

    Args:
        facts: Of `evaluate`; whatever has another shape than expected is left out.
        decision: Of the model gate; thresholds are read from its checks.
        stopped: Whether an error is shown in the place of facts.
        absent: What to say when there is neither.
    """
    found = ordered(facts, decision)
    thresholds = {check.name.partition(":")[2]: check for check in _checks(decision, "threshold:")}
    points = {name: _points(name, facts, thresholds.get(name)) for name in found}
    methods = list(dict.fromkeys(method for each in found.values() if (method := text(each.get("method")))))
    curves = mapping(facts.get("curves"))
    drawn, bins = _figures(curves, points, count(facts.get("rows")))
    residual = bool(curves.get("residuals"))
    return {
        "empty": absent if not (facts or stopped) else "",
        "rows": count(facts.get("rows")),
        "method": "; ".join(methods) if len(methods) <= _METHODS else "",
        "methods": [] if len(methods) <= _METHODS else _methods(found),
        "worth": worth(facts),
        "kpis": kpi_rows(facts, decision),
        "confidence": percent(level) if (level := number(facts.get("confidence"))) is not None else "",
        "metrics": [_row(name, points[name], thresholds.get(name)) for name in found],
        "legend_entries": _legend(list(points.values())),
        "champion": _champion(
            mapping(facts.get("champion")), text(facts.get("primary")) or "", decision, number(facts.get("confidence"))
        ),
        "slices": slice_rows(facts, points, decision),
        "worst": _worst(decision),
        "undefined": [(words.metric(name), shown(why)) for name, why in mapping(facts.get("undefined")).items()],
        "figures": drawn,
        "confusion": _confusion(mapping(curves.get("confusion"))),
        "bins": bins,
        "heading": "Where it errs" if residual else "How it tells the classes apart",
    }


def ordered(facts: Facts, decision: Decision | None = None) -> dict[str, dict[str, Any]]:
    """Metrics with their estimates: the primary one first, then those with a threshold, then the others.

    Records are written with sorted keys, so the order of the facts says nothing.
    """
    found = {name: mapping(value) for name, value in mapping(facts.get("metrics")).items()}
    primary = text(facts.get("primary"))
    judged = [check.name.partition(":")[2] for check in _checks(decision, "threshold:")]
    first = [name for name in (primary, *judged, "roc_auc", "rmse") if name in found]
    return {name: found[name] for name in dict.fromkeys([*(n for n in first if n), *found])}


def _checks(decision: Decision | None, prefix: str) -> list[Check]:
    return [check for check in decision.checks if check.name.startswith(prefix)] if decision else []


def _points(name: str, facts: Facts, check: Check | None) -> Points:
    found = mapping(mapping(facts.get("metrics")).get(name))
    evidence = check.evidence if check else {}
    return Points(
        name=words.metric(name),
        value=number(found.get("value")),
        low=number(found.get("low")),
        high=number(found.get("high")),
        at_least=number(evidence.get("at_least")),
        at_most=number(evidence.get("at_most")),
        dummy=_value(mapping(facts.get("dummy")), name),
        champion=_value(mapping(facts.get("champion")), name),
    )


def _value(estimates: Facts, name: str) -> float | None:
    """A metric's value, given as a number or as an estimate, beside others or below `values`."""
    found = estimates.get(name, mapping(estimates.get("values")).get(name))
    return number(mapping(found).get("value")) if isinstance(found, Mapping) else number(found)


def _row(name: str, points: Points, check: Check | None) -> dict[str, Any]:
    return {
        "title": words.metric(name),
        "better": words.better(name),
        "value": "\N{EN DASH}" if points.value is None else shown(points.value),
        "interval": words.interval(points.interval),
        "strip": strip(points, scale_of(points.all(), words.BOUNDS.get(name, (None, None)))),
        "bound": bound_of(points.at_least, points.at_most),
        "verdict": check.verdict if check else "",
    }


def _methods(found: Mapping[str, Facts]) -> list[tuple[str, str]]:
    """Which metrics have intervals of each kind."""
    kinds: dict[str, list[str]] = {}
    for name, each in found.items():
        if method := text(each.get("method")):
            kinds.setdefault(method, []).append(words.metric(name))
    return [(", ".join(names), method) for method, names in kinds.items()]


def _worst(decision: Decision | None) -> dict[str, str] | None:
    """What the bound on the worst slice says."""
    checks = _checks(decision, "worst_slice")
    return {"reason": sentence(checks[0].reason), "verdict": checks[0].verdict} if checks else None


def _legend(points: list[Points]) -> list[str]:
    seen = {
        "interval": True,
        "bound": any(each.at_least is not None or each.at_most is not None for each in points),
        "dummy": any(each.dummy is not None for each in points),
        "champion": any(each.champion is not None for each in points),
    }
    return [entry for entry, there in seen.items() if there]


def _champion(facts: Facts, primary: str, decision: Decision | None, confidence: float | None) -> dict[str, Any] | None:
    if not facts:
        return None
    found = mapping(facts.get("difference"))
    margins = [number(check.evidence.get("margin")) for check in _checks(decision, "champion")]
    margin = next((each for each in margins if each is not None), None)
    used = count(found.get("n", facts.get("rows")))
    notes = ["improvement over it; right of the middle is better"]
    notes += [f"{plural(used, 'row')} that neither has seen"] if used is not None else []
    notes += [f"it may be worse by {margin:.3g}"] if margin is not None else []
    row = _difference(primary, found, margin)
    reason = text(facts.get("reason")) or ""
    if row is None and not reason:
        return None
    return {
        "digest": short(facts.get("digest")),
        "note": "; ".join(notes),
        "rows": [row] if row else [],
        "reason": reason,
        "told": _told(primary, found, confidence) if row else "",
    }


def _told(metric: str, found: Facts, confidence: float | None) -> str:
    """An improvement and its interval in words."""
    value, low, high = estimate_of(found)
    name = words.metric(metric) if metric else "the primary metric"
    told = f"{name} is {_apart(value)} than the champion's" if value else f"{name} is the same as the champion's"
    if low is None or high is None:
        return f"{told}."
    interval = f"the {percent(confidence)} interval" if confidence is not None else "the interval"
    shown_by = "it reaches to both sides, so no difference is shown"
    if low > 0 or high < 0:
        shown_by = f"all of it is {'better' if low > 0 else 'worse'}"
    return f"{told}; {interval} runs from {_apart(low)} to {_apart(high)}: {shown_by}."


def _apart(value: float) -> str:
    return f"{abs(value):.3g} {'better' if value > 0 else 'worse'}" if value else "no difference"


def _difference(name: str, found: Facts, margin: float | None) -> dict[str, Any] | None:
    value, low, high = estimate_of(found)
    if value is None:
        return None
    points = Points(words.metric(name), value, low, high, at_least=None if margin is None else -margin)
    return {
        "title": words.metric(name) if name else "Primary metric",
        "value": signed(value),
        "interval": "not known" if points.interval is None else " to ".join(signed(end) for end in points.interval),
        # Symmetric, so that no difference is in the middle.
        "strip": strip(points, scale_of([each for end in points.all() for each in (end, -end)])),
    }


def signed(value: float) -> str:
    """With its sign, and three digits that count: differences are small."""
    return minus(f"{value:+.3g}") if value else "0"


def _figures(
    curves: Facts, points: Mapping[str, Points], rows: int | None
) -> tuple[list[dict[str, Any]], list[tuple[float, ...]]]:
    drawn: list[tuple[str, str, str]] = []
    roc = mapping(curves.get("roc"))
    area = points["roc_auc"].value if "roc_auc" in points else None
    note = "The dashed line is a coin toss." if area is None else f"Area {shown(area)}; the dashed line is a coin toss."
    drawn.append((figures.roc(numbers(roc.get("fpr")), numbers(roc.get("tpr")), area), "ROC curve", note))
    bins = _bins(curves.get("calibration"))
    gap = points.get("calibration_error")
    error = "" if gap is None or gap.value is None else f" Error {shown(gap.value)} ({words.interval(gap.interval)})."
    drawn.append(
        (
            figures.calibration([b[0] for b in bins], [b[1] for b in bins], [b[2] for b in bins]),
            "Calibration",
            f"On the dashed line, probabilities come true as often as they say. Area of a point: rows.{error}",
        )
    )
    predicted, residual = _residuals(curves.get("residuals"))
    part = (
        f" {len(residual)} of {rows:,} rows, evenly over the ranked predictions."
        if rows and len(residual) < rows
        else ""
    )
    drawn.append(
        (figures.residuals(predicted, residual), "Residuals", f"A good cloud is level and centred on zero.{part}")
    )
    drawn.append((figures.histogram(residual), "Spread of the residuals", f"Right of zero: predicted too low.{part}"))
    shown_ones = [
        {"svg": Markup(svg), "title": title, "note": note}  # noqa: S704 - drawn by us, from numbers only
        for svg, title, note in drawn
        if svg
    ]
    return shown_ones, bins


def _bins(value: Any) -> list[tuple[float, ...]]:
    found = [tuple(number(each.get(key)) for key in ("predicted", "observed", "count")) for each in mappings(value)]
    return [tuple(n for n in each if n is not None) for each in found if None not in each]


def _residuals(value: Any) -> tuple[list[float], list[float]]:
    """Predictions and residuals; from rows of either `residual` or the `observed` value; or from residuals alone."""
    predicted, residual = [], []
    for found in mappings(value):
        at, truth, left = (number(found.get(key)) for key in ("predicted", "observed", "residual"))
        if at is not None and left is None and truth is not None:
            left = truth - at
        if at is not None and left is not None:
            predicted.append(at)
            residual.append(left)
    return (predicted, residual) if predicted else ([], numbers(value))


def _confusion(facts: Facts) -> dict[str, Any] | None:
    labels = [shown(label) for label in items(facts.get("labels"))]
    matrix = [numbers(row) for row in items(facts.get("matrix"))]
    if not 2 <= len(labels) <= _MATRIX or len(matrix) != len(labels) or any(len(row) != len(labels) for row in matrix):
        return None
    rows = []
    for label, row in zip(labels, matrix, strict=True):
        total = sum(row)
        cells = [
            {
                "count": shown(int(n)),
                "share": round(n / total, 3) if total else 0,
                "percent": percent(n / total) if total else "",
            }
            for n in row
        ]
        rows.append({"label": label, "cells": cells})
    return {"labels": labels, "rows": rows}

"""What the evaluation section shows beside the metrics: slices, KPIs, what the rows are worth as evidence."""

from collections.abc import Mapping
from typing import Any

from kubeloop.decisions import Decision
from kubeloop.reports import words
from kubeloop.reports.facts import asked, count, mapping, mappings, number, plural, shown, text
from kubeloop.reports.strips import Points, scale_of, strip

Facts = Mapping[str, Any]


def slice_rows(facts: Facts, whole: Mapping[str, Points], decision: Decision | None) -> list[dict[str, Any]]:
    """Slices on one scale per metric, with the whole test set as the mark to compare with; the worst one is marked."""
    found = [(each, text(each.get("metric")) or "", *estimate_of(each)) for each in mappings(facts.get("slices"))]
    spread: dict[str, list[float]] = {}
    for each, metric, *ends in found:
        known = whole[metric].value if metric in whole else None
        spread.setdefault(metric, []).extend(n for n in (*ends, known, *_sides(each)) if n is not None)
    rows, verdicts, worst = [], _verdicts(decision, "slice:"), text(facts.get("worst_slice"))
    for each, metric, value, low, high in found:
        at_least, at_most = _sides(each)
        mark = whole[metric].value if metric in whole else None
        points = Points(words.metric(metric), value, low, high, at_least=at_least, at_most=at_most, dummy=mark)
        name = text(each.get("name")) or ""
        rows.append(
            {
                "name": name,
                "metric": words.metric(metric),
                "rows": shown(count(each.get("n"))),
                "value": "\N{EN DASH}" if value is None else shown(value),
                "interval": words.interval(points.interval),
                "strip": strip(points, scale_of(spread[metric], words.BOUNDS.get(metric, (None, None)))),
                "bound": bound_of(at_least, at_most),
                "verdict": verdicts.get(name, ""),
                "worst": bool(name) and name == worst and len(found) > 1,
                "warning": text(each.get("warning")) or "",
            }
        )
    return rows


def kpi_rows(facts: Facts, decision: Decision | None) -> list[dict[str, Any]]:
    """KPIs, each on a scale of its own."""
    rows, verdicts = [], _verdicts(decision, "kpi:")
    for each in mappings(facts.get("kpis")):
        name = text(each.get("name"))
        if name is None:
            continue
        (value, low, high), (at_least, at_most) = estimate_of(each), _sides(each)
        points = Points(name, value, low, high, at_least=at_least, at_most=at_most)
        serves = [f"serves {sla}"] if (sla := text(each.get("sla"))) else []
        owner = [f"answered for by {found}"] if (found := text(each.get("owner"))) else []
        rows.append(
            {
                "name": name,
                "expression": text(each.get("expression")) or "",
                "note": "; ".join([*serves, *owner]),
                "value": "\N{EN DASH}" if value is None else shown(value),
                "interval": words.interval(points.interval),
                "strip": strip(points, scale_of(points.all())),
                "bound": bound_of(at_least, at_most),
                "verdict": verdicts.get(name, ""),
                "reason": text(each.get("reason")) or "",
            }
        )
    return rows


def worth(facts: Facts) -> list[str]:
    """Sentences on what the test rows are worth: who has read them, and which depend on each other."""
    found = []
    readings = count(facts.get("readings"))
    if readings:
        others = f"{plural(readings, 'run')}, this one included" if readings > 1 else "this run alone"
        found.append(f"These test rows have been read by {others}.")
        if readings > 1:
            found.append(
                "Whoever changes something after a reading chooses by them, and then they say a little too much good."
            )
    blocks = mapping(facts.get("blocks"))
    groups, by = count(blocks.get("count")), text(blocks.get("by"))
    if groups is not None and by:
        found.append(
            f"Rows with the same {by} depend on each other: intervals count {plural(groups, 'block')}, not rows."
        )
    return found


def estimate_of(found: Facts) -> tuple[float | None, float | None, float | None]:
    """Value and both ends, as far as they are there."""
    return number(found.get("value")), number(found.get("low")), number(found.get("high"))


def bound_of(at_least: float | None, at_most: float | None) -> str:
    """A bound in words; empty for none."""
    sides = (("at least", at_least), ("at most", at_most))
    return " and ".join(f"{side} {asked(bound)}" for side, bound in sides if bound is not None)


def _sides(found: Facts) -> tuple[float | None, float | None]:
    return number(found.get("at_least")), number(found.get("at_most"))


def _verdicts(decision: Decision | None, prefix: str) -> dict[str, str]:
    checks = decision.checks if decision else ()
    return {check.name.removeprefix(prefix): check.verdict for check in checks if check.name.startswith(prefix)}

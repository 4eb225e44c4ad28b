"""The page of a search: optimisation history, parallel coordinates, parameter importance, quality against seconds."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from kubeloop.reports.facts import count, mapping, mappings, minus, number, plural, shown, text
from kubeloop.reports.look import render
from kubeloop.reports.search_figures import history, parallel, quality
from kubeloop.reports.words import metric as metric_title

Facts = Mapping[str, Any]
_MOST_ROWS = 200
_TONES = {"Succeeded": "pass", "EarlyStopped": "inconclusive", "Killed": "killed"}
"""CSS class of how a trial ended; that of all others is `fail`."""


def search_section(facts: Facts) -> Markup:
    """What was searched and what came of it.

    Args:
        facts: Of `tune`.
    """
    search, trials = mapping(facts.get("search")), mappings(facts.get("trials"))
    if not search or not trials:
        return render("search.html.j2", empty="No search was asked for: the contract's own parameters are trained.")
    name, best = text(search.get("metric")) or "", count(search.get("best"))
    lower = search.get("direction") == "minimize"
    succeeded = [
        trial for trial in trials if trial.get("status") == "Succeeded" and number(trial.get("value")) is not None
    ]
    rows = sorted(trials, key=lambda trial: _rank(trial, lower))
    chosen = next((trial for trial in trials if trial.get("number") == best), {})
    return render(
        "search.html.j2",
        empty="",
        note="On development rows only; no trial has seen a test row."
        if facts.get("source") == "search"
        else "What the trials of an Experiment reported; which rows they read is their program's affair.",
        keys=[
            ("Best " + metric_title(name), _shown(number(search.get("value")))),
            ("Algorithm", text(search.get("algorithm")) or ""),
            ("Trials", f"{len(trials)}, {plural(count(search.get('failed')) or 0, 'failure')}"),
            ("Seconds of trials", shown(sum(number(trial.get("seconds")) or 0.0 for trial in trials))),
        ],
        ended=text(search.get("reason")) or "",
        first=_led(search, trials),
        chosen=list(mapping(chosen.get("parameters")).items()),
        figures=_figures(search, succeeded, name, lower=lower),
        importance=_importance(search),
        metric=metric_title(name),
        rows=[_row(trial, best) for trial in rows[:_MOST_ROWS]],
        more=max(len(rows) - _MOST_ROWS, 0),
    )


def search_lede(facts: Facts) -> str:
    """What came of a search, in one sentence.

    Args:
        facts: Of `tune`, or of `kubeloop.experiments.facts`.
    """
    search, trials = mapping(facts.get("search")), mappings(facts.get("trials"))
    value, best = number(search.get("value")), count(search.get("best"))
    failed = count(search.get("failed")) or 0
    ran = plural(len(trials), "trial") + (f", {failed} of them failed" if failed else "")
    if value is None or best is None:
        return f"No trial succeeded: {ran}."
    return f"Best {metric_title(text(search.get('metric')) or '')} {_shown(value)}, in trial {best}; {ran}."


def _led(search: Facts, trials: Sequence[Facts]) -> list[str]:
    """Whose parameters came first, and how far the best trial is from them."""
    best, found = number(search.get("value")), []
    for who, place in mapping(search.get("first")).items():
        trial = next((trial for trial in trials if trial.get("number") == place), {})
        value = number(trial.get("value"))
        told = f"Trial {place} has the parameters of the {who}"
        if value is None or best is None:
            found.append(f"{told}.")
        elif trial.get("number") == search.get("best"):
            found.append(f"{told}, and none was better.")
        else:
            found.append(f"{told}; the best one is better by {abs(best - value):.3g}, on the folds that chose it.")
    return found


def _shown(value: float | None) -> str:
    """An objective, with five digits that count: good trials lie close together."""
    return "\N{EN DASH}" if value is None else minus(f"{value:.5g}")


def _aligned(value: float | None) -> str:
    """An objective in a column of them: zeros at the end stay, so that the points stand below each other."""
    return _shown(None) if value is None else minus(f"{value:#.5g}".rstrip("."))


def _rank(trial: Facts, lower: bool) -> tuple[bool, float, int]:
    value = number(trial.get("value")) if trial.get("status") == "Succeeded" else None
    return value is None, 0.0 if value is None else (value if lower else -value), count(trial.get("number")) or 0


def _row(trial: Facts, best: int | None) -> dict[str, Any]:
    value = number(trial.get("value"))
    parameters = ", ".join(f"{key} {shown_value(found)}" for key, found in mapping(trial.get("parameters")).items())
    return {
        "number": count(trial.get("number")),
        "best": trial.get("number") == best,
        "status": text(trial.get("status")) or "",
        "tone": _TONES.get(str(trial.get("status")), "fail"),
        "value": _aligned(value),
        "seconds": f"{number(trial.get('seconds')) or 0.0:,.2f}",
        "parameters": parameters,
        "reason": text(trial.get("reason")) or "",
    }


def shown_value(found: Any) -> str:
    """A parameter's text, with at most four digits of a long number."""
    words = str(found)
    try:
        value = float(words)
    except ValueError:
        return words
    return words if len(words) <= 6 or not math.isfinite(value) else f"{value:.4g}"


def _figures(search: Facts, succeeded: Sequence[Facts], name: str, *, lower: bool) -> list[dict[str, Any]]:
    values = [number(trial.get("value")) or 0.0 for trial in succeeded]
    numbers = [count(trial.get("number")) or 0 for trial in succeeded]
    cost, seconds = _cost(succeeded)
    axes, lines = _lines(search, succeeded)
    named = "; ".join(f"{place} {axis}" for place, axis in enumerate(axes, start=1))
    title = metric_title(name)
    drawn = [
        (
            "Optimisation history",
            f"{title} of each trial; the line is the best so far.",
            history(numbers, values, title, lower=lower),
        ),
        (
            "Parallel coordinates",
            f"A line a trial, the best in colour; axes: {named}; last {title}. Each axis from its least to its most.",
            parallel(lines, values, lower=lower),
        ),
        (
            "Quality against seconds",
            f"{title} against the seconds of {'all fits of a trial' if cost == 'Training' else 'a trial'}.",
            quality(seconds, values, title, cost),
        ),
    ]
    return [{"title": head, "note": note, "svg": Markup(svg)} for head, note, svg in drawn if svg]  # noqa: S704 - ours


def _cost(succeeded: Sequence[Facts]) -> tuple[str, list[float]]:
    """Seconds of training where every trial tells them; those of a whole trial hold a pod's start, too."""
    told = [number(mapping(trial.get("metrics")).get("train_seconds")) for trial in succeeded]
    known = [each for each in told if each is not None]
    if known and len(known) == len(succeeded):
        return "Training", known
    return "Trial", [number(trial.get("seconds")) or 0.0 for trial in succeeded]


def _lines(search: Facts, succeeded: Sequence[Facts]) -> tuple[list[str], list[list[float | None]]]:
    """Where each trial lies on each parameter's range, 0 to 1; None where the parameter did not matter."""
    parameters = [each for each in mappings(search.get("parameters")) if text(each.get("name"))]
    lines = [
        [_share(each, mapping(trial.get("parameters")).get(str(each["name"]))) for each in parameters]
        for trial in succeeded
    ]
    return [str(each["name"]) for each in parameters], lines


def _share(parameter: Facts, found: Any) -> float | None:
    if found is None:
        return None
    values = [str(value) for value in parameter.get("values") or ()]
    if values:
        return values.index(str(found)) / max(len(values) - 1, 1) if str(found) in values else None
    low, high = number(parameter.get("low")), number(parameter.get("high"))
    if low is None or high is None or high <= low:
        return None
    value = float(found)
    if parameter.get("log") and low > 0:
        return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
    return (value - low) / (high - low)


def _importance(search: Facts) -> list[dict[str, Any]]:
    found = [(key, number(share) or 0.0) for key, share in mapping(search.get("importance")).items()]
    return [{"name": key, "share": f"{100 * share:.0f}"} for key, share in sorted(found, key=lambda pair: -pair[1])]

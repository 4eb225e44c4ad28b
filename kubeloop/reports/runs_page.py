"""The page of all runs: per model, newest first, with the primary metric of every run on one scale."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from kubeloop.reports import words
from kubeloop.reports.facts import duration, halves, moment, plural, shown
from kubeloop.reports.look import render, shell
from kubeloop.reports.run_page import headline_metric, headline_reason, state_of
from kubeloop.reports.strips import Points, scale_of, strip
from kubeloop.tracking.record import RunRecord

_REASON = 140


def runs_page(runs: Sequence[RunRecord]) -> str:
    """The index of runs.

    Args:
        runs: Newest first; each links to `<run id>.html` beside this page.

    Returns:
        Self-contained HTML, like `run_page`.
    """
    names = list(dict.fromkeys(run.name for run in runs))
    groups = [_group(name, [run for run in runs if run.name == name]) for name in names]
    lede = (
        f"{plural(len(runs), 'run')} of {plural(len(names), 'model')}, newest first."
        if runs
        else "There is no run yet. Start one with `kubeloop run`."
    )
    return shell("Runs", render("runs.html.j2", headline="Runs", lede=lede, groups=groups))


def _group(name: str, runs: list[RunRecord]) -> dict[str, Any]:
    measured = [(run, headline_metric(run)) for run in runs]
    metric = next((found[0] for _, found in measured if found), "")
    values = [n for _, found in measured if found and found[0] == metric for n in found[1:] if n is not None]
    scale = scale_of(values, words.BOUNDS.get(metric, (None, None)))
    states = [state_of(run) for run in runs]
    tally = {state: states.count(state) for state in dict.fromkeys(states)}
    rows = []
    for run, found in measured:
        same = found if found and found[0] == metric else None
        points = Points(words.metric(metric), same[1], same[2], same[3]) if same else None
        reason = halves(headline_reason(run))[0]
        rows.append(
            {
                "state": state_of(run),
                "run_id": run.run_id,
                "href": f"./{quote(run.run_id, safe='')}.html",
                "started": moment(run.started),
                "took": duration(max((run.finished - run.started).total_seconds(), 0.0))
                if run.finished
                else "\N{EN DASH}",
                "why": reason if len(reason) <= _REASON else f"{reason[: _REASON - 1]}\N{HORIZONTAL ELLIPSIS}",
                "value": shown(same[1]) if same else "",
                "strip": strip(points, scale) if points else None,
            }
        )
    return {
        "name": name,
        "note": ", ".join(f"{n} {words.BADGES[state].lower()}" for state, n in tally.items()),
        "metric": words.metric(metric) if metric else "",
        "ends": scale.ends if scale else None,
        "runs": rows,
    }

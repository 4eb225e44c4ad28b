"""A section per task: from facts and decisions to HTML fragments, for run pages and for KFP HTML artifacts."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from kubeloop.decisions import Decision
from kubeloop.reports import figures, words
from kubeloop.reports.facts import (
    bare,
    count,
    items,
    mapping,
    mappings,
    number,
    numbers,
    percent,
    plural,
    short,
    shown,
    text,
)
from kubeloop.reports.judgement import evaluation_view
from kubeloop.reports.look import page, render
from kubeloop.reports.strips import Points, scale_of, strip
from kubeloop.reports.troubles import Trouble
from kubeloop.reports.verdicts import decision_view

__all__ = [
    "data_section",
    "decision_section",
    "deploy_section",
    "evaluation_section",
    "page",
    "split_section",
    "train_section",
]

Facts = Mapping[str, Any]
Troubles = tuple[Trouble, ...]
_OWN = "the target"
"""Why `train` leaves the target out; too plain to be shown."""
_SILENT = "The record says nothing about this."


def data_section(
    facts: Facts, decision: Decision | None = None, troubles: Troubles = (), absent: str = _SILENT
) -> Markup:
    """What went in: sources, snapshot, quarantine with its rules.

    Args:
        facts: Of `validate`, or of `ingest` and `validate` together.
        decision: Of the data gate, if its checks shall be shown here.
        troubles: What stopped the tasks.
        absent: What to say when there is nothing.
    """
    rows, aside, valid = (count(facts.get(key)) for key in ("rows", "quarantined", "valid"))
    rules = [_rule(found) for found in mappings(facts.get("rules"))]
    columns = [
        (name, text(found.get("type")) or "") for found in mappings(facts.get("columns")) if (name := _name(found))
    ]
    quarantine = None
    if aside is not None and valid is not None and aside + valid > 0:
        label = (
            f"{plural(valid, 'row')} of {shown(aside + valid)} kept every rule, "
            f"{plural(aside, 'row')} ({percent(aside / (aside + valid))}) set aside"
        )
        quarantine = {"valid": valid, "aside": aside, "label": label}
    sources = [
        {"name": name, "rows": _or_dash(count(found.get("rows")))}
        for found in mappings(facts.get("sources"))
        if (name := _name(found))
    ]
    return render(
        "data.html.j2",
        troubles=troubles,
        empty="" if facts or decision or troubles else absent,
        keys=_keys(
            ("Rows", rows),
            ("Columns", len(columns) or None),
            ("Snapshot", short(facts.get("digest")), True),
            ("Dropped, target unknown", count(facts.get("target_unknown"))),
            ("Left out by policy", count(facts.get("denied")) or None),
            ("Not in the contract", count(facts.get("not_in_contract")) or None),
        ),
        sources=sources,
        quarantine=quarantine,
        broken=sorted((rule for rule in rules if rule["count"]), key=lambda rule: -rule["count"]),
        kept=[rule["rule"] for rule in rules if rule["count"] == 0],
        columns=columns,
        decision=decision_view(decision) if decision else None,
    )


def split_section(facts: Facts, troubles: Troubles = (), absent: str = _SILENT) -> Markup:
    """How rows were kept apart.

    Args:
        facts: Of `split`.
        troubles: What stopped it.
        absent: What to say when there is nothing.
    """
    development, test = count(facts.get("development")), count(facts.get("test"))
    found = [count(each) for each in items(facts.get("folds"))]
    folds = [each for each in found if each is not None]
    label = ""
    if development is not None and test is not None and development + test:
        label = (
            f"{plural(development, 'development row')}{f' in {len(folds)} folds' if folds else ''}, "
            f"{plural(test, 'test row')} ({percent(test / (development + test))})"
        )
    return render(
        "split.html.j2",
        troubles=troubles,
        empty="" if label or folds or troubles else absent,
        label=label,
        folds=folds if len(folds) == len(found) else [],
        development=development,
        test=test,
        how=_how_split(facts, text(facts.get("by")), [str(key) for key in items(facts.get("key"))]),
        looked_at=[said for each in mappings(facts.get("looked_at")) if (said := text(each.get("text")))],
        figures=_split_figures(facts),
    )


def _split_figures(facts: Facts) -> list[dict[str, Any]]:
    over, parts = mapping(facts.get("over_time")), mappings(facts.get("parts"))
    try:
        edges = [dt.datetime.fromisoformat(str(each)) for each in items(over.get("edges"))]
    except ValueError:
        edges = []
    drawn = [
        (
            figures.split_over_time(edges, numbers(over.get("development")), numbers(over.get("test"))),
            "Rows over time",
            "A split by time has its test at the end; a random one has it everywhere.",
        ),
        (
            figures.split_parts(*(numbers([part.get(key) for part in parts]) for key in ("target", "low", "high"))),
            "The target in each part",
            "Parts of one population overlap; over time they may not.",
        ),
    ]
    return [{"svg": Markup(svg), "title": title, "note": note} for svg, title, note in drawn if svg]  # noqa: S704


def _how_split(facts: Facts, by: str | None, key: list[str]) -> str:
    stays = "New rows never move an old one across."
    if by == "id":
        of = f" ({', '.join(key)})" if key else ""
        return f"By a hash of the id{of}: rows of one entity stay together. {stays}"
    if by == "row":
        return (
            "By a hash of the whole row, for the contract names no id: equal rows stay together. "
            f"{stays} New columns do; with an id they would not."
        )
    column = text(facts.get("column")) or "a column"
    unit = text(facts.get("unit")) or "row"
    cut = (text(facts.get("cut")) or "")[:16].replace("T", " ")
    others = {
        "time": f"By time: rows from {cut} UTC on are the test, cut between whole {unit}s of {column}; the folds are "
        "stretches of the time before.",
        "group": f"By a hash of {column}: rows of one of its {shown(count(facts.get('groups')) or 0)} groups stay "
        f"together. {stays}",
        "stratified": f"The same share of every value of {column}; among these by a hash.",
        "column": f"As {column} of the data says.",
    }
    return others.get(by or "", f"By {by}." if by else "")


def train_section(facts: Facts, troubles: Troubles = (), absent: str = _SILENT) -> Markup:
    """What was trained: estimator, parameters, cross-validation.

    Args:
        facts: Of `train`.
        troubles: What stopped it.
        absent: What to say when there is nothing.
    """
    estimator = text(facts.get("estimator"))
    return render(
        "train.html.j2",
        troubles=troubles,
        empty="" if facts or troubles else absent,
        keys=_keys(
            ("Estimator", _learner(estimator)),
            ("Development rows", count(facts.get("rows"))),
            ("Classes", ", ".join(shown(each) for each in items(facts.get("classes"))) or None),
            ("Simplest within one standard error", _learner(mapping(facts.get("simplest")).get("kind"))),
            ("Linear rival", _rival(facts)),
            ("Gap from training to validation", text(mapping(facts.get("gap")).get("verdict"))),
        ),
        warnings=[found for each in items(facts.get("warnings")) if (found := text(each))],
        method=text(facts.get("cv_method")),
        cv=[_cv_row(name, mapping(found)) for name, found in mapping(facts.get("cv")).items()],
        parameters=[(key, bare(value)) for key, value in mapping(facts.get("parameters")).items()],
        worth=[_worth(each) for each in mappings(facts.get("feature_table")) if _name(each)],
        worth_method=text(facts.get("gain_method")),
        features=[found for each in items(facts.get("features")) if (found := text(each))],
        excluded=_left_out(mapping(facts.get("excluded"))),
    )


def _left_out(found: Facts) -> list[tuple[str, list[str]]]:
    """Columns by the reason for which they were left out."""
    reasons: dict[str, list[str]] = {}
    for name, why in found.items():
        if why != _OWN:
            reasons.setdefault(shown(why), []).append(name)
    return list(reasons.items())


def _learner(kind: Any) -> str | None:
    name = text(kind)
    return words.ESTIMATORS.get(name, name) if name else None


def _rival(facts: Facts) -> str | None:
    """The rival with its primary metric; nothing where the learner is linear itself."""
    rival, primary = mapping(facts.get("rival")), text(facts.get("primary")) or ""
    mean = number(mapping(mapping(rival.get("cv")).get(primary)).get("mean"))
    kind = _learner(rival.get("kind"))
    if kind is None or mean is None or rival.get("kind") == facts.get("estimator"):
        return None
    return f"{kind}, {words.metric(primary)} {shown(mean)}"


def _worth(found: Facts) -> dict[str, str]:
    """One feature's line: what it is worth, what it costs, what to do with it."""
    gain, cost = mapping(found.get("gain")), number(found.get("cost_us"))
    nulls, drift = number(found.get("nulls")), number(found.get("drift"))
    low, high = number(gain.get("low")), number(gain.get("high"))
    return {
        "name": _name(found) or "",
        "version": text(found.get("version")) or "",
        "gain": _or_dash(number(gain.get("mean"))),
        "interval": words.interval((low, high) if low is not None and high is not None else None),
        "cost": _or_dash(None) if cost is None else f"{cost:.1f}",
        "nulls": _or_dash(None) if nulls is None else percent(nulls),
        "drift": _or_dash(None) if drift is None else percent(drift),
        "policy": text(found.get("policy")) or "",
        "proposal": text(found.get("proposal")) or "",
        "why": text(found.get("why")) or "",
    }


def _cv_row(name: str, found: Facts) -> dict[str, Any]:
    folds = tuple(value for each in items(found.get("folds")) if (value := number(each)) is not None)
    points = Points(
        words.metric(name), number(found.get("mean")), number(found.get("low")), number(found.get("high")), folds
    )
    return {
        "title": words.metric(name),
        "better": words.better(name),
        "value": _or_dash(points.value),
        "interval": words.interval(points.interval),
        "strip": strip(points, scale_of(points.all(), words.BOUNDS.get(name, (None, None)))),
    }


def evaluation_section(
    facts: Facts, decision: Decision | None = None, troubles: Troubles = (), absent: str = _SILENT
) -> Markup:
    """What the gate saw: metrics with intervals against thresholds, dummy and champion; curves.

    Args:
        facts: Of `evaluate`.
        decision: Of the model gate: thresholds and their verdicts are read from its checks.
        troubles: What stopped the task.
        absent: What to say when there is nothing.
    """
    return render("evaluation.html.j2", troubles=troubles, **evaluation_view(facts, decision, bool(troubles), absent))


def decision_section(*decisions: Decision) -> Markup:
    """What was decided and why: every check of every gate.

    Args:
        decisions: In the order in which the gates spoke.
    """
    return render("decision.html.j2", decisions=[decision_view(each) for each in decisions])


def deploy_section(
    facts: Facts, troubles: Troubles = (), commands: tuple[tuple[str, str], ...] = (), absent: str = _SILENT
) -> Markup:
    """Where it serves: digest, address, golden replay, how to ask it.

    Args:
        facts: Of `deploy`.
        troubles: What stopped it.
        commands: (words, shell line) that ask it.
        absent: What to say when there is nothing.
    """
    proof = {**facts, **mapping(facts.get("proof"))}
    golden, protocols = (
        count(proof.get("golden")),
        ", ".join(shown(each).upper() for each in items(proof.get("protocols"))),
    )
    difference, boot = number(proof.get("max_difference")), number(proof.get("boot_s"))
    lines = [
        ("Requests answered", shown(golden) if golden is not None else None),
        ("Protocols", protocols or None),
        ("Largest difference", "0, exactly the same" if difference == 0 else difference and shown(difference)),
        ("Server ready after", f"{boot:.1f} s" if boot is not None else None),
    ]  # fmt: skip
    return render(
        "deploy.html.j2",
        troubles=troubles,
        empty="" if facts or troubles else absent,
        keys=_keys(
            ("Outcome", text(facts.get("outcome"))),
            ("Version", count(facts.get("version"))),
            ("Package", text(facts.get("digest")), True),
            ("Address", text(facts.get("address")), True),
            ("URL", text(facts.get("url")), True),
            ("Champion before", short(facts.get("previous")), True),
        ),
        proof=[line for line in lines if line[1] is not None],
        commands=commands,
    )


def _rule(found: Facts) -> dict[str, Any]:
    broken, share = count(found.get("broken")), number(found.get("share"))
    examples = [shown(each) for each in items(found.get("examples"))]
    return {
        "rule": text(found.get("rule")) or "a rule without a text",
        "column": text(found.get("column")) or "",
        "count": broken,
        "broken": _or_dash(broken),
        "share": _or_dash(None) if share is None else percent(share),
        "width": None if share is None else round(100 * min(max(share, 0.0), 1.0), 2),
        "state": "",
        "examples": ", ".join(examples)
        + (", \N{HORIZONTAL ELLIPSIS}" if broken and broken > len(examples) > 0 else ""),
    }


def _keys(*entries: tuple[Any, ...]) -> list[tuple[str, str, bool]]:
    """Label, value and whether it is code; absent values are left out."""
    return [(entry[0], shown(entry[1]), len(entry) > 2) for entry in entries if entry[1] is not None]


def _name(found: Facts) -> str | None:
    return text(found.get("name"))


def _or_dash(value: Any) -> str:
    return "\N{EN DASH}" if value is None else shown(value)

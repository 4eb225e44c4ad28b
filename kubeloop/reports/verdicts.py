"""Decisions for a person: checks with their evidence, and what to do when a gate does not pass."""

from typing import Any

from kubeloop.decisions import Check, Decision
from kubeloop.reports import words
from kubeloop.reports.facts import asked, shown

_STEPS: dict[str, str] = {
    "rule": "Look at the rows and columns named here, in the source itself. If the data is wrong, mend the source. If "
    "the rule is wrong, correct it in loop.yaml and say why in the change.",
    "quarantine": "Find out why so many rows break a rule before you raise quarantine_at_most.",
    "rows_left": "Give more rows that keep the rules.",
    "columns_filled": "Fill the empty columns, or take them out of loop.yaml.",
    "target_varies": "Check the target: a column that never changes cannot be learnt.",
    "classes": "Give more rows of the rare classes, or merge them.",
    "rows": "Give more test rows: a larger table, or a larger `split.test`.",
    "finite": "Find the rows whose answers are not finite; most often a feature overflows.",
    "target": "Make sure that the test rows hold every class that the model must tell apart.",
    "worst_slice": "Look at the rows of the slices named here: more of them, or features that tell them apart.",
    "slice": "Look at the rows of this slice: more of them, or features that tell them apart.",
    "kpi": "The business is promised something else. Improve the model, or move the promise with the one who answers "
    "for it.",
    "flipped": "Check `target.positive`: a model this far below chance has most likely learnt the opposite class.",
    "dummy": "The inputs do not tell more than always giving the same answer. Look for better features "
    "before anything else.",
    "champion": "The champion stays and still serves. Compare what changed: data, features, parameters.",
}
_BY_VERDICT: dict[tuple[str, str], str] = {
    (
        "threshold",
        "fail",
    ): "The model is not good enough for what the contract promises: improve features or data. Lower "
    "the threshold only if the business accepts it.",
    ("threshold", "inconclusive"): "The interval is too wide to tell. More test rows narrow it: a larger table, or a "
    "larger `split.test`.",
    ("kpi", "inconclusive"): "The interval of the KPI is too wide to tell. More test rows narrow it.",
    ("slice", "inconclusive"): "The slice has too few test rows to tell. More rows of it would decide.",
    ("worst_slice", "inconclusive"): "A slice has too few test rows to tell. More rows of it would decide.",
    ("champion", "inconclusive"): "It cannot be told whether the challenger is as good as the champion. More rows that "
    "neither has seen would decide it.",
}
_ASKED = ("at_least", "at_most", "margin", "minimum")
_ORDER = ("value", "low", "high", "n", "method")
_UNAVAILABLE = (
    "Bring the champion's package and the registry back (`kubeloop doctor`, `kubeloop status`), then run again."
)


def decision_view(decision: Decision) -> dict[str, Any]:
    """What the templates show of a decision."""
    return {
        "title": words.gate(decision.gate),
        "state": decision.verdict,
        "baseline": words.BASELINES.get(decision.baseline, ""),
        "checks": [_check_view(check) for check in decision.checks],
    }


def _check_view(check: Check) -> dict[str, Any]:
    evidence = [
        (key.replace("_", " "), asked(value) if key in _ASKED else shown(value))
        for key, value in sorted(check.evidence.items(), key=_place)
        if value not in (None, "", [], {})
    ]
    return {
        "name": check.name,
        "title": words.check(check.name),
        "verdict": check.verdict,
        "reason": check.reason,
        "evidence": evidence,
    }


def _place(evidence: tuple[str, Any]) -> int:
    """Estimates in the order in which one reads them, whatever the order in the record; the rest after them."""
    return _ORDER.index(evidence[0]) if evidence[0] in _ORDER else len(_ORDER)


def blocking(decision: Decision) -> list[str]:
    """Why it is not a pass; one sentence each, the refusing checks before the undecided ones."""
    found = [check for check in decision.checks if check.verdict != "pass"]
    if any(check.name.startswith("rule:") for check in found):
        found = [check for check in found if check.name != "quarantine"]  # it only adds the rules up
    found.sort(key=lambda check: check.verdict != "fail")
    reasons = [check.reason for check in found]
    if not reasons and decision.baseline == "unavailable":
        reasons = [words.BASELINES["unavailable"]]
    return reasons or ["The gate had no evidence to go by, and nothing passes on no evidence"]


def next_steps(decision: Decision) -> list[str]:
    """What to do about a decision that is not a pass, most pressing first, each step once."""
    steps: list[str] = []
    if decision.baseline == "unavailable":
        steps.append(_UNAVAILABLE)
    for check in decision.checks:
        if check.verdict == "pass":
            continue
        kind = check.name.partition(":")[0]
        if kind == "champion" and decision.baseline == "unavailable":
            continue
        if kind == "quarantine" and _STEPS["rule"] in steps:
            continue
        step = _BY_VERDICT.get((kind, check.verdict)) or _STEPS.get(kind)
        if step and step not in steps:
            steps.append(step)
    return [*steps, "Then run again: `kubeloop run`."]

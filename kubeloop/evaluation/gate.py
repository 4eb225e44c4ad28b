"""The gate: from estimates to a Decision. It measures nothing and knows no table: every outcome can be tested."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubeloop.contract.judgement import HIGHER_IS_BETTER, Gate, Metrics, Threshold
from kubeloop.decisions import BaselineStatus, Check, Decision, Verdict, decide
from kubeloop.evaluation.bootstrap import Estimate
from kubeloop.evaluation.kpis import KpiEstimate
from kubeloop.evaluation.metrics import as_fact
from kubeloop.evaluation.slices import SliceEstimate, worst


@dataclass(frozen=True)
class Rival:
    """What the challenger was held against, on the primary metric.

    Attributes:
        improvement: Challenger minus rival, positive is better; None if it could not be measured.
        reason: Why not.
        rows: Rows that could be used.
        value: The rival's own value on them; NaN where nobody needs it.
    """

    improvement: Estimate | None
    reason: str = ""
    rows: int = 0
    value: float = math.nan


@dataclass(frozen=True)
class Evidence:
    """All that the gate may know.

    Attributes:
        rows: Test rows.
        not_finite: Rows whose answer is not a finite number.
        target_problem: Why the target of the test rows allows no judgement (one class, unknown classes); or empty.
        estimates: By metric.
        undefined: Metric -> why it has no value.
        slices: The primary metric on each slice.
        kpis: What the business watches.
        dummy: Against the dummy.
        champion: Against the champion; None where there is no champion to ask.
        status: What the registry said of a champion.
        detail: The same for a person.
    """

    rows: int
    not_finite: int = 0
    target_problem: str = ""
    estimates: dict[str, Estimate] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)
    slices: Sequence[SliceEstimate] = ()
    kpis: Sequence[KpiEstimate] = ()
    dummy: Rival = Rival(None, "there is no answer to compare")
    champion: Rival | None = None
    status: BaselineStatus = "none_yet"
    detail: str = ""


def judge(metrics: Metrics, gate: Gate, evidence: Evidence) -> Decision:
    """The verdict of the model gate.

    Args:
        metrics: Primary metric and thresholds.
        gate: Smallest number of rows, bounds on slices, and the margin against the champion.
        evidence: What was measured.
    """
    return decide("model", _checks(metrics, gate, evidence), evidence.status)


def _checks(metrics: Metrics, gate: Gate, seen: Evidence) -> Iterator[Check]:
    yield _enough_rows(gate, seen)
    if seen.rows:
        yield _finite(seen)
    if seen.rows and not seen.not_finite:
        if seen.target_problem:
            yield Check(name="target", verdict="inconclusive", reason=seen.target_problem)
        for name, threshold in metrics.thresholds.items():
            why = seen.undefined.get(name, "it was not measured")
            yield _held(f"threshold:{name}", name, threshold, seen.estimates.get(name), why)
        yield from _flipped(seen)
        yield from _slices(metrics.primary, gate, seen)
        for each in seen.kpis:
            bound = Threshold(at_least=each.kpi.at_least, at_most=each.kpi.at_most)
            if _asks(bound):
                yield _held(f"kpi:{each.kpi.name}", f"the KPI {each.kpi.name}", bound, each.found, each.why)
        yield _dummy(metrics.primary, seen)
    yield _champion(metrics.primary, gate, seen)


def _enough_rows(gate: Gate, seen: Evidence) -> Check:
    evidence = {"rows": seen.rows, "minimum": gate.minimum_rows}
    if not seen.rows:
        return Check(name="rows", verdict="inconclusive", reason="there is no test row to judge by", evidence=evidence)
    enough = seen.rows >= gate.minimum_rows
    return Check(
        name="rows",
        verdict="pass" if enough else "inconclusive",
        reason=f"{seen.rows:,} test rows, at least {gate.minimum_rows:,} are asked",
        evidence=evidence,
    )


def _finite(seen: Evidence) -> Check:
    broken = seen.not_finite
    reason = (
        f"{broken:,} of {seen.rows:,} answers are not finite" if broken else f"all {seen.rows:,} answers are finite"
    )
    return Check(name="finite", verdict="fail" if broken else "pass", reason=reason, evidence={"not_finite": broken})


_ENDING = {"pass": "", "fail": ": all of the interval is outside", "inconclusive": ": the interval crosses the bound"}


def _asks(bound: Threshold) -> bool:
    return bound.at_least is not None or bound.at_most is not None


def _held(name: str, subject: str, bound: Threshold, found: Estimate | None, why: str) -> Check:
    """A number held against a bound with its whole interval."""
    asked = f"{subject} is asked to be {_asked(bound)}"
    if found is None or not found.finite:
        why = why if found is None else "its interval is not finite"
        return Check(name=name, verdict="inconclusive", reason=f"{asked}, but {why}")
    verdict = _against(bound, found)
    return Check(
        name=name,
        verdict=verdict,
        reason=f"{asked}, it is {shown(found)}{_ENDING[verdict]}",
        evidence={**as_fact(found), **_bounds(bound)},
    )


def _asked(bound: Threshold) -> str:
    sides = (("at least", bound.at_least), ("at most", bound.at_most))
    return " and ".join(f"{word} {value:,.12g}" for word, value in sides if value is not None)


def _bounds(bound: Threshold) -> dict[str, float]:
    return {side: value for side in ("at_least", "at_most") if (value := getattr(bound, side)) is not None}


def _against(threshold: Threshold, found: Estimate) -> Verdict:
    """Pass if the whole interval keeps every bound, fail if the whole interval breaks one."""
    low = -math.inf if threshold.at_least is None else threshold.at_least
    high = math.inf if threshold.at_most is None else threshold.at_most
    if found.low >= low and found.high <= high:
        return "pass"
    return "fail" if found.high < low or found.low > high else "inconclusive"


def _flipped(seen: Evidence) -> Iterator[Check]:
    found = seen.estimates.get("roc_auc")
    if found is not None and found.high < 0.5:
        yield Check(
            name="flipped",
            verdict="fail",
            reason=f"roc_auc is {shown(found)}, surely below 0.5: the target or its positive class may be flipped",
            evidence=dict(as_fact(found)),
        )


def _slices(primary: str, gate: Gate, seen: Evidence) -> Iterator[Check]:
    """Each slice against its own bound, and all of them against the bound on the worst; see `slices` for the level."""
    for each in seen.slices:
        if _asks(each.part):
            yield _slice(f"slice:{each.part.name}", primary, each.part, each, gate)
    if gate.worst_slice is None:
        return
    checks = [_slice("worst_slice", primary, gate.worst_slice, each, gate) for each in seen.slices]
    for verdict in ("fail", "inconclusive"):
        blocking = [check for check in checks if check.verdict == verdict]
        if blocking:
            more = f" (and {len(blocking) - 1} more slices)" if len(blocking) > 1 else ""
            yield blocking[0].model_copy(update={"reason": f"{blocking[0].reason}{more}"})
            return
    lowest = worst(seen.slices, HIGHER_IS_BETTER[primary])
    if lowest is None or lowest.found is None:
        yield Check(name="worst_slice", verdict="inconclusive", reason="there is no slice to keep the bound on slices")
        return
    reason = f"every slice is asked to be {_asked(gate.worst_slice)}, the worst, {lowest.part.name}, is"
    evidence = {**as_fact(lowest.found), **_bounds(gate.worst_slice), "slice": lowest.part.name}
    yield Check(name="worst_slice", verdict="pass", reason=f"{reason} {shown(lowest.found)}", evidence=evidence)


def _slice(name: str, primary: str, bound: Threshold, seen: SliceEstimate, gate: Gate) -> Check:
    subject = f"{primary} in the slice {seen.part.name}"
    if seen.rows < gate.minimum_rows:
        why = f"its {seen.rows:,} rows are fewer than the {gate.minimum_rows:,} that are asked"
        return Check(name=name, verdict="inconclusive", reason=f"{subject} is asked to be {_asked(bound)}, but {why}")
    check = _held(name, subject, bound, seen.found, seen.why)
    if check.verdict == "fail" and (seen.wide is None or _against(bound, seen.wide) != "fail"):
        reason = check.reason.replace(_ENDING["fail"], ": outside, but among so many slices that may be chance")
        check = check.model_copy(update={"verdict": "inconclusive", "reason": reason})
    return check.model_copy(update={"evidence": {**check.evidence, "slice": seen.part.name}})


def _dummy(primary: str, seen: Evidence) -> Check:
    found = seen.dummy.improvement
    if found is None or not found.finite:
        why = seen.dummy.reason or "its interval is not finite"
        return Check(name="dummy", verdict="inconclusive", reason=f"no comparison with the dummy: {why}")
    verdict: Verdict = "pass" if found.low > 0 else "fail" if found.high <= 0 else "inconclusive"
    words = {"pass": "better than", "fail": "not better than", "inconclusive": "not surely better than"}
    return Check(
        name="dummy",
        verdict=verdict,
        reason=f"{words[verdict]} a dummy that ignores the inputs: improvement in {primary} {shown(found)}",
        evidence=dict(as_fact(found)),
    )


def _champion(primary: str, gate: Gate, seen: Evidence) -> Check:
    if seen.status == "none_yet":
        return Check(name="champion", verdict="pass", reason=f"nothing to compare with: {seen.detail or 'first model'}")
    if seen.status != "champion" or seen.champion is None:
        detail = seen.detail or "no comparison was made"
        return Check(name="champion", verdict="inconclusive", reason=f"the champion cannot be asked: {detail}")
    found = seen.champion.improvement
    if found is None or not found.finite:
        why = seen.champion.reason or "its interval is not finite"
        return Check(name="champion", verdict="inconclusive", reason=f"no comparison with the champion: {why}")
    margin, words_of_margin = _margin(gate, seen.champion.value)
    if not math.isfinite(margin):
        reason = f"gate.champion.margin is {gate.champion.margin} of the champion's {primary}, which is not known"
        return Check(name="champion", verdict="inconclusive", reason=reason)
    evidence: dict[str, Any] = {**as_fact(found), "margin": margin}
    if found.n < gate.minimum_rows:
        reason = f"{found.n:,} rows that neither model has seen, at least {gate.minimum_rows:,} are asked"
        return Check(name="champion", verdict="inconclusive", reason=reason, evidence=evidence)
    verdict: Verdict = "pass" if found.low >= -margin else "fail" if found.high < -margin else "inconclusive"
    more = f" by more than {words_of_margin}" if margin else ""
    words = {
        "pass": "better than the champion" if found.low > 0 else f"not worse than the champion{more}",
        "fail": f"worse than the champion{more}",
        "inconclusive": f"not surely as good as the champion: it may be worse{more}",
    }
    stop = "; " if verdict == "inconclusive" else ": "
    reason = f"{words[verdict]}{stop}improvement in {primary} {shown(found)}"
    return Check(name="champion", verdict=verdict, reason=reason, evidence=evidence)


def _margin(gate: Gate, value: float) -> tuple[float, str]:
    """How much worse the challenger may be, in the metric's unit, and the same for a person.

    A share is taken of the champion's value as it was measured, whose own uncertainty is small beside it.
    """
    asked = gate.champion.margin
    if isinstance(asked, str):
        margin = float(asked.removesuffix("%")) / 100 * abs(value)
        return margin, f"{readable(margin)} (gate.champion.margin: {asked} of its {readable(value)})"
    return asked, f"{asked:,.12g} (gate.champion.margin)"


def shown(found: Estimate) -> str:
    """An estimate for a person: value, interval, rows."""
    return f"{readable(found.value)} ({readable(found.low)} to {readable(found.high)}, {found.n:,} rows)"


def readable(value: float) -> str:
    """Three significant digits, thousands apart, no power of ten below a thousand millions."""
    if not math.isfinite(value) or not 999.5 <= abs(value) < 1e12:
        return f"{value:.3g}"
    return f"{round(value, 2 - math.floor(math.log10(abs(value)))):,.0f}"

"""Measure a model on the test rows, against the dummy and the champion, and let the gate judge."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.contract.judgement import HIGHER_IS_BETTER, METRICS_OF_TASK
from kubeloop.contract.sections import EvaluateSection
from kubeloop.decisions import Decision
from kubeloop.errors import IntegrityError
from kubeloop.evaluation.baseline import Baseline
from kubeloop.evaluation.blocks import blocks_of
from kubeloop.evaluation.bootstrap import Estimate
from kubeloop.evaluation.curves import curves_of
from kubeloop.evaluation.gate import Evidence, Rival, judge
from kubeloop.evaluation.judged import Judged
from kubeloop.evaluation.kpis import KpiEstimate, kpi_estimates, kpi_facts
from kubeloop.evaluation.metrics import as_fact, measure, point
from kubeloop.evaluation.rivals import Challenge, against_champion, against_dummy, dummy_of, not_finite
from kubeloop.evaluation.slices import slice_estimates, slice_facts, worst
from kubeloop.learning.answers import Answers, answer, class_array
from kubeloop.learning.estimator_file import read_estimator
from kubeloop.learning.inputs import to_frame
from kubeloop.learning.targets import labels_of, numbers_of, positions

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        decision: The gate's.
        metrics: Estimates by metric; an undefined metric is not in it.
        curves: For the report; see `curves.curves_of`.
        facts: rows, primary, confidence, metrics, undefined, blocks (what makes rows depend, and how many there are),
            dummy, champion, baseline, kpis, slices, worst_slice, readings (of these test rows), curves; JSON types,
            finite.
    """

    decision: Decision
    metrics: dict[str, Estimate]
    curves: dict[str, Any]
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Case:
    """One evaluation: the contract's part, the model's description, the test rows and the model's answers to them."""

    section: EvaluateSection
    model: dict[str, Any]
    path: Path
    table: "pd.DataFrame"
    judged: Judged
    by: str

    @property
    def setting(self) -> tuple[float, int]:
        return self.section.gate.confidence, self.section.seed

    @property
    def primary(self) -> str:
        return self.section.metrics.primary


def evaluate(
    section: EvaluateSection, model: Path, test: Path, baseline: Baseline, readings: int | None = None
) -> Evaluation:
    """Measure and judge, on one thread.

    Args:
        section: The contract's part.
        model: Folder that `training.train` wrote.
        test: Table folder; rows that neither the search nor the training saw: all choices were made on the others.
        baseline: The champion, or why there is none.
        readings: How many runs have read these test rows, this one included; None if nobody counts. Every reading after
            which something was chosen makes what they say a little too good, so it is shown.

    Raises:
        IntegrityError: The model cannot be read.
        InputError: The test rows do not fit the model, or a slice, a KPI or `gate.blocks` not the test rows.
    """
    from threadpoolctl import threadpool_limits

    from kubeloop.data.tables import read_frame

    described = _read_model(model)
    estimator = read_estimator(model / "estimator.skops")
    table = read_frame(test)
    frame = to_frame(table, described["schema"])
    with threadpool_limits(limits=1):
        answers = answer(estimator, frame, described["classes"], described["task"])
    blocks, by = blocks_of(section, table)
    judged = dataclasses.replace(_judged(section, described, table, answers), blocks=blocks)
    case = _Case(section, described, test, table, judged, by)
    evidence = _evidence(case, baseline)
    decision = judge(section.metrics, section.gate, evidence)
    curves = {} if evidence.not_finite else curves_of(case.judged, described["classes"])
    facts = _facts(case, evidence, baseline) | {"curves": curves, "readings": readings}
    return Evaluation(decision, evidence.estimates, curves, facts)


def _read_model(model: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((model / "model.json").read_text(encoding="ascii")))
    except (OSError, ValueError) as error:
        raise IntegrityError(
            f"model.json of a trained model was expected in {model.name}, but {error}", "train again"
        ) from error


def _judged(section: EvaluateSection, model: dict[str, Any], table: "pd.DataFrame", answers: Answers) -> Judged:
    values = table[section.target.output]
    if model["task"] == "regression":
        assert answers.values is not None
        return Judged(numbers_of(values, section.target), answers.values, True)
    assert answers.probabilities is not None
    return Judged(positions(labels_of(values), model["classes"]), answers.probabilities, False)


def _evidence(case: _Case, baseline: Baseline) -> Evidence:
    rows = len(case.judged)
    status, detail = baseline.status, baseline.detail
    broken = not_finite(case.judged.answers)
    if not rows or broken:
        rival = Rival(None, "the model's own answers allow none")
        return Evidence(rows, broken, champion=rival, status=status, detail=detail)
    estimates, missing = _estimates(case)
    section = case.section
    champion = None
    if status == "champion":
        challenge = Challenge(case.primary, case.judged, case.table, case.path, case.model)
        champion = against_champion(challenge, baseline, case.setting)
    return Evidence(
        rows,
        0,
        _target_problem(case),
        estimates,
        missing,
        slice_estimates(section.slices, case.table, case.judged, case.primary, section.gate.minimum_rows, case.setting),
        _kpis(case),
        against_dummy(case.primary, case.judged, case.model["dummy"], estimates, case.setting),
        champion,
        status,
        detail,
    )


def _estimates(case: _Case) -> tuple[dict[str, Estimate], dict[str, str]]:
    """The metrics that these rows give, and why the others have no value."""
    estimates: dict[str, Estimate] = {}
    missing: dict[str, str] = {}
    asked = [case.primary, *case.section.metrics.also, *case.section.metrics.thresholds]
    for metric in dict.fromkeys([*asked, *METRICS_OF_TASK[case.section.target.task]]):
        found = measure(metric, case.judged, *case.setting)
        if isinstance(found, str):
            missing[metric] = found
        else:
            estimates[metric] = found
    return estimates, missing


def _target_problem(case: _Case) -> str:
    """Why the test rows' target allows no judgement."""
    if case.judged.regression:
        return ""
    unknown = int((case.judged.truth < 0).sum())
    if unknown:
        return f"{unknown} test rows are of a class that the model has never seen"
    found = np.unique(case.judged.truth)
    return f"all test rows are of one class, {case.model['classes'][found[0]]!r}" if len(found) == 1 else ""


def _kpis(case: _Case) -> list[KpiEstimate]:
    import pandas as pd

    business = case.section.business
    if business is None or not business.kpis:
        return []
    answers: NDArray[Any] = case.judged.answers
    if not case.judged.regression:
        answers = class_array(case.model["classes"])[answers.argmax(axis=1)]
    words = {"prediction": pd.Series(answers).infer_objects(), "label": case.table[case.section.target.output]}
    clash = [name for name in case.table.columns if str(name).casefold() in words]
    rows = case.table.drop(columns=clash).assign(**words)
    return kpi_estimates(business.kpis, rows, case.judged, case.setting)


def _facts(case: _Case, evidence: Evidence, baseline: Baseline) -> dict[str, Any]:
    lowest = worst(evidence.slices, HIGHER_IS_BETTER[case.primary])
    return {
        "rows": evidence.rows,
        "primary": case.primary,
        "confidence": case.section.gate.confidence,
        "metrics": {name: dict(as_fact(found)) for name, found in evidence.estimates.items()},
        "undefined": dict(evidence.undefined),
        "blocks": {"by": case.by, "count": case.judged.units} if case.judged.blocks is not None else None,
        "dummy": _rival_fact(evidence.dummy) | _dummy_values(case, evidence),
        "champion": None
        if evidence.champion is None
        else {"digest": baseline.digest, **_rival_fact(evidence.champion)},
        "baseline": {"status": baseline.status, "detail": baseline.detail},
        "kpis": kpi_facts(evidence.kpis),
        "slices": slice_facts(evidence.slices, case.primary),
        "worst_slice": lowest.part.name if lowest else None,
    }


def _rival_fact(rival: Rival) -> dict[str, Any]:
    found = None if rival.improvement is None else dict(as_fact(rival.improvement))
    return {"difference": found, "reason": rival.reason, "rows": rival.rows}


def _dummy_values(case: _Case, evidence: Evidence) -> dict[str, Any]:
    """The dummy's own point values on the same rows, for the report; those that are defined."""
    dummy = dummy_of(case.judged, case.model["dummy"])
    values = {name: point(name, dummy) for name in evidence.estimates}
    return {"values": {name: value for name, value in values.items() if math.isfinite(value)}}

"""Records of every kind of run."""

# ruff: noqa: E501 - sentences as the gates write them

from kubeloop.decisions import Check, decide
from kubeloop.tracking.record import RunRecord
from tests.reports.records import (
    DIGEST,
    attach_monitor,
    data_decision,
    deploy,
    estimate,
    evaluate,
    fit_monitor,
    ingest,
    run,
    split,
    task,
    train,
    validate,
)


def passed_run() -> RunRecord:
    register = task("register", 10.6, 1.2, {"digest": DIGEST, "version": 1})
    tune = task("tune", 2.6, 0.4, {"source": "contract", "parameters": {"C": 0.5, "max_iter": 1000}})
    tasks = [
        ingest(),
        validate(),
        split(),
        tune,
        train(),
        evaluate(),
        fit_monitor(),
        register,
        deploy(),
        attach_monitor(),
    ]
    return run("heart", "done", tasks, verdict="pass")


def refused_data_run() -> RunRecord:
    decision = data_decision(211)
    error = {
        "class": "RefusedError",
        "problem": f"the data gate said fail: {'; '.join(decision.reasons)}",
        "fix": "read the report of this run; mend the data or the model, then run again",
        "context": {},
    }
    refused = task("refused", 2.3, 0.2, status="refused", decision=decision, error=error)
    return run("heart", "refused", [ingest(), validate(211), refused], 2.9, verdict="fail", error=error)


def refused_model_run() -> RunRecord:
    champion = {
        "digest": "sha256-" + "b70c4d11e9a2" + "0" * 52,
        "difference": estimate(-0.338, -0.472, -0.204, 61, "DeLong, paired, 95%"),
        "reason": "",
        "rows": 61,
    }
    found = estimate(0.576, 0.458, 0.688, method="DeLong, logit scale, 95%")
    checks = [
        Check(
            name="rows",
            verdict="pass",
            reason="61 test rows, at least 30 are asked",
            evidence={"rows": 61, "minimum": 30},
        ),
        Check(
            name="threshold:roc_auc",
            verdict="fail",
            reason="roc_auc is asked to be at least 0.8, it is 0.576 (0.458 to 0.688, 61 rows): all of the interval is outside",
            evidence={**found, "at_least": 0.8},
        ),
        Check(
            name="dummy",
            verdict="inconclusive",
            reason="not surely better than a dummy that ignores the inputs: improvement in roc_auc 0.0762 (-0.0416 to 0.188, 61 rows)",
            evidence=estimate(0.076, -0.042, 0.188),
        ),
        Check(
            name="champion",
            verdict="fail",
            reason="worse than the champion within 0.02: improvement in roc_auc -0.338 (-0.472 to -0.204, 61 rows)",
            evidence={**estimate(-0.338, -0.472, -0.204), "margin": 0.02},
        ),
    ]
    cached = [ingest(), validate().model_copy(update={"status": "cached"}), split()]
    judged = evaluate(champion=champion, checks=checks, auc=0.576)
    refused = task("refused", 10.5, 0.2, status="refused", decision=judged.decision)
    return run("heart", "refused", [*cached, task("tune", 2.6, 0.4), train(), judged, refused], 10.9, verdict="fail")


def regression_run() -> RunRecord:
    predicted = [82_000 + 1_400 * i for i in range(200)]
    left = [((i * 7919) % 401 - 200) * (90 + 1.2 * i) for i in range(200)]
    metrics = {
        "mae": estimate(15_120.4, 13_980.2, 16_390.8, 586),
        "r2": estimate(0.913, 0.887, 0.934, 586),
        "rmse": estimate(23_410.7, 20_300.1, 27_120.9, 586),
    }
    facts = {
        "rows": 586,
        "primary": "rmse",
        "metrics": metrics,
        "dummy": {"values": {"rmse": 79_340.5, "mae": 57_980.3, "r2": -0.0004}},
        "champion": None,
        "curves": {
            "residuals": [{"predicted": float(p), "residual": float(r)} for p, r in zip(predicted, left, strict=True)]
        },
    }
    checks = [
        Check(
            name="threshold:rmse",
            verdict="pass",
            reason="rmse is asked to be at most 30000, it is 2.34e+04 (2.03e+04 to 2.71e+04, 586 rows)",
            evidence={**metrics["rmse"], "at_most": 30000.0},
        ),
        Check(
            name="dummy",
            verdict="pass",
            reason="better than a dummy that ignores the inputs",
            evidence=estimate(55_930.0, 52_000.0, 59_000.0, 586),
        ),
    ]
    judged = task("evaluate", 8.0, 2.0, facts, decision=decide("model", checks, "none_yet"))
    return run("ames", "done", [ingest(2930), validate(0, 2930), judged], 61.0, verdict="pass")


def failed_run() -> RunRecord:
    error = {
        "class": "InputError",
        "problem": "logistic_regression cannot be fitted with {'C': -1}: The 'C' parameter must be a float in the range (0.0, inf], got -1",
        "fix": "mend estimator.parameters, or the data that the message names",
        "context": {"file": "loop.yaml", "line": 41, "url": "postgresql://host/db"},
    }
    broken = train(status="failed", error=error).model_copy(update={"facts": {}})
    return run("heart", "failed", [ingest(), validate(), split(), task("tune", 2.6, 0.4), broken], 7.6, error=error)


def running_run() -> RunRecord:
    now = train(status="running", finished=None).model_copy(update={"facts": {}})
    return run("heart", "running", [ingest(), validate(), split(), task("tune", 2.6, 0.4), now], None, verdict="pass")


RUNS = {
    "passed": passed_run,
    "refused_data": refused_data_run,
    "refused_model": refused_model_run,
    "regression": regression_run,
    "failed": failed_run,
    "running": running_run,
}

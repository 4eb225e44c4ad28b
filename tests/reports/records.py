"""Records of tasks, as the tasks write them."""

# ruff: noqa: E501 - sentences as the gates write them

import datetime as dt
from typing import Any

from kubeloop.decisions import Check, Decision, decide
from kubeloop.tracking.record import RunRecord, TaskRecord

START = dt.datetime(2026, 11, 21, 9, 0, 0, tzinfo=dt.UTC)
COLUMNS = [
    "age",
    "sex",
    "cp",
    "trestbps",
    "chol",
    "fbs",
    "restecg",
    "thalach",
    "exang",
    "oldpeak",
    "slope",
    "ca",
    "thal",
]
DIGEST = "sha256-" + "3f9a71c2e5d8" + "0" * 52


def task(name: str, at: float, took: float, facts: dict[str, Any] | None = None, **more: Any) -> TaskRecord:
    """A record of a task that is done unless `more` says otherwise."""
    started = START + dt.timedelta(seconds=at)
    values = {"status": "done", "finished": started + dt.timedelta(seconds=took)} | more
    return TaskRecord(task=name, started=started, facts=facts or {}, **values)


def estimate(
    value: float, low: float, high: float, n: int = 61, method: str = "percentile bootstrap, 95%"
) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "n": n, "method": method}


def ingest(rows: int = 303) -> TaskRecord:
    types = {"age": "integer", "oldpeak": "number", "thal": "category"}
    columns = [{"name": name, "type": types.get(name, "integer")} for name in [*COLUMNS, "target"]]
    facts = {
        "digest": DIGEST,
        "rows": rows,
        "columns": columns,
        "sources": [{"name": "heart", "rows": rows}],
        "target_unknown": 0,
        "bad_rows": 0,
        "not_in_contract": 0,
        "denied": 0,
    }
    return task("ingest", 0.4, 0.9, facts)


def rules(broken: int, rows: int = 303) -> list[dict[str, Any]]:
    kept = [f"{name} has a value" for name in COLUMNS[:6]] + ["age >= 18", "age <= 100", "chol >= 100", "chol <= 600"]
    found = [{"rule": text, "column": text.split()[0], "broken": 0, "share": 0.0, "examples": []} for text in kept]
    examples = [1, 2, 4, 5, 6] if broken > 5 else list(range(31, 31 + broken))
    bad = {
        "rule": "trestbps <= 220",
        "column": "trestbps",
        "broken": broken,
        "share": broken / rows,
        "examples": examples,
    }
    return [*found, bad]


def data_decision(broken: int, rows: int = 303) -> Decision:
    share = f"{broken} of {rows} rows ({100 * broken / rows:.1f}%)"
    verdict = "fail" if broken > 15 else "pass"
    evidence = {"broken": broken, "rows": rows, "share": broken / rows, "at_most": 0.05}
    more = (
        ". trestbps runs from 126 to 564, median 241; 60 to 220 is allowed. Its values are those of 'chol' in 100% of "
        "the rows: has a column been mixed up?"
        if verdict == "fail"
        else ""
    )
    checks = [
        Check(
            name="rule:trestbps:maximum",
            verdict=verdict,
            reason=f"{share} break trestbps <= 220; at most 5% may{more}",
            evidence=evidence,
        ),
        Check(
            name="quarantine",
            verdict=verdict,
            reason=f"{share} break a row rule; at most 5% may",
            evidence={"quarantined": broken, "rows": rows, "at_most": 0.05},
        ),
        Check(
            name="rows_left", verdict="pass", reason=f"{rows - broken} rows are left", evidence={"rows": rows - broken}
        ),
        Check(name="classes", verdict="pass", reason="each of 2 classes has at least 2 rows", evidence={"classes": 2}),
    ]
    return decide("data", checks)


def validate(broken: int = 2, rows: int = 303) -> TaskRecord:
    facts = {"rows": rows, "valid": rows - broken, "quarantined": broken, "rules": rules(broken, rows)}
    return task("validate", 1.4, 0.7, facts, decision=data_decision(broken, rows))


def split() -> TaskRecord:
    facts = {
        "development": 240,
        "test": 61,
        "test_share": 61 / 301,
        "folds": [50, 47, 49, 46, 48],
        "by": "row",
        "key": COLUMNS,
    }
    return task("split", 2.2, 0.3, facts)


def train(**more: Any) -> TaskRecord:
    cv = {
        "accuracy": {"mean": 0.829, "low": 0.768, "high": 0.890, "folds": [0.84, 0.787, 0.857, 0.826, 0.833]},
        "log_loss": {"mean": 0.401, "low": 0.302, "high": 0.500, "folds": [0.38, 0.462, 0.371, 0.42, 0.372]},
        "roc_auc": {"mean": 0.901, "low": 0.848, "high": 0.954, "folds": [0.912, 0.861, 0.921, 0.899, 0.913]},
    }
    facts = {
        "estimator": "logistic_regression",
        "parameters": {"C": 0.5, "max_iter": 1000},
        "rows": 240,
        "features": COLUMNS,
        "excluded": {},
        "classes": [0, 1],
        "cv": cv,
        "cv_method": "t-interval over folds, widened for shared training rows (Nadeau and Bengio 2003)",
        "warnings": [],
    }
    return task("train", 3.3, 4.1, facts, **more)


def roc_points() -> dict[str, list[float]]:
    fpr = [0, 0, 0, 0.03, 0.03, 0.06, 0.06, 0.12, 0.12, 0.18, 0.18, 0.27, 0.3, 0.42, 0.42, 0.6, 0.6, 1]
    tpr = [0, 0.11, 0.36, 0.36, 0.57, 0.57, 0.71, 0.71, 0.79, 0.79, 0.86, 0.86, 0.89, 0.89, 0.96, 0.96, 1, 1]
    return {
        "fpr": [float(x) for x in fpr],
        "tpr": [float(x) for x in tpr],
        "threshold": [1.9 - i / 10 for i in range(18)],
    }


def evaluate(
    *, champion: dict[str, Any] | None = None, checks: list[Check] | None = None, auc: float = 0.914
) -> TaskRecord:
    found = estimate(auc, auc - 0.075, min(auc + 0.054, 1), method="DeLong, logit scale, 95%")
    calibration = [
        (0.04, 0.0),
        (0.09, 0.17),
        (0.17, 0.0),
        (0.26, 0.33),
        (0.41, 0.33),
        (0.55, 0.5),
        (0.71, 0.83),
        (0.83, 0.83),
        (0.92, 1.0),
        (0.97, 1.0),
    ]
    facts = {
        "rows": 61,
        "primary": "roc_auc",
        "metrics": {
            "accuracy": estimate(0.836, 0.719, 0.918, method="Clopper-Pearson, 95%"),
            "log_loss": estimate(0.376, 0.262, 0.506),
            "roc_auc": found,
        },
        "undefined": {},
        "dummy": {
            "values": {"accuracy": 0.541, "log_loss": 0.690, "roc_auc": 0.5},
            "difference": None,
            "reason": "",
            "rows": 61,
        },
        "champion": champion,
        "baseline": {"status": "champion" if champion else "none_yet", "detail": ""},
        "curves": {
            "roc": roc_points(),
            "confusion": {"labels": ["0", "1"], "matrix": [[29, 4], [6, 22]]},
            "calibration": [{"predicted": p, "observed": o, "count": 6} for p, o in calibration],
        },
        "slices": [
            {
                "name": "over-60",
                "metric": "roc_auc",
                **estimate(0.881, 0.688, 0.962, 19),
                "warning": "19 rows are fewer than 30: the interval is wide, the value says little",
            },
            {
                "name": "women",
                "metric": "roc_auc",
                "n": 4,
                "value": None,
                "low": None,
                "high": None,
                "warning": "all rows are of one class",
            },
        ],
    }
    passing = [
        Check(
            name="rows",
            verdict="pass",
            reason="61 test rows, at least 30 are asked",
            evidence={"rows": 61, "minimum": 30},
        ),
        Check(name="finite", verdict="pass", reason="all 61 answers are finite", evidence={"not_finite": 0}),
        Check(
            name="threshold:roc_auc",
            verdict="pass",
            reason="roc_auc is asked to be at least 0.8, it is 0.914 (0.839 to 0.968, 61 rows)",
            evidence={**found, "at_least": 0.8},
        ),
        Check(
            name="dummy",
            verdict="pass",
            reason="better than a dummy that ignores the inputs: improvement in roc_auc 0.414 (0.339 to 0.468, 61 rows)",
            evidence=estimate(0.414, 0.339, 0.468),
        ),
        Check(name="champion", verdict="pass", reason="nothing to compare with: heart has no champion yet"),
    ]
    return task(
        "evaluate", 7.6, 2.8, facts, decision=decide("model", checks or passing, "champion" if champion else "none_yet")
    )


def deploy() -> TaskRecord:
    facts = {
        "name": "heart",
        "digest": DIGEST,
        "version": 1,
        "address": f"file:///home/ada/heart/.kubeloop/store/packages/{DIGEST}",
        "previous": None,
        "revision": 1,
        "outcome": "promoted",
        "mirror": "done",
        "golden": 12,
        "protocols": ["V1", "V2"],
        "max_difference": 0.0,
        "boot_s": 3.42,
    }
    return task("deploy", 12.0, 5.6, facts)


def fit_monitor() -> TaskRecord:
    facts = {
        "rows": 242,
        "dependence": "day of seen",
        "blocks": 31,
        "engine": "native",
        "rate": 0.05,
        "columns": ["age", "thal", "model.probability"],
        "signals": 11,
        "labels": 2,
        "windows": [{"rows": 100, "evidence": 31}],
        "notes": ["the training rows suffice for windows of 100 rows, not of 1000: so a window is full with these"],
        "bytes": 68371,
    }
    return task("fit_monitor", 10.4, 0.2, facts)


def attach_monitor() -> TaskRecord:
    facts = {
        "name": "heart",
        "where": "laptop",
        "how": "`kubeloop serve heart --monitor` watches it",
        "reference": True,
    }
    return task("attach_monitor", 17.6, 0.2, facts)


def run(name: str, status: str, tasks: list[TaskRecord], took: float | None = 18.1, **more: Any) -> RunRecord:
    finished = None if took is None else START + dt.timedelta(seconds=took)
    facts = {"contract": "loop.yaml", "pipeline": "kubeloop-train"}
    ident = f"{name}-20261121-090000-1a2b"
    return RunRecord(
        run_id=ident,
        name=name,
        status=status,
        started=START,
        finished=finished,
        tasks=tuple(tasks),
        facts=facts,
        **more,
    )

"""What machine names mean, in words that a page can show. An unknown name is shown as it is."""

from typing import Literal

from kubeloop.contract.judgement import HIGHER_IS_BETTER, RANGES
from kubeloop.reports.facts import shown

State = Literal["pass", "refused", "inconclusive", "failed", "running", "killed", "cached", "done", "absent"]

BADGES: dict[str, str] = {
    "pass": "Pass",
    "fail": "Fail",
    "refused": "Refused",
    "inconclusive": "Inconclusive",
    "failed": "Failed",
    "running": "Running",
    "killed": "Killed",
    "cached": "From cache",
    "done": "Done",
    "absent": "Did not run",
}
TASKS: dict[str, str] = {
    "ingest": "Read the sources into a snapshot",
    "validate": "Hold every row against the rules",
    "split": "Set test rows apart",
    "tune": "Choose parameters",
    "train": "Fit and cross-validate",
    "evaluate": "Judge on the test rows",
    "fit_monitor": "Count what live rows are held against",
    "register": "Build the package and enter it",
    "deploy": "Boot it, replay golden requests, promote",
    "attach_monitor": "Watch what serves",
    "labels": "Take in what came true",
    "read_rows": "Bring the rows in",
    "predict": "Score them in batches",
    "write_rows": "Put the answers in their place",
    "refused": "End the run with the gate's reasons",
}
TRAIN: tuple[str, ...] = (
    "ingest",
    "validate",
    "split",
    "tune",
    "train",
    "evaluate",
    "fit_monitor",
    "register",
    "attach_monitor",
    "deploy",
)
"""What a train run that went all the way has executed, in order."""
SCORE: tuple[str, ...] = ("read_rows", "predict", "write_rows")
"""What a score run has executed, in order."""
METRICS: dict[str, str] = {
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "calibration_error": "Calibration error",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R\N{SUPERSCRIPT TWO}",
    "mape": "MAPE",
}
BOUNDS: dict[str, tuple[float | None, float | None]] = dict(RANGES)
ESTIMATORS: dict[str, str] = {
    "logistic_regression": "Logistic regression",
    "linear": "Linear regression",
    "ridge": "Ridge regression",
    "lasso": "Lasso",
    "elastic_net": "Elastic net",
    "k_neighbors": "k nearest neighbours",
    "naive_bayes": "Naive Bayes",
    "decision_tree": "Decision tree",
    "random_forest": "Random forest",
    "extra_trees": "Extra trees",
    "gradient_boosting": "Gradient boosting",
    "ada_boost": "AdaBoost",
    "mlp": "Neural network",
    "voting": "Voting",
    "stacking": "Stacking",
    "imported": "Imported model",
}
BASELINES: dict[str, str] = {
    "champion": "Held against the champion that serves now, row by row on rows that neither has seen.",
    "none_yet": "First model of this name: the registry answered that there is no champion yet, so it was held against "
    "the dummy baseline and the thresholds.",
    "unavailable": "The champion could not be asked. Without it nothing passes.",
}
GATES: dict[str, str] = {"data": "Data gate", "model": "Model gate", "package": "Package gate"}


def metric(name: str) -> str:
    """A metric's name for a person."""
    return METRICS.get(name, name)


def gate(name: str) -> str:
    """A gate's name for a person."""
    return GATES.get(name, f"{name} gate")


def check(name: str) -> str:
    """A check's name for a person: `threshold:roc_auc` is `Threshold, ROC AUC`."""
    head, _, tail = name.partition(":")
    head = head.replace("_", " ")
    head = "KPI" if head == "kpi" else head[:1].upper() + head[1:]
    return f"{head}, {METRICS.get(tail, tail.replace(':', ' '))}" if tail else head


def better(name: str) -> str:
    """Which way a metric is better, if it is known."""
    known = HIGHER_IS_BETTER.get(name)
    return "" if known is None else "higher is better" if known else "lower is better"


def interval(ends: tuple[float, float] | None) -> str:
    """An interval for a person."""
    return "not known" if ends is None else f"{shown(ends[0])} to {shown(ends[1])}"

"""From the record of a run to its mirror in MLflow: every run, whatever became of it."""

import datetime as dt
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from kubeloop.errors import KubeloopError
from kubeloop.site.model import Site
from kubeloop.tracking.outbox import owed, pass_on, settle
from kubeloop.tracking.record import RunRecord, TaskRecord, read_run

ENDS = {"done": "FINISHED", "refused": "FAILED", "failed": "FAILED", "killed": "KILLED"}
"""MLflow's word for how a run ended; one that still runs has none."""

DONE = "done"
_SECTIONS = ("target", "split", "features", "estimator", "metrics", "gate")


def mirror(site: Site, record: RunRecord, figures: Mapping[str, str], home: Path | None = None) -> str:
    """Tell MLflow of a run, and what its tasks kept for it. Never raises: a mirror stops nothing.

    Args:
        site: Where.
        record: The run with its tasks.
        figures: By file name: text of pages and pictures.
        home: Where the tasks of a local run kept what they had to tell; None for a task that tells for itself.

    Returns:
        `done`, or why it could not be told.
    """
    from kubeloop.tracking import mlflow_store
    from kubeloop.tracking.nested import log_trials

    try:
        run = mlflow_store.Mirrored(
            run_id=record.run_id,
            name=record.name,
            params=parameters(record),
            metrics=metrics(record),
            tags=tags(record),
            started=record.started,
            ended=_ended(record),
            status=ENDS.get(record.status),
            files=figures,
        )
        known = mlflow_store.log_whole_run(site, run)
        trials = _facts(record, "tune").get("trials")
        if trials:
            log_trials(site, known, trials)
        if home is not None:
            pass_on(home, site)
    except KubeloopError as error:
        return error.problem
    except ImportError as error:
        return f"MLflow is not installed here ({error.name})"
    return DONE


def prepare(site: Site) -> threading.Thread:
    """Import MLflow and make its database beside what this process waits for; `join` it before `mirror`."""

    def work() -> None:
        from kubeloop.tracking import mlflow_store

        with suppress(KubeloopError, ImportError):  # `mirror` meets it again, and tells
            mlflow_store.open_mirror(site)

    thread = threading.Thread(target=work, name="kubeloop-mirror", daemon=True)
    thread.start()
    return thread


def mirror_owed(
    site: Site, records: Site, home: Path, figures: Callable[[RunRecord], Mapping[str, str]]
) -> dict[str, str]:
    """Mirror the ended runs of a home that are owed to MLflow: the one just driven, and such as were killed before.

    Args:
        site: Whose MLflow.
        records: Where the records of the runs are.
        home: As for `mirror`.
        figures: Gives the pages and pictures of a run.

    Returns:
        By run id: `done`, or why it could not be told; after one that could not, the rest waits for the next time.
    """
    told: dict[str, str] = {}
    for run_id in owed(home):
        try:
            record = read_run(records, run_id)
        except KubeloopError:  # removed, or damaged: there is nothing to tell
            settle(home, run_id)
            continue
        if record.status == "running":
            continue
        told[run_id] = mirror(site, record, figures(record), home)
        if told[run_id] != DONE:
            break
        settle(home, run_id)
    return told


def parameters(record: RunRecord) -> dict[str, Any]:
    """What was chosen: the estimator with its parameters, and every word of the contract that can move a result."""
    document = record.facts.get("document") or {}
    found = chosen(record)
    for section in _SECTIONS:
        found |= _leaves(document.get(section), f"contract.{section}")
    return {key: value for key, value in found.items() if value is not None}


def chosen(record: RunRecord) -> dict[str, Any]:
    """The estimator, its parameters and the seed: as trained, or as the contract asks where no training came about."""
    document = record.facts.get("document") or {}
    trained, asked = _facts(record, "train"), document.get("estimator") or {}
    kind = {"estimator": trained.get("estimator") or asked.get("kind")}
    return kind | (trained.get("parameters") or asked.get("parameters") or {}) | {"seed": document.get("seed")}


def metrics(record: RunRecord) -> dict[str, Any]:
    """What was measured: on the test rows with its interval, in cross-validation, rows at each step, seconds."""
    found: dict[str, Any] = {}
    for name, estimate in (_facts(record, "evaluate").get("metrics") or {}).items():
        found |= {name: estimate.get("value"), f"{name}.low": estimate.get("low"), f"{name}.high": estimate.get("high")}
    for name, estimate in (_facts(record, "train").get("cv") or {}).items():
        found |= {f"cv.{name}{end}": estimate.get(key) for end, key in _CV}
    for place, (name, key) in _COUNTS.items():
        found[f"rows.{place}"] = _facts(record, name).get(key)
    for task in record.tasks:
        if task.finished is not None:
            found[f"seconds.{task.task}"] = (task.finished - task.started).total_seconds()
    return {key: value for key, value in found.items() if value is not None}


def tags(record: RunRecord) -> dict[str, Any]:
    """What it was made of and with, what the gates said, and why it stopped if it did."""
    facts, registered = record.facts, _facts(record, "register")
    found = {
        "kubeloop.status": record.status,
        "kubeloop.verdict": record.verdict,
        "kubeloop.data_digest": _facts(record, "ingest").get("digest"),
        "kubeloop.contract_digest": facts.get("contract_digest"),
        "kubeloop.package_digest": registered.get("digest"),
        "kubeloop.version": registered.get("version"),
        "kubeloop.stopped_by": (record.error or {}).get("problem"),
        "mlflow.source.git.commit": (facts.get("code") or {}).get("commit"),
        "mlflow.note.content": _note(record),
    }
    for task in record.tasks:
        if task.decision is not None and task.task != "refused":
            found[f"kubeloop.gate.{task.decision.gate}"] = task.decision.verdict
            found["kubeloop.baseline"] = task.decision.baseline
    found |= {f"code.{key}": value for key, value in (facts.get("code") or {}).items()}
    found |= {f"library.{key}": value for key, value in (facts.get("libraries") or {}).items()}
    return {key: value for key, value in found.items() if value is not None}


_CV = (("", "mean"), (".low", "low"), (".high", "high"))
_COUNTS = {
    "read": ("ingest", "rows"),
    "quarantined": ("validate", "quarantined"),
    "development": ("split", "development"),
    "test": ("split", "test"),
}


def _facts(record: RunRecord, task: str) -> dict[str, Any]:
    return next((found.facts for found in record.tasks if found.task == task), {})


def _ended(record: RunRecord) -> dt.datetime:
    ends = [task.finished or task.started for task in record.tasks]
    return record.finished or max(ends, default=record.started)


def _leaves(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {place: value}
    found: dict[str, Any] = {}
    for key, below in value.items():
        found |= _leaves(below, f"{place}.{key}")
    return found


def _note(record: RunRecord) -> str:
    """What MLflow's page shows of a run first."""
    lines = [f"**{record.verdict or record.status}**"]
    if record.error:
        lines.append(str(record.error.get("problem", "")))
    judged: list[TaskRecord] = [task for task in record.tasks if task.decision and task.task != "refused"]
    for task in judged:
        assert task.decision is not None
        lines += [f"- {check.verdict}: {check.reason}" for check in task.decision.checks if check.verdict != "pass"]
    return "\n\n".join(lines)

"""Run a compiled pipeline on this machine: the same YAML as on a cluster, executed by kfp.local in its own process."""

import datetime as dt
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kubeloop.digests import canonical_json
from kubeloop.errors import KubeloopError, PermanentError, from_dict
from kubeloop.pipelines import engine_log
from kubeloop.site import Site, warm
from kubeloop.site.processes import child_environment
from kubeloop.tracking.record import PROGRESS, RunRecord, RunStatus, TaskRecord, read_run, write_run, write_task

POLL_S = 0.1
ENGINE = ("kubernetes.client", "kubernetes.config", "kfp_server_api", "google.auth.transport.requests")
"""What kfp.local loads, but for kfp itself: a task loads less of it than the engine does."""

TASKS = (
    *("kubeloop.contract.sections", "kubeloop.tracking.task", "pandas", "pyarrow.dataset", "duckdb"),
    *("kubeloop.data.ingest", "kubeloop.data.validation", "sqlalchemy.dialects.sqlite", "alembic.command"),
    *("kubeloop.reports.sections", "kubeloop.data.splitting", "matplotlib.figure", "matplotlib.backends.backend_svg"),
    *("kubeloop.experiments.tuning", "scipy.stats", "sklearn.compose", "sklearn.ensemble", "sklearn.linear_model"),
    *("kubeloop.learning.training", "skops.io", "kubeloop.scoring.prepare", "sqlglot", "kubeloop.evaluation.evaluate"),
    *("kubeloop.monitoring.reference.fitting", "model_signing", "kubeloop.registry.enter"),
    *("kubeloop.rollout.promotion", "kubeloop.serving.on_cluster", "kubeloop.serving.trial"),
)
"""What tasks load, in the order in which those of a run ask for it."""


@dataclass(frozen=True)
class Job:
    """What to run, and where.

    Attributes:
        run_id: Unique in the home.
        name: The contract's name.
        pipeline: Compiled YAML.
        arguments: By parameter name.
        expected: Tasks without which a run is no success, so that a silently skipped one is found.
        facts: For the run's record.
    """

    run_id: str
    name: str
    pipeline: Path
    arguments: Mapping[str, str]
    expected: tuple[str, ...]
    facts: Mapping[str, object]


def run_job(job: Job, site: Site, on_task: Callable[[TaskRecord], None], now: dt.datetime) -> RunRecord:
    """Execute a job and watch it.

    Args:
        job: What to run.
        site: A laptop's site; its `home` takes artifacts, log and records.
        on_task: Called with each task's record when it begins, when it tells something, and when it ends.
        now: The start, UTC.

    Returns:
        The finished record; its `error` tells what stopped it, if anything did.
    """
    folder = work_folder(site, job.run_id)
    (folder / "tmp").mkdir(parents=True)
    record = RunRecord(
        run_id=job.run_id,
        name=job.name,
        status="running",
        started=now,
        namespace=site.namespace,
        facts=dict(job.facts) | {"log": str(folder / "log.txt")},
    )
    write_run(site, record)
    try:
        code = _watch(_start(job, site, folder), site, job.run_id, folder / "log.txt", on_task)
    except KeyboardInterrupt:
        stopped = PermanentError("the run was interrupted", "run the same command again; nothing half-done was kept")
        for task in read_run(site, job.run_id).tasks:
            if task.status == "running":
                write_task(site, job.run_id, task.model_copy(update={"status": "failed", "error": stopped.to_dict()}))
        write_run(site, _closed(record, "failed", stopped))
        raise stopped from None
    return _finish(record, read_run(site, job.run_id), job, code, site)


def work_folder(site: Site, run_id: str) -> Path:
    """Where a run's artifacts, log and scratch files lie."""
    assert site.home is not None
    return site.home / "work" / run_id


def raise_for(record: RunRecord) -> None:
    """Raise what stopped the run, if anything did.

    Raises:
        RefusedError: A gate refused.
        KubeloopError: Another error of the family, as the failing task raised it.
    """
    if record.error is not None:
        raise from_dict(record.error)


def _start(job: Job, site: Site, folder: Path) -> warm.Forked:
    assert site.home is not None
    order = folder / "job.json"
    order.write_text(
        canonical_json(
            {
                "pipeline": str(job.pipeline),
                "arguments": dict(job.arguments),
                "root": str(folder / "artifacts"),
                "cache": str(site.home / "cache"),
            }
        ),
        encoding="ascii",
    )
    environment = child_environment(site.home) | {
        "KUBELOOP_RUN_ID": job.run_id,
        "KUBELOOP_INPUTS": site.inputs or "",
        "TMPDIR": str(folder / "tmp"),
        "PYTHONUNBUFFERED": "1",
    }
    with (folder / "log.txt").open("wb") as log, Path(os.devnull).open("rb") as nothing:
        child = warm.start(
            "kubeloop.pipelines.local_child",
            [str(order)],
            environment=environment,
            folder=folder,
            streams=(nothing.fileno(), log.fileno(), log.fileno()),
            modules=ENGINE,
        )
    warm.prepare(TASKS)
    return child


def _watch(child: warm.Forked, site: Site, run_id: str, log: Path, on_task: Callable[[TaskRecord], None]) -> int:
    told: dict[str, object] = {}
    try:
        while True:
            code = child.poll()
            _note_cached(site, run_id, log)
            for task in read_run(site, run_id).tasks:
                state = task.status, task.facts.get(PROGRESS)
                if told.get(task.task) != state:
                    told[task.task] = state
                    on_task(task)
            if code is not None:
                return code
            time.sleep(POLL_S)
    finally:
        _end(child)


def _end(child: warm.Forked) -> None:
    # The group also holds what outlived the child, such as a task whose engine was killed.
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _note_cached(site: Site, run_id: str, log: Path) -> None:
    hits = engine_log.from_cache(log.read_text(encoding="utf-8", errors="replace"))
    known = {task.task for task in read_run(site, run_id).tasks} if hits else set()
    moment = dt.datetime.now(dt.UTC)
    for name in hits:
        if name not in known:
            write_task(site, run_id, TaskRecord(task=name, status="cached", started=moment, finished=moment))


def _finish(record: RunRecord, seen: RunRecord, job: Job, code: int, site: Site) -> RunRecord:
    error = _what_stopped(seen, job, code)
    status: RunStatus = "done" if error is None else "refused" if error.exit_code == 3 else "failed"
    verdicts = [task.decision.verdict for task in seen.tasks if task.decision]
    record = record.model_copy(update={"verdict": verdicts[-1] if verdicts else None})
    write_run(site, _closed(record, status, error))
    folder = work_folder(site, job.run_id)
    shutil.rmtree(folder / "tmp", ignore_errors=True)
    return read_run(site, job.run_id)


def _closed(record: RunRecord, status: RunStatus, error: KubeloopError | None) -> RunRecord:
    return record.model_copy(
        update={
            "status": status,
            "finished": dt.datetime.now(dt.UTC),
            "error": error.to_dict() if error else None,
        }
    )


def _what_stopped(seen: RunRecord, job: Job, code: int) -> KubeloopError | None:
    for status in ("refused", "failed"):
        for task in seen.tasks:
            if task.status == status and task.error:
                return from_dict(task.error)
    log = str(job_log(seen))
    for task in seen.tasks:
        if task.status in ("running", "killed"):
            return PermanentError(
                f"the task {task.task} died without a word (killed, or out of memory)",
                f"see the end of {log}; then run again",
                task=task.task,
            )
    if code != 0:
        return _without_a_record(code, Path(log))
    missing = [name for name in job.expected if name not in {task.task for task in seen.tasks}]
    if missing:
        return PermanentError(
            f"the pipeline says it is done, but never ran: {', '.join(missing)}",
            f"see {log}; this is a defect of the pipeline or its engine",
        )
    return None


def _without_a_record(code: int, log: Path) -> PermanentError:
    """What stopped a run whose tasks say nothing of it: one broke before it could, or the engine itself did."""
    found = engine_log.broken(log.read_text(encoding="utf-8", errors="replace")) if log.exists() else None
    if found is None:
        return PermanentError(f"the pipeline's engine ended with code {code}", f"see the end of {log}")
    task, kind = found
    return PermanentError(
        f"the task {task} broke with {kind} before it could write its record",
        f"see {log}, where it says what {task} could not load or find; then run again",
        task=task,
    )


def job_log(record: RunRecord) -> Path:
    """The log of a local run."""
    return Path(str(record.facts.get("log", "log.txt")))

"""Run records: `<store>/runs/<run_id>/{run.json, <task>.json}`.

They are the truth; MLflow and reports are made from them.
"""

import datetime as dt
import json
import re
import socket
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from kubeloop.decisions import Decision
from kubeloop.errors import InputError, IntegrityError
from kubeloop.site.addresses import filesystem, write_whole
from kubeloop.site.model import Site
from kubeloop.site.processes import identity, is_alive
from kubeloop.tracking.finite import plain

TaskStatus = Literal["running", "done", "failed", "refused", "cached", "killed"]
RunStatus = Literal["running", "done", "failed", "refused", "killed"]
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


PROGRESS = "progress"
"""The fact of a running task that says what it is at."""


class TaskRecord(BaseModel):
    """One task of a run.

    Attributes:
        task: Name of the task, such as `train`.
        status: `killed` is never written: it is how a `running` task of a dead run reads.
        started: UTC.
        finished: UTC; None while it runs.
        facts: What it found, JSON types; see the rooms for their keys.
        decision: What its gate said, if it has one.
        error: `KubeloopError.to_dict()` of what stopped it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str
    status: TaskStatus
    started: dt.datetime
    finished: dt.datetime | None = None
    facts: dict[str, Any] = Field(default_factory=dict)
    decision: Decision | None = None
    error: dict[str, Any] | None = None

    @field_validator("facts", mode="before")
    @classmethod
    def _clean(cls, value: Any) -> Any:
        return plain(value)


class RunRecord(BaseModel):
    """One run.

    Attributes:
        run_id: Unique in the store.
        name: The contract's name.
        status: `killed` is never written: it is how a `running` run without a living owner reads.
        started: UTC.
        finished: UTC; None while it runs.
        tasks: In the order in which they started; each lives in a file of its own.
        verdict: `pass`, `fail` or `inconclusive`: the last word of the gates; None when none has spoken.
        namespace: The namespace it ran in.
        owner: `processes.identity()` of who drives it; None on a cluster.
        host: Where that process lives; only there can be told whether it does.
        facts: About the run as a whole: pipeline, digests, paths.
        error: `KubeloopError.to_dict()` of what stopped it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_id: str
    name: str
    status: RunStatus
    started: dt.datetime
    finished: dt.datetime | None = None
    tasks: tuple[TaskRecord, ...] = ()
    verdict: Literal["pass", "fail", "inconclusive"] | None = None
    namespace: str = "default"
    owner: str | None = None
    host: str | None = None
    facts: dict[str, Any] = Field(default_factory=dict)
    error: dict[str, Any] | None = None

    @field_validator("facts", mode="before")
    @classmethod
    def _clean(cls, value: Any) -> Any:
        return plain(value)


def write_task(site: Site, run_id: str, record: TaskRecord) -> None:
    """Write the record of one task; a later one of the same name replaces it."""
    if record.task == "run":
        raise InputError("a task cannot be called run: run.json is the run's own record", "give it another name")
    _write(site, run_id, record.task, record.model_dump())


def write_run(site: Site, record: RunRecord) -> None:
    """Write the record of a run, without its tasks.

    While it is `running` and names no owner, this process is put down as the one that drives it.
    """
    document = record.model_dump(exclude={"tasks"})
    if record.status == "running" and record.owner is None:
        document |= {"owner": identity(), "host": socket.gethostname()}
    _write(site, record.run_id, "run", document)


def read_run(site: Site, run_id: str) -> RunRecord:
    """A run with its tasks. One that only tasks have written about (on a cluster) is put together from them.

    Raises:
        InputError: There is no such run.
        IntegrityError: A record cannot be read; the file is named.
    """
    files, folder = filesystem(site, _address(site, run_id))
    names = [path for path in _list(files, folder) if path.endswith(".json") and not _base(path).startswith(".")]
    if not names:
        raise InputError(
            f"there is no run {run_id!r} in {site.store}", "see `kubeloop runs` for those there are", run_id=run_id
        )
    documents = {_base(path): _parse(files.cat_file(path), path) for path in names}
    head = documents.pop("run.json", None)
    try:
        tasks = sorted((TaskRecord(**found) for found in documents.values()), key=lambda found: found.started)
        run = _assembled(run_id, site, tasks) if head is None else RunRecord(**head, tasks=tuple(tasks))
    except (ValidationError, TypeError) as error:
        raise IntegrityError(
            f"the record of run {run_id} in {folder} is not one: {_first(error)}",
            "it was changed by hand or written by another version; remove that folder",
            run_id=run_id,
        ) from error
    return _seen_now(run)


def list_runs(site: Site) -> list[RunRecord]:
    """All runs, newest first. One whose record is damaged is listed as failed, with the reason as its error."""
    files, folder = filesystem(site, f"{site.store}/runs")
    runs = []
    for path in _list(files, folder):
        run_id = _base(path)
        if not _SAFE.fullmatch(run_id):
            continue
        try:
            runs.append(read_run(site, run_id))
        except IntegrityError as error:
            epoch = dt.datetime.fromtimestamp(0, dt.UTC)
            runs.append(RunRecord(run_id=run_id, name="?", status="failed", started=epoch, error=error.to_dict()))
        except InputError:  # an empty folder: a run that was removed or has not begun
            continue
    return sorted(runs, key=lambda run: (run.started, run.run_id), reverse=True)


def _seen_now(run: RunRecord) -> RunRecord:
    gone = run.status == "running" and run.owner and run.host == socket.gethostname() and not is_alive(run.owner)
    if not gone:
        return run
    tasks = tuple(
        task.model_copy(update={"status": "killed"}) if task.status == "running" else task for task in run.tasks
    )
    return run.model_copy(update={"status": "killed", "tasks": tasks})


def _assembled(run_id: str, site: Site, tasks: list[TaskRecord]) -> RunRecord:
    found = {task.status for task in tasks}
    order: tuple[RunStatus, ...] = ("running", "failed", "refused")
    verdicts = [task.decision.verdict for task in tasks if task.decision]
    return RunRecord(
        run_id=run_id,
        name=next((str(task.facts["name"]) for task in tasks if "name" in task.facts), run_id),
        status=next((status for status in order if status in found), "done"),
        started=tasks[0].started,
        finished=None if "running" in found else max(task.finished or task.started for task in tasks),
        tasks=tuple(tasks),
        verdict=verdicts[-1] if verdicts else None,
        namespace=site.namespace,
    )


def _write(site: Site, run_id: str, name: str, document: dict[str, Any]) -> None:
    files, folder = filesystem(site, _address(site, run_id))
    text = json.dumps(plain(document), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_whole(files, f"{folder}/{_checked('task', name)}.json", text.encode("utf-8"))


def _address(site: Site, run_id: str) -> str:
    return f"{site.store}/runs/{_checked('run id', run_id)}"


def _checked(what: str, name: str) -> str:
    if not _SAFE.fullmatch(name):
        raise InputError(f"a {what} is letters, digits, '.', '_' and '-', got {name!r}", f"use another {what}")
    return name


def _list(files: Any, folder: str) -> list[str]:
    try:
        files.invalidate_cache(folder)
        return sorted(str(path) for path in files.ls(folder, detail=False))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _base(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _parse(content: bytes, path: str) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except ValueError as error:
        raise IntegrityError(f"{path} is not JSON", "remove that run's folder", file=path) from error
    if not isinstance(document, dict):
        raise IntegrityError(f"{path} is not a record", "remove that run's folder", file=path)
    return document


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        found = error.errors()[0]
        return f"{'.'.join(str(part) for part in found['loc'])}: {found['msg']}"
    return str(error)

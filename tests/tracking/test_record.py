import datetime as dt
import json
import os
import signal
import subprocess
import sys

import pytest

from kubeloop.decisions import Check, decide
from kubeloop.errors import InputError, IntegrityError
from kubeloop.site.processes import identity
from kubeloop.tracking import RunRecord, TaskRecord, list_runs, read_run, write_run, write_task

NOW = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
FAIL = decide("model", [Check(name="c", verdict="fail", reason="too low")])


def _run(**more):
    return RunRecord(**{"run_id": "r-1", "name": "heart", "status": "running", "started": NOW, **more})


def _task(name, status="done", after=0, **more):
    return TaskRecord(task=name, status=status, started=NOW + after * SECOND, **more)


def test_what_is_written_is_read(site):
    tasks = (
        _task("validate", after=1, facts={"rows": 3, "share": 0.5}),
        _task("evaluate", "refused", 2, finished=NOW + 3 * SECOND, decision=FAIL, error={"class": "RefusedError"}),
    )
    run = _run(status="refused", finished=NOW + 4 * SECOND, verdict="fail", facts={"page": "x.html"}, tasks=tasks)
    for task in reversed(tasks):
        write_task(site, "r-1", task)
    write_run(site, run)
    assert read_run(site, "r-1") == run


def test_facts_are_made_fit_for_json(site):
    import numpy as np

    write_task(site, "r-1", _task("train", facts={"auc": np.float64(0.5), "curve": [np.inf, 1]}))
    assert read_run(site, "r-1").tasks[0].facts == {"auc": 0.5, "curve": [None, 1]}


def test_a_later_record_of_a_task_replaces_the_earlier(site):
    for status in ("running", "done"):
        write_task(site, "r-1", _task("train", status))
    assert [task.status for task in read_run(site, "r-1").tasks] == ["done"]


def test_writing_the_run_leaves_its_tasks_alone(site):
    write_task(site, "r-1", _task("train"))
    write_run(site, _run(tasks=()))
    assert [task.task for task in read_run(site, "r-1").tasks] == ["train"]


def test_a_running_run_knows_who_drives_it(site):
    write_run(site, _run())
    found = read_run(site, "r-1")
    assert (found.status, found.owner) == ("running", identity())


DRIVE = """
import datetime as dt, signal, sys
from kubeloop.site import laptop
from kubeloop.tracking import *
from pathlib import Path
site = laptop(Path(sys.argv[1]))
now = dt.datetime.now(dt.UTC)
write_run(site, RunRecord(run_id="r-1", name="heart", status="running", started=now))
write_task(site, "r-1", TaskRecord(task="ingest", status="done", started=now))
write_task(site, "r-1", TaskRecord(task="train", status="running", started=now + dt.timedelta(seconds=1)))
print("up", flush=True)
signal.pause()
"""


def test_a_run_whose_driver_was_killed_reads_as_killed(site):
    driver = subprocess.Popen([sys.executable, "-c", DRIVE, str(site.home)], stdout=subprocess.PIPE)
    try:
        assert driver.stdout.readline() == b"up\n"
        assert read_run(site, "r-1").status == "running"
    finally:
        os.kill(driver.pid, signal.SIGKILL)
    assert driver.wait(180) == -signal.SIGKILL
    found = read_run(site, "r-1")
    assert (found.status, [task.status for task in found.tasks]) == ("killed", ["done", "killed"])
    assert [run.status for run in list_runs(site)] == ["killed"]


def test_a_reused_pid_is_not_the_driver(site):
    write_run(site, _run(owner=f"{os.getpid()}:1", host=os.uname().nodename))
    assert read_run(site, "r-1").status == "killed"


def test_of_another_host_nothing_is_concluded(site):
    write_run(site, _run(owner="999999999:1", host="another-host"))
    assert read_run(site, "r-1").status == "running"


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["done", "running"], "running"),
        (["done", "failed"], "failed"),
        (["done", "refused"], "refused"),
        (["done", "cached"], "done"),
    ],
)
def test_without_a_driver_the_tasks_tell(site, statuses, expected):
    for number, status in enumerate(statuses):
        decision = FAIL if status == "refused" else None
        write_task(site, "r-1", _task(f"t{number}", status, number, finished=NOW + 9 * SECOND, decision=decision))
    found = read_run(site, "r-1")
    assert (found.status, found.started, found.namespace) == (expected, NOW, "default")
    assert found.finished == (None if expected == "running" else NOW + 9 * SECOND)
    assert found.verdict == ("fail" if expected == "refused" else None)


def test_runs_are_listed_newest_first(site):
    assert list_runs(site) == []
    for number in (2, 1, 3):
        write_run(site, _run(run_id=f"r-{number}", status="done", started=NOW + number * SECOND))
    assert [run.run_id for run in list_runs(site)] == ["r-3", "r-2", "r-1"]


def test_an_unknown_run_is_named(site):
    with pytest.raises(InputError, match="there is no run 'r-9'"):
        read_run(site, "r-9")


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "x" * 200, "a\n"])
def test_names_cannot_leave_the_folder(site, name):
    with pytest.raises(InputError, match="a run id is letters"):
        write_run(site, _run(run_id=name))
    with pytest.raises(InputError, match="a task is letters"):
        write_task(site, "r-1", _task(name))


def test_no_task_takes_the_runs_file(site):
    with pytest.raises(InputError, match="cannot be called run"):
        write_task(site, "r-1", _task("run"))


@pytest.mark.parametrize("content", ["{", "[]", '{"status": "running"}'])
def test_a_damaged_record_is_named_and_hides_no_other(site, content):
    write_run(site, _run(run_id="r-2", status="done"))
    write_run(site, _run())
    (site.home / "store/runs/r-1/run.json").write_text(content)
    with pytest.raises(IntegrityError, match="r-1"):
        read_run(site, "r-1")
    good, bad = list_runs(site)
    assert (good.run_id, bad.run_id, bad.status, bad.error["class"]) == ("r-2", "r-1", "failed", "IntegrityError")


def test_half_written_records_are_not_read(site):
    write_run(site, _run(status="done"))
    (site.home / "store/runs/r-1/.train.json.12.abc").write_text("{")
    assert read_run(site, "r-1").tasks == ()
    assert json.loads((site.home / "store/runs/r-1/run.json").read_text())["status"] == "done"


def test_records_live_in_any_store(site, request):
    import fsspec

    memory = site.model_copy(update={"store": f"memory://{request.node.name}"})
    write_run(memory, _run(status="done"))
    write_task(memory, "r-1", _task("train"))
    assert [task.task for task in list_runs(memory)[0].tasks] == ["train"]
    fsspec.filesystem("memory").rm(f"/{request.node.name}", recursive=True)

import datetime as dt
import errno
import os
from pathlib import Path

import pytest

import kubeloop
from kubeloop.decisions import Check, decide
from kubeloop.errors import InputError, PermanentError, RefusedError
from kubeloop.site import laptop
from kubeloop.tracking import read_run, task

PASS = decide("data", [Check(name="c", verdict="pass", reason="fine")])


@pytest.fixture
def environ(tmp_path):
    return {"KUBELOOP_HOME": str(tmp_path / "home"), "KUBELOOP_RUN_ID": "r-1", "KUBELOOP_SITE_DIR": str(tmp_path)}


def _only(environ, run_id="r-1"):
    (found,) = read_run(laptop(Path(environ["KUBELOOP_HOME"])), run_id).tasks
    return found


def test_a_task_is_recorded_from_its_start_to_its_end(environ):
    with task("train", environ) as run:
        assert run.site.home.name == "home"
        assert run.run_id == "r-1"
        assert run.now.tzinfo is dt.UTC
        assert (_only(environ).status, _only(environ).finished) == ("running", None)
        run.facts["rows"] = 3
        run.decision = PASS
    found = _only(environ)
    assert (found.task, found.status, found.facts, found.decision) == ("train", "done", {"rows": 3}, PASS)
    assert found.started == run.now <= found.finished


def test_without_a_run_it_is_adhoc(environ):
    del environ["KUBELOOP_RUN_ID"]
    with task("train", environ):
        pass
    assert _only(environ, "adhoc").status == "done"


@pytest.mark.parametrize(
    ("cls", "status"), [(InputError, "failed"), (PermanentError, "failed"), (RefusedError, "refused")]
)
def test_our_errors_are_recorded_and_go_on(environ, cls, status):
    def body(run):
        run.facts["rows"] = 1
        raise cls("too few rows", "add rows", column="age")

    with pytest.raises(cls, match="too few rows"), task("train", environ) as run:
        body(run)
    found = _only(environ)
    assert (found.status, found.facts) == (status, {"rows": 1})
    assert found.error == {
        "class": cls.__name__,
        "problem": "too few rows",
        "fix": "add rows",
        "context": {"column": "age"},
    }


def test_a_full_disk_is_the_users_to_mend(environ):
    with pytest.raises(InputError, match="no space left on the disk"), task("train", environ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert _only(environ).error["class"] == "InputError"


def test_other_errors_go_on_and_leave_no_value_behind(environ):
    with pytest.raises(ValueError, match="4711"), task("train", environ):
        raise ValueError("cannot convert '4711-canary'")
    found = _only(environ)
    assert found.status == "failed"
    assert "broke with ValueError at test_task.py:" in found.error["problem"]
    assert "canary" not in found.model_dump_json()


def test_an_interrupt_is_recorded(environ):
    with pytest.raises(KeyboardInterrupt), task("train", environ):
        raise KeyboardInterrupt
    assert _only(environ).status == "failed"


def test_facts_without_a_json_form_fail_the_task(environ):
    with pytest.raises(TypeError, match="a JSON value was expected"), task("train", environ) as run:
        run.facts.update(rows=3, model=object())
    assert (_only(environ).status, _only(environ).facts) == ("failed", {"rows": 3})


def test_what_a_gate_saw_is_made_fit_for_json_too(environ):
    with task("train", environ) as run:
        run.decision = decide("model", [Check(name="c", verdict="fail", reason="r", evidence={"auc": float("nan")})])
    assert _only(environ).decision.checks[0].evidence == {"auc": None}


def test_a_task_of_another_version_stops_before_it_begins(environ):
    environ["KUBELOOP_COMPILED"] = "0.0.0"
    with (
        pytest.raises(PermanentError, match=f"compiled by kubeloop 0.0.0, and this task runs {kubeloop.__version__}"),
        task("train", environ),
    ):
        pytest.fail("the body ran")
    assert not Path(environ["KUBELOOP_HOME"]).exists()


def test_a_task_of_this_version_runs(environ):
    environ["KUBELOOP_COMPILED"] = kubeloop.__version__
    with task("train", environ):
        pass
    assert _only(environ).status == "done"


def test_numerics_have_one_thread_inside_and_theirs_outside(environ, monkeypatch):
    import numpy as np  # noqa: F401
    import threadpoolctl

    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
    with task("train", environ):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
        assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} == {1}
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ
    assert [pool["num_threads"] for pool in threadpoolctl.threadpool_info()] == before

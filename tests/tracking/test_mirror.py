import datetime as dt
import shutil

import pytest

from kubeloop.decisions import Check, decide
from kubeloop.errors import RefusedError
from kubeloop.site.processes import identity
from kubeloop.tracking import mlflow_store
from kubeloop.tracking.mirror import DONE, metrics, mirror, mirror_owed, parameters, tags
from kubeloop.tracking.outbox import kept, owe, owed, waiting
from kubeloop.tracking.record import RunRecord, TaskRecord, write_run, write_task
from kubeloop.tracking.task import task

NOW = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(seconds=9)
REFUSED = decide("data", [Check(name="rows", verdict="fail", reason="3 rows, 30 are asked")])


@pytest.fixture
def home(site, request, monkeypatch):
    for name in ("MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "KUBELOOP_OWNER"):
        monkeypatch.delenv(name, raising=False)
    site.home.mkdir()
    shutil.copy(request.getfixturevalue("mirror"), site.home / "mlflow.db")
    return site.home


def run_of(*tasks, status="done", **more):
    facts = {
        "document": {"seed": 7, "estimator": {"kind": "ridge", "parameters": {"alpha": 2}}, "split": {"test": 0.2}},
        "contract_digest": "sha256-c",
        "code": {"kubeloop": "0.1.0", "commit": "abc", "changed": False},
        "libraries": {"numpy": "1.26.4"},
    }
    known = {"run_id": "heart-1", "name": "heart", "status": status, "started": NOW, "finished": LATER, "facts": facts}
    return RunRecord(**known | more, tasks=tuple(tasks))


def ended(name, facts=None, **more):
    return TaskRecord(task=name, status="done", started=NOW, finished=LATER, facts=facts or {}, **more)


def mirrored(site):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=site.tracking, registry_uri=site.tracking)
    return client, client.search_runs([client.get_experiment_by_name("heart").experiment_id])


def test_all_that_a_run_says_is_told_in_mlflows_words():
    estimate = {"value": 0.9, "low": 0.8, "high": 0.95}
    run = run_of(
        ended("ingest", {"digest": "sha256-d", "rows": 100}),
        ended("train", {"estimator": "ridge", "parameters": {"alpha": 3}, "cv": {"r2": {"mean": 0.7}}}),
        ended("evaluate", {"metrics": {"r2": estimate}}),
        ended("register", {"digest": "sha256-p", "version": 4}),
        verdict="pass",
    )
    assert {"alpha": 3, "estimator": "ridge", "seed": 7, "contract.split.test": 0.2}.items() <= parameters(run).items()
    said = {"r2": 0.9, "r2.low": 0.8, "r2.high": 0.95, "cv.r2": 0.7, "rows.read": 100, "seconds.train": 9.0}
    assert said.items() <= metrics(run).items()
    labels = {
        "kubeloop.data_digest": "sha256-d",
        "kubeloop.package_digest": "sha256-p",
        "kubeloop.contract_digest": "sha256-c",
        "kubeloop.version": 4,
        "code.commit": "abc",
        "library.numpy": "1.26.4",
    }
    assert labels.items() <= tags(run).items()


def test_a_run_refused_before_any_training_is_in_mlflow_with_its_reason(site, home):
    error = RefusedError("the data gate said fail", "mend the data").to_dict()
    run = run_of(ended("validate", decision=REFUSED), status="refused", verdict="fail", error=error)
    assert mirror(site, run, {"report.html": "<p>no</p>", "figures/roc.svg": "<svg/>"}) == DONE
    client, (found,) = mirrored(site)
    assert (found.info.status, found.info.end_time) == ("FAILED", int(LATER.timestamp() * 1000))
    assert found.data.params["alpha"] == "2"
    assert found.data.tags["kubeloop.stopped_by"] == "the data gate said fail"
    assert "3 rows, 30 are asked" in found.data.tags["mlflow.note.content"]
    names = [file.path for file in client.list_artifacts(found.info.run_id)]
    assert names == ["figures", "report.html"]


def test_tasks_of_a_local_run_keep_what_they_have_to_tell_for_its_driver(site, home, monkeypatch):
    monkeypatch.setenv("KUBELOOP_HOME", str(home))
    monkeypatch.setenv("KUBELOOP_OWNER", identity(1))
    mlflow_store.register_version(site, "heart", 1, "file:///p", "sha256-p", "heart-1")
    mlflow_store.set_alias(site, "heart", "champion", 1)
    assert len(waiting(home)) == 2
    monkeypatch.delenv("KUBELOOP_OWNER")
    assert mirror(site, run_of(status="failed"), {}, home) == DONE
    assert waiting(home) == []
    client, (found,) = mirrored(site)
    assert found.info.status == "FAILED"
    assert client.get_model_version_by_alias("heart", "champion").tags["kubeloop.version"] == "1"


def test_without_a_living_driver_nothing_is_kept(home, monkeypatch):
    monkeypatch.setenv("KUBELOOP_HOME", str(home))
    for owner in ("", "999999999:1", identity()):
        monkeypatch.setenv("KUBELOOP_OWNER", owner)
        assert not kept("set_alias", {})
    assert waiting(home) == []


def test_an_alias_of_a_version_that_mlflow_lost_does_not_hold_up_the_rest(site, home, monkeypatch):
    monkeypatch.setenv("KUBELOOP_HOME", str(home))
    monkeypatch.setenv("KUBELOOP_OWNER", identity(1))
    mlflow_store.set_alias(site, "heart", "champion", 9)
    mlflow_store.register_version(site, "heart", 1, "file:///p", "sha256-p", "heart-1")
    monkeypatch.delenv("KUBELOOP_OWNER")
    assert mirror(site, run_of(), {}, home) == DONE
    assert waiting(home) == []


def test_a_killed_run_is_told_by_the_next_one(site, home):
    owe(home, "heart-0")
    owe(home, "heart-1")
    owe(home, "removed")
    write_run(site, run_of(run_id="heart-0", status="running", finished=None, owner="999999999:1", host=_here()))
    write_run(site, run_of())
    told = mirror_owed(site, site, home, lambda run: {"report.html": run.run_id})
    assert told == {"heart-0": DONE, "heart-1": DONE}
    assert owed(home) == []
    assert sorted(found.info.status for found in mirrored(site)[1]) == ["FINISHED", "KILLED"]


def test_what_mlflow_does_not_take_is_owed(site, home):
    (home / "mlflow.db").write_bytes(b"not a database")
    owe(home, "heart-1")
    write_run(site, run_of())
    told = mirror_owed(site, site, home, lambda run: {})
    assert told["heart-1"].startswith("MLflow did not take run heart-1")
    assert owed(home) == ["heart-1"]


def test_on_a_cluster_the_tasks_tell_for_themselves_and_join_kfps_run(site, home, monkeypatch, tmp_path):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=site.tracking)
    begun = client.create_run(client.create_experiment("of-the-plugin")).info.run_id
    environ = {
        "KUBELOOP_HOME": str(home),
        "KUBELOOP_RUN_ID": "r-1",
        "KUBELOOP_SITE_DIR": str(tmp_path),
        "MLFLOW_RUN_ID": begun,
    }
    monkeypatch.setenv("MLFLOW_RUN_ID", begun)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", site.tracking)
    with task("validate", environ) as run:
        run.decision = REFUSED
        run.facts = {"rows": 3}
    found = client.get_run(begun)
    assert found.info.status == "RUNNING", "KFP's launcher ends it"
    assert found.data.tags["kubeloop.gate.data"] == "fail"
    assert found.data.metrics == {}


def test_a_mirror_that_is_down_stops_no_task_of_a_cluster(site, home, tmp_path, capsys):
    (home / "mlflow.db").write_bytes(b"not a database")
    environ = {"KUBELOOP_HOME": str(home), "KUBELOOP_RUN_ID": "r-1", "KUBELOOP_SITE_DIR": str(tmp_path)}
    with task("validate", environ) as run:
        run.decision = decide("data", [Check(name="rows", verdict="pass", reason="fine")])
    assert "the mirror in MLflow: MLflow did not take run r-1" in capsys.readouterr().err


def test_a_run_of_which_only_tasks_know_is_mirrored_too(site, home):
    write_task(site, "r-1", ended("ingest", {"name": "heart", "rows": 3}))
    from kubeloop.tracking import read_run

    assert read_run(site, "r-1").name == "heart"
    assert mirror(site, read_run(site, "r-1"), {}) == DONE
    assert mirrored(site)[1][0].data.metrics["rows.read"] == 3.0


def _here():
    import socket

    return socket.gethostname()

import datetime as dt
import logging
import multiprocessing
import os
import shutil
import signal
import socket

import pytest

from kubeloop.errors import TransientError
from kubeloop.tracking.mlflow_store import Mirrored, log_whole_run, register_version, set_alias

NOW = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)


@pytest.fixture
def mirror(mirror, site, monkeypatch):
    """A site with the empty MLflow database of the session."""
    for name in ("MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    site.home.mkdir()
    shutil.copy(mirror, site.home / "mlflow.db")
    return site


def _client(site):
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=site.tracking, registry_uri=site.tracking)


def log_run(site, run_id, params=None, metrics=None, tags=None):
    return log_whole_run(site, Mirrored(run_id, "heart", params or {}, metrics or {}, tags or {}, NOW, NOW))


def _runs(site, experiment="heart"):
    client = _client(site)
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def test_files_of_a_store_on_a_claim_are_where_the_claim_is_mounted(mirror, tmp_path):
    objects = mirror.objects.model_copy(update={"mount": str(tmp_path / "claim")})
    site = mirror.model_copy(update={"store": "pvc://models/kubeloop", "objects": objects})
    log_whole_run(site, Mirrored("r-1", "heart", {}, {}, {}, NOW, NOW, files={"page.html": "<p>heart</p>"}))
    (page,) = (tmp_path / "claim/kubeloop/mlflow/heart").rglob("page.html")
    assert page.read_text() == "<p>heart</p>"


def test_files_of_a_store_of_objects_lie_beside_the_database(mirror):
    site = mirror.model_copy(update={"store": "s3://models/kubeloop"})
    log_whole_run(site, Mirrored("r-1", "heart", {}, {}, {}, NOW, NOW, files={"page.html": "<p>heart</p>"}))
    (page,) = (mirror.home / "mlflow/heart").rglob("page.html")
    assert page.read_text() == "<p>heart</p>"


def test_a_run_arrives_whole_in_the_experiment_of_its_contract(mirror, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    known = log_run(mirror, "r-1", {"max_depth": 3, "kind": "gb"}, {"roc_auc": 0.9}, {"verdict": "pass"})
    (run,) = _runs(mirror)
    assert run.info.run_id == known
    assert run.info.status == "FINISHED"
    assert run.info.start_time == run.info.end_time == int(NOW.timestamp() * 1000)
    assert run.data.params == {"max_depth": "3", "kind": "gb"}
    assert run.data.metrics == {"roc_auc": 0.9}
    assert {
        "verdict": "pass",
        "kubeloop.run_id": "r-1",
        "kubeloop.namespace": "default",
    }.items() <= run.data.tags.items()
    assert run.info.artifact_uri.startswith(mirror.store)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_is_not_finite_is_left_out_and_named(mirror):
    log_run(mirror, "r-1", {}, {"good": 1, "bad": float("nan"), "worse": float("inf")})
    (run,) = _runs(mirror)
    assert run.data.metrics == {"good": 1.0}
    assert run.data.tags["not_finite"] == "bad,worse"


def test_the_same_run_again_is_the_same_run(mirror):
    first = log_run(mirror, "r-1", {"a": 1}, {"m": 1.0})
    assert log_run(mirror, "r-1", {"a": 2, "b": 3}, {"m": 1.0, "n": 2.0}) == first
    (run,) = _runs(mirror)
    assert run.data.params == {"a": "1", "b": "3"}
    assert run.data.metrics == {"m": 1.0, "n": 2.0}


def test_what_is_too_long_is_cut_and_still_told_apart(mirror):
    params = {"a": "x" * 7000 + "1", "b": "x" * 7000 + "2", "k" * 300: 1, "has $ and /": 2, "..": 3}
    log_run(mirror, "r-1", params, {"m" * 300: 1.0}, {"t": "y" * 9000})
    (run,) = _runs(mirror)
    assert len(run.data.params) == 5
    assert len(run.data.params["a"]) == 6000
    assert run.data.params["a"] != run.data.params["b"]
    assert run.data.params["a"].startswith("x" * 5900)
    assert len(run.data.tags["t"]) == 8000


def test_more_parameters_than_one_call_takes(mirror):
    log_run(mirror, "r-1", {f"p{number}": number for number in range(250)})
    (run,) = _runs(mirror)
    assert len(run.data.params) == 250


def test_a_run_begun_by_the_plugin_is_joined_and_left_open(mirror, monkeypatch):
    client = _client(mirror)
    begun = client.create_run(client.create_experiment("of-the-plugin"))
    monkeypatch.setenv("MLFLOW_RUN_ID", begun.info.run_id)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mirror.tracking)
    assert log_run(mirror, "r-1", {"a": 1}, {"m": 1.0}, {"t": "x"}) == begun.info.run_id
    assert client.get_experiment_by_name("heart") is None
    run = client.get_run(begun.info.run_id)
    assert run.info.status == "RUNNING"
    assert run.data.params == {"a": "1"}
    assert run.data.metrics == {}
    assert run.data.tags["kubeloop.run_id"] == "r-1"


def test_a_deleted_experiment_comes_back(mirror):
    log_run(mirror, "r-1")
    client = _client(mirror)
    client.delete_experiment(client.get_experiment_by_name("heart").experiment_id)
    log_run(mirror, "r-2")
    assert client.get_experiment_by_name("heart").lifecycle_stage == "active"


def test_versions_and_aliases_follow_ours(mirror):
    for version in (3, 4, 4):
        register_version(mirror, "heart", version, f"file:///store/packages/{version}", f"sha256-{version}", "r-1")
    set_alias(mirror, "heart", "champion", 3)
    set_alias(mirror, "heart", "challenger", 4)
    client = _client(mirror)
    assert len(client.search_model_versions("name = 'heart'")) == 2
    champion = client.get_model_version_by_alias("heart", "champion")
    assert champion.tags == {"kubeloop.version": "3", "kubeloop.digest": "sha256-3", "kubeloop.run_id": "r-1"}
    assert champion.source == "file:///store/packages/3"
    set_alias(mirror, "heart", "champion", 4)
    assert client.get_model_version_by_alias("heart", "champion").tags["kubeloop.version"] == "4"


def test_namespaces_do_not_meet(mirror):
    other = mirror.model_copy(update={"namespace": "team-b"})
    for site in (mirror, other):
        register_version(site, "heart", 1, "file:///x", "sha256-1", "r-1")
        log_run(site, "r-1")
    assert {model.name for model in _client(mirror).search_registered_models()} == {"heart", "team-b.heart"}
    assert len(_runs(mirror, "team-b.heart")) == len(_runs(mirror)) == 1


def test_an_alias_to_a_version_that_is_not_mirrored_is_transient(mirror):
    with pytest.raises(TransientError, match="no version 9 of heart"):
        set_alias(mirror, "heart", "champion", 9)


def test_a_server_that_is_down_is_transient_and_quick(mirror, monkeypatch):
    monkeypatch.setenv("KUBELOOP_SECRET_MLFLOW", "hunter2-canary")
    with socket.socket() as taken:  # bound and not listening: refused at once
        taken.bind(("127.0.0.1", 0))
        address = f"http://me:${{secret:mlflow}}@127.0.0.1:{taken.getsockname()[1]}"
        down = mirror.model_copy(update={"tracking": address})
        with pytest.raises(TransientError, match="MLflow did not take run r-1") as caught:
            log_run(down, "r-1")
    assert "canary" not in f"{caught.value!r} {caught.value} {caught.value.to_dict()}"
    assert caught.value.__cause__ is None


def test_a_broken_mirror_is_transient(mirror):
    (mirror.home / "mlflow.db").write_bytes(b"not a database" * 100)
    with pytest.raises(TransientError, match="MLflow did not take run r-1"):
        log_run(mirror, "r-1")


def test_processes_that_open_a_fresh_mirror_at_once_all_get_in(site):
    import mlflow.tracking  # noqa: F401  once here, not in each child

    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(4)

    def work(number):
        barrier.wait()
        log_run(site, f"r-{number}", {"a": number}, {"m": number})

    processes = [fork.Process(target=work, args=(number,)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(_runs(site)) == 4


def test_a_first_opening_that_is_killed_leaves_a_mirror_that_opens(site, monkeypatch):
    import mlflow.store.db.utils as database

    initialize = database._initialize_tables

    def killed(engine):
        initialize(engine)
        (site.home / ".mlflow.db.new-journal").write_bytes(b"half a journal")
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(database, "_initialize_tables", killed)
    process = multiprocessing.get_context("fork").Process(target=log_run, args=(site, "r"))
    process.start()
    process.join(240)
    assert process.exitcode == -signal.SIGKILL
    assert not (site.home / "mlflow.db").exists()
    monkeypatch.undo()
    log_run(site, "r-1")
    assert len(_runs(site)) == 1


def test_it_says_nothing_on_the_way(mirror, capfd):
    log_run(mirror, "r-1", {}, {"m": 1.0})
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("mlflow").level == logging.WARNING

"""The cluster executor against a Katib that validates what it gets and plays faults."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeloop.cluster.api import Api
from kubeloop.errors import InputError, PermanentError, TransientError
from kubeloop.experiments import cluster
from kubeloop.experiments.cluster import Patience, clean_up, experiment_of, run_cluster
from kubeloop.experiments.katib import from_experiment
from kubeloop.experiments.local import Place, run_local
from kubeloop.experiments.search import Search
from kubeloop.experiments.trials import table_of

Experiment = Callable[..., dict[str, Any]]
FakeKatib = Any  # of fake_katib.py, which is no package
QUICK = Patience(deadline_s=20, stall_s=10, poll_s=0.01)


def bowl(given: dict[str, str]) -> str:
    return repr((float(given["lr"]) - 0.03) ** 2 + (float(given["momentum"]) - 0.7) ** 2)


@pytest.fixture
def katib() -> Iterator[FakeKatib]:
    spec = importlib.util.spec_from_file_location("kubeloop_fake_katib", Path(__file__).with_name("fake_katib.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    fake = module.FakeKatib(bowl)
    yield fake
    fake.close()


@pytest.fixture
def api(katib: FakeKatib, monkeypatch: pytest.MonkeyPatch) -> Api:
    from kubernetes import client

    monkeypatch.setattr("kubeloop.cluster.api._PAUSE_S", 0.01)
    made = client.Configuration(host=katib.url)
    made.retries = False
    return Api(client.ApiClient(made), "team")


@pytest.fixture
def search(experiment: Experiment) -> Search:
    return from_experiment(experiment())


def test_search_reaches_its_best_and_is_cleaned_up(search: Search, api: Api, katib: FakeKatib) -> None:
    told: list[str] = []
    outcome = run_cluster(search, api, "run-1", patience=QUICK, on_trial=lambda trial, best: told.append(trial.name))
    assert outcome.ended == "trials"
    assert [trial.value for trial in outcome.trials] == [float(bowl(dict(t.assignment))) for t in outcome.trials]
    assert outcome.best is not None
    assert outcome.best.value == min(t.value for t in outcome.trials if t.value is not None)
    assert told == [trial.name for trial in outcome.trials]
    assert len(katib.created) == 1
    assert katib.experiments == {}


def test_both_executors_give_the_same_columns(search: Search, api: Api, tmp_path: Any) -> None:
    away = run_cluster(search, api, "run-1", patience=QUICK)
    here = run_local(search, Place(tmp_path / "out", tmp_path / "home", tmp_path))
    assert table_of(search, away.trials).schema == table_of(search, here.trials).schema


def test_nan_is_never_the_best_trial(search: Search, api: Api, katib: FakeKatib) -> None:
    katib.observe = lambda given: "" if float(given["lr"]) > 0.03 else bowl(given)
    outcome = run_cluster(search, api, "run-1", patience=QUICK)
    bad = [trial for trial in outcome.trials if float(trial.assignment["lr"]) > 0.03]
    assert bad
    assert {trial.status for trial in bad} == {"MetricsUnavailable"}
    assert bad[0].reason == "loss is '', which is no finite number"
    assert outcome.best is not None
    assert outcome.best not in bad


def test_trial_without_metrics_is_kept_with_its_reason(search: Search, api: Api, katib: FakeKatib) -> None:
    katib.observe = lambda given: "unavailable"
    outcome = run_cluster(search, api, "run-1", patience=QUICK)
    assert outcome.best is None
    assert {(t.status, t.reason) for t in outcome.trials} == {("MetricsUnavailable", "Metrics are not available")}


@pytest.mark.parametrize(
    "faults",
    [
        {("GET", "trials"): [503, 500, 410]},
        {("GET", "experiments"): [502, 429]},
        {("DELETE", "experiments"): [503]},
        {("PATCH", "experiments"): [503]},
    ],
)
def test_faults_that_pass_are_outlived(
    search: Search, api: Api, katib: FakeKatib, faults: dict[Any, list[int]]
) -> None:
    katib.faults = faults
    assert run_cluster(search, api, "run-1", patience=QUICK).best is not None
    assert katib.experiments == {}


def test_a_second_try_of_the_same_run_adopts_what_is_there(search: Search, api: Api, katib: FakeKatib) -> None:
    wanted = experiment_of(search, "run-1")
    name = wanted["metadata"]["name"]
    assert len(name) <= 40
    katib.experiments[name] = wanted
    katib.begin(name)
    assert run_cluster(search, api, "run-1", patience=QUICK).best is not None
    assert katib.created == []


def test_a_race_for_the_name_is_adopted(search: Search, api: Api, katib: FakeKatib) -> None:
    katib.faults = {("PATCH", "experiments"): [409]}
    assert run_cluster(search, api, "run-1", patience=QUICK).best is not None


def test_another_search_of_that_name_is_refused_and_left(search: Search, api: Api, katib: FakeKatib) -> None:
    wanted = experiment_of(search, "run-1")
    wanted["metadata"]["labels"][cluster.SPEC] = "another"
    katib.experiments[wanted["metadata"]["name"]] = wanted
    with pytest.raises(InputError, match="is there already, with another search in it"):
        run_cluster(search, api, "run-1", patience=QUICK)
    assert katib.experiments


def test_what_the_webhook_refuses_is_said(experiment: Experiment, api: Api, katib: FakeKatib) -> None:
    bad = from_experiment(experiment(maxFailedTrialCount=9))
    with pytest.raises(InputError, match=r"Katib refused the Experiment .*maxFailedTrialCount: at most maxTrialCount"):
        run_cluster(bad, api, "run-1", patience=QUICK)
    assert katib.created == []


def test_namespace_without_the_label_is_refused_before_anything_is_made(
    search: Search, api: Api, katib: FakeKatib
) -> None:
    katib.namespace_labels = {}
    with pytest.raises(
        PermanentError, match=r"should have the label katib.kubeflow.org/metrics-collector-injection=enabled"
    ):
        run_cluster(search, api, "run-1", patience=QUICK)
    assert katib.created == []


def test_missing_rights_are_named(search: Search, api: Api, katib: FakeKatib) -> None:
    katib.denied = {("create", "experiments"), ("list", "trials")}
    with pytest.raises(PermanentError, match=r"may not create experiments, list trials in the namespace team"):
        run_cluster(search, api, "run-1", patience=QUICK)


def test_stall_names_its_cause_and_cleans_up(search: Search, api: Api, katib: FakeKatib) -> None:
    katib.stuck = True
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes fit"}
    katib.pods = [{"metadata": {"name": "p"}, "spec": {"containers": []}, "status": {"conditions": [unschedulable]}}]
    with pytest.raises(
        PermanentError, match=r"has not moved for 0.05 s: no node can take its pod \(pod p\): 0/1 nodes"
    ):
        run_cluster(search, api, "run-1", patience=Patience(20, 0.05, 0.01))
    assert katib.experiments == {}


def test_deadline_ends_the_search_and_cleans_up(search: Search, api: Api, katib: FakeKatib) -> None:
    katib.stuck = True
    with pytest.raises(TransientError, match=r"did not end within 0.05 s"):
        run_cluster(search, api, "run-1", patience=Patience(0.05, 20, 0.01))
    assert katib.experiments == {}


def test_cancelled_run_leaves_no_experiment(search: Search, api: Api, katib: FakeKatib) -> None:
    for run in ("run-1", "run-2"):
        wanted = experiment_of(search, run)
        katib.experiments[wanted["metadata"]["name"]] = wanted
    gone = clean_up(api, "run-1")
    assert gone == [experiment_of(search, "run-1")["metadata"]["name"]]
    assert list(katib.experiments) == [experiment_of(search, "run-2")["metadata"]["name"]]

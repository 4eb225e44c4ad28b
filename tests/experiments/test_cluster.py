"""The cluster executor against a Katib that validates what it gets and plays faults."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kubeloop.cluster.api import Api
from kubeloop.errors import InputError, PermanentError, TransientError
from kubeloop.experiments import cluster
from kubeloop.experiments.cluster import experiment_of, run_cluster
from kubeloop.experiments.following import Patience
from kubeloop.experiments.katib import from_experiment
from kubeloop.experiments.local import Place, run_local
from kubeloop.experiments.search import Search
from kubeloop.experiments.trials import Trial, table_of
from tests.experiments.fake_katib import FakeKatib

Experiment = Callable[..., dict[str, Any]]
QUICK = Patience(deadline_s=300, stall_s=300, pause_s=0.01)


def bowl(given: dict[str, str]) -> str:
    return repr((float(given["lr"]) - 0.03) ** 2 + (float(given["momentum"]) - 0.7) ** 2)


@pytest.fixture
def katib() -> Iterator[FakeKatib]:
    fake = FakeKatib(bowl)
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
        {("GET", "trials"): [503, 500]},
        {("GET", "experiments"): [502, 429]},
        {("DELETE", "experiments"): [503]},
        {("PATCH", "experiments"): [503]},
        {("WATCH", "experiments"): ["ends", "expired", "cut", "gone", "bookmark"]},
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


def test_what_is_being_deleted_is_waited_for_and_made_anew(search: Search, api: Api, katib: FakeKatib) -> None:
    wanted = experiment_of(search, "run-1")
    wanted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    katib.experiments[wanted["metadata"]["name"]] = wanted
    threading.Timer(0.2, katib.experiments.clear).start()
    assert run_cluster(search, api, "run-1", patience=QUICK).best is not None
    assert len(katib.created) == 1


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


def test_what_the_lint_refuses_is_never_sent(experiment: Experiment, api: Api, katib: FakeKatib) -> None:
    bad = from_experiment(experiment(maxFailedTrialCount=9))
    with pytest.raises(InputError, match=r"bowl-\w+: spec.maxFailedTrialCount: at most maxTrialCount"):
        run_cluster(bad, api, "run-1", patience=QUICK)
    assert katib.asked == []


def test_what_the_webhook_refuses_is_said(search: Search, api: Api, katib: FakeKatib) -> None:
    katib.faults = {("PATCH", "experiments"): [400]}
    with pytest.raises(InputError, match=r"Katib refused the Experiment bowl-\w+: played 400"):
        run_cluster(search, api, "run-1", patience=QUICK)
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


NAME = "bowl-"  # how the Experiment's name begins
OF = "katib.kubeflow.org/experiment"


def pod(search: Search, **status: Any) -> dict[str, Any]:
    name = experiment_of(search, "run-1")["metadata"]["name"]
    labels = {OF: name, "batch.kubernetes.io/job-name": f"{name}-0"}
    return {"metadata": {"name": f"{name}-0-x", "labels": labels}, "spec": {"containers": []}, "status": status}


def unschedulable(search: Search, katib: FakeKatib) -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes fit"}
    katib.pods = [pod(search, conditions=[condition])]


def no_suggestion(search: Search, katib: FakeKatib) -> None:
    failed = {"type": "Failed", "status": "True", "message": "ValidateAlgorithmSettings: wrong gamma"}
    katib.suggestion = {"status": {"conditions": [failed]}}


def refused_pod(search: Search, katib: FakeKatib) -> None:
    name = experiment_of(search, "run-1")["metadata"]["name"]
    about = {"kind": "Job", "name": f"{name}-0"}
    said = {"metadata": {"name": "e"}, "involvedObject": about, "reason": "FailedCreate", "message": "exceeded quota"}
    katib.events = [said]


def deaf_collector(search: Search, katib: FakeKatib) -> None:
    ended = [{"name": "training", "state": {"terminated": {"exitCode": 0}}}]
    katib.pods = [pod(search, phase="Running", containerStatuses=ended)]
    name = experiment_of(search, "run-1")["metadata"]["name"]
    katib.logs = {f"{name}-0-x": "Failed to parse metrics"}
    running = {"metadata": {"name": f"{name}-0"}, "spec": {}, "status": {"conditions": []}}
    begin = katib.begin

    def with_trial(name: str) -> None:
        begin(name)
        katib.trials[name] = [running]

    katib.begin = with_trial  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (unschedulable, r"no node can take its pod \(pod bowl-\w+-0-x\): 0/1 nodes"),
        (no_suggestion, "its suggestion service failed: ValidateAlgorithmSettings: wrong gamma"),
        (refused_pod, r"Job bowl-\w+-0 may make no pod: exceeded quota"),
        (deaf_collector, r"trial bowl-\w+-0 has ended, .* reports no metric; it said last: Failed to parse metrics"),
        (lambda search, katib: None, "no cause is to be seen in its pods, trials and suggestion"),
    ],
)
def test_stall_names_its_cause_and_cleans_up(
    search: Search, api: Api, katib: FakeKatib, fault: Callable[[Search, FakeKatib], None], said: str
) -> None:
    katib.stuck = True
    fault(search, katib)
    with pytest.raises(PermanentError, match=rf"has not moved for \d+ s: {said}"):
        run_cluster(search, api, "run-1", patience=Patience(300, 0.01, pause_s=0.01))
    assert katib.experiments == {}


def test_image_that_cannot_be_had_is_not_waited_for(search: Search, api: Api, katib: FakeKatib) -> None:
    katib.stuck = True
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    katib.pods = [pod(search, containerStatuses=[{"name": "training", "image": "x:1", "state": waiting}])]
    with pytest.raises(PermanentError, match=r"the image x:1 of training cannot be had \(pod .*\): no such image"):
        run_cluster(search, api, "run-1", patience=Patience(300, 300, 0.01, pause_s=0.01))


def test_trial_that_works_long_is_no_stall(search: Search, api: Api, katib: FakeKatib) -> None:
    katib.stuck = True
    katib.pods = [pod(search, phase="Running")]
    with pytest.raises(TransientError, match=r"did not end within 0.3 s; 0 trials were made"):
        run_cluster(search, api, "run-1", patience=Patience(0.3, 0.01, pause_s=0.01))


def test_search_deleted_by_another_has_its_trials_saved(search: Search, api: Api, katib: FakeKatib) -> None:
    saved: list[tuple[Trial, ...]] = []

    def third_is_the_last(given: dict[str, str]) -> str:
        katib.stuck = len(next(iter(katib.trials.values()))) == 2
        return bowl(given)

    katib.observe = third_is_the_last

    def meddle(trial: Trial, best: Trial | None) -> None:
        if trial.number == 2:
            katib.experiments.clear()

    with pytest.raises(PermanentError, match="was deleted while it ran"):
        run_cluster(search, api, "run-1", patience=QUICK, save=saved.append, on_trial=meddle)
    assert [len(trials) for trials in saved] == [3]


def test_trials_are_saved_before_katib_forgets_them(search: Search, api: Api, katib: FakeKatib) -> None:
    saved: list[tuple[int, int]] = []
    run_cluster(
        search,
        api,
        "run-1",
        patience=QUICK,
        save=lambda trials: saved.append((len(trials), len(katib.experiments))),
    )
    assert saved == [(6, 1)]

"""A contract's search on a cluster: rows by the store, trials in pods like the task's own, nothing left behind."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeloop.cluster import installing
from kubeloop.data.tables import read_frame
from kubeloop.errors import IntegrityError, PermanentError
from kubeloop.experiments import tuning
from kubeloop.experiments.away import Away, clean_up
from kubeloop.experiments.cluster import experiment_name
from kubeloop.experiments.following import Patience
from kubeloop.experiments.katib import from_experiment
from kubeloop.experiments.leftover import note, take_back
from kubeloop.experiments.sending import received, send
from kubeloop.experiments.template import render
from kubeloop.experiments.trial import run_trial
from kubeloop.site.model import Cluster, ObjectStore, Site
from tests.experiments.fake_katib import FakeKatib
from tests.experiments.test_tuning import SEARCH, sections
from tests.kubeconfig import write_kubeconfig

TRAINER = "registry.example/kubeloop/pipeline@sha256:" + 64 * "a"
TRIALS = {**SEARCH, "trials": 3}
POD = {
    "metadata": {
        "name": "loop-tune-1",
        "ownerReferences": [
            {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "loop", "uid": "u-1", "controller": True}
        ],
    },
    "spec": {
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "nodeSelector": {"pool": "big"},
        "imagePullSecrets": [{"name": "registry"}],
        "serviceAccountName": "pipeline-runner",
        "volumes": [
            {"name": "kubeloop-site", "configMap": {"name": "kubeloop", "optional": True}},
            {"name": "kubeloop-secret", "secret": {"secretName": "kubeloop", "optional": True}},
            {"name": "argo-staging", "emptyDir": {}},
            {"name": "kube-api-access", "projected": {"sources": []}},
            {"name": "unmounted", "secret": {"secretName": "another"}},
        ],
        "containers": [
            {"name": "wait", "image": "argo:1"},
            {
                "name": "main",
                "image": TRAINER,
                "resources": {"limits": {"cpu": "2", "memory": "3Gi"}},
                "env": [
                    {"name": "KFP_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "ARGO_TEMPLATE", "value": "{}"},
                    {"name": "KUBELOOP_RUN_ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['x']"}}},
                    {"name": "KUBELOOP_COMPILED", "value": "0.1.0"},
                    {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "kubeloop", "key": "token"}}},
                ],
                "volumeMounts": [
                    {"name": "kubeloop-site", "mountPath": "/etc/kubeloop/site"},
                    {"name": "kubeloop-secret", "mountPath": "/etc/kubeloop/secret"},
                    {"name": "argo-staging", "mountPath": "/argo"},
                    {"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
                ],
            },
        ],
    },
}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    home = tmp_path / "home"
    return Site(
        home=home,
        store="pvc://models/kubeloop",
        objects=ObjectStore(mount=tmp_path / "claim"),
        sql=f"sqlite:///{home}/kubeloop.db",
        tracking=f"sqlite:///{home}/mlflow.db",
        namespace="team",
        allow_unsigned=True,
        cluster=Cluster(image="p:1", trainer=TRAINER),
    )


@pytest.fixture
def katib(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKatib]:
    """Runs each trial's own command, in this process."""

    def observe(given: dict[str, str]) -> str:
        (document,) = fake.experiments.values()
        job = render(from_experiment(document), given, "trial")
        pod = job["spec"]["template"]["spec"]
        python, flag, module, order, *words = pod["containers"][0]["command"]
        assert (python, flag, module) == ("python", "-m", "kubeloop.experiments.trial")
        lines: list[str] = []
        with received(site, order) as found:
            run_trial(found, dict(word.split("=", 1) for word in words), lines.append)
        return lines[-2].partition("=")[2]

    fake = FakeKatib(observe)
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", fake.server)))
    yield fake
    fake.close()


@pytest.fixture
def heart(tmp_path: Path, root: Path) -> Path:
    """A copy of the heart example."""
    for name in ("loop.yaml", "heart.csv"):
        shutil.copy(root / "examples" / "heart" / name, tmp_path / name)
    return tmp_path / "loop.yaml"


def away(site: Site, development: Path, search: dict[str, Any], **words: Any) -> Away:
    s = sections(search)
    return Away(s.tune, s.train, development, site, "run-1", patience=Patience(300, 300, pause_s=0.01), **words)


def in_pod(katib: FakeKatib) -> dict[str, str]:
    katib.pods = [POD]
    return {"KFP_POD_NAME": "loop-tune-1"}


def left(site: Site) -> list[Path]:
    assert site.objects.mount is not None
    return list((site.objects.mount / "kubeloop" / "searches").glob("*"))


@pytest.mark.slow
def test_search_on_a_cluster_has_the_outputs_of_one_here(
    development: Path, tmp_path: Path, site: Site, katib: FakeKatib
) -> None:
    s = sections(TRIALS)
    here = tuning.tune(
        s.tune, s.train, development, tmp_path / "here", site.model_copy(update={"cluster": None}), "r", print
    )
    there = tuning.tune(s.tune, s.train, development, tmp_path / "there", site, "run-1", print)
    one, other = read_frame(tmp_path / "here"), read_frame(tmp_path / "there")
    assert one.dtypes.to_dict() == other.dtypes.to_dict()
    assert set(here) == set(there)
    assert set(here["search"]) == set(there["search"])
    assert other["status"].tolist() == ["Succeeded"] * 3
    # The contract's own parameters come first in both, and cost one of the three trials.
    assert there["search"]["first"] == here["search"]["first"] == {"contract": 0}
    assert one.loc[0, "value"] == other.loc[0, "value"]
    assert other["number"].tolist() == [0, 1, 2]
    best = other.loc[other["value"].idxmax()]
    assert there["parameters"] == {"max_iter": 500, "C": pytest.approx(best["param.C"])}
    assert len(katib.created) == 1
    assert (katib.experiments, left(site)) == ({}, [])
    assert set(katib.asked) <= rights_of("kubeloop-tune")


def rights_of(role: str) -> set[tuple[str, str]]:
    """Verb and kind of all that a Role of the installation allows."""
    documents = yaml.safe_load_all((Path(installing.__file__).parent / "base" / "roles.yaml").read_text())
    (found,) = (each for each in documents if (each["kind"], each["metadata"]["name"]) == ("Role", role))
    return {(verb, kind) for rule in found["rules"] for verb in rule["verbs"] for kind in rule["resources"]}


def test_trials_run_like_the_task_that_searches(development: Path, site: Site, katib: FakeKatib) -> None:
    sent: list[dict[str, Any]] = []
    begin = katib.begin

    def note(name: str) -> None:
        sent.append(json.loads(json.dumps(katib.experiments[name])))
        begin(name)

    katib.begin = note  # type: ignore[method-assign]
    outcome = away(site, development, TRIALS, environ=in_pod(katib)).run()
    assert outcome.best is not None
    (document,) = sent
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "loop", "uid": "u-1"}
    assert document["metadata"]["ownerReferences"] == [owner]
    assert document["spec"]["algorithm"]["algorithmSettings"] == [{"name": "random_state", "value": "7"}]
    pod = document["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == TRAINER
    assert container["resources"] == {"limits": {"cpu": "2", "memory": "3Gi"}}
    assert [each["name"] for each in container["env"]] == ["KUBELOOP_COMPILED", "TOKEN"]
    assert container["securityContext"]["runAsNonRoot"] is True
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert (pod["nodeSelector"], pod["imagePullSecrets"]) == ({"pool": "big"}, [{"name": "registry"}])
    assert "serviceAccountName" not in pod
    assert pod["automountServiceAccountToken"] is False
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    assert set(mounts) == {"/etc/kubeloop/site", "/etc/kubeloop/secret", str(site.objects.mount)}
    assert {each["name"] for each in pod["volumes"]} == set(mounts.values())
    assert {key for each in pod["volumes"] for key in each if key != "name"} == {
        "configMap",
        "secret",
        "persistentVolumeClaim",
    }


def test_the_same_question_again_is_answered_from_the_store(
    development: Path, site: Site, katib: FakeKatib, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KFP's own cache cannot: its key holds the address of `development`, which is new after every `ingest`."""
    once = away(site, development, TRIALS).run()
    saved: list[int] = []
    again = away(site, development, TRIALS, save=lambda trials: saved.append(len(trials))).run()
    assert (again.trials, again.best, again.reason) == (once.trials, once.best, once.reason)
    assert (again.kept, saved, len(katib.created)) == (3, [3], 1)
    away(site, development, {**TRIALS, "algorithm": "sobol"}).run()
    assert len(katib.created) == 2
    monkeypatch.setattr("kubeloop.experiments.away.__version__", "another")
    away(site, development, TRIALS).run()
    assert len(katib.created) == 3


def test_own_pod_that_is_elsewhere_is_said(development: Path, site: Site, katib: FakeKatib) -> None:
    with pytest.raises(PermanentError, match="own pod lost should be in the namespace team, and is not"):
        away(site, development, TRIALS, environ={"KFP_POD_NAME": "lost"}).run()
    assert katib.created == []


def test_rows_that_were_changed_in_the_store_are_refused(development: Path, site: Site) -> None:
    reference = send(site, "ward-1", {"digest": "d"}, development)
    assert send(site, "ward-1", {"digest": "d"}, development) == reference
    with received(site, reference) as order:
        assert read_frame(Path(order["development"])).equals(read_frame(development))
    (rows,) = left(site)[0].rglob("part-0.parquet")
    rows.write_bytes(rows.read_bytes()[:-9] + b"\0" * 9)
    with pytest.raises(IntegrityError, match="the search's rows should have the digest"), received(site, reference):
        pytest.fail("no trial may see these rows")
    (order_file,) = left(site)[0].glob("order.json")
    order_file.write_bytes(b"{}")
    with pytest.raises(IntegrityError, match="the search's order should have the digest"), received(site, reference):
        pytest.fail("no trial may follow this order")


def test_a_cancelled_run_leaves_neither_experiment_nor_rows(development: Path, site: Site, katib: FakeKatib) -> None:
    """What a killed task leaves is found by what an exit handler knows: the contract's name and the run."""
    mine, another = experiment_name("ward", "run-1"), experiment_name("ward", "run-2")
    for name in (mine, another):
        send(site, name, {"digest": "d"}, development)
        katib.experiments[name] = {"metadata": {"name": name, "labels": {}}}
    assert clean_up(site, "ward", "run-1") is True
    assert list(katib.experiments) == [another]
    assert [path.name for path in left(site)] == [another]
    assert clean_up(site, "ward", "run-1") is False


def test_the_next_run_takes_back_what_a_killed_one_left(development: Path, site: Site, katib: FakeKatib) -> None:
    """Also where the contract of the next one has another name; what is of other Sites stays for them."""
    for name, run_id in (("ward", "run-1"), ("heart", "run-2")):
        note(site, name, run_id)
        experiment = experiment_name(name, run_id)
        send(site, experiment, {"digest": "d"}, development)
        katib.experiments[experiment] = {"metadata": {"name": experiment, "labels": {}}}
    assert take_back(site.model_copy(update={"name": "other"})) == []
    assert len(katib.experiments) == 2
    assert take_back(site) == ["run-1", "run-2"]
    assert (katib.experiments, left(site)) == ({}, [])
    note(site, "ward", "run-3")  # killed before its search
    assert take_back(site) == []
    asked = len(katib.asked)
    assert take_back(site) == []
    assert len(katib.asked) == asked


def test_where_no_cluster_is_there_is_nothing_to_clean(site: Site) -> None:
    assert clean_up(site.model_copy(update={"cluster": None}), "ward", "run-1") is False


def test_budget_that_the_first_trials_use_up_needs_no_katib(development: Path, site: Site, katib: FakeKatib) -> None:
    saved: list[int] = []
    search = away(site, development, {**SEARCH, "trials": 1}, save=lambda trials: saved.append(len(trials)))
    outcome = search.run([{"C": "1"}])
    assert outcome.best is not None
    assert (outcome.best.assignment, saved, katib.created) == ({"C": "1"}, [1], [])


def test_values_that_a_shell_would_read_reach_the_trial(development: Path, site: Site, katib: FakeKatib) -> None:
    """Katib joins the command for `sh -c` without quoting."""
    values = {"class_weight": {"type": "categorical", "values": [None, "balanced"]}}
    outcome = away(site, development, {"trials": 2, "algorithm": "grid", "parameters": values}).run()
    assert {trial.assignment["class_weight"] for trial in outcome.trials} == {"null", "balanced"}
    assert {trial.status for trial in outcome.trials} == {"Succeeded"}


@pytest.mark.slow
def test_compiled_pipeline_searches_on_the_cluster(site: Site, katib: FakeKatib, tmp_path: Path, heart: Path) -> None:
    """The whole run as on a laptop, refused at its second gate, so that nothing is deployed."""
    document = yaml.safe_load(heart.read_text())
    parameters = {"C": {"type": "double", "low": 0.01, "high": 1.0, "scale": "log"}}
    document |= {"search": {"trials": 2, "algorithm": "random", "parameters": parameters}}
    document["metrics"]["thresholds"] = {"roc_auc": {"at_least": 0.999}}
    heart.write_text(yaml.safe_dump(document))
    folder = tmp_path / "home" / "sites" / "away"
    folder.mkdir(parents=True)
    fields = site.model_dump(mode="json", exclude={"home", "name"}, exclude_defaults=True)
    (folder / "site.yaml").write_text(yaml.safe_dump(fields))
    command = [sys.executable, "-m", "kubeloop.cli.main", "run", str(heart), "--home", str(tmp_path / "home")]
    done = subprocess.run([*command, "--site", "away", "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stdout[-2000:] + done.stderr[-2000:]
    (task,) = (each for each in json.loads(done.stdout)["run"]["tasks"] if each["task"] == "tune")
    assert task["facts"]["search"]["first"] == {"contract": 0}
    assert [trial["status"] for trial in task["facts"]["trials"]] == ["Succeeded"] * 2
    assert 0.01 <= task["facts"]["parameters"]["C"] <= 1.0
    assert len(katib.created) == 1
    assert (katib.experiments, left(site)) == ({}, [])
    # The exit handler has looked as well, once the task's own clean-up was done.
    assert katib.asked[-1] == ("get", "experiments")

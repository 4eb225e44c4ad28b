"""The search on a real Katib: its best trial, what a NaN does to it, and nothing left of a cancelled run."""

import copy
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeloop.cluster.api import POD, Api, Kind, Refused, connect
from kubeloop.components.clean_up.component import clean_up
from kubeloop.contract import encode
from kubeloop.data.tables import read_frame
from kubeloop.experiments import tuning
from kubeloop.experiments.cluster import run_cluster
from kubeloop.experiments.following import EXPERIMENT, Patience
from kubeloop.experiments.katib import from_experiment
from kubeloop.experiments.lint import Finding, lint
from kubeloop.experiments.stalling import SUGGESTION, TRIAL
from kubeloop.site.load import named_site, site_folder
from kubeloop.site.model import Site
from kubeloop.site.processes import surrounded
from tests.cluster.bed import layout
from tests.cluster.conftest import PREDICTOR, Place, as_account, wait_until
from tests.experiments.conftest import PLAIN, write_development
from tests.experiments.test_lint import BROKEN, GOOD, changed
from tests.experiments.test_tuning import SEARCH, sections

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

TRAINER = os.environ.get("KUBELOOP_PIPELINE_IMAGE", f"{layout.REGISTRY}/pipeline:0.1.0")
PATIENCE = Patience(deadline_s=900, stall_s=300)
JOB = Kind("apis/batch/v1", "jobs", "Job")


@pytest.fixture(scope="module")
def site(place: Place) -> Site:
    """The Site of the tests, with an image for its trials."""
    if not place.admin.may("list", "kubeflow.org", "experiments") or not _knows_katib(place.admin):
        pytest.skip("NO KATIB on this Kubernetes")
    file = place.home / "sites" / "cluster" / "site.yaml"
    document = yaml.safe_load(file.read_text())
    document["cluster"]["trainer"] = TRAINER
    file.write_text(yaml.safe_dump(document))
    return named_site(place.home, "cluster")


def _knows_katib(api: Api) -> bool:
    groups = api.read("/apis")["groups"]
    return any(group["name"] == "kubeflow.org" for group in groups)


@pytest.fixture
def development(tmp_path: Path) -> Path:
    return write_development(tmp_path / "development")


def nothing_left(place: Place, site: Site) -> None:
    """Neither objects of Katib nor pods nor rows in the store."""

    def gone() -> bool:  # it has a finalizer, and what belonged to it is collected after it
        return not any(place.admin.list(kind) for kind in (EXPERIMENT, TRIAL, SUGGESTION, JOB, POD))

    wait_until(gone, "all that belonged to the Experiment to be gone", 300)
    assert site.objects.mount is not None
    assert list((site.objects.mount / "kubeloop" / "searches").glob("*")) == []


def test_component_reaches_its_best_trial(place: Place, site: Site, development: Path, tmp_path: Path) -> None:
    s = sections({**SEARCH, "trials": 4, "parallel": 2})
    with as_account(place.operator):
        facts = tuning.tune(s.tune, s.train, development, tmp_path / "trials", site, "run-best", print)
    table = read_frame(tmp_path / "trials")
    assert table["status"].tolist() == ["Succeeded"] * 4, table["reason"].tolist()
    assert facts["search"]["first"] == {"contract": 0}
    best = table.loc[table["value"].idxmax()]
    assert facts["search"]["best"] == best["number"]
    assert facts["parameters"]["C"] == pytest.approx(best["param.C"])
    assert table["metric.train_seconds"].gt(0).all()
    # A trial there and the same parameters here: the same number.
    again = tuning.tune(*_only(s, best), development, tmp_path / "here", _local(site, tmp_path), "run-here", print)
    assert again["search"]["value"] == pytest.approx(best["value"], abs=1e-12)
    nothing_left(place, site)


def _only(s: Any, best: Any) -> tuple[Any, Any]:
    """Sections of a search that can but try the parameters of one trial."""
    c = float(best["param.C"])
    search = s.tune.search.model_copy(update={"trials": 1})
    fixed = search.parameters["C"].model_copy(update={"low": c, "high": c})
    search = search.model_copy(update={"parameters": {"C": fixed}})
    return s.tune.model_copy(update={"search": search}), s.train


def _local(site: Site, folder: Path) -> Site:
    return site.model_copy(update={"cluster": None, "home": folder / "home"})


SHELL = "(case ${trialParameters.x} in 0|0.[0-4]*) echo loss=nan;; *) echo loss=${trialParameters.x};; esac; sleep 2)"


def test_nan_is_not_the_best_trial(place: Place, site: Site) -> None:
    """Half of the range prints NaN; Katib's own optimum is noted, ours is held against the trials."""
    search = from_experiment(_experiment(["sh", "-c", SHELL]))
    said: list[Any] = []

    with as_account(place.operator):
        api = connect(site)

        def save(trials: tuple[Any, ...]) -> None:
            (live,) = place.admin.list(EXPERIMENT)
            said.append(live["status"].get("currentOptimalTrial"))

        outcome = run_cluster(search, api, "run-nan", patience=PATIENCE, save=save)
    print(f"\nKatib's own optimum: {said}; ended: {outcome.ended}, {outcome.reason}")
    drawn = {trial.number: float(trial.assignment["x"]) for trial in outcome.trials}
    finite = [trial for trial in outcome.trials if drawn[trial.number] >= 0.5]
    strange = [trial for trial in outcome.trials if drawn[trial.number] < 0.5]
    assert finite, drawn
    assert strange, drawn
    assert {trial.status for trial in strange} <= {"MetricsUnavailable", "Failed"}
    assert all(trial.value is None for trial in strange)
    assert outcome.best is not None
    assert outcome.best.value == min(drawn[trial.number] for trial in finite)
    nothing_left(place, site)


def _experiment(command: list[str]) -> dict[str, Any]:
    confined = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "trial", "image": PREDICTOR, "command": command, "securityContext": confined}
    container["resources"] = {"limits": {"cpu": "200m", "memory": "128Mi"}}
    pod = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}
    job = {"backoffLimit": 0, "activeDeadlineSeconds": 300, "template": {"spec": pod}}
    space = {"min": "0", "max": "1"}
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "nan"},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": "sobol"},
            "maxTrialCount": 4,
            "parallelTrialCount": 2,
            "maxFailedTrialCount": 4,
            "parameters": [{"name": "x", "parameterType": "double", "feasibleSpace": space}],
            "trialTemplate": {
                "primaryContainerName": "trial",
                "trialParameters": [{"name": "x", "reference": "x"}],
                "trialSpec": {"apiVersion": "batch/v1", "kind": "Job", "spec": job},
            },
        },
    }


@contextmanager
def searching(place: Place, folder: Path, loop: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """`kubeloop run` as a person's command, once its Experiment is there; what it says is in `log.txt`."""
    command = [sys.executable, "-m", "kubeloop.cli.main", "run", str(loop), "--home", str(place.home)]
    environment = {**os.environ, "KUBECONFIG": str(place.operator)}
    with (folder / "log.txt").open("w") as log:
        run = subprocess.Popen(
            [*command, "--site", "cluster", "--json"], cwd=folder, env=environment, stdout=log, stderr=log
        )
        try:
            wait_until(lambda: place.admin.list(EXPERIMENT) or run.poll() is not None, "the Experiment", 300)
            assert run.poll() is None, (folder / "log.txt").read_text()[-3000:]
            yield run
        finally:
            run.kill()
            run.wait()


def heart(root: Path, folder: Path, trials: int, **more: Any) -> Path:
    """The heart example with a search."""
    document = yaml.safe_load((root / "examples/heart/loop.yaml").read_text())
    parameters = {"C": {"type": "double", "low": 0.01, "high": 1.0, "scale": "log"}}
    document["search"] = {"trials": trials, "algorithm": "random", "parameters": parameters}
    (folder / "loop.yaml").write_text(yaml.safe_dump(document | more))
    if not (folder / "heart.csv").exists():
        (folder / "heart.csv").symlink_to(root / "examples/heart/heart.csv")
    return folder / "loop.yaml"


def test_cancelled_run_leaves_nothing(place: Place, site: Site, root: Path, tmp_path: Path) -> None:
    """Interrupted while Katib works: the command takes back what the killed task could not."""
    with searching(place, tmp_path, heart(root, tmp_path, 50)) as run:
        run.send_signal(signal.SIGINT)
        run.wait(300)
    assert "interrupted" in (tmp_path / "log.txt").read_text()
    nothing_left(place, site)


def test_the_run_after_a_killed_one_takes_its_search_back(place: Place, site: Site, root: Path, tmp_path: Path) -> None:
    """`kill -9` of the command leaves its Experiment; the next run of that home removes it before it searches."""
    with searching(place, tmp_path, heart(root, tmp_path, 50)) as run:
        run.kill()
        run.wait()
    (lost,) = place.admin.list(EXPERIMENT)
    refused = heart(root, tmp_path, 2, metrics={"primary": "roc_auc", "thresholds": {"roc_auc": {"at_least": 0.999}}})
    command = [sys.executable, "-m", "kubeloop.cli.main", "run", str(refused), "--home", str(place.home)]
    environment = {**os.environ, "KUBECONFIG": str(place.operator)}
    done = subprocess.run(
        [*command, "--site", "cluster", "--json"], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 3, done.stdout[-2000:] + done.stderr[-2000:]
    (task,) = (each for each in json.loads(done.stdout)["run"]["tasks"] if each["task"] == "tune")
    assert [trial["status"] for trial in task["facts"]["trials"]] == ["Succeeded"] * 2
    assert lost["metadata"]["uid"] not in {item["metadata"]["uid"] for item in place.admin.list(EXPERIMENT)}
    nothing_left(place, site)


def test_exit_handler_takes_away_what_a_killed_task_left(
    place: Place, site: Site, development: Path, tmp_path: Path
) -> None:
    """As on a pipeline's cancel: the task is gone from one moment to the next, the exit task runs after it."""
    s = sections({**SEARCH, "trials": 50})
    order = tmp_path / "order.json"
    order.write_text(json.dumps([s.tune.model_dump(mode="json"), s.train.model_dump(mode="json")]))
    program = (
        "import json, sys, pathlib; from kubeloop.experiments import tuning; from kubeloop.contract.sections import *;"
        "from kubeloop.site import load_site; a, b = json.loads(pathlib.Path(sys.argv[1]).read_text());"
        "tuning.tune(TuneSection.model_validate_json(json.dumps(a)), TrainSection.model_validate_json(json.dumps(b)),"
        "pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), load_site(), 'run-cancelled', print)"
    )
    variables = {"KUBELOOP_SITE_DIR": str(site_folder(place.home, "cluster")), "KUBELOOP_HOME": str(place.home)}
    environment = {**os.environ, "KUBECONFIG": str(place.operator), **variables}
    words = [str(order), str(development), str(tmp_path / "trials")]
    task = subprocess.Popen([sys.executable, "-c", program, *words], env=environment)
    try:
        wait_until(lambda: place.admin.list(TRIAL) or task.poll() is not None, "the first trial", 300)
    finally:
        task.kill()
        task.wait()
    assert place.admin.list(EXPERIMENT), "the task ended by itself"
    with as_account(place.operator), surrounded(KUBELOOP_RUN_ID="run-cancelled", **variables):
        clean_up.python_func(encode(s.tune))
    nothing_left(place, site)


LATER = {
    *("unknown-key", "space-number", "space-step", "space-values", "bounds", "bounds-log", "filter", "filter-groups"),
    *("setting-unknown", "setting-value", "setting-broken", "cmaes-dimensions", "grid-step", "grid-count"),
    *("bayes-positive", "distribution-algorithm", "algorithm-space", "hyperband-needed", "hyperband-resource"),
    *("hyperband-parallel", "pbt-needed", "pbt-step", "parameter-twice", "parameter-unreferenced", "parameter-name"),
}
"""Rules that the webhook does not know: a service or the collector breaks on them later, or a word is dropped."""

CONFIGURED = ("config data", "ConfigData", "configMap not found")
"""Refusals for what this Katib has not installed."""


def test_lint_knows_all_that_the_webhook_refuses(place: Place, site: Site) -> None:
    """Every file of the lint's own tests, as a dry run: nothing that Katib refuses may pass here."""
    passed, unknown = [], []
    for name, document, says in _files():
        refused = _dry_run(place.admin, document)
        errors = {finding.rule for finding in says if finding.level == "error"}
        if refused and not errors and not any(word in refused for word in CONFIGURED):
            passed.append((name, refused))
        if errors and not refused and not errors <= LATER:
            unknown.append((name, errors - LATER))
    assert passed == []
    assert unknown == []


def _files() -> Iterator[tuple[str, dict[str, Any], list[Finding]]]:
    for name, changes in GOOD.items():
        document = changed(copy.deepcopy(PLAIN), changes)
        yield name, document, lint(document)
    for name, breach in BROKEN.items():
        document = changed(changed(copy.deepcopy(PLAIN), GOOD.get(breach.get("base"), {})), breach["set"])
        if name not in ("kind", "shape"):  # which the server's path says already
            yield name, document, lint(document)


def _dry_run(api: Api, document: dict[str, Any]) -> str:
    document["metadata"].pop("namespace", None)
    try:
        api.apply(EXPERIMENT, document, dry_run=True)
    except Refused as refused:
        return refused.message
    return ""

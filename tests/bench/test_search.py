"""What a trial costs beside its own program, and what a search of the flights' gradient boosting brings."""

import datetime as dt
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kubeloop.experiments.katib import from_experiment
from kubeloop.experiments.local import Place, run_local

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]
TRIALS, ROUNDS = 40, 3
EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"
SEARCH = """
search:
  trials: 12
  parameters:
    max_iter: {type: int, low: 40, high: 300, scale: log}
    learning_rate: {type: double, low: 0.01, high: 0.3, scale: log}
    max_leaf_nodes: {type: int, low: 4, high: 63, scale: log}
    min_samples_leaf: {type: int, low: 20, high: 500, scale: log}
    l2_regularization: {type: double, low: 0.001, high: 100, scale: log}
"""


def experiment() -> dict[str, Any]:
    space = {"min": "0.01", "max": "1"}
    container = {
        "name": "trial",
        "command": ["awk", "-vx=${trialParameters.x}", 'BEGIN{printf"loss=%.17g\\n",(x-.3)^2}'],
    }
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "overhead"},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": "tpe"},
            "maxTrialCount": TRIALS,
            "parallelTrialCount": 1,
            "parameters": [{"name": "x", "parameterType": "double", "feasibleSpace": space}],
            "trialTemplate": {
                "primaryContainerName": "trial",
                "trialParameters": [{"name": "x", "reference": "x"}],
                "trialSpec": {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
                },
            },
        },
    }


def optuna_alone() -> float:
    """The same sampler and the same program, and nothing else: no log, no limit, no journal, no clean-up."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=0, multivariate=False, constant_liar=True)
    study = optuna.create_study(sampler=sampler, direction="minimize")
    for _ in range(TRIALS):
        trial = study.ask()
        x = trial.suggest_float("x", 0.01, 1)
        command = ["awk", f"-vx={x!r}", 'BEGIN{printf"loss=%.17g\\n",(x-.3)^2}']
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        study.tell(trial, float(printed.partition("=")[2]))
    return float(study.best_value)


def test_overhead_per_trial(tmp_path: Path) -> None:
    search = from_experiment(experiment())
    taken: dict[str, list[float]] = {"Optuna alone": [], "kubeloop": []}
    walls: dict[str, list[float]] = {name: [] for name in taken}
    best = set()
    optuna_alone()  # imports
    for number in range(ROUNDS):
        for name in taken:
            began, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
            if name == "kubeloop":
                outcome = run_local(search, Place(tmp_path / str(number), tmp_path / "home", tmp_path))
                assert outcome.best is not None
                best.add(outcome.best.value)
            else:
                best.add(optuna_alone())
            ended = resource.getrusage(resource.RUSAGE_SELF)
            walls[name].append((time.perf_counter() - wall) / TRIALS)
            taken[name].append((ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime) / TRIALS)
    print(f"\n{TRIALS} trials of a program that does nothing, {ROUNDS} rounds in turn, medians a trial")
    for name in taken:
        cpu, wall = (1000 * statistics.median(each[name]) for each in (taken, walls))
        print(f"{name:13} {cpu:6.1f} ms of CPU  {wall:6.1f} ms")
    assert len(best) == 1, "both must have searched the same points"
    assert statistics.median(taken["kubeloop"]) - statistics.median(taken["Optuna alone"]) < 0.05


def test_tuned_against_default_on_flights(tmp_path: Path) -> None:
    """The default becomes champion; the tuned one is then judged against it, paired, on rows that neither saw."""
    for name in ("flights-q1.parquet", "weather.parquet"):
        (tmp_path / name).symlink_to(EXAMPLE / name)
    # As text: YAML 1.1 reads the key `on` of a join as a truth.
    text, removed = re.subn(r"(?m)^  parameters: .*\n", "", (EXAMPLE / "loop-q1.yaml").read_text())
    assert removed == 1
    home = tmp_path / "home"
    for name, words in (("default", ""), ("tuned", SEARCH)):
        (tmp_path / f"{name}.yaml").write_text(text + words)
        command = [sys.executable, "-m", "kubeloop.cli.main", "run", f"{name}.yaml", "--home", str(home), "--json"]
        began = dt.datetime.now(dt.UTC)
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=dict(os.environ))
        print(f"{name}: {(dt.datetime.now(dt.UTC) - began).total_seconds():.0f} s, exit code {done.returncode}")
    run = json.loads(done.stdout)["run"]
    print(f"what stopped the tuned run: {run['error']}")
    tasks = {task["task"]: task for task in run["tasks"]}
    print(f"tuned: {tasks['tune']['facts']['parameters']}")
    checks = {check["name"]: check for check in tasks["evaluate"]["decision"]["checks"]}
    print(f"on rows that neither saw: {checks['champion']['reason']}")
    assert tasks["tune"]["facts"]["search"]["first"]["champion"] == 0
    assert checks["champion"]["evidence"]

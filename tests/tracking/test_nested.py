"""Trials below their run, in a real MLflow."""

import datetime as dt
import shutil
from pathlib import Path

from kubeloop.site import laptop
from kubeloop.tracking.mlflow_store import Mirrored, _client, log_whole_run
from kubeloop.tracking.nested import TRIAL, log_trials


def test_trials_are_nested_runs_and_come_once(tmp_path: Path, mirror: Path) -> None:
    site, now = laptop(tmp_path / "home"), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    (tmp_path / "home").mkdir()
    shutil.copy(mirror, tmp_path / "home" / "mlflow.db")
    parent = log_whole_run(site, Mirrored("r1", "ward", {}, {}, {}, now, now))
    trial = {"number": 0, "status": "Succeeded", "reason": "", "started": now.isoformat(), "seconds": 2.5}
    good = trial | {"parameters": {"C": "0.5"}, "metrics": {"roc_auc": 0.9}}
    bad = trial | {"number": 1, "status": "Failed", "reason": "it hung", "parameters": {"C": "9"}, "metrics": {}}
    assert log_trials(site, parent, [good]) == 1
    assert log_trials(site, parent, [good, bad]) == 1
    with _client(site, "test") as client:
        experiment = client.get_run(parent).info.experiment_id
        found = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    runs = {run.data.tags[TRIAL]: run for run in found}
    assert set(runs) == {"0", "1"}
    assert runs["0"].data.params == {"C": "0.5"}
    assert runs["0"].data.metrics == {"roc_auc": 0.9, "seconds": 2.5}
    assert (runs["0"].info.status, runs["1"].info.status) == ("FINISHED", "FAILED")
    assert runs["1"].data.tags["kubeloop.reason"] == "it hung"

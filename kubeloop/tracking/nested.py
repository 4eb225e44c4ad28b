"""The trials of a search as runs below the run that searched."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from kubeloop.site.model import Site
from kubeloop.tracking.finite import finite
from kubeloop.tracking.mlflow_store import _client, _log, _ms, _texts

TRIAL = "kubeloop.trial"
"""Tag of a nested run: the trial's number."""

_PARENT = "mlflow.parentRunId"
_PARAM = 6000
_ENDS = {"Succeeded": "FINISHED", "EarlyStopped": "FINISHED", "Killed": "KILLED"}
_MOST = 1000


def log_trials(site: Site, parent: str, trials: Sequence[Mapping[str, Any]]) -> int:
    """Mirror trials, each as a run nested below `parent`; those that are there already are left.

    Args:
        site: Whose MLflow.
        parent: MLflow's id of the run.
        trials: `trials` of the facts of `tune`: number, status, reason, started, seconds, parameters, metrics.

    Returns:
        How many were new.

    Raises:
        TransientError: MLflow did not take them.
    """
    with _client(site, "the trials of a search") as client:
        experiment = client.get_run(parent).info.experiment_id
        there = client.search_runs([experiment], f"tags.`{_PARENT}` = '{parent}'", max_results=_MOST)
        known = {run.data.tags.get(TRIAL) for run in there}
        new = [trial for trial in trials if str(trial["number"]) not in known]
        for trial in new:
            began = _ms(dt.datetime.fromisoformat(trial["started"]))
            ended = began + int(1000 * float(trial["seconds"]))
            tags = {_PARENT: parent, TRIAL: str(trial["number"])}
            run = client.create_run(experiment, start_time=began, tags=tags, run_name=f"trial {trial['number']}")
            metrics = {**trial["metrics"], "seconds": trial["seconds"]}
            said = {"kubeloop.status": trial["status"], "kubeloop.reason": trial["reason"]}
            texts = _texts(trial["parameters"], _PARAM)
            _log(client, run.info.run_id, texts, finite(metrics), _texts(said, _PARAM), ended)
            client.set_terminated(run.info.run_id, status=_ENDS.get(trial["status"], "FAILED"), end_time=ended)
    return len(new)

"""A search on a cluster's Katib: created once, watched to its end with a deadline, its trials saved, and cleaned up."""

import datetime as dt
import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kubeloop.cluster.api import POD, Api, Document, Kind, Refused
from kubeloop.cluster.pods import symptoms
from kubeloop.digests import document_digest
from kubeloop.errors import InputError, KubeloopError, PermanentError, TransientError
from kubeloop.experiments.katib import to_experiment
from kubeloop.experiments.search import Search
from kubeloop.experiments.trials import FAILURES, Outcome, Status, Trial, best_trial

EXPERIMENT = Kind("apis/kubeflow.org/v1beta1", "experiments", "Experiment")
TRIAL = Kind("apis/kubeflow.org/v1beta1", "trials", "Trial")
SUGGESTION = Kind("apis/kubeflow.org/v1beta1", "suggestions", "Suggestion")
OF_EXPERIMENT = "katib.kubeflow.org/experiment"
"""Katib's label on a search's trials and pods."""

INJECTION = "katib.kubeflow.org/metrics-collector-injection"
RUN, SPEC = "kubeloop.io/run", "kubeloop.io/spec"
ENDS: tuple[Status, ...] = ("Succeeded", "Failed", "EarlyStopped", "MetricsUnavailable", "Killed")
_ANEW = 410


@dataclass(frozen=True)
class Patience:
    """How long is waited.

    Attributes:
        deadline_s: For the whole search; Katib has no such limit.
        stall_s: Without any trial beginning or ending.
        poll_s: Between two looks.
    """

    deadline_s: float = 6 * 3600.0
    stall_s: float = 1800.0
    poll_s: float = 5.0


def run_cluster(
    search: Search,
    api: Api,
    run_id: str,
    *,
    patience: Patience = Patience(),
    owner: Mapping[str, Any] | None = None,
    on_trial: Callable[[Trial, Trial | None], None] = lambda trial, best: None,
    keep: bool = False,
) -> Outcome:
    """Run a search on Katib; a retry of the same run adopts what the first try made.

    Args:
        search: Without lint errors.
        api: Of the namespace.
        run_id: Of our run; with the search it makes the Experiment's name.
        patience: How long is waited.
        owner: Owner reference, such as to the workflow, so that the Experiment goes with it.
        on_trial: Told of each trial that ends, and of the best so far.
        keep: Whether the Experiment stays after a success; its trials are read before it is deleted.

    Raises:
        InputError: Another search has the name, or Katib's webhook refuses this one.
        PermanentError: The account may not, the namespace is not prepared, or the search stalls; the cause is named.
        TransientError: The deadline passed.
    """
    wanted = experiment_of(search, run_id, owner)
    name = str(wanted["metadata"]["name"])
    preflight(api)
    _create(api, wanted)
    try:
        outcome = _follow(replace(search, name=name), api, patience, on_trial)
    except BaseException:
        api.delete(EXPERIMENT, name)
        raise
    if not keep:
        api.delete(EXPERIMENT, name)
    return outcome


def experiment_of(search: Search, run_id: str, owner: Mapping[str, Any] | None = None) -> Document:
    """The Experiment of a run: the same run and search give the same name, at most 40 characters."""
    document = to_experiment(search)
    spec = document_digest(document["spec"]).removeprefix("sha256-")[:40]
    tail = hashlib.sha256(f"{run_id}|{spec}".encode()).hexdigest()[:12]
    metadata = document["metadata"]
    metadata["name"] = f"{search.name[:26].rstrip('-')}-{tail}"
    metadata.pop("namespace", None)
    metadata["labels"] = {**metadata.get("labels", {}), RUN: _label(run_id), SPEC: spec}
    if owner is not None:
        metadata["ownerReferences"] = [dict(owner)]
    return document


def _label(text: str) -> str:
    safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in text)[:63]
    return safe.strip("-_.")


def preflight(api: Api) -> None:
    """Say what would make trials hang, before anything is made.

    Raises:
        PermanentError: Rights are missing, or the namespace lacks Katib's label.
    """
    rights = [("create", "experiments"), ("patch", "experiments"), ("get", "experiments"), ("delete", "experiments")]
    missing = [
        f"{verb} {what}" for verb, what in [*rights, ("list", "trials")] if not api.may(verb, "kubeflow.org", what)
    ]
    if missing:
        raise PermanentError(
            f"this account may not {', '.join(missing)} in the namespace {api.namespace}",
            "bind Katib's ClusterRole kubeflow-katib-edit to it there",
        )
    try:
        labels = api.read(f"/api/v1/namespaces/{api.namespace}").get("metadata", {}).get("labels") or {}
    except Refused as refused:
        if refused.status in (401, 403):
            return  # it may not look; the dry run meets the webhook that checks the same
        raise
    if labels.get(INJECTION) != "enabled":
        raise PermanentError(
            f"the namespace {api.namespace} should have the label {INJECTION}=enabled, and has not: no metric of a "
            "trial would ever be read",
            f"kubectl label namespace {api.namespace} {INJECTION}=enabled",
        )


def _create(api: Api, wanted: Document) -> None:
    """Create or adopt: the label of the specification tells whether what is there is this search."""
    name = wanted["metadata"]["name"]
    there = api.get(EXPERIMENT, name)
    if there is None:
        try:
            api.apply(EXPERIMENT, wanted, dry_run=True)
            api.apply(EXPERIMENT, wanted)
        except Refused as refused:
            there = api.get(EXPERIMENT, name) if refused.status == 409 else None
            if there is None:
                raise _refusal(refused, name) from refused
        else:
            return
    if (there["metadata"].get("labels") or {}).get(SPEC) != wanted["metadata"]["labels"][SPEC]:
        raise InputError(
            f"the Experiment {name} is there already, with another search in it",
            "delete it, or give the run another id",
        )


def _refusal(refused: Refused, name: str) -> KubeloopError:
    return InputError(
        f"Katib refused the Experiment {name}: {refused.message}",
        "mend what it names; `kubeloop tune lint` says it without a cluster",
        status=refused.status,
    )


def _follow(search: Search, api: Api, patience: Patience, on_trial: Callable[[Trial, Trial | None], None]) -> Outcome:
    began = moved = time.monotonic()
    seen: dict[str, str] = {}
    told: set[str] = set()
    while True:
        found = _look(api, search.name)
        if found is not None:
            experiment, documents = found
            trials = trials_of(search, documents)
            states = {str(each["metadata"]["name"]): _state(each) for each in documents}
            moved = time.monotonic() if states != seen else moved
            seen = states
            for trial in trials:
                if trial.name not in told:
                    told.add(trial.name)
                    on_trial(trial, best_trial(search, trials))
            end = _condition(experiment, ("Succeeded", "Failed"))
            if end is not None:
                return _outcome(search, trials, end)
        now = time.monotonic()
        if now - moved > patience.stall_s:
            raise PermanentError(
                f"the search {search.name} has not moved for {patience.stall_s:g} s: {_cause(api, search.name)}",
                "mend the cause, and run again",
            )
        if now - began > patience.deadline_s:
            raise TransientError(
                f"the search {search.name} did not end within {patience.deadline_s:g} s; {len(seen)} trials were made",
                "give it more time, or fewer trials",
            )
        time.sleep(patience.poll_s)


def _look(api: Api, name: str) -> tuple[Document, list[Document]] | None:
    """Experiment and trials; None where the server asks to look anew."""
    try:
        experiment = api.get(EXPERIMENT, name)
        documents = api.list(TRIAL, f"{OF_EXPERIMENT}={name}")
    except KubeloopError as error:
        if error.context.get("status") == _ANEW:
            return None
        raise
    if experiment is None:
        raise PermanentError(f"the Experiment {name} was deleted while it ran", "run again, and see who deletes it")
    return experiment, documents


def _condition(document: Document, types: tuple[str, ...]) -> Mapping[str, Any] | None:
    conditions = (document.get("status") or {}).get("conditions") or []
    return next((each for each in reversed(conditions) if each["type"] in types and each["status"] == "True"), None)


def _state(document: Document) -> str:
    conditions = (document.get("status") or {}).get("conditions") or []
    return ",".join(f"{each['type']}={each['status']}" for each in conditions)


def trials_of(search: Search, documents: list[Document]) -> list[Trial]:
    """Katib's trials that have ended, numbered in the order of their creation, with what we make of their values."""
    ordered = sorted(
        documents, key=lambda each: (each["metadata"].get("creationTimestamp", ""), each["metadata"]["name"])
    )
    found = [_trial(search, number, document) for number, document in enumerate(ordered)]
    return [trial for trial in found if trial is not None]


def _trial(search: Search, number: int, document: Document) -> Trial | None:
    end = _condition(document, ENDS)
    if end is None:
        return None
    status: Status = end["type"]
    metrics, strange = _metrics(search, document)
    reason = "" if status == "Succeeded" else str(end.get("message") or end.get("reason") or "")
    objective = search.objective.metric
    if status == "Succeeded" and objective not in metrics:
        # Katib calls it succeeded, and can even call it the best.
        got = strange.get(objective)
        status = "MetricsUnavailable"
        reason = f"no {objective} was reported" if got is None else f"{objective} is {got!r}, which is no finite number"
    usable = status in ("Succeeded", "EarlyStopped")
    state = document.get("status") or {}
    started = _moment(state.get("startTime") or document["metadata"].get("creationTimestamp"))
    return Trial(
        number=number,
        name=str(document["metadata"]["name"]),
        assignment={each["name"]: str(each["value"]) for each in document["spec"].get("parameterAssignments") or ()},
        status=status,
        reason=reason,
        value=metrics.get(objective) if usable else None,
        metrics=metrics,
        started=started,
        finished=_moment(state.get("completionTime") or end.get("lastTransitionTime"), started),
    )


def _metrics(search: Search, document: Document) -> tuple[dict[str, float], dict[str, str]]:
    found: dict[str, float] = {}
    strange: dict[str, str] = {}
    for each in ((document.get("status") or {}).get("observation") or {}).get("metrics") or ():
        texts = [str(each.get(key, "")) for key in ("latest", search.objective.strategy(each["name"]))]
        values = [_finite(text) for text in texts]
        # A NaN leaves Min and Max of earlier reports standing; the latest one tells of it.
        if None in values:
            strange[each["name"]] = texts[values.index(None)]
        else:
            found[each["name"]] = float(values[1] or 0.0)
    return found, strange


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _moment(text: Any, default: dt.datetime | None = None) -> dt.datetime:
    if not text:
        return default or dt.datetime.fromtimestamp(0, dt.UTC)
    return dt.datetime.fromisoformat(str(text).replace("Z", "+00:00"))


def _outcome(search: Search, trials: list[Trial], end: Mapping[str, Any]) -> Outcome:
    reason = str(end.get("message") or end.get("reason") or end["type"])
    goal = any(t.value is not None and t.status == "Succeeded" and search.objective.reached(t.value) for t in trials)
    failed = end["type"] == "Failed"
    if failed and not trials:
        raise PermanentError(f"Katib ended the search {search.name}: {reason}", "mend what it names")
    bound = search.budget.failed
    over = bound is not None and sum(trial.status in FAILURES for trial in trials) >= max(bound, 1)
    ended = "failed" if failed and over else "goal" if goal else "failed" if failed else "trials"
    return Outcome(tuple(trials), best_trial(search, trials), ended, reason)  # type: ignore[arg-type]


def _cause(api: Api, name: str) -> str:
    """Why nothing moves: a pod that cannot run, a suggestion that fails, a collector without a metric."""
    for pod in api.list(POD, f"{OF_EXPERIMENT}={name}"):
        for symptom in symptoms(pod, "", math.inf):
            return f"{symptom.what} (pod {symptom.pod}): {symptom.detail}"
    suggestion = api.get(SUGGESTION, name)
    failing = None if suggestion is None else _condition(suggestion, ("Failed",))
    if failing is not None:
        return f"its suggestion service failed: {failing.get('message')}"
    if suggestion is not None and _condition(suggestion, ("DeploymentReady",)) is None:
        return f"its suggestion service is not ready; see the Deployment {name}-*"
    for trial in api.list(TRIAL, f"{OF_EXPERIMENT}={name}"):
        if _condition(trial, ENDS) is None and not (trial.get("status") or {}).get("observation"):
            return (
                f"trial {trial['metadata']['name']} reports no metric; see its container metrics-logger-and-collector"
            )
    return "no cause is to be seen in its pods, trials and suggestion"


def clean_up(api: Api, run_id: str) -> list[str]:
    """Delete what a cancelled run left: for an exit handler, since a signal handler has half a second.

    Returns:
        Names of the Experiments that were there.
    """
    names = [str(each["metadata"]["name"]) for each in api.list(EXPERIMENT, f"{RUN}={_label(run_id)}")]
    for name in names:
        api.delete(EXPERIMENT, name)
    return names

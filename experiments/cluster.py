"""A search on a cluster's Katib: created once, followed to its end, its trials saved, and cleaned up."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from kubeloop.cluster.api import Api, Document, Refused
from kubeloop.digests import document_digest
from kubeloop.errors import InputError, KubeloopError, PermanentError, TransientError
from kubeloop.experiments.following import DEFAULT, EXPERIMENT, Following, OnTrial, Patience
from kubeloop.experiments.katib import to_experiment
from kubeloop.experiments.lint import lint, refuse
from kubeloop.experiments.search import Search
from kubeloop.experiments.trials import Outcome, Trial

INJECTION = "katib.kubeflow.org/metrics-collector-injection"
RUN, SPEC = "kubeloop.io/run", "kubeloop.io/spec"
_GROUP = "kubeflow.org"
_GONE_S, _POLL_S = 120.0, 0.5
_RIGHTS = (
    *((verb, _GROUP, "experiments") for verb in ("get", "watch", "create", "patch", "delete")),
    ("list", _GROUP, "trials"),
    ("get", _GROUP, "suggestions"),
    ("list", "", "pods"),
    ("list", "", "events"),
    ("get", "", "pods/log"),
)


def run_cluster(
    search: Search,
    api: Api,
    run_id: str,
    *,
    patience: Patience = DEFAULT,
    owner: Mapping[str, Any] | None = None,
    on_trial: OnTrial = lambda trial, best: None,
    save: Callable[[tuple[Trial, ...]], None] = lambda trials: None,
    begin: int = 0,
) -> Outcome:
    """Run a search on Katib; a retry of the same run adopts what the first try made.

    Args:
        search: What to search; its errors are found before anything is sent.
        api: Of the namespace.
        run_id: Of our run; with the search's name it makes the Experiment's.
        patience: How long is waited.
        owner: Owner reference, such as to the workflow, so that the Experiment goes with it.
        on_trial: Told of each trial that ends, and of the best so far.
        save: Takes the trials that ended before the Experiment, and with it Katib's own record of them, is deleted;
            also of a search that failed.
        begin: The number of the first trial.

    Raises:
        InputError: The lint or Katib's webhook refuses the search, or another one has its name.
        PermanentError: The account may not, the namespace is not prepared, or the search stalls; the cause is named.
        TransientError: The deadline passed.
    """
    wanted = experiment_of(search, run_id, owner)
    name = str(wanted["metadata"]["name"])
    refuse(lint(wanted), name)
    preflight(api)
    following = Following(replace(search, name=name), api, patience, on_trial, begin)
    _create(api, wanted)
    try:
        outcome = following.to_the_end()
    except BaseException:
        try:
            save(tuple(following.trials))
        finally:
            api.delete(EXPERIMENT, name)
        raise
    save(outcome.trials)
    api.delete(EXPERIMENT, name)
    return outcome


def experiment_name(name: str, run_id: str) -> str:
    """The Experiment of a run, by what an exit handler knows, too: at most 40 characters, as Katib has it."""
    return f"{name[:26].rstrip('-')}-{hashlib.sha256(f'{name}|{run_id}'.encode()).hexdigest()[:12]}"


def experiment_of(search: Search, run_id: str, owner: Mapping[str, Any] | None = None) -> Document:
    """The Experiment of a run; a label has the digest of all that it says."""
    document = to_experiment(search)
    metadata = document["metadata"]
    spec = document_digest(document["spec"]).removeprefix("sha256-")[:40]
    metadata["name"] = experiment_name(search.name, run_id)
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
    missing = [f"{verb} {what}" for verb, group, what in _RIGHTS if not api.may(verb, group, what)]
    if missing:
        raise PermanentError(
            f"this account may not {', '.join(missing)} in the namespace {api.namespace}",
            "bind the Role kubeloop-tune to it there: `kubeloop install` makes it",
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
    there = _settled(api, name)
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


def _settled(api: Api, name: str) -> Document | None:
    """What is there, once what is being deleted is gone: Katib's finalizer takes a moment."""
    end = time.monotonic() + _GONE_S
    while (there := api.get(EXPERIMENT, name)) is not None and "deletionTimestamp" in there["metadata"]:
        if time.monotonic() > end:
            raise TransientError(
                f"the Experiment {name} of an earlier try should be gone after {_GONE_S:.0f} s, and is not",
                "see whether Katib's controller runs: kubectl -n kubeflow get pods",
            )
        time.sleep(_POLL_S)
    return there


def _refusal(refused: Refused, name: str) -> KubeloopError:
    if refused.status == 404:
        return PermanentError(
            f"the cluster should know Katib's Experiments, and does not: {refused.message}", "install Katib 0.19"
        )
    return InputError(
        f"Katib refused the Experiment {name}: {refused.message}",
        "mend what it names; `kubeloop tune lint` says it without a cluster",
        status=refused.status,
    )

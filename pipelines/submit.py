"""Send a compiled pipeline to a KFP server, once a version; schedule it, once a name; wait for what became of a run."""

import datetime as dt
import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from kubeloop.digests import document_digest
from kubeloop.errors import InputError, KubeloopError, PermanentError, TransientError

Ended = Literal["done", "failed", "cancelled"]

POLL_S = 5.0
_PAGE = 100
_OVER = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")


@dataclass(frozen=True)
class Prepared:
    """A pipeline that is ready to be sent.

    Attributes:
        name: Its name on the server.
        version: Name of this version: equal documents have equal names.
        documents: The YAML documents: the pipeline, and what Kubernetes needs beside it.
    """

    name: str
    version: str
    documents: tuple[dict[str, Any], ...]

    def write(self, folder: Path) -> Path:
        """Write it where the client can upload it from."""
        import yaml

        file = folder / f"{self.name}.yaml"
        file.write_text(yaml.safe_dump_all(self.documents, sort_keys=False), encoding="utf-8")
        return file


def connect(host: str) -> Any:
    """A client of a KFP server.

    Raises:
        InputError: Nothing there speaks KFP.
    """
    from kfp import Client

    try:
        return Client(host=host)
    except Exception as error:  # noqa: BLE001 - its constructor lets everything through that a network can do
        raise InputError(
            f"a KFP server was expected at {host}, and {type(error).__name__} came",
            "set KFP_HOST or --host to the URL of ml-pipeline's API, such as http://localhost:8888",
            host=host,
        ) from None


def prepare(compiled: Path, images: Mapping[str, str], *, caching: bool = True) -> Prepared:
    """A compiled pipeline with the images that shall run.

    Args:
        compiled: The golden YAML.
        images: What runs in the place of each image that is named there, by digest.
        caching: False switches the cache off in every task; the server's own switch reaches those at the root alone.

    Raises:
        InputError: An image has no place in `images`, or its place is not a digest.
    """
    import yaml

    documents = tuple(yaml.safe_load_all(compiled.read_text(encoding="ascii")))
    pipeline = documents[0]
    for executor in pipeline["deploymentSpec"]["executors"].values():
        container = executor.get("container")
        if container is not None:
            container["image"] = _locked(container["image"], images)
    if not caching:
        for component in (pipeline["root"], *pipeline["components"].values()):
            for task in component.get("dag", {}).get("tasks", {}).values():
                task["cachingOptions"] = {}
    name = str(pipeline["pipelineInfo"]["name"])
    return Prepared(name, document_digest(list(documents))[7:19], documents)


def check_arguments(pipeline: Prepared, arguments: Mapping[str, Any]) -> None:
    """Hold arguments against the pipeline's parameters before anything is sent.

    Raises:
        InputError: One is unknown, missing or of another type.
    """
    known = pipeline.documents[0]["root"].get("inputDefinitions", {}).get("parameters", {})
    unknown = sorted(set(arguments) - set(known))
    needed = {name for name, told in known.items() if "defaultValue" not in told and not told.get("isOptional")}
    missing = sorted(needed - set(arguments))
    wrong = [
        f"{name} should be {known[name]['parameterType']}" for name in arguments if not _fits(known, name, arguments)
    ]
    if unknown or missing or wrong:
        parts = [f"unknown: {', '.join(unknown)}"] * bool(unknown) + [f"missing: {', '.join(missing)}"] * bool(missing)
        raise InputError(
            f"the arguments should fit the pipeline {pipeline.name}, and do not: {'; '.join(parts + wrong)}",
            "compile the pipeline and its arguments with the same version: `kubeloop compile`",
        )


def upload(client: Any, pipeline: Prepared, folder: Path) -> tuple[str, str]:
    """The pipeline and this version of it on the server; made where they are not there yet.

    Args:
        client: A `kfp.Client`.
        pipeline: From `prepare`.
        folder: Scratch space.

    Returns:
        Ids of pipeline and version.
    """
    found = _asked(lambda: client.get_pipeline_id(pipeline.name))
    if found is None:
        made = _asked(lambda: client.upload_pipeline(str(pipeline.write(folder)), pipeline.name))
        found = made.pipeline_id
    if known := _version_of(client, found, pipeline.version):
        return found, known
    file = str(pipeline.write(folder))
    made = _asked(lambda: client.upload_pipeline_version(file, pipeline.version, pipeline_id=found))
    return found, made.pipeline_version_id


def _version_of(client: Any, pipeline_id: str, name: str, token: str = "") -> str | None:
    page = _asked(lambda: client.list_pipeline_versions(pipeline_id, page_token=token, page_size=_PAGE))
    for version in page.pipeline_versions or []:
        if version.display_name == name:
            return str(version.pipeline_version_id)
    return _version_of(client, pipeline_id, name, page.next_page_token) if page.next_page_token else None


def submit(
    client: Any, pipeline: Prepared, arguments: Mapping[str, Any], experiment: str, name: str, folder: Path
) -> str:
    """Start a run; gives its id.

    Raises:
        InputError: The arguments do not fit.
        KubeloopError: The server refused, or does not answer.
    """
    check_arguments(pipeline, arguments)
    pipeline_id, version_id = upload(client, pipeline, folder)
    place = _asked(lambda: client.create_experiment(experiment)).experiment_id
    run = _asked(
        lambda: client.run_pipeline(place, name, params=dict(arguments), pipeline_id=pipeline_id, version_id=version_id)
    )
    return str(run.run_id)


def schedule(
    client: Any, pipeline: Prepared, arguments: Mapping[str, Any], experiment: str, name: str, cron: str, folder: Path
) -> tuple[str, str]:
    """One recurring run of a name: the server itself would take the same name again and again.

    Args:
        client: A `kfp.Client`.
        pipeline: From `prepare`.
        arguments: By parameter name.
        experiment: Its experiment.
        name: Its name.
        cron: Six fields, seconds first.
        folder: Scratch space.

    Returns:
        Its id, and `made`, `replaced` or `unchanged`.
    """
    check_arguments(pipeline, arguments)
    pipeline_id, version_id = upload(client, pipeline, folder)
    place = _asked(lambda: client.create_experiment(experiment)).experiment_id
    listed = _asked(lambda: client.list_recurring_runs(experiment_id=place, page_size=_PAGE))
    same = [found for found in listed.recurring_runs or [] if found.display_name == name]
    wanted = (version_id, cron, dict(arguments))
    if len(same) == 1 and _what(same[0]) == wanted:
        return str(same[0].recurring_run_id), "unchanged"
    made = _asked(
        lambda: client.create_recurring_run(
            place,
            name,
            cron_expression=cron,
            no_catchup=True,
            params=dict(arguments),
            pipeline_id=pipeline_id,
            version_id=version_id,
        )
    )
    for old in same:  # only now: a schedule that cannot be made leaves the one before
        _asked(partial(client.delete_recurring_run, old.recurring_run_id))
    return str(made.recurring_run_id), "replaced" if same else "made"


def wait(
    client: Any,
    run_id: str,
    deadline_s: float,
    stuck: Callable[[], str | None] = lambda: None,
    poll_s: float = POLL_S,
) -> Ended:
    """Wait for the end of a run; the server's own deadlines do not cover a pod that no node takes.

    Args:
        client: A `kfp.Client`.
        run_id: The run.
        deadline_s: When to give up, in seconds; the run goes on.
        stuck: Names a pod that cannot start; None where all can.
        poll_s: Seconds between looks.

    Returns:
        How it ended. A cancelled run says FAILED, with CANCELING in its history.

    Raises:
        PermanentError: A pod cannot start.
        TransientError: It has not ended in time.
    """
    end = time.monotonic() + deadline_s
    while True:
        run = _asked(lambda: client.get_run(run_id))
        if run.state in _OVER:
            history = {str(entry.state) for entry in run.state_history or []}
            if run.state == "SUCCEEDED":
                return "done"
            return "cancelled" if {"CANCELING", "CANCELED"} & (history | {run.state}) else "failed"
        if said := stuck():
            raise PermanentError(f"the run {run_id} cannot go on: {said}", "mend that, then submit again", run=run_id)
        if time.monotonic() > end:
            raise TransientError(
                f"the run {run_id} should end within {deadline_s:.0f} s, and is {run.state} still",
                f"wait on with `kubeloop wait {run_id}`; it goes on meanwhile",
                run=run_id,
            )
        time.sleep(poll_s)


def run_name(name: str, now: dt.datetime) -> str:
    """A run's name for people."""
    return f"{name} {now:%Y-%m-%d %H:%M:%S}"


def _what(recurring: Any) -> tuple[str, str, dict[str, Any]]:
    reference, config = recurring.pipeline_version_reference, recurring.runtime_config
    cron = recurring.trigger.cron_schedule.cron if recurring.trigger and recurring.trigger.cron_schedule else ""
    return str(reference.pipeline_version_id), str(cron), dict(config.parameters or {})


def _locked(image: str, images: Mapping[str, str]) -> str:
    found = images.get(image)
    if found is None:
        raise InputError(
            f"the image {image} should be in the lock, and is not; known: {', '.join(sorted(images)) or 'none'}",
            "write images.lock with the digests that the registry gave: `kubeloop submit --help`",
            image=image,
        )
    if "@sha256:" not in found:
        raise InputError(
            f"{image} should run by digest, got {found}", "a tag can move: write name:tag@sha256:...", image=image
        )
    return found


_TYPES: dict[str, tuple[type, ...]] = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}


def _fits(known: Mapping[str, Any], name: str, arguments: Mapping[str, Any]) -> bool:
    return name not in known or isinstance(arguments[name], _TYPES[known[name]["parameterType"]])


def _asked(call: Callable[[], Any]) -> Any:
    """What the server answers; its refusals in its own words, a server that is away as something to try again."""
    from kfp_server_api.exceptions import ApiException  # type: ignore[import-untyped]
    from urllib3.exceptions import HTTPError

    try:
        with redirect_stdout(sys.stderr):  # kfp's client prints links; what a command prints may be read by a program
            return call()
    except ApiException as error:
        raise _explained(error.status, error.body) from None
    except HTTPError as error:
        raise TransientError(
            f"the KFP server should answer, and does not: {error}", "see that KFP_HOST is right and the server up"
        ) from error


def _explained(status: int, body: Any) -> KubeloopError:
    try:
        said = str(json.loads(body).get("error") or json.loads(body).get("message"))
    except (TypeError, ValueError):
        said = str(body)
    if status >= 500:
        return TransientError(f"the KFP server failed with {status}: {said}", "try again; then see its own log")
    return PermanentError(f"the KFP server refused with {status}: {said}", "mend what it names", status=status)

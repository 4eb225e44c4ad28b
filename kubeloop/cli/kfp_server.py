"""What `submit`, `schedule` and `wait` share: the server, the lock of images, the outcome of a run."""

import datetime as dt
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kubeloop.errors import InputError, KubeloopError

if TYPE_CHECKING:
    from kubeloop.cluster.api import Api
    from kubeloop.pipelines.submit import Prepared
    from kubeloop.site import Site

HOST = click.option("--host", envvar="KFP_HOST", required=True, help="URL of the KFP API.  [env: KFP_HOST]")
LOCK = click.option(
    "--images",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default="images.lock",
    show_default=True,
    help="YAML: each image of the pipeline, and the name:tag@sha256:... that runs in its place.",
)


def prepared(images: Path, *, caching: bool, pipeline: str = "train") -> "Prepared":
    """A pipeline with the images of a lock.

    Raises:
        InputError: The lock is no mapping, or lacks an image.
    """
    import yaml

    from kubeloop.pipelines.compile import compiled_path
    from kubeloop.pipelines.submit import prepare

    lock = yaml.safe_load(images.read_text(encoding="utf-8"))
    if not isinstance(lock, dict):
        raise InputError(f"{images} should map images to digests, got {type(lock).__name__}", "see `submit --help`")
    return prepare(compiled_path(pipeline), lock, caching=caching)


def arguments_of(contract: Path, home: Path | None, site_name: str) -> dict[str, str]:
    """The pipeline's arguments from a contract as it is at a Site, its files sent to the Site's store.

    Raises:
        InputError: The contract is wrong, or refers to a file and the Site is not known here.
        TransientError: The store does not answer.
    """
    from kubeloop.cli.flow import home_of
    from kubeloop.contract.load import read_contract
    from kubeloop.contract.sites import at_site
    from kubeloop.pipelines.arguments import train_arguments
    from kubeloop.pipelines.inputs import has_files, with_sent_files
    from kubeloop.site.load import named_site

    made, folder = at_site(read_contract(contract), site_name), contract.resolve().parent
    if has_files(made):
        made = with_sent_files(made, folder, named_site(home_of(contract, home), site_name, folder))
    return train_arguments(made)


def start(host: str, pipeline: "Prepared", given: dict[str, str], experiment: str, name: str) -> str:
    """Start a run of a prepared pipeline; nothing is sent where its arguments do not fit.

    Args:
        host: URL of the KFP API.
        pipeline: From `prepared`.
        given: Arguments by parameter name.
        experiment: Its experiment.
        name: What its own name begins with.

    Returns:
        The run's id.

    Raises:
        InputError: An argument does not fit, or nothing at `host` speaks KFP.
        KubeloopError: The server refused, or does not answer.
    """
    from kubeloop.pipelines import submit

    submit.check_arguments(pipeline, given)
    client = submit.connect(host)
    with tempfile.TemporaryDirectory() as scratch:
        return submit.submit(client, pipeline, given, experiment, submit.run_name(name, now()), Path(scratch))


def say_started(run_id: str, pipeline: "Prepared") -> None:
    """What was started, and what to do next."""
    click.echo(f"submitted  {run_id}  {pipeline.name} version {pipeline.version}")
    click.echo(f"next       kubeloop wait {run_id}")


def now() -> dt.datetime:
    """The clock of a command."""
    return dt.datetime.now(dt.UTC)


def stuck_pod(site: "Site", run_id: str) -> str | None:
    """A pod of a run that cannot start or be made, in a sentence; None where all can, or the Site names no cluster."""
    if site.cluster is None:
        return None
    from kubeloop.cluster.api import POD, connect
    from kubeloop.cluster.pods import symptoms

    api, label = connect(site), f"pipeline/runid={run_id}"
    for pod in api.list(POD, label):
        created = dt.datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
        for found in symptoms(pod, "", (now() - created).total_seconds()):
            return f"{pod['metadata']['name']}: {found.what}: {found.detail}; {found.fix}"
    return _unmade_pod(api, label)


def _unmade_pod(api: "Api", label: str) -> str | None:
    from kubeloop.cluster.api import WORKFLOW
    from kubeloop.cluster.workflows import unmade

    try:
        workflows = api.list(WORKFLOW, label)
    except KubeloopError:  # who may not read them is told less
        return None
    return next((said for workflow in workflows if (said := unmade(workflow, now()))), None)

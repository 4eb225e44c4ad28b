"""`kubeloop wait`."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kubeloop.cli.kfp_server import HOST
from kubeloop.cli.options import HOME, JSON, SITE, existing_site
from kubeloop.errors import InputError, KubeloopError, PermanentError, from_dict

if TYPE_CHECKING:
    from kubeloop.site import Site
    from kubeloop.tracking.record import TaskRecord


@click.command(
    "wait",
    epilog="""\b
Examples:
  kubeloop wait 3f2c... --site cluster
  kubeloop wait 3f2c... --deadline 7200 --json""",
)
@click.argument("run_id")
@HOST
@HOME
@SITE
@click.option("--deadline", "deadline_s", default=3600.0, show_default=True, help="Seconds; the run itself goes on.")
@JSON
def command(run_id: str, host: str, home: Path | None, site_name: str, deadline_s: float, as_json: bool) -> None:
    """Wait for the end of RUN_ID on a Kubeflow, and say what its gates said.

    A pod that cannot start is named within a minute. Verdict and reasons come from the records in the Site's store, for
    the server itself keeps none. Exits with 3 when a gate refused, 1 when it failed or was cancelled.
    """
    from kubeloop.cli.kfp_server import stuck_pod
    from kubeloop.pipelines.submit import connect, wait

    site = existing_site(home, site_name)
    ended = wait(connect(host), run_id, deadline_s, partial(stuck_pod, site, run_id))
    tasks = _tasks(site, run_id)
    said = next((task.error for task in tasks if task.error), None)
    decided = [task.decision for task in tasks if task.decision]
    verdict = decided[-1].verdict if decided else None
    stopped = _what_stopped(run_id, ended, said)
    if as_json:
        error = None if stopped is None else stopped.to_dict() | {"kind": stopped.kind}
        click.echo(json.dumps({"run": run_id, "ended": ended, "verdict": verdict, "error": error}))
        raise SystemExit(stopped.exit_code if stopped else 0)
    click.echo(f"{ended:<10} {run_id}  verdict {verdict or '-'}")
    if stopped is not None:
        raise stopped


def _what_stopped(run_id: str, ended: str, said: dict[str, Any] | None) -> KubeloopError | None:
    if ended == "cancelled":
        return PermanentError(f"the run {run_id} was cancelled", "submit it again if it is still wanted", run=run_id)
    if ended != "failed":
        return None
    if said is None:
        return PermanentError(f"the run {run_id} failed, and no task said why", "see its pods in the Kubeflow UI")
    return from_dict(said)


def _tasks(site: "Site", run_id: str) -> "tuple[TaskRecord, ...]":
    """What the tasks of a run have written down; one that ended before its first task has nothing."""
    from kubeloop.tracking.record import read_run

    try:
        return read_run(site, run_id).tasks
    except InputError:
        return ()

"""`kubeloop predict` as a pipeline: here, or on a Kubeflow."""

import datetime as dt
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from kubeloop.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubeloop.site import Site
    from kubeloop.tracking.record import RunRecord, TaskRecord

WAIT_S = 600.0


def arguments(model: str, rows: str, out: Path | str, *, here: bool) -> dict[str, str]:
    """Arguments of the score pipeline.

    Args:
        model: NAME, NAME@VERSION or NAME@DIGEST.
        rows: Address or path of the rows.
        out: Address or path of the answers.
        here: Whether the tasks run on this machine, where a relative path has a meaning.

    Raises:
        InputError: A path that only this machine knows was given for a Kubeflow.
    """

    def place(given: str, option: str) -> str:
        if "://" in given:
            return given
        if not here:
            raise InputError(
                f"an address was expected after {option}, got {given}", "give s3://... or another that a pod can reach"
            )
        return str(Path(given).resolve())

    return {"model": model, "source": place(rows, "--in"), "out": place(str(out), "--out"), "quarantine_out": ""}


def run_here(site: "Site", given: dict[str, str], on_task: "Callable[[TaskRecord], None]") -> "RunRecord":
    """Execute the compiled score pipeline on this machine.

    Args:
        site: A laptop's; one run at a time works in its home.
        given: From `arguments`.
        on_task: Told when a task begins and ends.

    Returns:
        The finished record.

    Raises:
        InputError: Another run did not end in time.
        KubeloopError: What stopped the run.
    """
    from kubeloop.cli.flow import new_run_id
    from kubeloop.pipelines.compile import compiled_path
    from kubeloop.pipelines.local import Job, raise_for, run_job
    from kubeloop.reports.words import SCORE
    from kubeloop.site.processes import end_orphans
    from kubeloop.store.locks import lock

    assert site.home is not None
    now = dt.datetime.now(dt.UTC)
    name = given["model"].partition("@")[0]
    facts = {"pipeline": "kubeloop-score", "model": given["model"], "source": given["source"]}
    job = Job(new_run_id(name, now), name, compiled_path("score"), given, SCORE, facts)
    with ExitStack() as held:
        held.enter_context(lock(site, "run", WAIT_S, f"a run of {name}"))
        end_orphans(site.home)
        record = run_job(job, site, on_task, now)
    raise_for(record)
    return record


def submit(host: str, images: Path, given: dict[str, str]) -> None:
    """Start the score pipeline on a Kubeflow.

    Args:
        host: URL of the KFP API.
        images: The lock of images.
        given: From `arguments`.
    """
    from kubeloop.cli import kfp_server

    if not images.is_file():
        raise InputError(f"a lock of images was expected at {images}, there is none", "name one with --images")
    pipeline = kfp_server.prepared(images, caching=True, pipeline="score")
    name = given["model"].partition("@")[0]
    kfp_server.say_started(kfp_server.start(host, pipeline, given, name, f"{name}-score"), pipeline)

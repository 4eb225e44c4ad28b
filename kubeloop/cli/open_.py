"""`kubeloop open`."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kubeloop.cli.options import HOME, existing_site, shown_path
from kubeloop.errors import InputError, PermanentError
from kubeloop.site import Site

if TYPE_CHECKING:
    from kubeloop.tracking.record import RunRecord


@click.command(
    "open",
    epilog="""\b
Examples:
  kubeloop open                          # all runs
  kubeloop open a1b2 --print             # one run, by any part of its id that names it
  kubeloop open --mlflow                 # MLflow's own pages, where MLflow is installed as a whole""",
)
@click.argument("run", required=False)
@HOME
@click.option("--print", "print_only", is_flag=True, help="Print the path; open no browser.")
@click.option("--mlflow", "in_mlflow", is_flag=True, help="Start MLflow's UI in the foreground.")
@click.option("--port", default=5000, show_default=True, help="Of MLflow's UI.")
def command(run: str | None, home: Path | None, print_only: bool, in_mlflow: bool, port: int) -> None:
    """Show the page of all runs, or of RUN."""
    import webbrowser

    site = existing_site(home)
    if in_mlflow:
        serve_mlflow(site, port)
        return
    page = write_index(site)
    if run is not None:
        from kubeloop.cli.diff_ import find_run

        page = write_run_page(find_run(site, run), site)
    click.echo(shown_path(page))
    if not print_only:
        webbrowser.open(page.as_uri())


def write_run_page(record: "RunRecord", site: Site) -> Path:
    """Write the page of one run."""
    from kubeloop.cli.flow import write_page

    return write_page(record, site)


def write_index(site: Site) -> Path:
    """Write the page of all runs, and those of runs that have none yet or whose run was not over when it was written.

    Raises:
        InputError: There is no run.
    """
    from kubeloop.reports.runs_page import runs_page
    from kubeloop.tracking.record import list_runs

    runs = list_runs(site)
    if not runs:
        raise InputError("a run was expected, but there is none yet", "start one with `kubeloop run`")
    assert site.home is not None
    folder = site.home / "reports"
    for record in runs:
        page = folder / f"{record.run_id}.html"
        if record.status in ("running", "killed") or not page.exists():
            write_run_page(record, site)
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / "index.tmp"
    fresh.write_text(runs_page(runs), encoding="utf-8")
    return fresh.replace(folder / "index.html")


def serve_mlflow(site: Site, port: int) -> None:
    """Tell MLflow what it is still owed, then become its UI on this port of this machine.

    Raises:
        InputError: Only the small MLflow is installed, which has no UI.
        PermanentError: There is no local mirror.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        version("mlflow")
    except PackageNotFoundError:
        raise InputError(
            "MLflow's UI is not installed: what Kubeloop needs of it is mlflow-skinny, which has no pages",
            f"pip install mlflow=={version('mlflow-skinny')}; or `kubeloop open` for Kubeloop's own pages",
        ) from None
    _tell(site)
    if not site.tracking.startswith("sqlite:///"):
        raise PermanentError(f"the runs are mirrored to {site.tracking}, not here", "open that address in a browser")
    address = ["--backend-store-uri", site.tracking, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    click.echo(f"MLflow     http://127.0.0.1:{port}  (Ctrl-C ends it)")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "server", *address])  # noqa: S606 - no shell


def _tell(site: Site) -> None:
    from kubeloop.cli.flow import write_page
    from kubeloop.reports.loose_figures import files_of
    from kubeloop.tracking.mirror import DONE, mirror_owed

    assert site.home is not None
    told = mirror_owed(site, site, site.home, lambda run: files_of(write_page(run, site)))
    for run_id, answer in told.items():
        if answer != DONE:
            click.echo(f"not in MLflow: {run_id}: {answer}", err=True)

"""`kubeloop run`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kubeloop.cli.options import CONTRACT, HOME, JSON, SITE, console, shown_path

if TYPE_CHECKING:
    from rich.console import Console

    from kubeloop.cli.flow import Change, Outcome


@click.command(
    "run",
    epilog="""\b
Examples:
  kubeloop run                                # loop.yaml in this folder
  kubeloop run examples/heart/loop.yaml
  kubeloop run --site cluster                 # serve it on the Kubernetes of .kubeloop/sites/cluster/site.yaml
  kubeloop run --json | jq .run.verdict""",
)
@CONTRACT
@HOME
@SITE
@click.option("--wait", "wait_s", default=600.0, show_default=True, help="Seconds to wait for another run to end.")
@JSON
def command(contract: Path, home: Path | None, site_name: str, wait_s: float, as_json: bool) -> None:
    """Run the loop of CONTRACT (default: loop.yaml): from the table to a served, judged model.

    Executes the compiled pipeline, the same YAML that runs on Kubeflow. Exits with 3 when a gate refuses.
    """
    if as_json:
        run_as_json(contract, home, wait_s, console(stderr=True), site_name=site_name)
    else:
        run_and_show(contract, home, wait_s, console(), site_name=site_name)


def run_and_show(
    contract: Path,
    home: Path | None,
    wait_s: float,
    out: "Console",
    change: "Change | None" = None,
    site_name: str = "laptop",
) -> None:
    """Run, print a line a step, the gate's table, the report's path, and what to do next.

    Args:
        contract: loop.yaml.
        home: State root.
        wait_s: How long to wait for another run, in seconds.
        out: Where to print.
        change: Makes the contract that is run of the one that was read.
        site_name: Where models are served.

    Raises:
        KubeloopError: What stopped the run.
    """
    from kubeloop.cli.steps import closing_table
    from kubeloop.pipelines.local import raise_for

    outcome = _run(contract, home, wait_s, out, change, site_name)
    record = outcome.record
    table = closing_table(record) if record.status == "done" else None  # a refusal ends with its own reasons
    if table is not None:
        out.print()
        out.print(table)
    out.print(f"\nreport     {shown_path(outcome.page)}", soft_wrap=True)
    if record.status == "done":
        if site_name != "laptop":
            out.print(f"serves     {record.tasks[-1].facts.get('url', '')}", soft_wrap=True)
            return
        out.print(f"next       kubeloop serve {record.name}{_home_option(outcome.page)}", soft_wrap=True)
    raise_for(record)


def _run(
    contract: Path, home: Path | None, wait_s: float, out: "Console", change: "Change | None", site_name: str
) -> "Outcome":
    from kubeloop.cli.flow import run_contract
    from kubeloop.cli.steps import Steps

    steps = Steps(out)
    try:
        return run_contract(
            contract, home, wait_s=wait_s, on_wait=out.print, on_task=steps, change=change, site_name=site_name
        )
    finally:
        steps.stop()


def run_as_json(
    contract: Path,
    home: Path | None,
    wait_s: float,
    out: "Console",
    change: "Change | None" = None,
    site_name: str = "laptop",
) -> None:
    """Run, and print one JSON document; exits with the code of what stopped the run."""
    from kubeloop.errors import from_dict

    outcome = _run(contract, home, wait_s, out, change, site_name)
    click.echo(json.dumps({"run": outcome.record.model_dump(mode="json"), "page": str(outcome.page)}))
    if outcome.record.error:
        raise SystemExit(from_dict(outcome.record.error).exit_code)


def _home_option(page: Path) -> str:
    home = page.parent.parent
    return "" if home == Path(".kubeloop").resolve() else f" --home {shown_path(home)}"

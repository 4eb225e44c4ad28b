"""`kubeloop reproduce`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kubeloop.cli.options import HOME, JSON, existing_site

if TYPE_CHECKING:
    from kubeloop.cli.reproduction import Reproduction
    from kubeloop.contract import Contract
    from kubeloop.packaging.package import Package
    from kubeloop.site import Site
    from kubeloop.tracking.record import RunRecord


@click.command(
    "reproduce",
    epilog="""\b
Examples:
  kubeloop reproduce heart-20260102-030405-1a2b
  kubeloop reproduce latest --json""",
)
@click.argument("run")
@HOME
@JSON
def command(run: str, home: Path | None, as_json: bool) -> None:
    """Make RUN again (or the `latest`) and compare a digest per stage; exits with 1 where one differs.

    With the data and the loop.yaml of now. Where a digest differs, the input that differs is named: data,
    configuration, seed, code, library or CPU type.
    """
    from kubeloop.cli.reproduction import reproduce
    from kubeloop.tracking.record import read_run

    site = existing_site(home)
    assert site.home is not None
    record = read_run(site, _latest(site) if run == "latest" else run)
    found = reproduce(site, record, package_of(site, record), present_contract(site, record))
    if as_json:
        document = {"run": found.run_id, "same": found.same, "inputs": found.inputs}
        click.echo(json.dumps(document | {"stages": [asdict(each) | {"same": each.same} for each in found.stages]}))
    else:
        show(found)
    if not found.same:
        raise SystemExit(1)


def package_of(site: "Site", record: "RunRecord") -> "Package | None":
    """What a run registered."""
    from kubeloop.packaging.read import read_package
    from kubeloop.packaging.store import fetch

    for task in record.tasks:
        if task.task == "register" and task.status == "done":
            digest = str(task.facts["digest"])
            return read_package(fetch(site, digest), digest, site)
    return None


def present_contract(site: "Site", record: "RunRecord") -> "Contract | None":
    """The contract as its file says now; None where the file is gone, or holds another model's.

    A run of `kubeloop import` had its model from the command, not from the file; it keeps it.
    """
    from kubeloop.contract.estimator import Estimator
    from kubeloop.contract.load import read_contract
    from kubeloop.contract.sites import at_site

    path = Path(site.inputs or ".") / str(record.facts.get("contract", "loop.yaml"))
    if not path.is_file():
        return None
    found = at_site(read_contract(path), site.name)
    asked = record.facts.get("document", {}).get("estimator", {})
    if asked.get("kind") == "imported":
        found = found.model_copy(update={"estimator": Estimator.model_validate(asked)})
    return found if found.name == record.name else None


def show(found: "Reproduction") -> None:
    """A line a stage, then the inputs that differ."""
    from kubeloop.cli.steps import short

    for stage in found.stages:
        if stage.then is None:
            click.echo(f"{stage.name:<10} {'not reached':<26}")
        elif stage.same:
            click.echo(f"{stage.name:<10} {short(stage.then)}  {click.style('same', fg='green')}")
        else:
            why = ", ".join(stage.causes) or "no recorded input differs: the stage itself is not deterministic"
            differs = click.style("DIFFERS", fg="red")
            click.echo(f"{stage.name:<10} {short(stage.then)}  {differs}  {short(stage.now or '-')}  ({why})")
    for name, lines in found.inputs.items():
        for line in lines[:5]:
            click.echo(f"{name}: {line}")
        if len(lines) > 5:
            click.echo(f"{name}: and {len(lines) - 5} more")


def _latest(site: "Site") -> str:
    from kubeloop.errors import InputError
    from kubeloop.tracking.record import list_runs

    runs = list_runs(site)
    if not runs:
        raise InputError("there is no run in this home", "start one with `kubeloop run`")
    return runs[0].run_id

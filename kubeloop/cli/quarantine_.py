"""`kubeloop quarantine`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kubeloop.cli.options import CONTRACT, HOME, existing_site, shown_path
from kubeloop.errors import InputError
from kubeloop.site import Site

if TYPE_CHECKING:
    from kubeloop.contract.sections import IngestSection


@click.group(
    "quarantine",
    epilog="""\b
Examples:
  kubeloop quarantine list heart
  kubeloop quarantine export heart --out mended.csv
  kubeloop quarantine replay mended.csv loop.yaml && kubeloop run loop.yaml""",
)
def command() -> None:
    """See the rows that a run has set aside, mend them, and let them back in."""


@command.command("list")
@click.argument("name")
@HOME
def list_(name: str, home: Path | None) -> None:
    """Say which rules the rows in quarantine break, after the newest run of the model NAME."""
    from kubeloop.tracking.record import read_run

    site = existing_site(home)
    run_id, _ = newest(site, name)
    (facts,) = (task.facts for task in read_run(site, run_id).tasks if task.task == "validate")
    click.echo(f"{run_id}: {facts.get('quarantined', 0):,} of {facts.get('rows', 0):,} rows are in quarantine")
    for rule in facts.get("rules", ()):
        if rule["broken"]:
            rows = ", ".join(str(row) for row in rule["examples"])
            click.echo(f"  {rule['broken']:>8,}  {rule['rule']}  (rows {rows}{', ...' if rule['broken'] > 5 else ''})")


@command.command("export")
@click.argument("name")
@click.option(
    "--out", type=click.Path(path_type=Path), default="mended.csv", show_default=True, help="The file to mend."
)
@HOME
def export(name: str, out: Path, home: Path | None) -> None:
    """Write the rows in quarantine after the newest run of the model NAME as CSV.

    Mend the cells, keep `_digest`; take out the rows that shall stay away. What personal columns hold is read from the
    sources again and stands in this file alone: only you may read it; remove it once it is replayed.
    """
    from kubeloop.data.mended import export_rows

    site = existing_site(home)
    run_id, place = newest(site, name)
    rows = export_rows(place, out, _ingested(site, run_id), site)
    click.echo(f"wrote  {shown_path(out)}  ({rows:,} rows; `_reasons` says what is wrong with each)")
    click.echo(f"next   mend it, then: kubeloop quarantine replay {shown_path(out)}")


@command.command("replay")
@click.argument("file", type=click.Path(path_type=Path))
@CONTRACT
@HOME
def replay(file: Path, contract: Path, home: Path | None) -> None:
    """Keep the mended rows of FILE: the next runs of CONTRACT take each in the place of the row it was."""
    from kubeloop.contract.load import read_contract
    from kubeloop.contract.sections import sections_of
    from kubeloop.data.mended import keep_mended, read_mended

    section = sections_of(read_contract(contract)).validation
    site = existing_site(home or contract.resolve().parent / ".kubeloop")
    rows = read_mended(section, file, site)
    kept = keep_mended(site, section.name, rows)
    click.echo(f"kept   {rows.num_rows:,} mended rows of {section.name} ({kept:,} in all)")
    click.echo(f"next   kubeloop run {shown_path(contract)}")


def _ingested(site: Site, run_id: str) -> "IngestSection | None":
    """What `ingest` was told in a run; None where that is not known any more."""
    from kubeloop.cli.reproduction import contract_of
    from kubeloop.contract.sections import sections_of
    from kubeloop.tracking.record import read_run

    try:
        return sections_of(contract_of(site, read_run(site, run_id), None)).ingest
    except InputError:
        return None


def newest(site: Site, name: str) -> tuple[str, Path]:
    """The newest run of a model that has set its table's rows apart, and the folder of its quarantine.

    Raises:
        InputError: There is none on this machine.
    """
    from kubeloop.tracking.record import list_runs

    assert site.home is not None
    for run in list_runs(site):
        found = sorted((site.home / "work" / run.run_id / "artifacts").glob("*/validate/quarantine/table.json"))
        if run.name == name and found:
            return run.run_id, found[-1].parent
    raise InputError(
        f"a run of {name!r} that has validated its data was expected, there is none",
        "run the loop first, or name another home with --home",
    )

"""`kubeloop check`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kubeloop.cli.options import CONTRACT, HOME, JSON, shown_path
from kubeloop.contract import Contract
from kubeloop.errors import InputError

if TYPE_CHECKING:
    from kubeloop.data.looking import Look


@click.command(
    "check",
    epilog="""\b
Examples:
  kubeloop check
  kubeloop check --data                         # what of the rows would a run refuse?
  kubeloop check --schema > loop.schema.json    # for your editor""",
)
@CONTRACT
@HOME
@JSON
@click.option("--data", "look_too", is_flag=True, help="Read the sources, too: name what a run would refuse.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of loop.yaml, for editors.")
def command(contract: Path, home: Path | None, as_json: bool, look_too: bool, schema: bool) -> None:
    """Read CONTRACT (default: loop.yaml) and say all that is wrong with it, each with its line.

    With --data its rows, too: they are read, held against the rules and split as a run does, and nothing is kept.
    Exits with 3 where a run would be refused.
    """
    if schema:
        from kubeloop.contract.schema import json_schema

        click.echo(json.dumps(json_schema(), indent=2))
        return
    from kubeloop.contract.load import read_contract
    from kubeloop.pipelines.arguments import train_arguments

    found = read_contract(contract)
    _check_files(found, contract)
    size = sum(len(text) for text in train_arguments(found).values())
    if look_too:
        _look(found, contract, home, as_json)
        return
    if as_json:
        click.echo(found.model_dump_json())
        return
    click.echo(
        f"{shown_path(contract)} is right: {found.name}, {found.target.task} target '{found.target.output}', "
        f"{len(found.data.columns)} columns, {found.estimator.kind}; {size:,} bytes as pipeline parameters"
    )


def _look(found: Contract, contract: Path, home: Path | None, as_json: bool) -> None:
    import datetime as dt
    import tempfile

    from kubeloop.contract import sections_of
    from kubeloop.data.looking import look
    from kubeloop.site import laptop
    from kubeloop.tracking.finite import plain

    place = home or contract.resolve().parent / ".kubeloop"
    with tempfile.TemporaryDirectory(prefix="kubeloop-check-") as folder:
        scratch = Path(folder)
        # A first look makes no home: the key of its pseudonyms goes with it.
        site = laptop(place if place.is_dir() else scratch / "home", contract.resolve().parent)
        seen = look(sections_of(found), site, scratch, dt.datetime.now(dt.UTC))
    if as_json:
        said = {
            "passes": seen.passes,
            "decision": seen.decision.model_dump(mode="json"),
            "facts": seen.facts,
            "split": seen.parts,
        }
        click.echo(json.dumps(plain(said | {"refusal": seen.refusal and seen.refusal.to_dict()}), allow_nan=False))
    else:
        _show(seen)
    if not seen.passes:
        raise SystemExit(3)


def _show(seen: "Look") -> None:
    """The rows, what each broken rule sets aside, and what a run would be refused for."""
    facts = seen.facts
    click.echo(f"{facts['rows']:,} rows read, {facts['valid']:,} keep all rules, {facts['quarantined']:,} do not")
    for rule in sorted(facts["rules"], key=lambda rule: -rule["broken"]):
        if rule["broken"]:
            count, first = f"{rule['broken']:,} ({100 * rule['share']:.2g}%)", ", ".join(map(str, rule["examples"]))
            click.echo(f"  {rule['rule']}: broken by {count}, first rows {first}")
    for check in seen.decision.checks:
        if check.verdict != "pass":
            click.echo(f"{click.style(check.verdict, fg='red')}: {check.reason}")
    if seen.refusal is not None:
        click.echo(f"{click.style('fail', fg='red')}: {seen.refusal.problem}\n  {seen.refusal.fix}")
    if seen.parts is not None:
        parts = seen.parts
        click.echo(f"split: {parts['development']:,} rows to develop with, {parts['test']:,} to test with")
    click.echo("a run would go on to training" if seen.passes else "a run would be refused")


def _check_files(found: Contract, contract: Path) -> None:
    for source in found.data.sources:
        if source.path and "://" not in source.path and not (contract.resolve().parent / source.path).is_file():
            raise InputError(
                f"{shown_path(contract)} is right, but its source {source.name} names {source.path}: not there",
                "correct the path; it is relative to loop.yaml",
            )

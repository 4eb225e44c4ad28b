"""`kubeloop check`."""

import json
from pathlib import Path

import click

from kubeloop.cli.options import CONTRACT, JSON, shown_path
from kubeloop.contract import Contract
from kubeloop.errors import InputError


@click.command(
    "check",
    epilog="""\b
Examples:
  kubeloop check
  kubeloop check --schema > loop.schema.json    # for your editor""",
)
@CONTRACT
@JSON
@click.option("--schema", is_flag=True, help="Print the JSON Schema of loop.yaml, for editors.")
def command(contract: Path, as_json: bool, schema: bool) -> None:
    """Read CONTRACT (default: loop.yaml) and say all that is wrong with it, each with its line."""
    if schema:
        from kubeloop.contract.schema import json_schema

        click.echo(json.dumps(json_schema(), indent=2))
        return
    from kubeloop.contract.load import read_contract
    from kubeloop.pipelines.arguments import train_arguments

    found = read_contract(contract)
    _check_files(found, contract)
    size = sum(len(text) for text in train_arguments(found).values())
    if as_json:
        click.echo(found.model_dump_json())
        return
    click.echo(
        f"{shown_path(contract)} is right: {found.name}, {found.target.task} target '{found.target.output}', "
        f"{len(found.data.columns)} columns, {found.estimator.kind}; {size:,} bytes as pipeline parameters"
    )


def _check_files(found: Contract, contract: Path) -> None:
    for source in found.data.sources:
        if source.path and "://" not in source.path and not (contract.resolve().parent / source.path).is_file():
            raise InputError(
                f"{shown_path(contract)} is right, but its source {source.name} names {source.path}: not there",
                "correct the path; it is relative to loop.yaml",
            )

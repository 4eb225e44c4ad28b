"""`kubeloop schedule`."""

import json
import tempfile
from pathlib import Path

import click

from kubeloop.cli.kfp_server import HOST, LOCK
from kubeloop.cli.options import CONTRACT, HOME, JSON


@click.command(
    "schedule",
    epilog="""\b
Examples:
  kubeloop schedule --cron '0 0 3 * * *'               # every night at three
  kubeloop schedule examples/heart/loop.yaml --cron '0 0 3 * * 1' --name weekly""",
)
@CONTRACT
@HOST
@LOCK
@click.option("--cron", required=True, help="Six fields, seconds first.")
@click.option("--name", default="scheduled", show_default=True, help="A name has one schedule: it is replaced.")
@HOME
@click.option("--site", "site_name", default="cluster", show_default=True, help="Whose overrides and store hold.")
@JSON
def command(
    contract: Path,
    host: str,
    images: Path,
    cron: str,
    name: str,
    home: Path | None,
    site_name: str,
    as_json: bool,
) -> None:
    """Run the loop of CONTRACT on a Kubeflow again and again. The same command again changes nothing.

    Files that loop.yaml names are sent to the Site's store as they are now: what shall be read anew each time is an
    address (https://, s3://) or a database.
    """
    from kubeloop.cli import kfp_server
    from kubeloop.contract.load import read_contract
    from kubeloop.errors import InputError
    from kubeloop.pipelines import submit

    if len(cron.split()) != 6:
        raise InputError(
            f"a cron expression of six fields was expected, got {cron!r}", "put the seconds first: '0 0 3 * * *'"
        )
    arguments = kfp_server.arguments_of(contract, home, site_name)
    pipeline = kfp_server.prepared(images, caching=True)
    submit.check_arguments(pipeline, arguments)
    client, experiment = submit.connect(host), read_contract(contract).name
    with tempfile.TemporaryDirectory() as scratch:
        found, word = submit.schedule(client, pipeline, arguments, experiment, name, cron, Path(scratch))
    if as_json:
        click.echo(json.dumps({"recurring_run": found, "outcome": word, "version": pipeline.version}))
        return
    click.echo(f"{word:<10} {name} ({found}): {cron}, {pipeline.name} version {pipeline.version}")

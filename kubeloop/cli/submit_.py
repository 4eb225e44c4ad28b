"""`kubeloop submit`."""

import json
from pathlib import Path

import click

from kubeloop.cli.kfp_server import HOST, LOCK
from kubeloop.cli.options import CONTRACT, HOME, JSON


@click.command(
    "submit",
    epilog="""\b
Examples:
  kubeloop submit --host http://localhost:8888
  kubeloop submit examples/heart/loop.yaml --no-cache --json
  cat images.lock
    ghcr.io/kubeloop/pipeline:0.1.0: ghcr.io/kubeloop/pipeline:0.1.0@sha256:...""",
)
@CONTRACT
@HOST
@LOCK
@HOME
@click.option("--site", "site_name", default="cluster", show_default=True, help="Whose overrides and store hold.")
@click.option("--experiment", help="Its experiment.  [default: the contract's name]")
@click.option("--no-cache", is_flag=True, help="Run every task anew, also inside of conditions.")
@JSON
def command(
    contract: Path,
    host: str,
    images: Path,
    home: Path | None,
    site_name: str,
    experiment: str | None,
    no_cache: bool,
    as_json: bool,
) -> None:
    """Run the loop of CONTRACT on a Kubeflow: the pipeline that runs here, with its images by digest.

    The pipeline is uploaded once a version; arguments are held against it before anything is sent. Files that loop.yaml
    names are sent to the Site's store, once by their content.
    """
    from kubeloop.cli import kfp_server
    from kubeloop.contract.load import read_contract

    arguments = kfp_server.arguments_of(contract, home, site_name)
    pipeline = kfp_server.prepared(images, caching=not no_cache)
    name = read_contract(contract).name
    run_id = kfp_server.start(host, pipeline, arguments, experiment or name, name)
    if as_json:
        click.echo(json.dumps({"run": run_id, "pipeline": pipeline.name, "version": pipeline.version}))
        return
    kfp_server.say_started(run_id, pipeline)

"""`kubeloop compile`."""

import json
import shutil
from pathlib import Path

import click

from kubeloop.cli.options import CONTRACT, shown_path


@click.command(
    "compile",
    epilog="""\b
Examples:
  kubeloop compile examples/heart/loop.yaml --out build/""",
)
@CONTRACT
@click.option("--out", type=click.Path(path_type=Path), default="build", show_default=True, help="Folder to write to.")
def command(contract: Path, out: Path) -> None:
    """Write the pipeline of CONTRACT for a Kubeflow cluster: its YAML, and its arguments as JSON.

    The YAML is the one that `kubeloop run` executes here, byte for byte.
    """
    from kubeloop.contract.load import read_contract
    from kubeloop.pipelines.arguments import train_arguments
    from kubeloop.pipelines.compile import compiled_path

    arguments = train_arguments(read_contract(contract))
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(compiled_path("train"), out / "train.yaml")
    (out / "arguments.json").write_text(json.dumps(arguments, indent=1) + "\n", encoding="ascii")
    click.echo(f"wrote  {shown_path(out / 'train.yaml')}      upload it in the Kubeflow UI, or with the kfp client")
    click.echo(f"wrote  {shown_path(out / 'arguments.json')}  the run's parameters")

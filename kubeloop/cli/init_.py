"""`kubeloop init`."""

import os
import re
from pathlib import Path

import click

from kubeloop.cli.options import shown_path
from kubeloop.errors import InputError


@click.command(
    "init",
    epilog="""\b
Examples:
  kubeloop init patients.csv --target sick
  kubeloop init sales.parquet --target revenue --time sold_at --id order_id --out sales/""",
)
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--target", required=True, metavar="COL", help="The column to predict.")
@click.option("--time", metavar="COL", help="The column with the moment of the decision.")
@click.option("--id", "ids", metavar="COL", multiple=True, help="A column that names an entity; may be repeated.")
@click.option("--name", help="The model's name.  [default: from the file's name]")
@click.option("--out", type=click.Path(path_type=Path), default=".", help="Folder for loop.yaml.  [default: here]")
@click.option("--force", is_flag=True, help="Overwrite a loop.yaml that is there.")
def command(
    table: Path, target: str, time: str | None, ids: tuple[str, ...], name: str | None, out: Path, force: bool
) -> None:
    """Write a commented loop.yaml from TABLE (CSV or Parquet) that runs as it is."""
    from kubeloop.contract.infer import infer
    from kubeloop.data.profile import profile

    if not table.is_file():
        raise InputError(f"a table (CSV or Parquet) was expected at {table}, there is none", "check the path")
    place = out / "loop.yaml"
    if place.exists() and not force:
        raise InputError(
            f"{shown_path(place)} is already there", "name another folder with --out, or overwrite it with --force"
        )
    found = profile(table, target, time)
    source = Path(os.path.relpath(table.resolve(), out.resolve()))
    text = infer(found, source.as_posix(), target=target, time=time, ids=ids, name=name or model_name(table))
    out.mkdir(parents=True, exist_ok=True)
    fresh = place.with_suffix(".tmp")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(place)
    click.echo(f"wrote  {shown_path(place)}  ({found.rows:,} rows, {len(found.columns)} columns)")
    for line in text.splitlines():
        column, left_out, reason = line.partition(": left out, ")
        if left_out:
            click.echo(f"left out  {column.strip().removeprefix('# ')}: {reason}")
    if time is not None:
        click.echo("split  by hash, blind to time; `split: {by: time}` judges on the rows that came last")
    click.echo(f"next   kubeloop run {shown_path(place)}")


def model_name(table: Path) -> str:
    """A valid model name from a file's name: `My Sales_2024.csv` becomes `my-sales-2024`."""
    name = re.sub(r"[^a-z0-9]+", "-", table.stem.lower()).strip("-")
    name = name if name[:1].isalpha() else f"m-{name}"
    return name[:40].rstrip("-")

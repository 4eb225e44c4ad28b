"""`kubeloop promote`."""

import json
from pathlib import Path

import click

from kubeloop.cli.options import HOME, JSON, SITE, existing_site


@click.command(
    "promote",
    epilog="""\b
Examples:
  kubeloop promote heart 3
  kubeloop promote heart@challenger --json""",
)
@click.argument("model")
@click.argument("version", required=False)
@HOME
@SITE
@JSON
def command(model: str, version: str | None, home: Path | None, site_name: str, as_json: bool) -> None:
    """Make a registered VERSION of MODEL the champion: boot it, replay its golden requests, then move the row.

    Refused (exit 3) when its gate did not pass it, or judged it against another champion than the present one.
    """
    from kubeloop.cli.moves import booted, named, now, placed, say_where, wait_until_served
    from kubeloop.rollout.promotion import promote
    from kubeloop.store import open_engine

    site = existing_site(home, site_name)
    found = named(open_engine(site), site, model, version)
    apply = placed(site, found.name, booted(site, found.name))
    facts = promote(site, found.name, found.digest, "by-hand", apply, now())
    where = None if site.cluster else wait_until_served(site, found.name, found.digest)
    if as_json:
        click.echo(json.dumps({"url": where.url if where else None} | facts))
        return
    click.echo(f"{facts['outcome']}   {found.name} version {found.version} ({found.semantic or '-'})")
    say_where(where, found.name, facts)

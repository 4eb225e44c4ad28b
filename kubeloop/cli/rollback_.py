"""`kubeloop rollback`."""

import json
import time
from pathlib import Path

import click

from kubeloop.cli.options import HOME, JSON, SITE, existing_site


@click.command(
    "rollback",
    epilog="""\b
Examples:
  kubeloop rollback heart
  kubeloop rollback heart --site cluster
  kubeloop rollback heart --json""",
)
@click.argument("name")
@HOME
@SITE
@JSON
def command(name: str, home: Path | None, site_name: str, as_json: bool) -> None:
    """Go back to the champion of NAME before the present one; again goes one further back. One entry in the ledger.

    A running `kubeloop serve` switches without a failed request; this waits until it answers as before.
    """
    from kubeloop.cli.moves import now, placed, say_where, wait_until_served
    from kubeloop.rollout.promotion import rollback
    from kubeloop.rollout.steps import answered_here

    began = time.monotonic()
    site = existing_site(home, site_name)
    # Whoever goes back is in a hurry: a change by hand is taken back, and said.
    apply = placed(site, name, answered_here(site), force=True)
    facts = rollback(site, name, apply, now(), run_id="by-hand")
    where = None if site.cluster else wait_until_served(site, name, facts["digest"])
    facts["seconds"] = round(time.monotonic() - began, 3)
    if as_json:
        click.echo(json.dumps({"url": where.url if where else None} | facts))
        return
    click.echo(
        f"rolled back  {name}: {facts['previous'][7:19]} -> {facts['digest'][7:19]} (version {facts['version']}), "
        f"{facts['seconds']:.1f} s"
    )
    say_where(where, name, facts)

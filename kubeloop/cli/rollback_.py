"""`kubeloop rollback`."""

import json
import time
from pathlib import Path

import click

from kubeloop.cli.options import HOME, JSON, existing_site


@click.command(
    "rollback",
    epilog="""\b
Examples:
  kubeloop rollback heart
  kubeloop rollback heart --json""",
)
@click.argument("name")
@HOME
@JSON
def command(name: str, home: Path | None, as_json: bool) -> None:
    """Go back to the champion of NAME before the present one; again goes one further back. One entry in the ledger.

    A running `kubeloop serve` switches without a failed request; this waits until it answers as before.
    """
    from kubeloop.cli.moves import beside, now, say_where, wait_until_served
    from kubeloop.rollout.promotion import rollback
    from kubeloop.rollout.steps import answered_here

    began = time.monotonic()
    site = existing_site(home)
    facts = rollback(site, name, beside(site, name, answered_here(site)), now(), run_id="by-hand")
    where = wait_until_served(site, name, facts["digest"])
    facts["seconds"] = round(time.monotonic() - began, 3)
    if as_json:
        click.echo(json.dumps(facts | {"url": where.url if where else None}))
        return
    click.echo(
        f"rolled back  {name}: {facts['previous'][7:19]} -> {facts['digest'][7:19]} (version {facts['version']}), "
        f"{facts['seconds']:.1f} s"
    )
    say_where(where, name)

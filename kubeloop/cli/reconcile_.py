"""`kubeloop reconcile`."""

import json
from pathlib import Path

import click

from kubeloop.cli.options import HOME, JSON, SITE, existing_site


@click.command(
    "reconcile",
    epilog="""\b
Examples:
  kubeloop reconcile
  kubeloop reconcile heart --json""",
)
@click.argument("name", required=False)
@HOME
@SITE
@click.option("--force", is_flag=True, help="On a cluster: apply the champion again, over what others have changed.")
@JSON
def command(name: str | None, home: Path | None, site_name: str, force: bool, as_json: bool) -> None:
    """Finish or undo what stopped half-way, until ledger, desired record, endpoint and champion agree.

    Without NAME for every registered model.
    """
    from kubeloop.cli.moves import booted, now, placed
    from kubeloop.registry.versions import search
    from kubeloop.rollout.promotion import reconcile
    from kubeloop.store import open_engine

    site = existing_site(home, site_name)
    names = [name] if name else sorted({version.name for version in search(open_engine(site), site.namespace)})
    found = []
    for each in names:
        apply = placed(site, each, booted(site, each), force=force)
        found.append(reconcile(site, each, apply, now(), again=force))
    if as_json:
        click.echo(json.dumps({"models": found}))
        return
    for facts in found:
        champion = facts["champion"][7:19] if facts["champion"] else "none"
        done = "; ".join(facts["actions"]) or "all agreed already"
        click.echo(f"{facts['name']:<16} champion {champion:<14} {done}")
    if not found:
        click.echo("no model is registered; `kubeloop run` registers one")

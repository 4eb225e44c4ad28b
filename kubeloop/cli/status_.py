"""`kubeloop status`."""

import json
from pathlib import Path
from typing import Any

import click

from kubeloop.cli.options import HOME, JSON, console, existing_site
from kubeloop.site import Site


@click.command(
    "status",
    epilog="""\b
Examples:
  kubeloop status
  kubeloop status --json""",
)
@HOME
@JSON
def command(home: Path | None, as_json: bool) -> None:
    """Show champion, challenger and what serves, for every model, and name any disagreement."""
    found = {"models": models(existing_site(home))}
    if as_json:
        click.echo(json.dumps(found))
        return
    from rich.table import Table

    from kubeloop.cli.steps import short

    table = Table(box=None)
    for title in ("model", "champion", "challenger", "versions", "serves"):
        table.add_column(title, no_wrap=True)
    for model in found["models"]:
        digests = [short(model[role]) if model[role] else "-" for role in ("champion", "challenger")]
        table.add_row(model["name"], *digests, str(model["versions"]), model["url"] or "not running")
    out = console()
    out.print(table if found["models"] else "no model yet; make one with `kubeloop run`")
    for model in found["models"]:
        for disagreement in model["disagreements"]:
            out.print(f"[yellow]{model['name']}:[/] {disagreement}")


def models(site: Site) -> list[dict[str, Any]]:
    """Every registered model: name, number of versions, champion, challenger, url, disagreements."""
    from kubeloop.registry.champions import champion
    from kubeloop.registry.versions import challenger, search
    from kubeloop.rollout.desired import desired
    from kubeloop.serving.local import running
    from kubeloop.store import open_engine

    assert site.home is not None
    engine = open_engine(site)
    up = {server.name: server for server in running(site.home)}
    found = []
    for name in sorted({version.name for version in search(engine, site.namespace)}):
        row, rival = champion(engine, site.namespace, name), challenger(engine, site.namespace, name)
        told, server = desired(engine, site.namespace, name), up.get(name)
        found.append(
            {
                "name": name,
                "versions": sum(version.name == name for version in search(engine, site.namespace, name)),
                "champion": row.digest if row else None,
                "challenger": rival.digest if rival else None,
                "url": server.url if server else None,
                "disagreements": disagreements(
                    row.digest if row else None, told.digest if told else None, server.digest if server else None
                ),
            }
        )
    return found


def disagreements(champion: str | None, desired: str | None, served: str | None) -> list[str]:
    """Where champion row, desired record and running endpoint differ, each with what ends it."""
    from kubeloop.cli.steps import short

    found = []
    if champion != desired:
        told = short(desired) if desired else "nothing"
        found.append(
            f"the champion is {short(champion)}, the endpoint was told {told}; `kubeloop reconcile` settles it"
        )
    if served is not None and served != champion:
        found.append(f"{short(served)} still serves, the champion is {short(champion)}; it switches in a moment")
    return found

"""`kubeloop status`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kubeloop.cli.options import HOME, JSON, console, existing_site, print_whole
from kubeloop.site import Site

if TYPE_CHECKING:
    from rich.table import Table


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
    """Show champion, challenger, what serves and what is watched, for every model, and name any disagreement."""
    site = existing_site(home)
    found = {"models": models(site), "watched": watched(site)}
    if as_json:
        click.echo(json.dumps(found))
        return
    from rich.table import Table

    from kubeloop.cli.steps import short

    table = Table(box=None)
    for title in ("model", "champion", "challenger", "versions", "serves", "watched at"):
        table.add_column(title, no_wrap=True)
    for model in found["models"]:
        digests = [short(model[role]) if model[role] else "-" for role in ("champion", "challenger")]
        where = model["url"] or "not running"
        table.add_row(model["name"], *digests, str(model["versions"]), where, model["watched_at"] or "-")
    out = console()
    if found["models"]:
        print_whole(out, table)
    else:
        out.print("no model yet; make one with `kubeloop run`")
    for model in found["models"]:
        for disagreement in model["disagreements"]:
            out.print(f"[yellow]{model['name']}:[/] {disagreement}")
    if found["watched"]:
        out.print(_windows(found["watched"]))


def _windows(found: list[dict[str, Any]]) -> "Table":
    """The last window of each stream; what k of the last n windows told stands first, in red."""
    from rich.table import Table

    from kubeloop.cli.steps import short

    table = Table(box=None, title="last windows", title_justify="left")
    for title in ("model", "version", "of", "windows", "until", "rows", "truth known", "told"):
        table.add_column(title, no_wrap=title != "told", overflow="fold")
    for one in found:
        told = [f"[red]{name}[/]" for name in one["present"]]
        told += [f"[yellow]{name}[/]" for name in one["told"] if name not in one["present"]]
        share = "-" if one["coverage"] is None else f"{one['coverage']:.0%}"
        until = f"{one['to'][:16].replace('T', ' ')} UTC"
        said = ", ".join(told) or ("nothing" if one["judged"] else "not judged: too few rows")
        words = (one["model"], short(one["version"]), one["stream"], f"{one['number']:,}", until, f"{one['rows']:,}")
        table.add_row(*words, share, said)
    return table


def watched(site: Site) -> list[dict[str, Any]]:
    """The last window of every stream.

    As JSON types: model, version, stream (`inputs`, or `labels`: losses), id, number, to, rows, judged, told (by this
    window), present (by k of the last n), coverage (share of its rows whose truth is known; None of inputs).
    """
    from kubeloop.monitoring.watching.results import last_windows
    from kubeloop.store import open_engine

    engine = open_engine(site)
    found = last_windows(engine, site.namespace)
    engine.dispose()
    kept = ("version", "stream", "id", "number", "to", "rows", "judged", "told", "present")
    return [
        {
            "model": one["service"],
            **{name: one[name] for name in kept},
            "coverage": one["rows"] / one["seen"] if one["stream"] == "labels" and one["seen"] else None,
        }
        for one in found
    ]


def models(site: Site) -> list[dict[str, Any]]:
    """Every registered model: name, number of versions, champion, challenger, url, watched_at, disagreements."""
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
                "watched_at": (server.pages or None) if server else None,
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

"""`kubeloop compare`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kubeloop.cli.options import HOME, JSON, existing_site

if TYPE_CHECKING:
    from rich.console import Console


@click.command(
    "compare",
    epilog="""\b
Examples:
  kubeloop compare heart@1 heart@2
  kubeloop compare heart@champion heart@challenger
  kubeloop compare heart@1.0.0 2 --json""",
)
@click.argument("old")
@click.argument("new")
@HOME
@JSON
def command(old: str, new: str, home: Path | None, as_json: bool) -> None:
    """Show what differs from version OLD to version NEW: metrics, features, data, contract, code, libraries.

    Each is NAME@VERSION; NEW may be a version alone, of the same model.
    """
    from kubeloop.cli.moves import named, opened
    from kubeloop.registry.compare import compare
    from kubeloop.store import open_engine

    site = existing_site(home)
    engine = open_engine(site)
    name = old.partition("@")[0]
    pair = [named(engine, site, old), named(engine, site, new if "@" in new else f"{name}@{new}")]
    found = compare(*(opened(site, version.digest).manifest for version in pair))
    found["versions"] = [
        {"name": v.name, "version": v.version, "semantic": v.semantic, "digest": v.digest, "stage": v.stage}
        for v in pair
    ]
    if as_json:
        click.echo(json.dumps(found))
    else:
        from rich.console import Console

        show(found, Console(highlight=False, soft_wrap=True))


def show(found: dict[str, Any], console: "Console") -> None:
    """Print a comparison for a person."""
    from rich.table import Table

    from kubeloop.cli.steps import interval_text, short

    titles = [f"{v['name']}@{v['version']} ({v['semantic'] or '-'}, {v['stage']})" for v in found["versions"]]
    table = Table(box=None)
    for title in ("metric", *titles, "difference"):
        table.add_column(title, no_wrap=True)
    for name, metric in found["metrics"].items():
        sides = [interval_text(metric[side]) if metric[side] else "-" for side in ("old", "new")]
        table.add_row(name, *sides, "-" if metric["difference"] is None else f"{metric['difference']:+.4f}")
    console.print(table)
    console.print("\nThe intervals were measured apart, each on its own test rows; only a paired gate decides.\n")
    for place, line in _lines(found, short):
        console.print(f"{place:<10} {line}", markup=False)
    console.print(f"\nchange     {found['change']}")


def _lines(found: dict[str, Any], short: Any) -> list[tuple[str, str]]:
    features, data = found["features"], found["data"]
    lines = [("features", f"+ {name}") for name in features["added"]]
    lines += [("features", f"- {name}") for name in features["removed"]]
    lines += [("features", f"{name}: {old} -> {new}") for name, (old, new) in features["changed"].items()]
    if not features["order"]:
        lines.append(("features", "the shared ones stand in another order"))
    lines = lines or [("features", "the same")]
    rows = " -> ".join(str(count) for count in data["training_rows"])
    same = "the same" if data["same"] else f"{short(data['old'])} -> {short(data['new'])}"
    lines.append(("data", f"{same}, training rows {rows}"))
    contract = [("contract", f"{key}: {old!r} -> {new!r}") for key, (old, new) in found["contract"].items()]
    code = [("code", f"{key}: {short(old)} -> {short(new)}") for key, (old, new) in found["code"].items()]
    libraries = [("libraries", text) for text in found["libraries"]]
    lines += contract or [("contract", "the same")]
    lines += code or [("code", "the same")]
    return lines + (libraries or [("libraries", "the same")])

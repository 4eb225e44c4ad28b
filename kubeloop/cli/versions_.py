"""`kubeloop versions`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kubeloop.cli.options import HOME, JSON, console, existing_site, print_whole
from kubeloop.errors import InputError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from kubeloop.registry.versions import Version
    from kubeloop.site import Site


@click.command(
    "versions",
    epilog="""\b
Examples:
  kubeloop versions heart
  kubeloop versions heart@3 --note "Calibration looked at, good" --set ticket=ML-12
  kubeloop versions heart@3 --stage staging
  kubeloop versions --search staging --json""",
)
@click.argument("model", required=False)
@HOME
@click.option("--search", "text", default="", help="Those whose digest, run, number, stage or metadata holds this.")
@click.option("--stage", type=click.Choice(["development", "staging"]), help="Put NAME@VERSION on this stage.")
@click.option("--note", help="Add a review note to NAME@VERSION; it stays in the ledger.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="Metadata of NAME@VERSION; `KEY=` removes it.")
@JSON
def command(
    model: str | None,
    home: Path | None,
    text: str,
    stage: str | None,
    note: str | None,
    pairs: Sequence[str],
    as_json: bool,
) -> None:
    """List the versions of all models, of NAME, or one NAME@VERSION with its notes; or review one.

    The number is derived: schema changed = major, features changed = minor, data changed = patch.
    """
    from kubeloop.registry.versions import search
    from kubeloop.store import open_engine

    site = existing_site(home)
    engine = open_engine(site)
    name, at, _ = (model or "").partition("@")
    if at:
        _show_one(_reviewed(engine, site, str(model), (stage, note, pairs)), engine, site, as_json)
        return
    if stage or note or pairs:
        raise InputError("a review needs one version", "write NAME@VERSION, such as heart@3")
    found = [version for version in search(engine, site.namespace, text) if name in ("", version.name)]
    if as_json:
        click.echo(json.dumps({"versions": [document(version) for version in found]}))
    else:
        _show_all(found)


def document(version: "Version") -> dict[str, Any]:
    """A version as JSON types."""
    return asdict(version) | {"created_at": version.created_at.isoformat(), "metadata": dict(version.metadata)}


def _reviewed(
    engine: "sa.Engine", site: "Site", model: str, review: tuple[str | None, str | None, Sequence[str]]
) -> "Version":
    from kubeloop.cli.moves import author, named, now
    from kubeloop.registry import reviews

    stage, note, pairs = review
    version = named(engine, site, model)
    who = author()
    if stage:
        version = reviews.move_stage(engine, site.namespace, version, stage, who, now())
    if pairs:
        version = reviews.set_metadata(engine, site.namespace, version, _pairs(pairs), who, now())
    if note is not None:
        reviews.add_note(engine, site.namespace, version, who, note, now())
    return version


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"KEY=VALUE was expected after --set, got {text!r}", "write it with an equals sign")
        found[key] = value
    return found


def _show_all(found: "list[Version]") -> None:
    from rich.table import Table

    from kubeloop.cli.steps import short

    if not found:
        click.echo("no version; `kubeloop run` registers one")
        return
    table = Table(box=None)
    for title in ("model", "version", "number", "stage", "package", "run", "registered (UTC)"):
        table.add_column(title, no_wrap=True)
    for version in found:
        table.add_row(
            version.name,
            str(version.version),
            version.semantic or "-",
            "production (champion)" if version.is_champion else version.stage,
            short(version.digest),
            version.run_id or "-",
            f"{version.created_at:%Y-%m-%d %H:%M}",
        )
    print_whole(console(), table)


def _show_one(version: "Version", engine: "sa.Engine", site: "Site", as_json: bool) -> None:
    from kubeloop.cli.moves import opened
    from kubeloop.registry.reviews import notes

    package = opened(site, version.digest)
    said = notes(engine, site.namespace, version)
    if as_json:
        told = [asdict(note) | {"at": note.at.isoformat()} for note in said]
        metrics = {name: metric.model_dump(mode="json") for name, metric in package.manifest.metrics.items()}
        click.echo(json.dumps({"version": document(version), "metrics": metrics, "notes": told}))
        return
    role = "champion" if version.is_champion else "not the champion"
    lines = [
        ("model", f"{version.name}, version {version.version} ({version.semantic or 'no number'})"),
        ("stage", f"{version.stage}; {role}"),
        ("package", version.address),
        ("run", version.run_id or "-"),
        ("data", package.manifest.data.digest),
    ]
    lines += [("metric", f"{name} {m.value:.4g} on {m.n} rows") for name, m in sorted(package.manifest.metrics.items())]
    lines += [(key, value) for key, value in sorted(version.metadata.items())]
    lines += [("note", f"{note.at:%Y-%m-%d %H:%M} {note.author}: {note.text}") for note in said]
    for title, line in lines:
        click.echo(f"{title:<10} {line}")

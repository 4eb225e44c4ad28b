"""`kubeloop ledger`."""

import json
from pathlib import Path
from typing import Any

import click

from kubeloop.cli.options import HOME, JSON, existing_site


@click.group(
    "ledger",
    epilog="""\b
Examples:
  kubeloop ledger verify
  kubeloop ledger show --name heart --last 5""",
)
def command() -> None:
    """Show the chain of all decisions, registrations, promotions and rollbacks, or prove it whole."""


@command.command("verify")
@HOME
@JSON
def verify_command(home: Path | None, as_json: bool) -> None:
    """Prove that no entry was altered, removed from within or put in; exits with 1 and names the first that was."""
    from kubeloop.ledger import entries, verify
    from kubeloop.store import open_engine

    site = existing_site(home)
    engine = open_engine(site)
    count = verify(engine, site.namespace)
    chain = entries(engine, site.namespace)
    head = chain[-1].digest if chain else None
    if as_json:
        click.echo(json.dumps({"namespace": site.namespace, "entries": count, "head": head}))
        return
    click.echo(f"whole      {count} entries of {site.namespace}")
    click.echo(f"head       {head or '-'}  (keep a copy elsewhere: a chain whose end was cut off is whole, too)")


@command.command("show")
@HOME
@click.option("--name", help="Only entries about this model.")
@click.option("--kind", help="Only entries of this kind, such as rollback.")
@click.option("--last", default=20, show_default=True, help="At most this many, the newest.")
@JSON
def show_command(home: Path | None, name: str | None, kind: str | None, last: int, as_json: bool) -> None:
    """List entries, the newest last."""
    from kubeloop.ledger import entries
    from kubeloop.store import open_engine

    site = existing_site(home)
    found = [
        entry
        for entry in entries(open_engine(site), site.namespace)
        if name in (None, entry.body.get("name")) and kind in (None, entry.kind)
    ]
    found = found[-last:] if last > 0 else []
    if as_json:
        listed = [
            {"seq": entry.seq, "kind": entry.kind, "at": entry.at.isoformat(), "digest": entry.digest}
            | {"body": entry.body}
            for entry in found
        ]
        click.echo(json.dumps({"entries": listed}))
        return
    for entry in found:
        click.echo(f"{entry.seq:>5}  {entry.at:%Y-%m-%d %H:%M:%S}  {entry.kind:<18} {_about(entry.body)}")


def _about(body: dict[str, Any]) -> str:
    """A body in one line; digests by their first digits."""
    shown = []
    for key, value in body.items():
        if value in (None, "", [], {}):
            continue
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        shown.append(f"{key}={text[7:19] if text.startswith('sha256-') else text}")
    return "  ".join(shown)[:160]

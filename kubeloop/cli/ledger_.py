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


@command.command(
    "verify",
    epilog="""\b
Examples:
  kubeloop ledger verify
  kubeloop ledger verify --expect 3f0c2a9b71de""",
)
@HOME
@click.option(
    "--expect", metavar="HEAD", help="The head of an earlier verify, kept elsewhere: it must be in the chain."
)
@JSON
def verify_command(home: Path | None, expect: str | None, as_json: bool) -> None:
    """Prove that no entry was altered, removed or put in; exits with 1 and says which.

    Every decision, registration, promotion and rollback leaves a mark in the package store: a chain whose end was cut
    off, or that was written anew, does not fit the marks. One who can write to the database and to the store can forge
    both: print the head now and then, let somebody else keep it, and give it as --expect.
    """
    from kubeloop.ledger import fits_marks, followed_by, mark_head, verify
    from kubeloop.ledger.chain import head
    from kubeloop.store import open_engine

    site = existing_site(home)
    engine = open_engine(site)
    count = verify(engine, site.namespace)
    marked = fits_marks(engine, site)
    since = None if expect is None else followed_by(engine, site.namespace, expect)
    last = head(engine, site.namespace)[1] if count else None
    mark = mark_head(engine, site)
    if as_json:
        facts = {"namespace": site.namespace, "entries": count, "head": last, "marked": marked, "since_expected": since}
        click.echo(json.dumps(facts))
        return
    click.echo(f"whole      {count} entries of {site.namespace}")
    click.echo(
        f"marks      the store's fit, up to entry {marked}" + ("" if mark == "done" else f"; no new one: {mark}")
    )
    if since is not None:
        click.echo(f"expected   is in the chain, {since} entries came after it")
    click.echo(f"head       {last or '-'}  (let somebody else keep it, for --expect)")


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

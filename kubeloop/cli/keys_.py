"""`kubeloop keys`."""

import json
import os
from pathlib import Path

import click

from kubeloop.cli.options import HOME, JSON, existing_site, shown_path
from kubeloop.errors import InputError


@click.group(
    "keys",
    epilog="""\b
Examples:
  kubeloop keys make
  kubeloop keys show
  kubeloop keys make --out deploy-keys      # for a cluster's Secret and ConfigMap""",
)
def command() -> None:
    """Make the key pair that signs packages, show which keys are trusted, sign what came before."""


@command.command("make")
@HOME
@click.option("--out", type=click.Path(path_type=Path), help="Write the pair here, and leave the home as it is.")
@JSON
def make_command(home: Path | None, out: Path | None, as_json: bool) -> None:
    """Make a key pair, offline. From then on `register` signs, and what is not signed is refused.

    The private key lies in the home's secrets, closed to others; the public one in its `keys`. To change keys, move the
    private one away and make another pair: what the old one signed is trusted until its public key is removed.
    """
    from kubeloop.packaging.signing import fingerprint, make_pair
    from kubeloop.site.model import KEYS, SIGNING_KEY

    private, public = make_pair()
    name = fingerprint(public)
    if out is None:
        root = existing_site(home).home
        assert root is not None
        secret, shown = root / "secrets" / SIGNING_KEY, root / KEYS / f"{name}.pub"
    else:
        secret, shown = out / SIGNING_KEY, out / f"{name}.pub"
    _write_closed(secret, private)
    shown.parent.mkdir(parents=True, exist_ok=True)
    shown.write_bytes(public)
    if as_json:
        click.echo(json.dumps({"fingerprint": name, "private": str(secret), "public": str(shown)}))
        return
    click.echo(f"key        {name}")
    click.echo(f"private    {shown_path(secret)}  (0600; only `register` reads it)")
    click.echo(f"public     {shown_path(shown)}")
    if out is None:
        click.echo("next       kubeloop keys sign   # what was registered before is unsigned, and refused until then")


@command.command("show")
@HOME
@JSON
def show_command(home: Path | None, as_json: bool) -> None:
    """List the trusted keys, and what the Site does with unsigned packages."""
    from kubeloop.packaging.signing import fingerprint

    site = existing_site(home)
    keys = [fingerprint(key) for key in site.trusted_keys]
    if as_json:
        signs = site.signing_key is not None
        click.echo(json.dumps({"trusted": keys, "allow_unsigned": site.allow_unsigned, "signs": signs}))
        return
    for key in keys:
        click.echo(f"trusted    {key}")
    click.echo(f"unsigned   {'allowed, and said loudly at every load' if site.allow_unsigned else 'refused'}")
    click.echo(f"register   {'signs' if site.signing_key else 'does not sign: there is no private key here'}")


@command.command("sign")
@HOME
@JSON
def sign_command(home: Path | None, as_json: bool) -> None:
    """Sign every registered version that nobody trusted signed, after every byte of it was verified."""
    from kubeloop.cli.moves import author, now
    from kubeloop.registry.sign import sign_registered

    found = sign_registered(existing_site(home), author(), now())
    if as_json:
        click.echo(json.dumps({"signed": [{"name": v.name, "version": v.version, "digest": v.digest} for v in found]}))
        return
    for version in found:
        click.echo(f"signed     {version.name} version {version.version}, package {version.digest[7:19]}")
    if not found:
        click.echo("nothing to sign: every registered version is signed by a trusted key")


def _write_closed(file: Path, content: bytes) -> None:
    """Write a file that was never open to others, and never over another one."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InputError(
            f"there is a private key already: {shown_path(file)}",
            "keep it; or move it away to change keys (what it signed stays trusted)",
            file=str(file),
        ) from None
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)

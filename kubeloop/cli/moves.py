"""What the commands share that look at versions and move champions."""

import datetime as dt
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kubeloop.errors import InputError, TransientError
from kubeloop.site import Site

if TYPE_CHECKING:
    import sqlalchemy as sa

    from kubeloop.packaging.package import Package
    from kubeloop.registry.versions import Version
    from kubeloop.rollout.steps import Apply
    from kubeloop.serving.state import Running

SWITCH_S = 60.0
_POLL_S = 0.05


def now() -> dt.datetime:
    """The clock of a command."""
    return dt.datetime.now(dt.UTC)


def author() -> str:
    """Who types: for the ledger."""
    import getpass

    with suppress(OSError, KeyError):
        return getpass.getuser()
    return "unknown"


def named(engine: "sa.Engine", site: Site, model: str, which: str | None = None) -> "Version":
    """The version that `NAME@VERSION`, or `NAME` and `VERSION`, say.

    Raises:
        InputError: There is none, or no version was given.
    """
    from kubeloop.registry.find import find

    name, at, rest = model.partition("@")
    wanted = which or rest
    if not wanted or (which and at):
        raise InputError(
            f"one version was expected, got {' '.join(filter(None, (model, which)))!r}",
            f"write {name} 3, or {name}@3; `kubeloop versions {name}` lists them",
        )
    return find(engine, site.namespace, name, wanted)


def opened(site: Site, digest: str) -> "Package":
    """The verified package of a version."""
    from kubeloop.packaging.read import read_package
    from kubeloop.packaging.store import fetch

    return read_package(fetch(site, digest), digest, site)


def booted(site: Site, name: str) -> "Apply":
    """`apply` for a promotion: boots the package behind a real server and replays the golden requests over the wire."""
    from kubeloop.packaging.read import read_package
    from kubeloop.serving.trial import trial

    def apply(folder: Path) -> dict[str, Any]:
        serving = read_package(folder, site=site).manifest.contract.get("serving") or {}
        return trial(folder, name, serving.get("answers") or "both", site)

    return apply


def placed(site: Site, name: str, otherwise: "Apply", *, force: bool = False) -> "Apply":
    """`apply` where the Site serves: on its cluster, or on this machine (see `beside`).

    Args:
        site: Where.
        name: The model.
        otherwise: What proves a package on this machine where nothing is served.
        force: On a cluster, take back what others have changed by hand.
    """
    if site.cluster is None:
        return beside(site, name, otherwise)
    from kubeloop.serving.on_cluster import endpoint

    return endpoint(site, name, force=force)


def beside(site: Site, name: str, otherwise: "Apply") -> "Apply":
    """`apply` for a model that is served here: its supervisor boots and proves the package beside the champion.

    Nothing is booted twice then, and the switch takes no time.

    Args:
        site: Where.
        name: The model.
        otherwise: What proves a package where nothing is served, or where the supervisor could not bring it up.
    """
    from kubeloop.serving import state
    from kubeloop.serving.trial import PROTOCOLS

    home = site.home
    assert home is not None

    def apply(folder: Path) -> dict[str, Any]:
        digest, end = folder.name, time.monotonic() + SWITCH_S
        if (there := served(site, name)) is None:
            return otherwise(folder)
        if digest not in (there.digest, there.standby):
            state.ask(home, name, digest)
        while time.monotonic() < end and (there := served(site, name)) is not None:
            if digest in (there.digest, there.standby):
                return {"protocols": list(PROTOCOLS), "proven_by": there.url}
            if not state.asked(home, name):
                break
            time.sleep(_POLL_S)
        state.answered(home, name)
        return otherwise(folder)

    return apply


def served(site: Site, name: str) -> "Running | None":
    """The running endpoint of a model on this machine."""
    from kubeloop.serving.state import running

    assert site.home is not None
    return next((entry for entry in running(site.home) if entry.name == name), None)


def wait_until_served(site: Site, name: str, digest: str, deadline_s: float = SWITCH_S) -> "Running | None":
    """Wait until the running endpoint of a model answers with a package; None if none runs here.

    Raises:
        TransientError: It does not switch in time.
    """
    end = time.monotonic() + deadline_s
    while True:
        found = served(site, name)
        if found is None or found.digest == digest:
            return found
        if time.monotonic() > end:
            raise TransientError(
                f"the champion of {name} is {digest[7:19]}, and {found.url} still answers with {found.digest[7:19]} "
                f"after {deadline_s:.0f} s",
                "see what `kubeloop serve` says in its terminal",
                name=name,
            )
        time.sleep(_POLL_S)


def say_where(found: "Running | None", name: str, facts: "dict[str, Any] | None" = None) -> None:
    """Where it answers now, in a line; `facts` are those of a cluster's endpoint."""
    if facts is not None and facts.get("url"):
        click.echo(f"serves     {facts['url']}, {facts['golden']} golden requests answered alike")
        for change in facts.get("drift", []):
            click.echo(f"taken back {change}")
    elif found is None:
        click.echo(f"serves     nowhere on this machine; start it with `kubeloop serve {name}`")
    else:
        click.echo(f"serves     {found.url}, answering with {found.digest[7:19]} now")

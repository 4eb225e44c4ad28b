"""`kubeloop doctor`."""

import json
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kubeloop.cli.options import HOME, JSON, SITE, existing_site

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from kubeloop.site import Site

MINIMUM_FREE_BYTES = 1_000_000_000
NEEDED = ("kfp", "kserve", "sklearn", "pandas", "duckdb", "skops", "mlflow", "matplotlib")


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `fix` is empty where it is well."""

    what: str
    seen: str
    fix: str = ""


@click.command(
    "doctor",
    epilog="""\b
Examples:
  kubeloop doctor
  kubeloop doctor --site cluster
  kubeloop doctor --home out/demo/.kubeloop --json""",
)
@HOME
@SITE
@JSON
def command(home: Path | None, site_name: str, as_json: bool) -> None:
    """Check this machine and this home, and say what to mend. Exits with 2 when something is to be mended.

    With --site a Site's cluster instead: versions, rights, store, database, secrets, KServe's mode, Katib, labels,
    pods, clock.
    """
    if site_name == "laptop":
        findings = list(examine((home or Path(".kubeloop")).resolve()))
    else:
        findings = list(examine_cluster(existing_site(home, site_name)))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            mark = click.style("mend", fg="red") if finding.fix else click.style("ok  ", fg="green")
            click.echo(f"{mark}  {finding.what:<14} {finding.seen}")
            if finding.fix:
                click.echo(f"      {'':<14} fix: {finding.fix}")
    if any(finding.fix for finding in findings):
        raise SystemExit(2)


def examine(home: Path) -> Iterator[Finding]:
    """Look at Python, libraries, disk, home, database, ledger and left-over processes."""
    version = platform.python_version()
    good = sys.version_info[:2] in ((3, 11), (3, 12))
    yield Finding("python", version, "" if good else "use Python 3.11 or 3.12")
    yield _libraries()
    yield _disk(home)
    if not home.is_dir():
        yield Finding("home", f"{home} is not there yet; `kubeloop run` makes it")
        return
    yield from _home(home)


def examine_cluster(site: "Site") -> Iterator[Finding]:
    """Look at all that a run with this Site needs."""
    from kubeloop.cluster.examine import examine as looks

    yield from (Finding(look.what, look.seen, look.fix) for look in looks(site))


def _champions(site: "Site", engine: "Engine") -> Iterator[Finding]:
    from kubeloop.errors import KubeloopError
    from kubeloop.packaging.read import read_package
    from kubeloop.packaging.store import fetch
    from kubeloop.registry.baseline import deployed_before
    from kubeloop.registry.champions import champion
    from kubeloop.registry.versions import search

    known = {version.name for version in search(engine, site.namespace)}
    for name in sorted(known):
        row = champion(engine, site.namespace, name)
        if row is None:
            continue
        try:
            read_package(fetch(site, row.digest), row.digest, site)
            yield Finding("champion", f"{name}: package {row.digest[7:19]}, every byte as registered")
        except KubeloopError as error:
            yield Finding(
                "champion", error.problem, f"restore that folder from a backup, or `kubeloop rollback {name}`"
            )
    for name in sorted(deployed_before(site) - known):
        yield Finding(
            "registry",
            f"runs of {name} were deployed here, but the registry knows no version of it",
            f"restore {site.sql.partition('///')[2]} from a backup, or begin anew in another home",
        )


def _libraries() -> Finding:
    from importlib.util import find_spec

    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        return Finding("libraries", f"missing: {', '.join(missing)}", "pip install 'kubeloop[core,serve]'")
    return Finding("libraries", "all there")


def _disk(home: Path) -> Finding:
    place = next(parent for parent in (home, *home.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    fix = "" if free >= MINIMUM_FREE_BYTES else "free at least 1 GB, or `kubeloop gc`"
    return Finding("disk", f"{free / 1e9:.1f} GB free at {place}", fix)


def _home(home: Path) -> Iterator[Finding]:
    from kubeloop.errors import KubeloopError
    from kubeloop.ledger import fits_marks, verify
    from kubeloop.site import laptop
    from kubeloop.site.processes import orphans
    from kubeloop.store.engine import open_engine

    site = laptop(home, home.parent)
    left = orphans(home)
    seen = ", ".join(str(process.pid) for process in left) or "none left over"
    yield Finding("processes", seen, "run any kubeloop command here; it ends them" if left else "")
    try:
        engine = open_engine(site)
        yield Finding("database", str(home / "kubeloop.db"))
        count = verify(engine, site.namespace)
        yield Finding("ledger", f"{count} entries, {fits_marks(engine, site)} marked in the store, chain whole")
        yield from _champions(site, engine)
    except KubeloopError as error:
        yield Finding("database", error.problem, error.fix)

"""`kubeloop gc`."""

import shutil
from pathlib import Path

import click

from kubeloop.cli.options import HOME, existing_site
from kubeloop.site import Site


@click.command(
    "gc",
    epilog="""\b
Examples:
  kubeloop gc --dry-run
  kubeloop gc --keep 3""",
)
@HOME
@click.option("--keep", default=10, show_default=True, help="Keep artifacts of this many newest runs.")
@click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
def command(home: Path | None, keep: int, dry_run: bool) -> None:
    """Remove artifacts of old runs and half-written files.

    Records, reports, packages, the registry and the ledger stay: what was decided can always be looked up.
    """
    from kubeloop.site.processes import end_orphans
    from kubeloop.store.locks import lock

    site = existing_site(home)
    assert site.home is not None
    with lock(site, "run", 5.0, "kubeloop gc"):
        if not dry_run:
            end_orphans(site.home)
        freed = 0
        for place in removable(site, keep):
            size = _size(place)
            freed += size
            click.echo(f"{'would remove' if dry_run else 'removed'}  {place.relative_to(site.home)}  {_human(size)}")
            if not dry_run:
                _remove(place)
    click.echo(f"{_human(freed)} {'would be' if dry_run else 'was'} freed")


def removable(site: Site, keep: int) -> list[Path]:
    """What no run among the newest `keep` needs, and no record, registry row or ledger entry names."""
    from kubeloop.tracking.record import list_runs

    assert site.home is not None
    kept = {run.run_id for run in list_runs(site)[:keep]}
    work = sorted((site.home / "work").glob("*"))
    places = [path for path in work if path.name not in kept]
    places += [entry for entry in sorted((site.home / "cache").glob("*.json")) if _names_one_of(entry, places)]
    places += sorted((site.home / "reports").glob("*.tmp"))
    return places


def _names_one_of(entry: Path, going: list[Path]) -> bool:
    # A cache entry points at artifacts of the run that made them.
    text = entry.read_text(encoding="utf-8", errors="replace")
    return any(f"{place}/" in text for place in going)


def _size(place: Path) -> int:
    files = place.rglob("*") if place.is_dir() else [place]
    return sum(path.stat().st_size for path in files if path.is_file())


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _human(size: float) -> str:
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"

"""`kubeloop runs`."""

import json
from pathlib import Path

import click

from kubeloop.cli.options import HOME, JSON, console, existing_site, print_whole


@click.command(
    "runs",
    epilog="""\b
Examples:
  kubeloop runs
  kubeloop runs heart --limit 5 --json""",
)
@click.argument("name", required=False)
@HOME
@click.option("--limit", default=20, show_default=True, help="At most this many.")
@JSON
def command(name: str | None, home: Path | None, limit: int, as_json: bool) -> None:
    """List the runs, newest first; those of NAME alone if it is given."""
    from kubeloop.cli.steps import STYLES
    from kubeloop.tracking.record import list_runs

    site = existing_site(home)
    runs = [run for run in list_runs(site) if name in (None, run.name)][:limit]
    if as_json:
        click.echo(json.dumps([run.model_dump(mode="json", exclude={"tasks"}) for run in runs]))
        return
    if not runs:
        click.echo("no runs yet; start one with `kubeloop run`")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    for title in ("run", "started (UTC)", "took", "status", "verdict", "last task"):
        table.add_column(title, no_wrap=True)
    for run in runs:
        took = f"{(run.finished - run.started).total_seconds():.0f} s" if run.finished else "-"
        verdict = Text(run.verdict or "-", style=STYLES.get(run.verdict or "", ""))
        last = run.tasks[-1].task if run.tasks else "-"
        table.add_row(run.run_id, f"{run.started:%Y-%m-%d %H:%M:%S}", took, run.status, verdict, last)
    print_whole(console(), table)

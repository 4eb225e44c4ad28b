"""`kubeloop log`."""

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kubeloop.cli.options import HOME, JSON, existing_site, shown_path
from kubeloop.contract.durations import Duration, length_of
from kubeloop.errors import InputError

if TYPE_CHECKING:
    from kubeloop.packaging.manifest import Manifest
    from kubeloop.site import Site

DAYS = click.option("--older-than", default="90d", show_default=True, metavar="AGE", help="Such as 90d or 12h.")


@click.group(
    "log",
    epilog="""\b
Examples:
  kubeloop log sink heart --port 9090
  kubeloop log status
  kubeloop log performance heart
  kubeloop log export --out archive && kubeloop log forget --older-than 90d""",
)
def command() -> None:
    """Keep what was asked and answered, and see how good the answers were."""


@command.command("sink")
@click.argument("names", nargs=-1, required=True)
@HOME
@click.option("--port", default=9090, show_default=True, help="Port on 127.0.0.1.")
def sink(names: tuple[str, ...], home: Path | None, port: int) -> None:
    """Take the events of KServe's logger for the models NAMES, and their labels, in the foreground; Ctrl-C ends it.

    An event is acknowledged when it is on disk. Only columns of the model are kept, whatever else a request holds.
    """
    import os

    from kubeloop.serving import sink_process

    site = existing_site(home)
    assert site.home is not None
    file = site.home / "log-services.json"
    file.write_text(_services(site, names), encoding="utf-8")
    click.echo(f"post   CloudEvents to http://127.0.0.1:{port}/, labels to http://127.0.0.1:{port}/labels")
    os.environ["KUBELOOP_HOME"] = str(site.home)
    raise SystemExit(sink_process.main(["--services", str(file), "--host", "127.0.0.1", "--port", str(port)]))


@command.command("services")
@click.argument("names", nargs=-1, required=True)
@HOME
def services(names: tuple[str, ...], home: Path | None) -> None:
    """Print the file that a sink elsewhere needs to know the models NAMES: columns, classes, what is hashed."""
    click.echo(_services(existing_site(home), names))


def _services(site: "Site", names: tuple[str, ...]) -> str:
    from kubeloop.monitoring.log.models import model_of

    found = []
    for name in names:
        digest, manifest = _champion(site, name)
        model = model_of(manifest, digest).model_dump(mode="json")
        found.append({"namespace": site.namespace, "service": name, "models": [model]})
    return json.dumps({"services": found}, indent=1)


def _champion(site: "Site", name: str) -> "tuple[str, Manifest]":
    from kubeloop.packaging.read import read_package
    from kubeloop.packaging.store import fetch
    from kubeloop.registry.find import find
    from kubeloop.store import open_engine

    engine = open_engine(site)
    digest = find(engine, site.namespace, name, "champion").digest
    engine.dispose()
    return digest, read_package(fetch(site, digest), digest, site).manifest


@command.command("status")
@HOME
@JSON
def status(home: Path | None, as_json: bool) -> None:
    """Show what the log holds, by service and version, and what still waits on disk."""
    from kubeloop.monitoring.log.segments import log_root, writers
    from kubeloop.monitoring.log.standing import standing
    from kubeloop.store import open_engine

    site = existing_site(home)
    engine = open_engine(site)
    found = standing(engine)
    engine.dispose()
    waiting = sum(path.stat().st_size for folder in writers(log_root(site)) for path in folder.iterdir())
    if as_json:
        click.echo(json.dumps({"services": found, "waiting_bytes": waiting}))
        return
    for row in found:
        click.echo(
            f"{row['service']:<20} {row['version'][:19] or '-':<20} {row['events']:>9,} events  "
            f"{row['unanswered']:,} unanswered  {row['orphans']:,} answers without request  last {row['last']}"
        )
    click.echo(f"waiting              {waiting:,} bytes in segments (`kubeloop log move`)")


@command.command("move")
@HOME
@JSON
def move(home: Path | None, as_json: bool) -> None:
    """Move what waits on disk into the SQL store; a sink does so by itself."""
    from kubeloop.monitoring.log.moving import move_all
    from kubeloop.monitoring.log.segments import log_root
    from kubeloop.store import lock, open_engine

    site = existing_site(home)
    engine = open_engine(site)
    with lock(site, "log-mover", 30, "moving the inference log"):
        moved = move_all(engine, log_root(site), dt.datetime.now(dt.UTC))
    engine.dispose()
    if as_json:
        words = ("segments", "records", "again", "damaged")
        click.echo(json.dumps({word: getattr(moved, word) for word in words}))
        return
    click.echo(f"moved  {moved.records:,} records of {moved.segments} segments")
    if moved.again:
        click.echo(f"{moved.again:,} events came under an id that the log had before: the first one of each is kept")
    if moved.damaged:
        click.echo(f"{moved.damaged} segments hold an altered record; they are kept beside as *.damaged", err=True)


@command.command("performance")
@click.argument("name")
@HOME
@click.option("--version", help="Only rows that this version answered.")
@click.option("--maturity", metavar="AGE", help="So long a label may take.  [default: by the contract, else 30d]")
@click.option("--last", metavar="AGE", help="Only rows of the last such as 90d.  [default: all]")
@JSON
def performance(
    name: str, home: Path | None, version: str | None, maturity: str | None, last: str | None, as_json: bool
) -> None:
    """Show how good the answers of NAME were: measured where the truth is known and mature, estimated elsewhere."""
    from kubeloop.contract.monitoring import Labels
    from kubeloop.monitoring.labels.taking import words_of
    from kubeloop.monitoring.log.windows import WindowKey
    from kubeloop.monitoring.performance.looking import Judging, look
    from kubeloop.store import open_engine

    site = existing_site(home)
    engine = open_engine(site)
    now = dt.datetime.now(dt.UTC)
    since = None if last is None else now - _age(last)
    words = words_of(site, name) or Labels()
    if maturity is not None:
        _age(maturity)
        words = words.model_copy(update={"maturity": maturity})
    judging = Judging(words)
    facts = look(engine, WindowKey(site.namespace, name, version=version), judging, now, since).facts()
    engine.dispose()
    click.echo(json.dumps(facts) if as_json else _said(facts))


def _said(facts: dict[str, Any]) -> str:
    coverage, measured, guessed = facts["coverage"], facts["measured"], facts["estimated"]
    share = "-" if coverage["share"] is None else f"{coverage['share']:.0%}"
    lines = [
        f"rows       {coverage['rows']:,} answered, {coverage['mature']:,} mature, {share} of those have a label",
        f"early      {coverage['early']:,} labels of rows that are not mature are not used",
    ]
    if coverage["lag_s"]:
        lag = ", ".join(f"{value / 86_400:.1f}" for value in coverage["lag_s"])
        lines.append(f"lag        {lag} days (half, 90%, all of the labels)")
    lines += _metrics("measured", measured)
    if measured["unsure"]:
        lines.append(f"unsure     {measured['unsure']}")
    lines += _metrics("estimated", guessed)
    if guessed["metrics"]:
        lines.append(f"assumed    {guessed['assumes']}")
        error = guessed["calibration"]
        told = error if isinstance(error, str) else f"{error['value']:.3f} [{error['low']:.3f}, {error['high']:.3f}]"
        lines.append(f"           calibration error where the truth is known: {told}")
    return "\n".join(lines)


def _metrics(word: str, part: dict[str, Any]) -> list[str]:
    lines = [f"{word:<10} on {part['rows']:,} rows"]
    for name, found in part["metrics"].items():
        lines.append(f"  {name:<18} {found['value']:>9.4f}  [{found['low']:.4f}, {found['high']:.4f}]")
    if not part["metrics"]:
        lines[0] += ": " + next(iter(part["undefined"].values()), "nothing to say")
    return lines


@command.command("export")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for Parquet files, one a day.")
@click.option("--since", metavar="DAY", type=click.DateTime(["%Y-%m-%d"]), help="First UTC day.  [default: all]")
@HOME
def export(out: Path, since: dt.datetime | None, home: Path | None) -> None:
    """Write the log as Parquet, one file a service and UTC day, up to the end of yesterday."""
    from kubeloop.monitoring.log.keeping import export_log
    from kubeloop.store import open_engine

    engine = open_engine(existing_site(home))
    today = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    written = export_log(engine, out, None if since is None else since.replace(tzinfo=dt.UTC), today)
    engine.dispose()
    click.echo(f"wrote  {sum(written.values()):,} events in {len(written)} files below {shown_path(out)}")


@command.command("forget")
@DAYS
@HOME
def forget_(older_than: str, home: Path | None) -> None:
    """Remove what is older; export it first if it is to be kept."""
    from kubeloop.monitoring.log.keeping import forget
    from kubeloop.store import open_engine

    engine = open_engine(existing_site(home))
    removed = forget(engine, dt.datetime.now(dt.UTC) - _age(older_than))
    engine.dispose()
    click.echo(f"removed {removed:,} predictions older than {older_than}")


def _age(text: str) -> dt.timedelta:
    from pydantic import TypeAdapter, ValidationError

    try:
        return length_of(TypeAdapter(Duration).validate_python(text))
    except ValidationError:
        raise InputError(f"an age such as 90d, 12h or 30min was expected, got {text!r}", "write it so") from None

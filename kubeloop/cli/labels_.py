"""`kubeloop labels`."""

import datetime as dt
import json
from functools import partial
from pathlib import Path

import click

from kubeloop.cli.options import HOME, JSON, existing_site
from kubeloop.errors import InputError


@click.command(
    "labels",
    epilog="""\b
Examples:
  kubeloop labels outcomes.csv --model heart
  kubeloop labels outcomes.csv --model heart --event-id event_id
  kubeloop labels outcomes.parquet --model heart --key patient --value sick
  kubeloop log performance heart""",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", required=True, metavar="NAME", help="Whose predictions the labels are of.")
@click.option(
    "--event-id", metavar="COLUMN", help="Column with the id of the request's event: X-Request-Id of its answer."
)
@click.option("--key", metavar="COLUMN", help="Column with the business key instead.")
@click.option("--value", metavar="COLUMN", help="Column with what came true.  [default: by the contract, else value]")
@HOME
@JSON
def command(
    file: Path,
    model: str,
    event_id: str | None,
    key: str | None,
    value: str | None,
    home: Path | None,
    as_json: bool,
) -> None:
    """Tell the log what came true: FILE is CSV, Parquet or JSON lines, one label a row.

    A label names a row by the id of its request's event, or by a business key: then it is of the latest prediction of
    that key before it was observed. Without --event-id and --key the columns are those of monitoring.labels in the
    contract of the model that serves. The same label twice is kept once, another value is a correction, an empty one
    takes back what was said. Two further columns are read where the file has them: `row`, the number of the row in its
    request from 0, and `observed_at`, when it was observed; without it, that is now.
    """
    from kubeloop.monitoring.labels.files import Columns, read_labels
    from kubeloop.monitoring.labels.taking import take_labels, words_of

    site = existing_site(home)
    words = words_of(site, model) if event_id is None and key is None else None
    if words is not None:
        event_id, key = (None, words.key) if words.key else (words.event_id, None)
        value = value or words.value
    if (event_id is None) == (key is None):
        raise InputError(
            "exactly one of --event-id and --key was expected",
            "name the column by which labels find rows, here or under monitoring.labels in loop.yaml",
        )
    read = partial(read_labels, file, Columns(value or "value", event_id, key))
    facts = take_labels(site, model, read, key is not None, dt.datetime.now(dt.UTC)).facts()
    if as_json:
        click.echo(json.dumps({"model": model, **facts}))
        return
    click.echo(f"stored {', '.join(f'{facts[name]:,} {name}' for name in ('new', 'corrected', 'duplicate'))}")
    if facts["known"] < facts["labels"]:
        click.echo(f"known  {facts['known']:,} of {facts['labels']:,} name a prediction that the log has")
    if not facts["known"]:
        click.echo(f"hint   {_hint(event_id, key)}")
    click.echo(f"next   kubeloop log performance {model}")


def _hint(event_id: str | None, key: str | None) -> str:
    """Where the column may come from that no prediction has."""
    if key is not None:
        return f"{key} finds rows whose request sent its values as `keys`, or as the header X-Kubeloop-Key"
    return f"{event_id} finds rows by the header X-Request-Id of their answers"

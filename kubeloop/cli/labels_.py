"""`kubeloop labels`."""

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kubeloop.cli.options import HOME, JSON, existing_site
from kubeloop.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kubeloop.monitoring.labels.storing import Label
    from kubeloop.monitoring.log.models import LoggedModel
    from kubeloop.site import Site


@click.command(
    "labels",
    epilog="""\b
Examples:
  kubeloop labels outcomes.csv --model heart --event-id event_id
  kubeloop labels outcomes.parquet --model heart --key patient --value sick
  kubeloop log performance heart""",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", required=True, metavar="NAME", help="Whose predictions the labels are of.")
@click.option("--event-id", metavar="COLUMN", help="Column with the id of the request's event.")
@click.option("--key", metavar="COLUMN", help="Column with the business key instead.")
@click.option("--value", default="value", show_default=True, metavar="COLUMN", help="Column with what came true.")
@HOME
@JSON
def command(
    file: Path,
    model: str,
    event_id: str | None,
    key: str | None,
    value: str,
    home: Path | None,
    as_json: bool,
) -> None:
    """Tell the log what came true: FILE is CSV, Parquet or JSON lines, one label a row.

    A label names a row by the id of its request's event, or by a business key: then it is of the latest prediction of
    that key before it was observed. The same label twice is kept once, another value is a correction, an empty one
    takes back what was said. Two further columns are read where the file has them: `row`, the number of the row in its
    request from 0, and `observed_at`, when it was observed; without it, that is now.
    """
    from kubeloop.monitoring.labels.files import Columns, read_labels
    from kubeloop.monitoring.labels.storing import store_labels
    from kubeloop.monitoring.log.reading import micros, services_models
    from kubeloop.monitoring.log.windows import WindowKey
    from kubeloop.store import open_engine

    if (event_id is None) == (key is None):
        raise InputError(
            "exactly one of --event-id and --key was expected", "name the column by which labels find rows"
        )
    site = existing_site(home)
    engine = open_engine(site)
    service, models = services_models(engine, WindowKey(site.namespace, model))
    found = read_labels(file, Columns(value, event_id, key))
    found = _as_logged(site, models[max(models)], found) if key else found
    with engine.begin() as connection:
        outcome = store_labels(connection, service, found, micros(dt.datetime.now(dt.UTC)))
    engine.dispose()
    counts = {name: outcome[name] for name in ("new", "corrected", "duplicate")}
    if as_json:
        click.echo(json.dumps({"model": model, "labels": len(found), **counts}))
        return
    click.echo(f"stored {', '.join(f'{count:,} {name}' for name, count in counts.items())}")
    click.echo(f"next   kubeloop log performance {model}")


def _as_logged(site: "Site", model: "LoggedModel", found: "Sequence[Label]") -> "list[Label]":
    """Labels with their keys as the log has them."""
    from kubeloop.monitoring.labels.files import hashed
    from kubeloop.monitoring.log.privacy import SECRET, Keeper
    from kubeloop.site.secrets import read_secret

    secret = read_secret(SECRET, site).reveal().encode("utf-8") if model.keys == "hashed" else None
    keyed = model.model_copy(update={"columns": ()})
    return hashed(found, Keeper(keyed, secret).keys([label.ident for label in found]))

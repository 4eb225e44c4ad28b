"""How long the log keeps its rows, and where they go: Parquet, one file a service and day, then they are removed."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from kubeloop.monitoring.log.reading import micros, moment_of
from kubeloop.store.tables import (
    labels,
    log_models,
    log_segments,
    log_services,
    prediction_keys,
    predictions,
    watch_windows,
)

if TYPE_CHECKING:
    import pyarrow as pa

_PAGE = 10_000


def export_log(store: sa.Engine, out: Path, since: dt.datetime | None, until: dt.datetime) -> dict[Path, int]:
    """Write the events within [since, until) as Parquet: `<namespace>/<service>/<component>/<day>.parquet`, UTC days.

    A file holds event_id, version, at, answered_at (both timestamp[us, UTC]), inputs and outputs (JSON text as logged)
    and, in its metadata under `kubeloop.models`, the models' columns by version. A file that is there is replaced: give
    whole days.

    Returns:
        Rows by file.
    """
    import pyarrow.parquet as pq

    written: dict[Path, int] = {}
    with store.connect() as connection:
        for service in connection.execute(sa.select(log_services)).all():
            models = connection.execute(sa.select(log_models).where(log_models.c.service == service.id)).all()
            for day, ends in _days(connection, service.id, since, until):
                table = _table(connection, service.id, models, ends)
                path = out / service.namespace / service.service / service.component / f"{day}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                beside = path.with_name(f".{path.name}.part")
                pq.write_table(table, beside, compression="zstd")
                beside.replace(path)
                written[path] = table.num_rows
    return written


def _days(
    connection: sa.Connection, service: int, since: dt.datetime | None, until: dt.datetime
) -> list[tuple[str, tuple[int, int]]]:
    """The UTC days that have events, with the first and last microsecond of each that are asked for."""
    at = predictions.c.at
    first, last = (0 if since is None else micros(since)), micros(until)
    day = 86_400_000_000
    number = sa.func.floor(at / day) if connection.dialect.name != "sqlite" else at / sa.literal_column(str(day))
    query = sa.select(number).where(predictions.c.service == service, at >= first, at < last).distinct()
    days = sorted({int(value) for value in connection.execute(query).scalars()})
    return [(f"{moment_of(n * day):%Y-%m-%d}", (max(first, n * day), min(last, (n + 1) * day))) for n in days]


def _table(connection: sa.Connection, service: int, models: Any, ends: tuple[int, int]) -> "pa.Table":
    import pyarrow as pa

    versions = {model.id: model.version for model in models}
    query = (
        sa.select(predictions)
        .where(predictions.c.service == service, predictions.c.at >= ends[0], predictions.c.at < ends[1])
        .order_by(predictions.c.at, predictions.c.event_id)
    )
    rows = connection.execution_options(yield_per=_PAGE).execute(query).all()
    moment = pa.timestamp("us", tz="UTC")
    described = "[" + ",".join(f'{{"version":"{model.version}","model":{model.document}}}' for model in models) + "]"
    schema = pa.schema(
        [
            ("event_id", pa.string()),
            ("version", pa.string()),
            ("at", moment),
            ("answered_at", moment),
            ("inputs", pa.string()),
            ("outputs", pa.string()),
        ],
        metadata={"kubeloop.models": described},
    )
    columns = (
        [row.event_id for row in rows],
        [versions[row.model] for row in rows],
        [row.at for row in rows],
        [row.answered_at for row in rows],
        [None if row.inputs is None else bytes(row.inputs).decode() for row in rows],
        [None if row.outputs is None else bytes(row.outputs).decode() for row in rows],
    )
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def forget(store: sa.Engine, before: dt.datetime) -> int:
    """Remove all that was logged before a moment: predictions, their keys, early labels, windows that had ended.

    Returns:
        How many predictions were removed.
    """
    limit = micros(before)
    with store.begin() as connection:
        connection.execute(sa.delete(prediction_keys).where(prediction_keys.c.at < limit))
        connection.execute(sa.delete(labels).where(labels.c.arrived_at < limit, labels.c.observed_at < limit))
        connection.execute(sa.delete(watch_windows).where(watch_windows.c.last_at < limit))
        connection.execute(sa.delete(log_segments).where(log_segments.c.moved_at < limit))
        return int(connection.execute(sa.delete(predictions).where(predictions.c.at < limit)).rowcount)

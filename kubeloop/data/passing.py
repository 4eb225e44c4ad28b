"""What is counted, and left out, while the rows of a snapshot go by."""

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kubeloop.data.casting import BAD


class BadCellFound(Exception):
    """A row with a cell that does not fit its type has come: the snapshot needs the column `_bad`."""


@dataclass
class Counts:
    """What was seen.

    Attributes:
        gaps: Per join's column of `joins.gap`, how often each word of it came.
        read: Rows of the first source.
        later: Rows after the moment of the snapshot, or without a time.
        target_unknown: Rows that were dropped for it.
        bad_rows: Rows with a cell that does not fit its type.
    """

    gaps: dict[str, Counter[str | None]]
    read: int = 0
    later: int = 0
    target_unknown: int = 0
    bad_rows: int = 0


def until(reader: Any, time: str | None, moment: dt.datetime | None, counts: Counts) -> Iterator[Any]:
    """Batches with the rows up to a moment, for a snapshot as of it; all rows when there is none."""
    for batch in reader:
        counts.read += batch.num_rows
        if moment is None or time is None:
            yield batch
            continue
        limit = pa.scalar(moment, pa.timestamp("us", "UTC")).cast(batch.schema.field(time).type, safe=False)
        early = batch.filter(pc.fill_null(pc.less_equal(batch.column(time), limit), False))
        counts.later += batch.num_rows - early.num_rows
        yield early


def kept(batches: Iterator[Any], schema: Any, target: str, counts: Counts) -> Iterator[Any]:
    """Batches of `schema` with the rows whose target is known, or whose row is bad and so goes to quarantine.

    Raises:
        BadCellFound: A row is bad, and `schema` has no column `_bad`.
    """
    for batch in batches:
        marks, known = batch.column(BAD), batch.column(target)
        bad = batch.num_rows - marks.null_count
        if BAD not in schema.names and bad:
            raise BadCellFound
        counts.bad_rows += bad
        for name, found in counts.gaps.items():
            found.update({pair["values"]: pair["counts"] for pair in batch.column(name).value_counts().to_pylist()})
        rows = batch.filter(pc.or_(known.is_valid(), marks.is_valid())) if known.null_count else batch
        counts.target_unknown += batch.num_rows - rows.num_rows
        yield rows.select(schema.names)

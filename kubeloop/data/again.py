"""Sources that are read a second time, for what personal cells hold."""

# ruff: noqa: S608 - names go through `quoted`, paths through `scan`

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from kubeloop.contract.sections import IngestSection
from kubeloop.data.casting import BAD, BROKEN_UNSEEN
from kubeloop.data.engine import batches, connect, one, quoted, scan
from kubeloop.data.ingest import wanted_columns, with_target
from kubeloop.data.joins import assign, gap, joined_sql
from kubeloop.data.mended import DIGEST, with_digest
from kubeloop.data.personal import masked_sql, personal_columns
from kubeloop.data.sources import open_source
from kubeloop.data.tables import read_facts
from kubeloop.errors import IntegrityError

if TYPE_CHECKING:
    from kubeloop.site import Site


def personal_cells(section: IngestSection, site: "Site", quarantine: Path, spill: Path) -> Any:
    """What the personal cells of the rows in a quarantine hold, out of the sources: it is written down nowhere else.

    Args:
        section: The contract's part, as it was.
        site: As for `ingest`.
        quarantine: From `validate`.
        spill: A folder for what the engine cannot keep in memory.

    Returns:
        `pyarrow.Table` of `_row` and the personal columns, a row for each one of the quarantine.

    Raises:
        IntegrityError: The sources do not give those rows any more.
    """
    names = [name for name in read_facts(quarantine).types if not name.startswith("_")]
    clear = {name: f"\x1f{name}" for name in personal_columns(section)}
    with connect(spill) as connection:
        sources = [open_source(source, site, spill, connection) for source in section.data.sources]
        wanted = wanted_columns(section)
        plan = assign(section.data, wanted, sources)
        gaps = [gap(place) for place in range(1, len(plan.sources))]
        sql, types = with_target(connection, section, joined_sql(plan), wanted, gaps)
        sql, types = masked_sql(connection, section, sql, types, (BAD,), site, clear)
        searched = connection.sql(f"SELECT {DIGEST} FROM {scan(quarantine)}").to_arrow_table().column(0)
        marks = [name for name in (BROKEN_UNSEEN,) if name in types]
        with batches(connection, sql) as reader:
            parts = [part for batch in reader for part in _matching(batch, names, marks, [*clear.values()], searched)]
        connection.register("found", pa.concat_tables(parts) if parts else _nothing([*clear.values()]))
        # Rows that are equal but for what nobody sees have one digest; they come in the order of the sources.
        nth = f"row_number() OVER (PARTITION BY {DIGEST} ORDER BY {{}}) AS _nth"
        cells = ", ".join(f"f.{quoted(other)} AS {quoted(name)}" for name, other in clear.items())
        found = connection.sql(
            f"SELECT q._row, {cells} FROM (SELECT _row, {DIGEST}, {nth.format('_row')} FROM {scan(quarantine)}) AS q"
            f" JOIN (SELECT *, {nth.format('_place')} FROM (SELECT *, row_number() OVER () AS _place FROM found)) AS f"
            f" USING ({DIGEST}, _nth)"
        ).to_arrow_table()
        (rows,) = one(connection, f"SELECT count(*) FROM {scan(quarantine)}")
    if found.num_rows < rows:
        raise IntegrityError(
            f"{rows - found.num_rows} of {rows} rows of the quarantine are not in the sources any more",
            "run the loop again, then export what it sets aside",
        )
    return found


def _matching(batch: Any, names: list[str], marks: list[str], clear: list[str], searched: Any) -> list[Any]:
    """The rows of a batch that the quarantine has, by the digest; a snapshot without bad cells has no `_bad`."""
    found = []
    rows = pa.Table.from_batches([batch])
    for covered in ([*names, *marks, BAD], [*names, *marks]):
        digests = with_digest(rows.select(covered), names).column(DIGEST)
        found.append(rows.select(clear).append_column(DIGEST, digests).filter(pc.is_in(digests, searched)))
    return found


def _nothing(names: list[str]) -> Any:
    return pa.table({name: pa.array([], pa.string()) for name in [*names, DIGEST]})

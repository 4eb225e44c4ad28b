"""Sources: files, addresses and databases, opened and checked, as SQL that DuckDB scans."""

# ruff: noqa: S608 - names go through `quoted`, values through `literal`, expressions through `check_expression`

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kubeloop.contract.data import Column, Source
from kubeloop.data import csv_files, databases, json_lines, objects, web
from kubeloop.data.casting import EXACT
from kubeloop.data.engine import glob_free, literal, quoted
from kubeloop.data.patience import Patience
from kubeloop.errors import InputError
from kubeloop.site.secrets import resolve

if TYPE_CHECKING:
    from kubeloop.site import Site

_FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


@dataclass(frozen=True)
class OpenSource:
    """A source that can be read.

    Attributes:
        name: The contract's name for it.
        shown: Its path as the contract has it; for messages.
        path: The file on this machine.
        scan: SQL after FROM.
        cells: From column name to the SQL that reads its cell.
        kinds: From column name to DuckDB's type; VARCHAR throughout unless it is a Parquet file.
        header: Of a CSV file.
        is_text: Whether every cell is text.
        later: Rows that its server has kept back, by `until`.
    """

    name: str
    shown: str
    path: Path
    scan: str
    cells: dict[str, str]
    kinds: dict[str, str]
    header: csv_files.Header | None
    is_text: bool = False
    later: int = 0


def open_source(
    source: Source, site: "Site | None", scratch: Path, connection: Any, until: databases.Until | None = None
) -> OpenSource:
    """Find, check and describe a source.

    Args:
        source: From the contract.
        site: Base of relative paths, secrets, the way to object storage; None for a local file.
        scratch: Folder for the copy of what is not local.
        connection: DuckDB.
        until: Up to which moment rows are wanted; a server that can tell keeps others back, other sources give all.

    Raises:
        InputError: Missing, a directory, empty, or not what its format says.
        TransientError: It is not on this machine, and did not come whole in time.
    """
    patience = Patience()
    if source.sql is not None:
        return _open_database(source, site, scratch, connection, patience, until)
    place = source.path or ""
    path = _local(source, place, site, scratch, patience)
    if not path.exists():
        raise InputError(
            f"the file {place} of source {source.name!r} was expected in {path.parent}, there is none",
            "correct the path in loop.yaml; it is relative to loop.yaml",
            file=place,
        )
    if not path.is_file():
        raise InputError(
            f"source {source.name!r}: {place} was expected to be a file, it is a directory",
            "name the file in loop.yaml",
            file=place,
        )
    kind = source.format or _FORMATS.get(_ending(place))
    try:
        if kind == "csv":
            return _open_csv(source.name, place, path)
        if kind == "parquet":
            return _open_parquet(source.name, place, path, connection)
        if kind == "jsonl":
            return _open_json_lines(source.name, place, path, connection)
    except PermissionError as error:
        raise InputError(
            f"{place} may not be read: permission denied", "give yourself the right to read it", file=place
        ) from error
    raise InputError(
        f"source {source.name!r}: a file ending in {', '.join(sorted(_FORMATS))} was expected, got {place}",
        "state `format: csv`, `format: parquet` or `format: jsonl` in the source",
        file=place,
    )


def _ending(place: str) -> str:
    return Path(urlsplit(place).path if "://" in place else place).suffix.lower()


def _local(source: Source, place: str, site: "Site | None", scratch: Path, patience: Patience) -> Path:
    """The source as a local file; what is elsewhere is copied into `scratch`, whole or not at all."""
    shown = place
    if "://" not in place and not Path(place).is_absolute() and site is not None and site.inputs:
        place = f"{site.inputs.rstrip('/')}/{place}"
    if "://" not in place:
        return Path(place)
    if place.startswith("file://"):
        return Path(place.removeprefix("file://"))
    if site is None:
        raise InputError(f"{shown}: a local file was expected", "copy the file here", file=shown)
    copy = scratch / f"source-{source.name}"
    half = copy.with_suffix(".half")
    if place.startswith(("http://", "https://")):
        web.download(resolve(place, site), shown, half, patience)
    else:
        objects.download(place, shown, half, site, patience)
    return half.rename(copy)


def _open_database(
    source: Source,
    site: "Site | None",
    scratch: Path,
    connection: Any,
    patience: Patience,
    until: databases.Until | None,
) -> OpenSource:
    if site is None:
        raise InputError(f"source {source.name!r}: a file was expected", "name a file", source=source.name)
    copy = scratch / f"source-{source.name}"
    half = copy.with_suffix(".half")
    later = databases.read(source, site, half, patience, until)
    opened = _open_parquet(source.name, f"the query of {source.name!r}", half.rename(copy), connection)
    return replace(opened, is_text=True, later=later)


def _open_json_lines(name: str, shown: str, path: Path, connection: Any) -> OpenSource:
    cells = json_lines.cells_of(connection, path, shown)
    return OpenSource(
        name, shown, path, json_lines.scan_of(path), cells, dict.fromkeys(cells, "VARCHAR"), None, is_text=True
    )


def _open_csv(name: str, shown: str, path: Path) -> OpenSource:
    header = csv_files.read_header(path, shown)
    scan = _csv_scan(path, header, ["VARCHAR"] * len(header.names))
    cells = {column: f"c{place}" for place, column in enumerate(header.names)}
    return OpenSource(name, shown, path, scan, cells, dict.fromkeys(header.names, "VARCHAR"), header, is_text=True)


def _csv_scan(path: Path, header: csv_files.Header, kinds: list[str]) -> str:
    columns = ", ".join(f"'c{place}': '{kind}'" for place, kind in enumerate(kinds))
    missing = ", ".join(literal(mark) for mark in csv_files.MISSING)
    # Sniffing is off: what a file means does not depend on what its first rows look like.
    return (
        f"read_csv({glob_free(path)}, auto_detect = false, header = false, skip = 1,"
        f" delim = {literal(header.delimiter)}, quote = '\"', escape = '\"', columns = {{{columns}}},"
        f" nullstr = [{missing}], strict_mode = true, null_padding = false)"
    )


def swift(source: OpenSource, columns: Mapping[str, Column]) -> OpenSource | None:
    """The same CSV source with numbers and moments parsed by the reader: a third less work.

    Any cell that the reader would take for something else than `typed_sql` does makes the query fail, or gives a bad
    cell; then the source is read again as text.

    Args:
        source: What `open_source` has opened.
        columns: The contract's.

    Returns:
        None when nothing is gained, or when the file's text could be misread.
    """
    header = source.header
    if header is None or header.grouped:
        return None
    readers = {"integer": "DOUBLE", "number": "DOUBLE", "timestamp": "TIMESTAMP WITH TIME ZONE"}
    kinds = {
        name: readers.get(columns[name].type, "VARCHAR") if name in columns else "VARCHAR" for name in header.names
    }
    if set(kinds.values()) == {"VARCHAR"}:
        return None
    cells, found = dict(source.cells), dict(kinds)
    for name, cell in source.cells.items():
        if kinds[name] != "DOUBLE":
            continue
        # What a float does not hold exactly, and what is no number, is for the slow way.
        whole = columns[name].type == "integer"
        strange = f"NOT ({cell} = floor({cell}) AND abs({cell}) < {EXACT})" if whole else f"isnan({cell})"
        given = f"CAST({cell} AS BIGINT)" if whole else cell
        cells[name] = f"CASE WHEN {strange} THEN error('not a plain number') ELSE {given} END"
        found[name] = "BIGINT" if whole else "DOUBLE"
    scan = _csv_scan(source.path, header, list(kinds.values()))
    return replace(source, scan=scan, cells=cells, kinds=found, is_text=False)


def _open_parquet(name: str, shown: str, path: Path, connection: Any) -> OpenSource:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_metadata(path).num_rows
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{shown}: a Parquet file was expected, but its footer cannot be read",
            "write the file again, or state `format: csv`",
            file=shown,
        ) from error
    if not rows:
        raise InputError(f"{shown}: rows were expected, got a table without rows", "write rows into it", file=shown)
    scan = f"read_parquet({glob_free(path)})"
    kinds = {str(row[0]): str(row[1]) for row in connection.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()}
    cells = {column: quoted(column) for column in kinds}
    return OpenSource(name, shown, path, scan, cells, kinds, None)

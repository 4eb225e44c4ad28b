"""JSON lines: one object per line; every cell is read as text, and cast as a cell of CSV is."""

# ruff: noqa: S608 - paths go through `glob_free`, names through `literal`

import json
from pathlib import Path
from typing import Any

from kubeloop.data.engine import glob_free, literal
from kubeloop.errors import InputError


def scan_of(path: Path) -> str:
    """SQL that reads the objects of a file, in order, as the column `json`."""
    return f"read_ndjson_objects({glob_free(path)}, maximum_object_size = 16777216)"


def cells_of(connection: Any, path: Path, shown: str) -> dict[str, str]:
    """From each key that any object has to the SQL of its text; a key that is missing, or null, gives null.

    Raises:
        InputError: A line that is no JSON object, with its number; a file without rows.
    """
    import duckdb

    query = f"SELECT count(*), count_if(json_type(json) <> 'OBJECT') FROM {scan_of(path)}"
    try:
        rows, other = connection.execute(query).fetchall()[0]
        if other:
            raise _bad_line(path, shown)
        keys = f"SELECT DISTINCT unnest(json_keys(json)) AS key FROM {scan_of(path)}"
        found = sorted(str(row[0]) for row in connection.execute(keys).fetchall())
    except duckdb.Error as error:
        # A full disk or memory is not the file's fault.
        if "JSON" not in str(error):
            raise
        raise _bad_line(path, shown) from error
    if not rows or not found:
        raise InputError(f"{shown}: rows were expected, the file has none", "put rows into the file", file=shown)
    _check_names(found, shown)
    return {name: f"json_extract_string(json, {literal(_pointer(name))})" for name in found}


def _pointer(key: str) -> str:
    """A JSON pointer (RFC 6901): it can name any key, which a JSON path cannot."""
    return "/" + key.replace("~", "~0").replace("/", "~1")


def _check_names(names: list[str], shown: str) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise InputError(
                f"{shown}: unique keys were expected, got {other!r} and {name!r}, which differ in letter case only",
                "rename one of the two keys",
                file=shown,
            )


def _bad_line(path: Path, shown: str) -> InputError:
    with path.open("rb") as stream:
        number = next((number for number, line in enumerate(stream, start=1) if not _is_object(line)), 0)
    return InputError(
        f"{shown}:{number}: one JSON object was expected in this line",
        f'correct line {number}; each line holds one object, such as {{"age": 41}}',
        file=shown,
        line=number,
    )


def _is_object(line: bytes) -> bool:
    """Whether a line holds a JSON object; blank lines count as such, for they are passed over."""
    try:
        return not line.strip() or isinstance(json.loads(line), dict)
    except ValueError:
        return False

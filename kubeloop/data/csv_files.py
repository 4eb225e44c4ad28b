"""Strict CSV: what is wrong with a file, and in which line.

DuckDB reads; this module looks at the bytes before, and at the lines after DuckDB has refused.
"""

import codecs
import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kubeloop.errors import InputError

MISSING = ("", "NA", "NaN", "nan", "null", "NULL", "?")
"""Cells that mean: no value."""

_BLOCK = 1 << 20
_DELIMITERS = ",;\t|"
_GROUPED = re.compile(rb"[0-9.]_[0-9.]")


@dataclass(frozen=True)
class Header:
    """First record of a CSV file.

    Attributes:
        names: As written; unique but for letter case too.
        delimiter: One of comma, semicolon, tab and bar: the one that the first line holds most of.
        grouped: Whether the file has digits grouped by `_`, which DuckDB takes for a number.
    """

    names: tuple[str, ...]
    delimiter: str
    grouped: bool


def read_header(path: Path, shown: str) -> Header:
    """Check the bytes of a CSV file and read its header.

    Args:
        path: The file.
        shown: Its name in messages.

    Raises:
        InputError: It is empty, has a header only, is not UTF-8, holds NUL bytes or mixed line ends, or names a column
            twice.
    """
    plain, grouped = _glance(path)
    if not plain:
        _check_bytes(path, shown)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        first = stream.readline()
    delimiter = max(_DELIMITERS, key=re.sub('"[^"]*"', "", first).count)
    records = _records(path, delimiter)
    try:
        _, names = next(records, (0, []))
        has_rows = next(records, None) is not None
    except csv.Error as error:
        raise _bad_quote(path, shown, delimiter, 0) from error
    if not names:
        raise InputError(
            f"{shown}:1: a header was expected, got an empty line",
            "name the columns in the first line",
            file=shown,
            line=1,
        )
    _check_names(names, shown)
    if not has_rows:
        raise InputError(
            f"{shown}: rows were expected below the header, got the header only",
            "put the rows into the file",
            file=shown,
        )
    return Header(tuple(names), delimiter, grouped)


def explain(path: Path, shown: str, header: Header) -> InputError | None:
    """The error for a file that DuckDB has refused, with the first line that is wrong; None when this file has none."""
    expected = len(header.names)
    records = _records(path, header.delimiter)
    line = 0
    try:
        for line, record in records:
            # One column: an empty line is a row without a value. Several: it is no row.
            if len(record) != expected and record:
                return InputError(
                    f"{shown}:{line}: expected {expected} fields, got {len(record)}",
                    f"give line {line} as many fields as the header has; quote a field that holds the delimiter",
                    file=shown,
                    line=line,
                )
    except csv.Error:
        return _bad_quote(path, shown, header.delimiter, line)
    return None


def line_of_infinite(path: Path, header: Header, column: str) -> int:
    """Line of the first infinite number in a column; 0 when there is none."""
    place = header.names.index(column)
    for line, record in _records(path, header.delimiter):
        if line > 1 and len(record) > place and _is_infinite(record[place]):
            return line
    return 0


def _is_infinite(text: str) -> bool:
    try:
        return math.isinf(float(text))
    except ValueError:
        return False


def _bad_quote(path: Path, shown: str, delimiter: str, after: int) -> InputError:
    """The record after line `after` has a quote that is never closed, or text behind a closing quote."""
    count = 0
    with path.open(encoding="utf-8-sig", newline="") as stream:
        for count, text in enumerate(stream, start=1):
            if count > after and '"' in text:
                break
    return InputError(
        f"{shown}:{count}: a quote opens a field and is not closed before a {delimiter!r} or the end of the file",
        f"close the quote in line {count}; write a quote inside a quoted field twice",
        file=shown,
        line=count,
    )


def _records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Records with the number of the line in which they start.

    Raises:
        csv.Error: A quote is not closed, or text follows a closing quote.
    """
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        start = 1
        for record in reader:
            yield start, record
            start = reader.line_num + 1


def _check_names(names: list[str], shown: str) -> None:
    seen: dict[str, int] = {}
    for place, name in enumerate(names, start=1):
        first = seen.setdefault(name.casefold(), place)
        if first != place:
            other = names[first - 1]
            same = f"{name!r} twice" if other == name else f"{other!r} and {name!r}, which differ in letter case only"
            raise InputError(
                f"{shown}:1: unique column names were expected, got {same} (columns {first} and {place})",
                "rename one of the two columns",
                file=shown,
                line=1,
            )


def _glance(path: Path) -> tuple[bool, bool]:
    """Whether a file has nothing but ASCII without NUL and CR, and whether it has `1_000` anywhere.

    Ten times as fast as to see what else may be wrong.
    """
    seen, plain, grouped, last = False, True, False, b""
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            plain = plain and block.isascii() and b"\0" not in block and b"\r" not in block
            grouped = grouped or (b"_" in block and _GROUPED.search(last + block) is not None)
            seen, last = True, block[-2:]
            if grouped and not plain:
                break
    return seen and plain, grouped


def _check_bytes(path: Path, shown: str) -> None:
    """One pass over the bytes: emptiness, NUL, UTF-8, line ends."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, seen, ends, carriage = 1, 0, set[str](), False
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            if (at := block.find(b"\0")) >= 0:
                raise _bad_byte(
                    shown, line + block.count(b"\n", 0, at), seen + at, "a NUL byte", "binary data or UTF-16"
                )
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                # `error.start` counts from the bytes that the decoder held back of the block before.
                at = max(0, error.start - (len(error.object) - len(block)))
                byte = f"byte 0x{error.object[error.start]:02x}"
                raise _bad_byte(
                    shown, line + block.count(b"\n", 0, at), seen + at, byte, "Latin-1 or Windows-1252"
                ) from error
            ends |= _line_ends(block, carriage)
            carriage = block.endswith(b"\r")
            line += block.count(b"\n")
            seen += len(block)
    if not seen:
        raise InputError(
            f"{shown}: a header and rows were expected, the file is empty", "put the table into the file", file=shown
        )
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise _bad_byte(shown, line, seen - 1, "half a character", "another encoding, or cut off") from error
    if {"CR LF", "LF"} <= ends:
        raise InputError(
            f"{shown}: one kind of line end was expected, got both LF and CR LF",
            "convert it, with dos2unix for example",
            file=shown,
        )


def _line_ends(block: bytes, carriage: bool) -> set[str]:
    pairs = block.count(b"\r\n") + (carriage and block.startswith(b"\n"))
    ends = {"CR LF"} if pairs else set()
    return ends | {"LF"} if block.count(b"\n") > pairs else ends


def _bad_byte(shown: str, line: int, at: int, found: str, likely: str) -> InputError:
    return InputError(
        f"{shown}:{line}: UTF-8 text was expected, got {found} at byte {at} (perhaps {likely})",
        "save the file as CSV in UTF-8",
        file=shown,
        line=line,
    )

"""Digests of rows and tables.

A row's canonical encoding is the concatenation of its cells, in the order of the columns:

| cell | bytes |
| --- | --- |
| null | `00` |
| boolean | `01`, one byte 0 or 1 |
| integer | `02`, 8 bytes big-endian two's complement; above 2^63-1 as a decimal |
| float | `03`, 8 bytes IEEE 754 big-endian; -0.0 as 0.0, every NaN as `7ff8000000000000` |
| decimal | `04`, 4 bytes length, plain text without trailing zeros |
| text | `05`, 4 bytes length, UTF-8 |
| timestamp | `06`, 8 bytes microseconds since 1970 in UTC, rounded down; without a zone it is taken as UTC |
| date | `07`, 8 bytes days since 1970 |
| bytes | `08`, 4 bytes length, the bytes |

All lengths and numbers are big-endian. A row's digest is the SHA-256 of its encoding. A table's digest covers its
schema, its number of rows and the sum of the row digests modulo 2^256: duplicates count, order does not.
"""

import hashlib
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kubeloop.digests.documents import document_digest
from kubeloop.errors import InputError

BATCH_ROWS = 16_384  # what a core keeps in its cache: twice as fast as 65 536
_CANONICAL_NAN = 0x7FF8000000000000
_INT64_MAX = 2**63 - 1
_MICROSECONDS = {"s": (1_000_000, 1), "ms": (1_000, 1), "us": (1, 1), "ns": (1, 1_000)}

Digests = npt.NDArray[np.uint8]


def kind_of(dtype: Any) -> str:
    """The kind of cell that an Arrow type encodes to.

    Raises:
        InputError: A nested, interval or time-of-day type, which has no canonical encoding.
    """
    if pa.types.is_dictionary(dtype):
        return kind_of(dtype.value_type)
    tests = (
        ("null", pa.types.is_null),
        ("boolean", pa.types.is_boolean),
        ("integer", pa.types.is_integer),
        ("number", pa.types.is_floating),
        ("decimal", pa.types.is_decimal),
        ("text", lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or t == pa.string_view()),
        ("timestamp", pa.types.is_timestamp),
        ("date", pa.types.is_date),
        ("bytes", lambda t: pa.types.is_binary(t) or pa.types.is_large_binary(t) or pa.types.is_fixed_size_binary(t)),
    )
    for kind, test in tests:
        if test(dtype):
            return kind
    raise InputError(
        f"a column of numbers, text, booleans or times was expected, got one of type {dtype}",
        "take the column out of the contract, or turn it into one of those types",
    )


def row_encodings(table: Any) -> Any:
    """Canonical encoding of each row.

    Args:
        table: `pyarrow.Table` or `RecordBatch` with n rows and at least one column.

    Returns:
        `pyarrow.LargeBinaryArray` of n encodings.
    """
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    pieces = _Pieces(table.num_rows)
    for column in table.columns:
        _encode(column, pieces)
    return pieces.joined()


def row_digests(table: Any) -> Digests:
    """SHA-256 of each row's canonical encoding.

    Args:
        table: `pyarrow.Table` or `RecordBatch` with n rows.

    Returns:
        uint8 array of shape (n, 32). (NumPy's `S32` would drop trailing zero bytes.)
    """
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    parts = [sha256_each(row_encodings(part)) for part in _parts(table)]
    return np.concatenate(parts) if parts else np.empty((0, 32), np.uint8)


def sha256_each(values: Any) -> Digests:
    """SHA-256 of each value of a binary Arrow array without nulls: uint8 array of shape (n, 32)."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    values = values.cast(pa.large_binary())
    _, offsets, data = values.buffers()
    if not len(values) or data is None:
        return np.frombuffer(hashlib.sha256().digest() * len(values), np.uint8).reshape(-1, 32)
    places = np.frombuffer(offsets, np.int64, len(values) + 1, values.offset * 8).tolist()
    flat, sha256 = data.to_pybytes(), hashlib.sha256
    # OpenSSL hashes such short values in less time than it takes to hand them to another engine.
    hashed = b"".join([sha256(flat[start:end]).digest() for start, end in pairwise(places)])
    return np.frombuffer(hashed, np.uint8).reshape(-1, 32)


class TableDigest:
    """A table's digest, built batch by batch.

    Args:
        schema: `pyarrow.Schema` of all batches.
        rows: Number of rows that are counted already.
        total: Sum of their digests.
    """

    def __init__(self, schema: Any, rows: int = 0, total: int = 0) -> None:
        self._schema = [[field.name, kind_of(field.type)] for field in schema]
        self.rows = rows
        self.total = total

    def add(self, batch: Any) -> None:
        """Count the rows of a `pyarrow.Table` or `RecordBatch` in."""
        self.rows += batch.num_rows
        self.total = (self.total + _sum_of(batch)) % 2**256

    def remove(self, batch: Any) -> None:
        """Take rows out that have been counted in: cheaper than to count all others again."""
        self.rows -= batch.num_rows
        self.total = (self.total - _sum_of(batch)) % 2**256

    def digest(self) -> str:
        """`sha256-...` of schema, number of rows and sum of the row digests."""
        return document_digest({"schema": self._schema, "rows": self.rows, "sum": f"{self.total:064x}"})


def _sum_of(batch: Any) -> int:
    words = row_digests(batch).view(">u4").astype(np.uint64).sum(axis=0, dtype=np.uint64)
    return sum(int(word) << (32 * place) for place, word in enumerate(reversed(words.tolist())))


def table_digest(source: Any) -> str:
    """Digest of a table, read as a stream.

    Args:
        source: Path of a Parquet file or of a folder with `part-*.parquet`, `pyarrow.Table` or `RecordBatchReader`.
    """
    schema, batches = _open(source)
    total = TableDigest(schema)
    for batch in batches:
        total.add(batch)
    return total.digest()


def _open(source: Any) -> tuple[Any, Iterable[Any]]:
    if isinstance(source, Path):
        files = sorted(source.glob("part-*.parquet")) if source.is_dir() else [source]
        if not files:
            raise InputError(f"Parquet parts were expected in {source}, found none", "name the folder of a table")
        return pq.read_schema(files[0]), _batches_of(files)
    if isinstance(source, pa.Table):
        return source.schema, [source]
    return source.schema, source


def _batches_of(files: list[Path]) -> Iterator[Any]:
    for path in files:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=BATCH_ROWS)


def _parts(table: Any) -> Iterator[Any]:
    for start in range(0, table.num_rows, BATCH_ROWS):
        yield table.slice(start, BATCH_ROWS)


class _Pieces:
    """Encodings of rows under way: neighbouring cells of fixed width are laid into one record, which is quick.

    Args:
        rows: Number of rows.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._done: list[Any] = []
        self._fixed: list[tuple[int, npt.NDArray[Any]]] = []

    def fixed(self, tag: int, payload: npt.NDArray[Any]) -> None:
        """Cells without nulls: a tag and a big-endian number each."""
        self._fixed.append((tag, payload))

    def any(self, piece: Any) -> None:
        """Bytes of whatever length: a `pa.large_binary()` array without nulls."""
        self._flush()
        self._done.append(piece)

    def joined(self) -> Any:
        """All pieces, row by row: `pa.large_binary()` array."""
        self._flush()
        if not self._done:
            return pa.array([b""] * self._rows, pa.large_binary())
        if len(self._done) == 1:
            return self._done[0]
        joined = pc.binary_join_element_wise(*self._done, pa.scalar(b"", pa.large_binary()))
        return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined

    def _flush(self) -> None:
        if not self._fixed:
            return
        names = [(f"t{place}", f"v{place}") for place in range(len(self._fixed))]
        layout = [
            field
            for (t, v), (_, cells) in zip(names, self._fixed, strict=True)
            for field in ((t, "u1"), (v, cells.dtype))
        ]
        records = np.empty(self._rows, np.dtype(layout))
        for (t, v), (tag, cells) in zip(names, self._fixed, strict=True):
            records[t] = tag
            records[v] = cells
        self._done.append(_binary(np.full(self._rows, records.itemsize), records))
        self._fixed = []


def _encode(column: Any, pieces: _Pieces) -> None:
    """Add the encodings of a column's cells."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = kind_of(column.type)
    if kind == "null":
        pieces.any(_with_nulls(0, np.zeros(len(column), np.uint8), np.zeros(len(column), bool)))
        return
    if kind == "decimal" or (column.type == pa.uint64() and (pc.max(column).as_py() or 0) > _INT64_MAX):
        pieces.any(_by_value(column))
        return
    sized = kind in ("text", "bytes")
    if sized:
        column = column.cast(pa.large_binary())
        tag, payload = (5 if kind == "text" else 8), _filled(pc.binary_length(column)).astype(">u4")
    else:
        tag, payload = _words(kind, column)
    if column.null_count:
        pieces.any(_with_nulls(tag, payload, column.is_valid().to_numpy(zero_copy_only=False)))
    else:
        pieces.fixed(tag, payload)
    if sized:
        pieces.any(pc.fill_null(column, b"") if column.null_count else column)


def _words(kind: str, column: Any) -> tuple[int, npt.NDArray[Any]]:
    """Tag and big-endian payload of a fixed-width column; nulls hold anything."""
    if kind == "boolean":
        return 1, pc.fill_null(column, False).cast(pa.uint8()).to_numpy(zero_copy_only=False)
    if kind == "number":
        whole = pc.fill_null(column, 0.0) if column.null_count else column
        numbers = whole.cast(pa.float64()).to_numpy(zero_copy_only=False)
        bits = (numbers + 0.0).view(np.uint64)  # -0.0 + 0.0 is 0.0
        strange = np.isnan(numbers)
        if strange.any():
            bits = np.where(strange, np.uint64(_CANONICAL_NAN), bits)
        return 3, bits.astype(">u8")
    if kind == "date":
        return 7, _filled(column.cast(pa.date32()).cast(pa.int32())).astype(">i8")
    if kind == "timestamp":
        times, per = _MICROSECONDS[column.type.unit]
        moments = _filled(column.cast(pa.int64()))
        return 6, (moments if times == per else moments * times // per).astype(">i8")
    return 2, _filled(column).astype(">i8")


def _filled(column: Any) -> npt.NDArray[np.int64]:
    whole = pc.fill_null(column, 0) if column.null_count else column
    return np.asarray(whole.to_numpy(zero_copy_only=False), np.int64)


def _with_nulls(tag: int, payload: npt.NDArray[Any], valid: npt.NDArray[np.bool_]) -> Any:
    """Cells of one tag and a big-endian number; a null is the single byte 0."""
    rows, width = len(payload), payload.dtype.itemsize
    cells = np.empty((rows, width + 1), np.uint8)
    cells[:, 0] = np.where(valid, tag, 0)
    cells[:, 1:] = payload.view(np.uint8).reshape(rows, width)
    keep = np.ones(cells.shape, bool)
    keep[:, 1:] = valid[:, None]
    return _binary(np.where(valid, width + 1, 1), cells[keep])


def _by_value(column: Any) -> Any:
    """Cells of decimals, and of integers some of which do not fit 64 signed bits."""
    return pa.array([_encode_number(value) for value in column.to_pylist()], pa.large_binary())


def _encode_number(value: int | Decimal | None) -> bytes:
    if value is None:
        return b"\x00"
    if isinstance(value, int) and value <= _INT64_MAX:
        return b"\x02" + value.to_bytes(8, "big", signed=True)
    text = format(value, "f") if isinstance(value, Decimal) else str(value)
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    body = (text if text != "-0" else "0").encode("ascii")
    return b"\x04" + len(body).to_bytes(4, "big") + body


def _binary(lengths: npt.NDArray[np.int64], flat: npt.NDArray[Any]) -> Any:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(flat))]
    return pa.Array.from_buffers(pa.large_binary(), len(lengths), buffers)

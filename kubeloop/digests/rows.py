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
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kubeloop.digests.cells import Cells, cells_of, kind_of
from kubeloop.digests.documents import document_digest
from kubeloop.errors import InputError

BATCH_ROWS = 16_384  # what a core keeps in its cache: twice as fast as 65 536

Digests = npt.NDArray[np.uint8]


def row_encodings(table: Any) -> Any:
    """Canonical encoding of each row.

    Args:
        table: `pyarrow.Table` or `RecordBatch` with n rows and at least one column.

    Returns:
        `pyarrow.LargeBinaryArray` of n encodings.
    """
    return _joined([cells_of(column) for column in table.columns], table.num_rows)


def row_digests(table: Any, salt: bytes = b"", native: bool = True) -> Digests:
    """SHA-256 of each row's canonical encoding.

    Args:
        table: `pyarrow.Table` or `RecordBatch` with n rows.
        salt: What comes before each encoding.
        native: Whether the compiled loop is used where there is one; its twin gives the same digests.

    Returns:
        uint8 array of shape (n, 32). (NumPy's `S32` would drop trailing zero bytes.)
    """
    hashed = (native and _native_digests()) or _digests
    found = [hashed(part.num_rows, [cells_of(column) for column in part.columns], salt) for part in _parts(table)]
    return np.frombuffer(b"".join(found), np.uint8).reshape(-1, 32)


def _native_digests() -> Any:
    """The compiled loop; None where it was not built."""
    try:
        loop: Any = import_module("kubeloop.digests._native")
    except ImportError:
        return None

    def digests(rows: int, cells: list[Cells], salt: bytes) -> bytes:
        found: bytes = loop.digests(rows, tuple(map(_buffers, cells)), salt)
        return found

    return digests


def _buffers(cells: Cells) -> tuple[Any, ...]:
    """Tag, numbers, valid, offsets and body, as the compiled loop reads them."""
    if cells.body is None:
        return (cells.tag, cells.numbers, cells.valid, None, None)
    return (cells.tag, cells.numbers, cells.valid, *_offsets(cells.body))


def _offsets(body: Any) -> tuple[npt.NDArray[np.int64], Any]:
    """Where the values of a large binary array start and end, shape (n + 1,), and the bytes that they lie in."""
    _, offsets, data = body.buffers()
    if not len(body) or data is None:
        return np.zeros(len(body) + 1, np.int64), b""
    return np.frombuffer(offsets, np.int64, len(body) + 1, body.offset * 8), data


def _digests(rows: int, cells: list[Cells], salt: bytes) -> bytes:
    """The twin of the compiled loop."""
    places, data = _offsets(_joined(cells, rows))
    flat, sha256 = memoryview(data).tobytes(), hashlib.sha256
    return b"".join([sha256(salt + flat[start:end]).digest() for start, end in pairwise(places.tolist())])


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


def _joined(cells: list[Cells], rows: int) -> Any:
    """The encodings of rows, of the cells of their columns."""
    pieces = _Pieces(rows)
    for each in cells:
        if each.numbers is not None and each.valid is not None:
            pieces.any(_with_nulls(each.tag, each.numbers, each.valid))
        elif each.numbers is not None:
            pieces.fixed(each.tag, each.numbers)
        if each.body is not None:
            pieces.any(each.body)
    return pieces.joined()


def _with_nulls(tag: int, payload: npt.NDArray[Any], valid: npt.NDArray[np.bool_]) -> Any:
    """Cells of one tag and a big-endian number; a null is the single byte 0."""
    rows, width = len(payload), payload.dtype.itemsize
    cells = np.empty((rows, width + 1), np.uint8)
    cells[:, 0] = np.where(valid, tag, 0)
    cells[:, 1:] = payload.view(np.uint8).reshape(rows, width)
    keep = np.ones(cells.shape, bool)
    keep[:, 1:] = valid[:, None]
    return _binary(np.where(valid, width + 1, 1), cells[keep])


def _binary(lengths: npt.NDArray[np.int64], flat: npt.NDArray[Any]) -> Any:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(flat))]
    return pa.Array.from_buffers(pa.large_binary(), len(lengths), buffers)

"""A column's cells as the canonical encoding of a row has them; the encoding itself is in `kubeloop.digests.rows`."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kubeloop.errors import InputError

_CANONICAL_NAN = 0x7FF8000000000000
_INT64_MAX = 2**63 - 1
_MICROSECONDS = {"s": (1_000_000, 1), "ms": (1_000, 1), "us": (1, 1), "ns": (1, 1_000)}


@dataclass(frozen=True)
class Cells:
    """The cells of one column of n rows, in the parts that an encoding is laid of: tag, number, body.

    Attributes:
        tag: First byte of a cell that is not null.
        numbers: Big-endian, shape (n,): the value, or the length of the body; null cells hold anything. None when the
            body is the whole cell, with its tag.
        valid: Booleans, shape (n,); None when no cell is null.
        body: Large binary array of n without nulls (null cells: empty); None for cells of fixed width.
    """

    tag: int
    numbers: npt.NDArray[Any] | None = None
    valid: npt.NDArray[np.bool_] | None = None
    body: Any = None


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


def cells_of(column: Any) -> Cells:
    """The cells of an Arrow array, chunked or not.

    Raises:
        InputError: As `kind_of`.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = kind_of(column.type)
    if kind == "null":
        return Cells(0, np.zeros(len(column), np.uint8), np.zeros(len(column), np.bool_))
    if kind == "decimal" or (column.type == pa.uint64() and (pc.max(column).as_py() or 0) > _INT64_MAX):
        return Cells(0, body=_by_value(column))
    valid = column.is_valid().to_numpy(zero_copy_only=False) if column.null_count else None
    if kind not in ("text", "bytes"):
        return Cells(*_words(kind, column), valid)
    column = column.cast(pa.large_binary())
    lengths = _filled(pc.binary_length(column)).astype(">u4")
    return Cells(5 if kind == "text" else 8, lengths, valid, pc.fill_null(column, b"") if column.null_count else column)


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

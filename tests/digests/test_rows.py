"""The canonical row encoding, held against vectors that were computed without it."""

import datetime as dt
import hashlib
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import kubeloop.digests
from kubeloop.digests.cells import kind_of
from kubeloop.digests.rows import BATCH_ROWS, row_digests, row_encodings, table_digest
from kubeloop.errors import InputError

VECTORS = json.loads((Path(__file__).parent / "rows_vectors.json").read_text(encoding="utf-8"))
TYPES = {
    "null": pa.null(),
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "uint64": pa.uint64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "decimal": pa.decimal128(10, 2),
    "string": pa.string(),
    "dictionary": pa.dictionary(pa.int8(), pa.string()),
    "timestamp_us_utc": pa.timestamp("us", "UTC"),
    "timestamp_us_tokyo": pa.timestamp("us", "Asia/Tokyo"),
    "timestamp_s": pa.timestamp("s"),
    "timestamp_ns": pa.timestamp("ns"),
    "date32": pa.date32(),
    "binary": pa.binary(),
}


def array_of(vector: dict) -> pa.Array:
    kind, value = vector["type"], vector["value"]
    if value is not None and kind in ("double", "float"):
        value = float(value)
    elif kind == "decimal":
        value = Decimal(value)
    elif isinstance(value, str) and kind.startswith("timestamp"):
        value = dt.datetime.fromisoformat(value)
    elif kind == "date32":
        value = dt.date.fromisoformat(value)
    elif kind == "binary":
        value = bytes.fromhex(value)
    return pa.array([value], TYPES[kind])


@pytest.mark.parametrize("vector", VECTORS["cells"], ids=lambda vector: vector["name"])
def test_cell(vector):
    assert row_encodings(pa.table({"x": array_of(vector)})).to_pylist()[0].hex() == vector["encoding"]


@pytest.mark.parametrize("vector", VECTORS["cells"], ids=lambda vector: vector["name"])
def test_cell_among_nulls(vector):
    column = pa.chunked_array(
        [pa.nulls(2, TYPES[vector["type"]]), array_of(vector), pa.nulls(1, TYPES[vector["type"]])]
    )
    found = [cell.hex() for cell in row_encodings(pa.table({"x": column})).to_pylist()]
    assert found == ["00", "00", vector["encoding"], "00"]


def test_row():
    table = pa.table({"a": [1], "b": pa.array([None], pa.string()), "c": ["a"], "d": [1.5]})
    assert row_encodings(table).to_pylist()[0].hex() == VECTORS["row"]["encoding"]
    assert row_digests(table)[0].tobytes().hex() == VECTORS["row"]["digest"]
    assert row_digests(table).shape == (1, 32)
    assert row_digests(table).dtype == np.uint8


def test_table_vector():
    assert table_digest(pa.table({"a": [1, 2, 2], "b": ["x", None, None]})) == VECTORS["table"]["digest"]


def test_order_does_not_count_duplicates_and_names_do():
    digest = table_digest(pa.table({"a": [1, 2, 2]}))
    assert table_digest(pa.table({"a": [2, 1, 2]})) == digest
    assert table_digest(pa.table({"a": [1, 2]})) != digest
    assert table_digest(pa.table({"a": [1, 1, 2]})) != digest
    assert table_digest(pa.table({"b": [1, 2, 2]})) != digest
    assert table_digest(pa.table({"a": [1.0, 2.0, 2.0]})) != digest


def test_equal_duplicates_do_not_cancel_out():
    digests = {table_digest(pa.table({"a": [7] * count})) for count in range(1, 6)}
    assert len(digests) == 5


def test_cells_do_not_run_into_each_other():
    left, right = pa.table({"a": ["ab"], "b": ["c"]}), pa.table({"a": ["a"], "b": ["bc"]})
    assert row_digests(left).tobytes() != row_digests(right).tobytes()


def test_batches_and_files_give_the_digest_of_the_table(tmp_path):
    rows = 2 * BATCH_ROWS + 17
    table = pa.table({"a": np.arange(rows), "b": [str(i % 7) if i % 5 else None for i in range(rows)]})
    pq.write_table(table, tmp_path / "part-0.parquet", row_group_size=1000)
    whole = table_digest(table)
    assert table_digest(tmp_path / "part-0.parquet") == whole
    assert table_digest(tmp_path) == whole
    assert table_digest(table.to_reader(max_chunksize=999)) == whole
    assert len(row_digests(table)) == rows


def test_slices_encode_as_they_stand():
    table = pa.table({"a": [1, None, 3], "b": ["x", None, "z"], "c": [True, False, None]})
    whole = row_encodings(table).to_pylist()
    assert row_encodings(table.slice(1, 2)).to_pylist() == whole[1:]


def test_empty_table():
    table = pa.table({"a": pa.array([], pa.int64()), "b": pa.array([], pa.string())})
    assert row_digests(table).shape == (0, 32)
    assert table_digest(table).startswith("sha256-")


def test_nested_types_are_refused():
    with pytest.raises(InputError, match="got one of type list"):
        kind_of(pa.list_(pa.int64()))


def test_folder_without_parts_is_refused(tmp_path):
    with pytest.raises(InputError, match="Parquet parts were expected"):
        table_digest(tmp_path)


def test_importing_digests_imports_no_arrow():
    code = "import sys, kubeloop.digests; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert kubeloop.digests.table_digest is table_digest


def every_kind(rows: int) -> pa.Table:
    """A column of each kind of cell with nulls, one without, and texts of many lengths."""
    rng = np.random.default_rng(4)
    away = rng.random(rows) < 0.2
    numbers = rng.choice([0.0, -0.0, np.nan, np.inf, 1e-300, 2.5], rows)
    moments = pa.array(rng.integers(-(2**50), 2**50, rows), pa.timestamp("us", "UTC"))
    texts = np.array(["é" * int(length) for length in rng.integers(0, 150, rows)], object)
    return pa.table(
        {
            "boolean": pa.array(rng.random(rows) < 0.5, mask=away),
            "integer": pa.array(rng.integers(-(2**62), 2**62, rows), mask=np.roll(away, 1)),
            "number": pa.array(numbers, mask=np.roll(away, 2)),
            "whole": numbers,
            "decimal": pa.array([Decimal(int(value)) / 100 for value in rng.integers(-999, 999, rows)]),
            "huge": pa.array(rng.integers(0, 2**64, rows, np.uint64), mask=np.roll(away, 3)),
            "moment": moments,
            "text": pa.array(texts, pa.string(), mask=np.roll(away, 4)),
            "bytes": pa.array([text.encode() for text in texts], pa.binary()),
            "nothing": pa.nulls(rows),
        }
    )


def test_the_compiled_loop_and_its_twin_give_the_same_digests() -> None:
    pytest.importorskip("kubeloop.digests._native", reason="built without a C compiler")
    table = every_kind(2_000)
    for part in (table, table.slice(7, 100), table.slice(0, 0), table.select([]), table.select(["nothing"])):
        for salt in (b"", b"\0" * 55, b"seed" * 99):
            assert row_digests(part, salt).tobytes() == row_digests(part, salt, native=False).tobytes()


def test_the_compiled_loop_is_sha256_for_every_length_on_every_processor() -> None:
    native = pytest.importorskip("kubeloop.digests._native", reason="built without a C compiler")
    data = np.random.default_rng(0).bytes(70_000)
    for length in (*range(260), 4_095, 65_536):
        columns = ((0, None, None, np.array([0, length]), data),)
        for portable in (False, True):
            assert native.digests(1, columns, b"", portable) == hashlib.sha256(data[:length]).digest()


@pytest.mark.parametrize(
    "column",
    [
        (2, np.zeros(2, ">i8"), None, None, None),
        (2, np.zeros(3, ">i8"), np.zeros(2, bool), None, None),
        (5, np.zeros(3, ">u4"), None, np.array([0, 1, 2]), b"abc"),
        (5, np.zeros(3, ">u4"), None, np.array([0, 1, 2, 4]), b"abc"),
        (5, np.zeros(3, ">u4"), None, np.array([0, 2, 1, 3]), b"abc"),
        (5, np.zeros(3, ">u4"), None, np.array([-1, 1, 2, 3]), b"abc"),
    ],
    ids=["few numbers", "few marks", "few offsets", "beyond the end", "backwards", "before the start"],
)
def test_the_compiled_loop_reads_nothing_outside_its_buffers(column: tuple[Any, ...]) -> None:
    native = pytest.importorskip("kubeloop.digests._native", reason="built without a C compiler")
    with pytest.raises(ValueError, match="do not fit the number of rows"):
        native.digests(3, (column,), b"")

"""The canonical row encoding, held against vectors that were computed without it."""

import datetime as dt
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import kubeloop.digests
from kubeloop.digests.rows import BATCH_ROWS, kind_of, row_digests, row_encodings, table_digest
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

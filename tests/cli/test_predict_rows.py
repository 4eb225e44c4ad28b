"""Rows for `kubeloop predict` are read with the same eyes as at ingest."""

from pathlib import Path

import pytest

from kubeloop.cli.predict_ import read_rows
from kubeloop.errors import InputError


def test_another_encoding_is_said_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes("town,age\nZürich,5\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"rows.csv:2: UTF-8 text was expected, got byte 0xfc at byte 10") as refused:
        read_rows(str(path))
    assert "perhaps Latin-1 or Windows-1252" in refused.value.problem
    assert refused.value.fix == "save the file as CSV in UTF-8"


def test_semicolons_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("town;age\nBern;5\n", encoding="utf-8")
    assert read_rows(str(path)).to_dict("records") == [{"town": "Bern", "age": 5}]

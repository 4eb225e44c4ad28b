"""Who has read these test rows: counted in the ledger, once for each run."""

import datetime as dt
from types import SimpleNamespace

import pyarrow as pa
import pytest

from kubeloop.components.artifacts import count_reading
from kubeloop.data.tables import write_table
from kubeloop.ledger import entries
from kubeloop.site import laptop
from kubeloop.store import open_engine
from kubeloop.tracking.task import TaskContext

NOW = dt.datetime(2026, 11, 21, 9, 0, tzinfo=dt.UTC)


@pytest.fixture
def site(tmp_path):
    return laptop(tmp_path / "home")


def table(folder, values, **more):
    write_table(pa.table({"x": values, **more}), folder)
    return SimpleNamespace(path=str(folder))


def test_every_run_that_reads_the_same_rows_counts_once(site, tmp_path):
    rows, same = table(tmp_path / "one", [1, 2, 3]), table(tmp_path / "two", [3, 1, 2])
    other = table(tmp_path / "three", [1, 2, 4])
    first, second = (TaskContext(site, run, NOW, "evaluate") for run in ("first", "second"))
    assert count_reading(first, "ward", rows, "x") == 1
    assert count_reading(first, "ward", rows, "x") == 1  # tried again
    assert count_reading(second, "ward", same, "x") == 2  # the order of rows makes no other test
    assert count_reading(second, "ward", other, "x") == 1
    assert count_reading(first, "ward", rows, "x") == 2


def test_a_column_added_dropped_or_moved_makes_no_other_test(site, tmp_path):
    runs = [TaskContext(site, run, NOW, "evaluate") for run in ("first", "second", "third", "fourth")]
    one = table(tmp_path / "one", [1, 2, 3], age=[60, 61, 62])
    more = table(tmp_path / "more", [1, 2, 3], age=[60, 61, 62], sex=[0, 1, 0])
    less = table(tmp_path / "less", [1, 2, 3])
    grown = table(tmp_path / "grown", [1, 2, 3, 4], age=[60, 61, 62, 63])
    tables = (one, more, less, grown)
    assert [count_reading(run, "ward", rows, "x") for run, rows in zip(runs, tables, strict=True)] == [1, 2, 3, 1]


def test_a_reading_is_in_the_ledger_before_anything_is_said_of_the_model(site, tmp_path):
    count_reading(TaskContext(site, "first", NOW, "evaluate"), "ward", table(tmp_path / "one", [1, 2, 3]), "x")
    engine = open_engine(site)
    (entry,) = entries(engine, site.namespace)
    engine.dispose()
    assert entry.kind == "test_reading"
    assert entry.body.keys() == {"run", "name", "test", "truth"}
    assert all(entry.body[word].startswith("sha256-") for word in ("test", "truth"))

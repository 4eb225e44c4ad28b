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


def table(folder, values):
    write_table(pa.table({"x": values}), folder)
    return SimpleNamespace(path=str(folder))


def test_every_run_that_reads_the_same_rows_counts_once(site, tmp_path):
    rows, same = table(tmp_path / "one", [1, 2, 3]), table(tmp_path / "two", [3, 1, 2])
    other = table(tmp_path / "three", [1, 2, 4])
    first, second = (TaskContext(site, run, NOW) for run in ("first", "second"))
    assert count_reading(first, "ward", rows) == 1
    assert count_reading(first, "ward", rows) == 1  # tried again
    assert count_reading(second, "ward", same) == 2  # the order of rows makes no other test
    assert count_reading(second, "ward", other) == 1
    assert count_reading(first, "ward", rows) == 2


def test_a_reading_is_in_the_ledger_before_anything_is_said_of_the_model(site, tmp_path):
    count_reading(TaskContext(site, "first", NOW), "ward", table(tmp_path / "one", [1, 2, 3]))
    engine = open_engine(site)
    (entry,) = entries(engine, site.namespace)
    engine.dispose()
    assert entry.kind == "test_reading"
    assert entry.body.keys() == {"run", "name", "test"}
    assert entry.body["test"].startswith("sha256-")

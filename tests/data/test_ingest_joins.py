"""What joins find, and what they may not; snapshots as of a moment."""

import datetime as dt

import pytest

from kubeloop.contract.sections import IngestSection
from kubeloop.data.ingest import ingest
from kubeloop.data.tables import read_frame
from kubeloop.errors import PermanentError
from kubeloop.site.model import laptop

LEFT = (
    "at,k,y\n"
    "2020-01-01 10:30,a,0\n"
    "2020-01-01 09:59,a,1\n"
    "2020-01-01 14:00,a,1\n"
    "2020-01-01 14:00:01,a,1\n"
    "2020-01-01 12:00,b,0\n"
    ",a,1\n"
    "2020-01-01 12:00,,1\n"
)
RIGHT = "k,at,temp\na,2020-01-01 10:00,1\na,2020-01-01 11:00,bad\nb,2020-01-01 12:01,3\n"
COLUMNS = {"at": "timestamp", "k": "category", "y": "integer", "temp": "number"}


def joined(world, **join):
    world.file(LEFT)
    world.file(RIGHT, "u.csv")
    joins = ({"source": "s1", "on": ("k",), **join},)
    return world.ingest(world.data(COLUMNS, ("t.csv", "u.csv"), joins, time="at"))


def test_gaps_of_an_as_of_join_are_stated(world):
    facts = joined(world, as_of="at")
    assert facts["joins"] == [{"source": "s1", "matched": 3, "gaps": 4, "too_old": 0, "ties": 0}]
    rows = read_frame(world.out / "table")
    assert rows["temp"].fillna(-1).tolist() == [1, -1, -1, -1, -1, -1, -1]
    assert rows["_bad"].notna().tolist() == [False, False, True, True, False, False, False]


def test_a_row_older_than_the_tolerance_is_not_taken(world):
    facts = joined(world, as_of="at", tolerance="3h")
    assert facts["joins"] == [{"source": "s1", "matched": 2, "gaps": 4, "too_old": 1, "ties": 0}]
    rows = read_frame(world.out / "table")
    assert rows["_bad"].notna().tolist() == [False, False, True, False, False, False, False]


def test_gaps_of_a_join_by_key_are_stated(world):
    world.file("k,y\nb,0\na,1\nz,0\n,1\n")
    world.file("k,x\na,1.5\nb,2\n", "u.csv")
    columns = {"k": "category", "y": "integer", "x": "number"}
    facts = world.ingest(world.data(columns, ("t.csv", "u.csv"), ({"source": "s1", "on": ("k",)},)))
    assert facts["joins"] == [{"source": "s1", "matched": 2, "gaps": 2, "too_old": 0, "ties": 0}]
    assert [column["name"] for column in facts["columns"]] == ["k", "y", "x"]


def test_two_joins_and_a_derived_target(world):
    world.file("at,k,delay\n2020-01-01 10:30,a,20\n2020-01-01 10:40,b,1\n2020-01-01 08:00,a,3\n")
    world.file("k,x\na,1.5\n", "u.csv")
    world.file("k,at,temp\na,2020-01-01 10:00,1\nb,2020-01-01 10:40,2\n", "v.csv")
    columns = {"at": "timestamp", "k": "category", "delay": "number", "x": "number", "temp": "number"}
    joins = ({"source": "s1", "on": ("k",)}, {"source": "s2", "on": ("k",), "as_of": "at", "tolerance": "1h"})
    data = world.data(columns, ("t.csv", "u.csv", "v.csv"), joins, time="at")
    facts = world.ingest(data, {"expression": "delay > 15", "name": "late"})
    assert [join["gaps"] for join in facts["joins"]] == [1, 1]
    rows = read_frame(world.out / "table")
    assert rows["late"].tolist() == [True, False, False]
    assert rows["x"].fillna(-1).tolist() == [1.5, -1, 1.5]
    assert rows["temp"].fillna(-1).tolist() == [1, 2, -1]


def section_of(world, kind="timestamp"):
    data = world.data({"at": kind, "y": "integer"}, time="at")
    data = data.model_copy(update={"snapshot": "as_of"})
    return IngestSection(name="demo", data=data, target=world.target("y", "binary"))


@pytest.mark.parametrize("kind", ["timestamp", "date"])
def test_a_snapshot_as_of_a_moment_is_the_same_later_on(world, kind):
    section, site = section_of(world, kind), laptop(world.out / "home", world.inputs)
    rows = "at,y\n2020-01-01,0\n2020-01-02,1\n,1\n"
    world.file(rows + "2020-01-04,1\n")
    moment = dt.datetime(2020, 1, 3, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    facts = ingest(section, site, world.out / "table", moment)
    assert (facts["rows"], facts["sources"][0]["rows"]) == (2, 4)
    assert facts["snapshot"] == {
        "kind": "as_of",
        "column": "at",
        "moment": "2020-01-03T10:00:00+00:00",
        "digest": facts["digest"],
        "later": 2,
    }
    world.file(rows + "2020-01-05,0\n2020-01-06,0\n")
    again = ingest(section, site, world.out / "again", dt.datetime.fromisoformat(facts["snapshot"]["moment"]))
    assert again["snapshot"] == facts["snapshot"] | {"later": 3}
    world.file(rows + "2020-01-02,0\n")
    assert ingest(section, site, world.out / "third", moment)["digest"] != facts["digest"]


def test_a_snapshot_as_of_a_moment_needs_it(world):
    world.file("at,y\n2020-01-01,0\n2020-01-02,1\n")
    with pytest.raises(PermanentError, match="needs the moment of the run"):
        ingest(section_of(world), laptop(world.out / "home", world.inputs), world.out / "table")


def test_a_copy_needs_no_moment(world):
    world.file("x,y\n1,0\n2,1\n")
    facts = world.ingest(world.data({"x": {"type": "number", "policy": "pii"}, "y": "integer"}))
    assert facts["snapshot"] == {"kind": "copy"}
    assert facts["profile"] == {"x": {"nulls": 0}, "y": {"nulls": 0, "minimum": 0, "maximum": 1, "mean": 0.5}}


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "9007199254740993"], [1, 9007199254740993]),
        (["1", "9007199254740992"], [1, 9007199254740992]),
        (["1.0", "+2", " 3 ", "1e3", "-0"], [1, 2, 3, 1000, 0]),
        (["007", "NA", ""], [7, None, None]),
    ],
)
def test_the_swift_way_reads_what_the_slow_way_reads(world, cells, expected):
    world.file("x,y\n" + "".join(f"{cell},{i % 2}\n" for i, cell in enumerate(cells)))
    facts = world.ingest(world.data({"x": "integer", "y": "integer"}))
    assert facts["bad_rows"] == 0
    import pyarrow.parquet as pq

    assert pq.read_table(world.out / "table" / "part-0.parquet")["x"].to_pylist() == expected


@pytest.mark.parametrize("cell", ["-nan", "1_0.5", "NAN"])
def test_the_swift_way_takes_nothing_strange_for_a_number(world, cell):
    world.file(f"x,y\n{cell},0\n2,1\n")
    assert world.ingest(world.data({"x": "number", "y": "integer"}))["bad_rows"] == 1

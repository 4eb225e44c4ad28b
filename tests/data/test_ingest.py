"""What ingest makes of good input."""

import datetime as dt
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kubeloop.data.tables import read_frame
from kubeloop.digests import table_digest

SIMPLE = {"x": "number", "y": "integer"}


def frame(world, name="table"):
    return read_frame(world.out / name)


def test_facts_and_order(world):
    world.file("z,y,x\n9,1,3\n9,0,1\n9,1,2\n")
    facts = world.ingest(world.data({"x": "number", "y": "integer"}))
    assert facts["rows"] == 3
    assert facts["columns"] == [{"name": "x", "type": "number"}, {"name": "y", "type": "integer"}]
    assert facts["sources"] == [{"name": "s0", "rows": 3}]
    assert (facts["target_unknown"], facts["bad_rows"], facts["not_in_contract"], facts["denied"]) == (0, 0, 1, 0)
    assert facts["digest"] == table_digest(world.out / "table")
    assert frame(world)["x"].tolist() == [3.0, 1.0, 2.0]
    assert json.loads((world.out / "table" / "table.json").read_text())["digest"] == facts["digest"]
    assert sorted(path.name for path in (world.out / "table").iterdir()) == ["part-0.parquet", "table.json"]


def test_types(world):
    world.file(
        "i,n,c,b,t,d,s,y\n"
        "3.0, 1.5 ,A,true,2020-01-01T12:00:00+02:00,2020-02-03,'q',1\n"
        '-7,1e3,,0,2020-01-01 10:00,NA,"say ""hi"", ok",0\n'
        "9007199254740993,?,B,False,null,2020-01-01 00:00:00,,0\n"
    )
    kinds = {"i": "integer", "n": "number", "c": "category", "b": "boolean", "t": "timestamp", "d": "date", "s": "text"}
    facts = world.ingest(world.data({**kinds, "y": "integer"}))
    assert facts["bad_rows"] == 0
    rows = pq.read_table(world.out / "table" / "part-0.parquet").to_pylist()
    noon = dt.datetime(2020, 1, 1, 10, tzinfo=dt.UTC)
    assert [row["i"] for row in rows] == [3, -7, 9007199254740993]
    assert [row["n"] for row in rows] == [1.5, 1000.0, None]
    assert [row["c"] for row in rows] == ["A", None, "B"]
    assert [row["b"] for row in rows] == [True, False, False]
    assert [row["t"] for row in rows] == [noon, noon, None]
    assert [row["d"] for row in rows] == [dt.date(2020, 2, 3), None, dt.date(2020, 1, 1)]
    assert [row["s"] for row in rows] == ["'q'", 'say "hi", ok', None]


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        ("integer", "3.5"),
        ("integer", "0x10"),
        ("integer", "1_000"),
        ("integer", "inf"),
        ("integer", "99999999999999999999"),
        ("number", "1,5"),
        ("number", "1_000"),
        ("number", "-nan"),
        ("boolean", "2"),
        ("boolean", "maybe"),
        ("timestamp", "yesterday"),
        ("timestamp", "infinity"),
        ("date", "2020-01-01 10:00"),
        ("date", "2020-13-01"),
    ],
)
def test_a_cell_that_does_not_fit_is_kept_aside(world, kind, cell):
    world.file(f'x,y\n"{cell}",1\n,0\n  ,1\n')
    facts = world.ingest(world.data({"x": kind, "y": "integer"}))
    bad = frame(world)["_bad"]
    assert facts["bad_rows"] == 1
    assert json.loads(bad[0]) == {"x": cell}
    assert bad[1] is None
    assert bad[2] is None
    assert facts["columns"][-1] == {"name": "_bad", "type": "text"}


def test_bad_cell_far_into_the_file(world):
    world.file("x,y\n" + "1,0\n2,1\n" * 100_000 + "z,1\n")
    facts = world.ingest(world.data(SIMPLE))
    assert (facts["rows"], facts["bad_rows"]) == (200_001, 1)
    assert json.loads(frame(world)["_bad"].iloc[-1]) == {"x": "z"}


def test_a_bad_cell_under_policy_pii_is_not_shown(world):
    world.file("x,y\nCANARY,1\n2,0\n3,1\n")
    world.ingest(world.data({"x": {"type": "number", "policy": "pii"}, "y": "integer"}))
    assert json.loads(frame(world)["_bad"][0]) == {"x": None}


def test_denied_columns_are_never_written(world):
    world.file("x,secret,y\n1,CANARY,1\n2,CANARY,0\n")
    facts = world.ingest(world.data({**SIMPLE, "secret": {"type": "number", "policy": "deny"}}))
    assert facts["denied"] == 1
    assert "secret" not in str(facts["columns"])
    for path in (world.out / "table").iterdir():
        assert b"CANARY" not in path.read_bytes()


def test_csv_and_parquet_of_the_same_rows_have_one_digest(world):
    rows = pd.DataFrame({"x": [1.5, None, 3.0], "c": ["a", None, "b"], "y": [0, 1, 1]})
    rows.to_csv(world.inputs / "t.csv", index=False)
    rows.to_parquet(world.inputs / "t.parquet")
    pq.write_table(
        pa.table({"x": [1.5, float("nan"), 3.0], "c": ["a", None, "b"], "y": [0, 1, 1]}), world.inputs / "n.pq"
    )
    columns = {"x": "number", "c": "category", "y": "integer"}
    digests = {world.ingest(world.data(columns, (path,)))["digest"] for path in ("t.csv", "t.parquet", "n.pq")}
    assert len(digests) == 1


@pytest.mark.parametrize("mark", [b"\r\n", b"\r", b"\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("delimiter", [b",", b";", b"\t", b"|"])
def test_line_ends_bom_and_delimiters(world, mark, bom, delimiter):
    world.file(
        bom
        + mark.join(
            [b"x,y".replace(b",", delimiter), b"1,0".replace(b",", delimiter), b"2,1".replace(b",", delimiter), b""]
        )
    )
    assert world.ingest(world.data(SIMPLE))["rows"] == 2
    assert frame(world)["x"].tolist() == [1.0, 2.0]


def test_same_input_same_bytes_in_two_directories(world):
    world.file("x,n,y\n" + "".join(f"{i % 97},name {i},{i % 2}\n" for i in range(150_000)))
    data = world.data({**SIMPLE, "n": "text"})
    one, two = world.ingest(data, out="a/table"), world.ingest(data, out="b/table")
    assert one == two
    for name in ("part-0.parquet", "table.json"):
        assert (world.out / "a/table" / name).read_bytes() == (world.out / "b/table" / name).read_bytes()


def test_names_with_quotes_spaces_and_sql_in_them(world):
    names = ["Größe 東京", 'a "b" c', "x'; DROP TABLE t; --", "select", "{y}"]
    header = ",".join('"' + name.replace('"', '""') + '"' for name in names)
    world.file(f"{header},y\n1,2,3,4,5,0\nbad,bad,bad,bad,bad,1\n6,7,8,9,10,1\n")
    facts = world.ingest(world.data({**dict.fromkeys(names, "integer"), "y": "integer"}))
    assert [column["name"] for column in facts["columns"]] == [*names, "y", "_bad"]
    assert json.loads(frame(world)["_bad"][1]) == dict.fromkeys(names, "bad")
    assert frame(world)[names[2]].tolist()[::2] == [3, 8]


def test_paths_with_quotes_and_patterns(world):
    name = "it's [1] *a?.csv"
    world.file("x,y\n1,0\n2,1\n", name)
    world.file("x,y\n7,0\n8,1\n", "it's 1 ba1.csv")
    assert world.ingest(world.data(SIMPLE, (name,)))["rows"] == 2
    assert frame(world)["x"].tolist() == [1.0, 2.0]


def test_a_url_is_read_through_fsspec(world):
    import fsspec

    fsspec.filesystem("memory").pipe_file("/loop/t.csv", b"x,y\n1,0\n2,1\n")
    assert world.ingest(world.data(SIMPLE, ("memory://loop/t.csv",)))["rows"] == 2
    assert world.ingest(
        world.data(SIMPLE, ((world.inputs / "t.csv").as_uri(),)) if world.file("x,y\n1,0\n2,1\n") else None
    )


def test_categories_that_are_numbers_are_spelled_as_the_contract_spells_them(world):
    world.file("c,f,y\n3.0,3.0,0\n6,6,1\n7.50,x,1\n")
    world.ingest(world.data({"c": {"type": "category", "values": (3, 6, 7.5)}, "f": "category", "y": "integer"}))
    assert frame(world)["c"].tolist() == ["3", "6", "7.50"]
    assert frame(world)["f"].tolist() == ["3.0", "6", "x"]


def test_derived_target_and_unknown_rows(world):
    world.file("delay,x\n20,1\n,2\n10,3\n15,4\nNA,5\n")
    facts = world.ingest(world.data({"delay": "number", "x": "number"}), {"expression": "delay > 15", "name": "late"})
    assert (facts["rows"], facts["target_unknown"]) == (3, 2)
    assert facts["sources"] == [{"name": "s0", "rows": 5}]
    assert facts["columns"][-1] == {"name": "late", "type": "boolean"}
    assert frame(world)["late"].tolist() == [True, False, False]


def test_bad_target_cell_is_kept_for_quarantine(world):
    world.file("x,y\n1,0\n2,oops\n3,1\n4,\n")
    facts = world.ingest(world.data(SIMPLE))
    assert (facts["rows"], facts["target_unknown"], facts["bad_rows"]) == (3, 1, 1)


def test_equality_join_keeps_every_row_and_the_order(world):
    world.file("k,y\nb,0\na,1\nz,0\n,1\nb,1\n")
    world.file("k,x,y\na,1.5,9\nb,bad,9\nc,3,9\n", "u.csv")
    columns = {"k": "category", "y": "integer", "x": "number"}
    facts = world.ingest(world.data(columns, ("t.csv", "u.csv"), ({"source": "s1", "on": ("k",)},)))
    assert facts["sources"] == [{"name": "s0", "rows": 5}, {"name": "s1", "rows": 3}]
    rows = frame(world)
    assert rows["k"].tolist() == ["b", "a", "z", None, "b"]
    assert rows["y"].tolist() == [0, 1, 0, 1, 1], "what several sources have comes from the first"
    assert rows["x"].fillna(-1).tolist() == [-1, 1.5, -1, -1, -1]
    assert [json.loads(bad) if bad else None for bad in rows["_bad"]] == [{"x": "bad"}, None, None, None, {"x": "bad"}]


def test_as_of_join_never_takes_a_row_from_the_future(world):
    world.file("at,k,y\n2020-01-01 10:30,a,0\n2020-01-01 09:59,a,1\n2020-01-01 11:00,a,1\n2020-01-01 12:00,b,0\n")
    world.file("k,at,temp\na,2020-01-01 10:00,1\na,2020-01-01 11:00,2\nb,2020-01-01 12:01,3\n", "u.csv")
    columns = {"at": "timestamp", "k": "category", "y": "integer", "temp": "number"}
    joins = ({"source": "s1", "on": ("k",), "as_of": "at"},)
    world.ingest(world.data(columns, ("t.csv", "u.csv"), joins, time="at"))
    assert frame(world)["temp"].fillna(-1).tolist() == [1, -1, 2, -1]


def test_as_of_ties_are_refused(world):
    from kubeloop.errors import InputError

    world.file("at,k,y\n2020-01-01 10:30,a,0\n2020-01-01 09:59,a,1\n")
    world.file("k,at,temp\na,2020-01-01 10:00,1\na,2020-01-01 10:00,2\n", "u.csv")
    columns = {"at": "timestamp", "k": "category", "y": "integer", "temp": "number"}
    joins = ({"source": "s1", "on": ("k",), "as_of": "at"},)
    with pytest.raises(InputError, match="one row per k, at was expected"):
        world.ingest(world.data(columns, ("t.csv", "u.csv"), joins, time="at"))


def test_left_overs_of_a_killed_run_do_not_disturb(world):
    partial = world.out / ".table.partial"
    partial.mkdir(parents=True)
    (partial / "part-0.parquet").write_bytes(b"half")
    world.file("x,y\n1,0\n2,1\n")
    world.ingest(world.data(SIMPLE))
    assert not partial.exists()

"""What a profile sees in a file."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kubeloop.data.profile import profile
from kubeloop.errors import InputError


def seen(world, content):
    return profile(world.inputs / world.file(content))


def test_types_and_ranges(world):
    found = seen(
        world,
        'i,n,b,t,d,s,code,"a ""q"""\n'
        "3.0,1.5,true,2020-01-01 10:00:00,2020-01-01,x,007,1\n"
        "-2,,false,2020-01-02T00:00:00+02:00,2020-02-01,y,010,2\n"
        "3,inf,TRUE,2020-01-01,2019-12-31,x,011,3\n",
    )
    assert found.rows == 3
    types = {column.name: column.type for column in found.columns}
    assert types == {
        "i": "integer", "n": "number", "b": "boolean", "t": "timestamp", "d": "date", "s": "text", "code": "text",
        'a "q"': "integer",
    }  # fmt: skip
    i, n, d, t, s = (found.column(name) for name in "indts")
    assert (i.minimum, i.maximum, i.distinct, i.values, i.id_like) == (-2, 3, 2, (3, -2), False)
    assert (n.minimum, n.maximum, n.nulls, n.distinct) == (1.5, 1.5, 1, 2)
    assert (d.minimum, d.maximum, d.values) == ("2019-12-31", "2020-02-01", ())
    assert (t.minimum, t.maximum) == ("2020-01-01T00:00:00Z", "2020-01-01T22:00:00Z")
    assert (s.minimum, s.values) == (None, ("x", "y"))
    assert found.column("code").id_like
    assert found.column('a "q"').id_like


def test_constant_and_empty(world):
    found = seen(world, "a,b,c,d\n1,,1,0\n1,,,1\n")
    assert [column.constant for column in found.columns] == [True, True, False, False]
    assert found.column("b").type == "text"
    assert found.column("d").type == "integer"


def test_many_values_are_not_listed(world):
    found = seen(world, "a\n" + "".join(f"{i}.5\n" for i in range(51)))
    assert found.column("a").values == ()
    assert not found.column("a").id_like


def test_parquet(world):
    path = world.inputs / "t.parquet"
    moments = pa.array([0, 10**9], pa.timestamp("ns", "UTC"))
    pq.write_table(pa.table({"x": [1.0, float("nan")], "u": pa.array([1, 2], pa.uint8()), "t": moments}), path)
    found = profile(path)
    assert [(column.name, column.type) for column in found.columns] == [
        ("x", "number"),
        ("u", "integer"),
        ("t", "timestamp"),
    ]
    assert found.column("x").nulls == 1
    assert found.column("t").maximum == "1970-01-01T00:00:01Z"


def test_bad_files(world):
    with pytest.raises(InputError, match="there is none"):
        profile(world.inputs / "none.csv")
    with pytest.raises(InputError, match="expected 2 fields, got 1"):
        seen(world, "a,b\n1,2\n3\n")


def test_numbers_among_words(world):
    found = seen(world, "a,b,c\n" + "".join(f"{i}.5,{i % 3},x{i}\n" for i in range(30)) + "n/a,none,x\nn/a,2,x\n,1,x\n")
    mixed, codes, text = found.columns
    assert (mixed.numbers, mixed.words) == (30, ("n/a",))
    assert (codes.numbers, codes.words) == (0, ())
    assert (text.numbers, text.words) == (0, ())


@pytest.mark.parametrize(
    ("cells", "form"),
    [
        (["31.12.2026", "01.02.2027"], "%d.%m.%Y"),
        (["12/31/2026", "01/13/2027"], "%m/%d/%Y"),
        (["31-Dec-2026", "01-Feb-2027"], "%d-%b-%Y"),
        (["Dec 31; 2026", "x"], None),
        (["20261231", "20270101"], "%Y%m%d"),
        (["20261331", "20270101"], None),
        (["20261231", "5"], None),
        (["1.5", "2"], None),
    ],
)
def test_dates_in_disguise(world, cells, form):
    assert seen(world, "a\n" + "".join(f"{cell}\n" for cell in cells)).columns[0].date_format == form


@pytest.mark.parametrize(
    ("cells", "form"),
    [
        (["1,234", "12,345.5", "7"], "1,234.5"),
        (["1,5", "2,25", "-3"], "1.234,5"),
        (["1.234,5", "1.000.000", "0,5"], "1.234,5"),
        (["1,234", "0,5"], "1.234,5"),
        (["1,234", "x", "y"], None),
        (["1.5", "2"], None),
        (["a", "b"], None),
    ],
)
def test_numbers_in_disguise(world, cells, form):
    found = seen(world, "a;b\n" + "".join(f"{cell};1\n" for cell in cells)).columns[0]
    assert (found.number_format, found.words) == (form, ())


def test_dates_as_text_of_a_parquet_file(world):
    path = world.inputs / "t.parquet"
    pq.write_table(pa.table({"d": ["2027-01-31", None, "2027-02-01"]}), path)
    assert profile(path).columns[0].date_format == "%Y-%m-%d"


def test_what_tells_the_target_and_what_comes_later(world):
    rows = "".join(
        f"2027-01-{1 + i % 28:02},2027-02-{1 + i % 28:02},{i % 2},{i % 2 * 5 + i % 5},{i % 7}\n" for i in range(200)
    )
    found = profile(world.inputs / world.file("made,closed,y,leak,x\n" + rows), "y", "made")
    assert [column.leaks for column in found.columns] == [False, False, False, True, False]
    assert found.column("leak").tells == 1
    assert found.column("y").tells is None
    assert found.column("closed").after_time == 1
    assert found.column("made").after_time is None
    assert profile(world.inputs / "t.csv").column("leak").tells is None

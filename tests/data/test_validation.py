"""The data gate passes, blocks and says why; the quarantine holds what was set aside."""

import pytest

from kubeloop.data.tables import read_facts, read_frame, write_table
from kubeloop.errors import InputError


def judged(world, csv, columns, at_most=0.05, **more):
    world.file(csv)
    data = world.data(columns, **more)
    world.ingest(data)
    return world.validate(data, at_most=at_most)


def table_of(values, name="x"):
    return f"{name},y\n" + "".join(f"{value},{i % 2}\n" for i, value in enumerate(values))


def test_pass(world):
    decision, facts = judged(world, table_of([1, 2, 3, 4]), {"x": {"type": "number", "minimum": 1}, "y": "integer"})
    assert decision.verdict == "pass"
    assert decision.gate == "data"
    assert (facts["rows"], facts["valid"], facts["quarantined"]) == (4, 4, 0)
    assert all(rule["broken"] == 0 for rule in facts["rules"])
    assert read_facts(world.out / "valid").digest == read_facts(world.out / "table").digest
    assert read_facts(world.out / "quarantine").rows == 0


RULES = [
    ("minimum", {"type": "number", "minimum": 2}, "1", "x >= 2: got 1.0"),
    ("maximum", {"type": "integer", "maximum": 220.5}, "221", "x <= 220.5: got 221"),
    ("values", {"type": "category", "values": ("a'b", 2)}, "zz", "x in {a'b, 2}: got zz"),
    ("values", {"type": "integer", "values": (2, 3)}, "5", "x in {2, 3}: got 5"),
    ("values", {"type": "boolean", "values": (True,)}, "false", "x in {true}: got false"),
    ("nullable", {"type": "number", "nullable": False}, "", "x has a value"),
    ("type", {"type": "integer"}, "abc", "x is an integer: got abc"),
    ("type", {"type": "date", "nullable": False}, "abc", "x is a date: got abc"),
]
GOOD = {"number": "2", "integer": "2", "category": "a'b", "boolean": "true", "date": "2020-01-01"}


@pytest.mark.parametrize(("kind", "column", "cell", "reason"), RULES)
def test_rule_blocks_and_quarantines(world, kind, column, cell, reason):
    good = GOOD[column["type"]]
    decision, facts = judged(world, table_of([good, good, cell, good, good]), {"x": column, "y": "integer"})
    assert decision.verdict == "fail"
    assert any(check.name == f"rule:x:{kind}" and check.verdict == "fail" for check in decision.checks)
    assert "1 of 5 rows (20%) breaks" in decision.reasons[0]
    assert "at most 5% may" in decision.reasons[0]
    broken = [rule for rule in facts["rules"] if rule["broken"]]
    assert [(rule["column"], rule["broken"], rule["share"], rule["examples"]) for rule in broken] == [
        ("x", 1, 0.2, [3])
    ]
    aside = read_frame(world.out / "quarantine")
    assert aside["_reasons"].tolist() == [reason]
    assert aside["_row"].tolist() == [3]
    assert list(read_frame(world.out / "valid").columns) == ["x", "y"]
    assert len(read_frame(world.out / "valid")) == 4


@pytest.mark.parametrize(("kind", "column", "cell", "reason"), RULES)
def test_rule_passes(world, kind, column, cell, reason):
    decision, facts = judged(world, table_of([GOOD[column["type"]]] * 5), {"x": column, "y": "integer"})
    assert decision.verdict == "pass"
    assert facts["quarantined"] == 0


def test_a_row_with_several_reasons_is_counted_once(world):
    columns = {"x": {"type": "number", "minimum": 2}, "z": {"type": "integer", "nullable": False}, "y": "integer"}
    decision, facts = judged(world, "x,z,y\n1,,0\n2,2,1\n3,3,0\n4,4,1\n5,5,0\n", columns, at_most=0.2)
    assert decision.verdict == "pass"
    assert facts["quarantined"] == 1
    assert read_frame(world.out / "quarantine")["_reasons"].tolist() == ["x >= 2: got 1.0; z has a value"]


@pytest.mark.parametrize(("bad", "verdict"), [(5, "pass"), (6, "fail")])
def test_the_share_is_exact(world, bad, verdict):
    values = [0] * bad + [1] * (100 - bad)
    decision, _ = judged(world, table_of(values), {"x": {"type": "number", "minimum": 1}, "y": "integer"})
    assert decision.verdict == verdict


def test_exact_where_floats_are_not(world):
    values = [0] * 21 + [1] * 279
    columns = {"x": {"type": "number", "minimum": 1}, "y": "integer"}
    decision, _ = judged(world, table_of(values), columns, at_most=0.07)
    assert 0.07 * 300 != 21
    assert decision.verdict == "pass"


def test_a_mixed_up_column_is_recognised(world):
    pressure = {"type": "number", "minimum": 94, "maximum": 200}
    columns = {"trestbps": pressure, "chol": {"type": "number"}, "y": "integer"}
    rows = "".join(f"{180 + 5 * i},{180 + 5 * i},{i % 2}\n" for i in range(40))
    decision, _ = judged(world, "trestbps,chol,y\n" + rows, columns)
    assert decision.reasons[0] == (
        "35 of 40 rows (87.5%) break trestbps <= 200; at most 5% may. trestbps runs from 180 to 375, median 277.5;"
        " 94 to 200 is allowed. Its values are those of 'chol' in 100% of the rows: has a column been mixed up?"
    )


def test_values_of_pii_columns_are_not_shown(world):
    column = {"type": "number", "maximum": 3, "policy": "pii"}
    decision, _ = judged(world, table_of([987654, 1, 2, "CANARY", 987654]), {"x": column, "y": "integer"})
    assert decision.verdict == "fail"
    assert "987654" not in decision.model_dump_json()
    aside = read_frame(world.out / "quarantine")
    assert aside["_reasons"].tolist() == ["x <= 3", "x is a number", "x <= 3"]


def test_a_row_without_id_is_set_aside(world):
    decision, facts = judged(
        world, "id,y\na,0\n,1\nb,1\nc,0\nd,1\n", {"id": "text", "y": "integer"}, at_most=0.2, id=("id",)
    )
    assert decision.verdict == "pass"
    assert facts["quarantined"] == 1
    assert read_frame(world.out / "quarantine")["_reasons"].tolist() == ["id has a value"]


def empty(world, rows):
    import pyarrow as pa

    table = pa.table({"x": pa.array([1.0] * rows), "y": pa.array([0] * rows, pa.int64())})
    write_table(table, world.out / "table", {"x": "number", "y": "integer"})
    return world.validate(world.data({"x": "number", "y": "integer"}), at_most=1)


def test_empty_table_is_inconclusive(world):
    decision, facts = empty(world, 0)
    assert decision.verdict == "inconclusive"
    assert decision.reasons == ["the table has no rows: nothing can be said of it"]
    assert (facts["rows"], facts["rules"][0]["share"]) == (0, 0.0)


def test_one_row_is_inconclusive(world):
    assert empty(world, 1)[0].verdict == "inconclusive"


def test_nothing_left_is_inconclusive_even_where_all_may_break(world):
    decision, _ = judged(world, table_of([1, 2, 3]), {"x": {"type": "number", "minimum": 9}, "y": "integer"}, at_most=1)
    assert decision.verdict == "inconclusive"
    assert decision.reasons == ["0 rows are left; nothing can be learnt from fewer than 2"]


def test_target_constant_after_quarantine(world):
    csv = "x,y\n0,1\n" + "5,0\n" * 30
    decision, _ = judged(world, csv, {"x": {"type": "number", "minimum": 1}, "y": "integer"})
    assert decision.verdict == "fail"
    assert "different values of the target 'y': 1; at least 2" in decision.reasons[0]


def test_column_empty_after_quarantine(world):
    csv = "x,z,y\n0,3,1\n" + "5,,0\n5,,1\n" * 15
    decision, _ = judged(world, csv, {"x": {"type": "number", "minimum": 1}, "z": "number", "y": "integer"})
    assert decision.verdict == "fail"
    assert decision.reasons == ["z: no value in any of the 30 rows left"]


def test_a_class_with_a_single_row(world):
    decision, _ = judged(world, "x,y\n1,a\n2,a\n3,b\n4,b\n5,rare\n", {"x": "number", "y": "category"})
    assert decision.verdict == "fail"
    assert decision.reasons == ["a class of the target has a single row (rare); each needs at least 2"]


def test_regression_has_no_classes(world):
    world.file("x,y\n1,1.5\n2,2.5\n3,3.5\n")
    data = world.data({"x": "number", "y": "number"})
    world.ingest(data, task="regression")
    assert world.validate(data, task="regression")[0].verdict == "pass"


def test_names_with_quotes_and_sql(world):
    name = 'it\'s "x"; DROP TABLE t; --'
    csv = '"' + name.replace('"', '""') + '",y\n1,0\nbad,1\n3,0\n9,1\n4,1\n5,1\n'
    decision, facts = judged(world, csv, {name: {"type": "integer", "maximum": 5}, "y": "integer"}, at_most=0.5)
    assert decision.verdict == "pass"
    assert read_frame(world.out / "quarantine")["_reasons"].tolist() == [
        f"{name} is an integer: got bad",
        f"{name} <= 5: got 9",
    ]
    assert facts["quarantined"] == 2


def test_bounds_fit_numbers_only(world):
    with pytest.raises(InputError, match=r"minimum was expected on integer and number columns only, 'x' is a text"):
        judged(world, table_of(["a", "b"]), {"x": {"type": "text", "minimum": 1}, "y": "integer"})
    assert sorted(path.name for path in world.out.iterdir()) == ["table"]


def test_a_column_that_is_not_in_the_table(world):
    empty(world, 3)
    with pytest.raises(InputError, match="the contract's column 'z' was expected in the table"):
        world.validate(world.data({"x": "number", "z": "number", "y": "integer"}))


def test_same_input_same_bytes(world, tmp_path):
    columns = {"x": {"type": "number", "minimum": 1}, "y": "integer"}
    first, facts = judged(world, table_of([0, 1, 2, 3] * 50), columns, at_most=0.3)
    names = ("valid/part-0.parquet", "quarantine/part-0.parquet")
    before = [(world.out / name).read_bytes() for name in names]
    second, again = world.validate(world.data(columns), at_most=0.3)
    assert (first, facts) == (second, again)
    assert [(world.out / name).read_bytes() for name in names] == before

"""Every rule of the contract passes what keeps it, and sets aside what breaks it, with the reason."""

import pytest

from kubeloop.data.tables import read_facts, read_frame
from kubeloop.errors import InputError


def judged(world, csv, columns, at_most=0.5, **more):
    world.file(csv)
    data = world.data(columns, **more)
    world.ingest(data)
    return world.validate(data, at_most=at_most)


def rows_of(*cells, name="x"):
    return f"{name},y\n" + "".join(f"{cell},{place % 2}\n" for place, cell in enumerate(cells))


KEPT_AND_BROKEN = [
    ("pattern", {"type": "text", "pattern": "^[A-Z]{2}$"}, "DE", "de", "x fits ^[A-Z]{2}$: got de"),
    ("pattern", {"type": "category", "pattern": "a'|\"b"}, "a'", "c", "x fits a'|\"b: got c"),
    ("unique", {"type": "integer", "unique": True}, None, 7, "x is unique: got 7"),
    ("unique", {"type": "text", "unique": True, "policy": "pii"}, None, "Ann", "x is unique"),
]


@pytest.mark.parametrize(("kind", "column", "good", "bad", "reason"), KEPT_AND_BROKEN)
def test_rule_blocks(world, kind, column, good, bad, reason):
    others = [good or 100 + place for place in range(6)]
    decision, facts = judged(world, rows_of(*others, bad, bad), {"x": column, "y": "integer"}, at_most=0.05)
    assert decision.verdict == "fail"
    (check,) = (check for check in decision.checks if check.name == f"rule:x:{kind}")
    assert check.verdict == "fail"
    assert check.evidence["broken"] == 2
    assert facts["quarantined"] == 2
    assert read_frame(world.out / "quarantine")["_reasons"].tolist() == [reason, reason]
    (rule,) = (rule for rule in facts["rules"] if rule["broken"])
    assert rule["examples"] == [7, 8]


@pytest.mark.parametrize(("kind", "column", "good", "bad", "reason"), KEPT_AND_BROKEN)
def test_rule_passes(world, kind, column, good, bad, reason):
    cells = [good or 100 + place for place in range(8)]
    decision, facts = judged(world, rows_of(*cells), {"x": column, "y": "integer"}, at_most=0)
    assert decision.verdict == "pass"
    assert facts["quarantined"] == 0


def test_missing_values_are_no_duplicates_and_fit_every_pattern(world):
    columns = {"x": {"type": "text", "unique": True, "pattern": "^a"}, "z": "integer", "y": "integer"}
    decision, _ = judged(world, "x,z,y\n,1,0\n,2,1\na1,3,0\na2,4,1\n", columns, at_most=0)
    assert decision.verdict == "pass"


RULE = {"name": "ends-after-start", "expression": "ended >= started"}


@pytest.mark.parametrize(("ended", "verdict", "aside"), [(2, "pass", 0), (0, "fail", 1), ("", "pass", 0)])
def test_a_rule_over_columns(world, ended, verdict, aside):
    csv = "started,ended,y\n1,2,0\n1,1,1\n1,3,0\n" + f"1,{ended},1\n"
    columns = {"started": "number", "ended": "number", "y": "integer"}
    decision, facts = judged(world, csv, columns, at_most=0.05, rules=(RULE,))
    assert (decision.verdict, facts["quarantined"]) == (verdict, aside)
    if aside:
        assert "1 of 4 rows (25%) breaks ends-after-start: ended >= started" in decision.reasons[0]
        assert decision.checks[0].name == "rule:ends-after-start:expression"
        assert read_frame(world.out / "quarantine")["_reasons"].tolist() == ["ends-after-start: ended >= started"]


def test_a_rule_that_is_no_question(world):
    rule = {"name": "sum", "expression": "x + 'a'"}
    with pytest.raises(InputError, match="an expression cannot be computed on these columns"):
        judged(world, rows_of(1, 2, 3), {"x": "number", "y": "integer"}, rules=(rule,))


def test_a_rule_over_an_unknown_column(world):
    with pytest.raises(InputError, match="'z' is not a known column"):
        judged(world, rows_of(1, 2), {"x": "number", "y": "integer"}, rules=({"name": "r", "expression": "z > 1"},))


def test_rows_without_a_time_are_set_aside_where_the_split_is_by_time(world):
    from kubeloop.contract.sections import ValidateSection
    from kubeloop.contract.splitting import Split
    from kubeloop.data.validation import validate

    world.file("t,y\n2027-01-01,0\n,1\n2027-01-02,0\n2027-01-03,1\n2027-01-03,0\n2027-01-03,1\n")
    data = world.data({"t": "date", "y": "integer"}, time="t")
    world.ingest(data)
    section = ValidateSection(
        name="demo", data=data, target=world.target("y", "binary"), quarantine_at_most=0.5, split=Split(by="time")
    )
    _, facts = validate(section, world.out / "table", world.out / "valid", world.out / "quarantine")
    assert facts["quarantined"] == 1
    assert read_frame(world.out / "quarantine")["_reasons"].tolist() == ["t has a value"]


def test_a_table_that_keeps_all_rules_is_the_same_file(world):
    judged(world, rows_of(1, 2, 3, 4), {"x": {"type": "integer", "unique": True, "minimum": 0}, "y": "integer"})
    names = ("part-0.parquet", "table.json")
    assert [(world.out / "valid" / name).read_bytes() for name in names] == [
        (world.out / "table" / name).read_bytes() for name in names
    ]


def test_rows_of_the_quarantine_have_a_digest_that_stays(world):
    columns = {"x": {"type": "number", "maximum": 5}, "y": "integer"}
    judged(world, rows_of(1, 9, 3, "bad"), columns)
    before = read_frame(world.out / "quarantine")["_digest"].tolist()
    judged(world, rows_of(1, 2, 3, 4, "bad", 9), columns)
    after = read_frame(world.out / "quarantine")
    assert len(set(before)) == 2
    assert all(len(each) == 64 for each in before)
    # 9 stands with y=1 in both tables, "bad" with y=1 first and with y=0 then.
    assert dict(zip(after["_row"], after["_digest"], strict=True))[6] == before[0]
    assert read_facts(world.out / "quarantine").types["x"] == "number"

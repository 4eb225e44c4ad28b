"""Personal values stay at the source: rules bite there, equal ones are known by pseudonyms, a person mends them."""

import csv
import datetime as dt
import stat

import pyarrow.parquet as pq
import pytest

from kubeloop.contract.sections import IngestSection, SplitSection, ValidateSection
from kubeloop.contract.splitting import Split
from kubeloop.data.mended import export_rows, keep_mended, read_mended
from kubeloop.data.personal import KEY, site_key
from kubeloop.data.splitting import split
from kubeloop.data.tables import read_facts, read_frame
from kubeloop.data.training_rows import training_rows
from kubeloop.data.validation import judge
from kubeloop.errors import InputError, IntegrityError
from kubeloop.site import laptop
from kubeloop.site.model import Site

COLUMNS = {
    "who": {"type": "text", "policy": "pii", "pattern": "^Can"},
    "born": {"type": "date", "policy": "pii"},
    "pay": {"type": "number", "policy": "pii", "minimum": 10, "null_at_most": 0.5},
    "x": "number",
    "y": "integer",
}
ROWS = ["Canary1,1980-01-01,100,1,0", "Canary2,1980-01-02,200,2,1", "Canary1,1980-01-01,,3,0", "Canary4,,400,4,1"]
BAD = ["Wrong5,1980-01-05,500,5,0", "Canary6,never,600,6,1", "Canary7,1980-01-07,7,7,0"]
CANARIES = ("anary", "rong", "1980-01", "400.0", "600.0")
RULES = ({"name": "paid", "expression": "pay > x"},)


def prepared(world, rows, columns=COLUMNS, **roles):
    world.file("\n".join(["who,born,pay,x,y", *rows]) + "\n")
    data = world.data(columns, rules=RULES, **roles)
    return world.ingest(data), data


def home(world):
    return laptop(world.out / "home", world.inputs)


def judged(world, data, at_most=0.5):
    section = ValidateSection(name="demo", data=data, target=world.target("y", "binary"), quarantine_at_most=at_most)
    places = (world.out / "table", world.out / "valid", world.out / "quarantine")
    return section, *judge(section, *places, home(world), dt.datetime(2027, 1, 1, tzinfo=dt.UTC))


def no_canary(folder):
    for path in folder.rglob("*.parquet"):
        text = str(pq.read_table(path).to_pydict())
        assert not [word for word in CANARIES if word in text], path


def test_values_are_in_no_table_and_the_rules_bite(world):
    facts, data = prepared(world, ROWS + BAD, id=("who",))
    _, decision, found = judged(world, data)
    no_canary(world.out)
    assert decision.verdict == "pass", decision.reasons
    assert (found["valid"], found["quarantined"]) == (4, 3)
    assert read_frame(world.out / "quarantine")["_reasons"].tolist() == [
        "who fits ^Can",
        "born is a date",
        "pay >= 10; paid: pay > x",
    ]
    broken = {rule["rule"]: rule["examples"] for rule in found["rules"] if rule["broken"]}
    assert broken["paid: pay > x"] == [7]
    valid = read_frame(world.out / "valid")
    assert list(valid.columns) == list(COLUMNS)
    assert valid["pay"].tolist() == ["(personal)", "(personal)", None, "(personal)"]
    assert valid["born"].tolist() == ["(personal)", "(personal)", "(personal)", None]
    assert facts["profile"]["pay"] == {"nulls": 1}
    _, decision, _ = judged(world, data, at_most=0.1)
    assert decision.verdict == "fail"
    assert any("break who fits ^Can" in reason or "breaks who fits ^Can" in reason for reason in decision.reasons)


def test_equal_values_have_equal_pseudonyms_under_one_key_alone(world):
    facts, _ = prepared(world, ROWS, id=("who",))
    names = read_frame(world.out / "table")["who"].tolist()
    assert names[0] == names[2]
    assert len(set(names)) == 3
    assert all(len(name) == 32 for name in names)
    again, _ = prepared(world, ROWS, id=("who",))
    assert again["digest"] == facts["digest"]
    (world.out / "home" / "secrets" / KEY).unlink()
    other, _ = prepared(world, ROWS, id=("who",))
    assert other["digest"] != facts["digest"]
    assert not set(names) & set(read_frame(world.out / "table")["who"])
    kinds = [{column["name"]: column["type"] for column in each["columns"]}["who"] for each in (facts, other)]
    assert kinds[0] != kinds[1]
    assert all(kind.startswith("pseudonym-") for kind in kinds)


@pytest.mark.parametrize("roles", [{"group": "who"}, {"site": "who"}])
def test_roles_have_pseudonyms(world, roles):
    prepared(world, ROWS, **roles)
    assert read_facts(world.out / "table").types["who"].startswith("pseudonym-")


def test_unique_values_are_told_by_their_pseudonyms(world):
    columns = COLUMNS | {"who": {"type": "text", "policy": "pii", "unique": True}}
    _, data = prepared(world, ROWS, columns)
    _, _, found = judged(world, data)
    assert [rule["examples"] for rule in found["rules"] if rule["rule"] == "who is unique"] == [[1, 3]]


def test_missing_values_are_counted_without_their_neighbours(world):
    columns = COLUMNS | {"pay": {"type": "number", "policy": "pii", "null_at_most": 0.2}}
    _, data = prepared(world, ROWS, columns)
    _, decision, _ = judged(world, data)
    assert "pay is missing in 25% of the rows; at most 20% may lack it" in decision.reasons


def test_the_key_is_made_once_and_kept_closed(tmp_path):
    site = laptop(tmp_path / "home")
    key = site_key(site)
    own = tmp_path / "home" / "secrets" / KEY
    assert (len(key), stat.S_IMODE(own.stat().st_mode)) == (64, 0o600)
    assert site_key(site) == key
    assert [path.name for path in own.parent.iterdir()] == [KEY]
    own.write_text("short")
    with pytest.raises(InputError, match="pseudonym-key was expected to have at least 32 characters, it has 5"):
        site_key(site)
    nowhere = Site(store="memory://s", sql="sqlite://", tracking="sqlite://")
    with pytest.raises(InputError, match="the secret pseudonym-key is in none of"):
        site_key(nowhere)


def mend(file, change):
    with file.open(encoding="utf-8", newline="") as stream:
        rows = [change(row) for row in csv.DictReader(stream)]
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def exported(world, data):
    file = world.inputs / "mended.csv"
    section = IngestSection(name="demo", data=data, target=world.target("y", "binary"))
    assert export_rows(world.out / "quarantine", file, section, home(world)) == 3
    return file


def test_what_personal_cells_hold_is_exported_from_the_source_and_mended(world):
    _, data = prepared(world, ROWS + BAD, id=("who",))
    section, _, _ = judged(world, data)
    file = exported(world, data)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["who"], row["pay"]) for row in rows] == [("Wrong5", "500.0"), ("Canary6", "600.0"), ("Canary7", "7.0")]
    # One is mended, one stays as it is, one is mended in what did not fit its type.
    changes = {"Wrong5": {"who": "Canary5"}, "Canary6": {"born": "1980-01-06"}, "Canary7": {}}
    mend(file, lambda row: row | changes[row["who"]])
    assert keep_mended(home(world), "demo", read_mended(section, file, home(world))) == 3
    _, _, found = judged(world, data)
    assert (found["valid"], found["quarantined"], found["mended"]) == (6, 1, 2)
    no_canary(world.out)
    kinds = read_facts(world.out / "table").types
    assert read_facts(world.out / "valid").types == {name: kinds[name] for name in kinds if name[0] != "_"}


def test_rows_that_differ_in_hidden_cells_alone_are_exported_apart(world):
    columns = {name: column for name, column in COLUMNS.items() if name != "born"}
    wrong = [f"Wrong{place},1980-01-05,{place}00,5,0" for place in (5, 6, 7)]
    _, data = prepared(world, ROWS + wrong, columns)
    judged(world, data)
    with exported(world, data).open(encoding="utf-8", newline="") as stream:
        assert [(row["_row"], row["who"]) for row in csv.DictReader(stream)] == [
            ("5", "Wrong5"),
            ("6", "Wrong6"),
            ("7", "Wrong7"),
        ]


def test_rows_that_have_left_the_source_cannot_be_exported(world):
    _, data = prepared(world, ROWS + BAD, id=("who",))
    judged(world, data)
    prepared(world, [*ROWS, BAD[0]], id=("who",))
    with pytest.raises(IntegrityError, match="2 of 3 rows of the quarantine are not in the sources any more"):
        exported(world, data)
    with pytest.raises(InputError, match="what a run was asked to do was expected, to read personal columns again"):
        export_rows(world.out / "quarantine", world.inputs / "m.csv")


def test_training_rows_name_the_key_of_their_pseudonyms(world):
    facts, data = prepared(world, [f"Canary{row},1980-01-01,{row + 100},1,{row % 2}" for row in range(40)], id=("who",))
    section = SplitSection(name="demo", id=data.id, target=world.target("y", "binary"), split=Split(folds=2), seed=0)
    split(section, world.out / "table", world.out / "development", world.out / "test")
    kinds = {column["name"]: column["type"] for column in facts["columns"]}
    assert training_rows(world.out / "development")["masked"] == {"who": kinds["who"]}
    assert read_facts(world.out / "test").types["who"] == kinds["who"]

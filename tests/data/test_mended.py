"""Rows of the quarantine are exported, mended, and come back in the place of what they were."""

import csv

import pytest

from kubeloop.contract.sections import ValidateSection
from kubeloop.data.mended import export_rows, keep_mended, mended_rows, read_mended
from kubeloop.data.tables import read_frame
from kubeloop.data.validation import judge
from kubeloop.errors import InputError
from kubeloop.site import laptop

COLUMNS = {"who": {"type": "text", "unique": True}, "x": {"type": "number", "maximum": 5}, "y": "integer"}
TABLE = "who,x,y\n" + "".join(f"p{i},{i % 5},{i % 2}\n" for i in range(20)) + "q1,9,1\nq2,bad,0\nq3,7,1\n"


def prepared(world, **more):
    world.file(TABLE)
    data = world.data(COLUMNS, **more)
    world.ingest(data)
    return ValidateSection(name="demo", data=data, target=world.target("y", "binary"), quarantine_at_most=0.1)


def home(world):
    return laptop(world.out / "home", world.inputs)


def run(world, section):
    import datetime as dt

    places = (world.out / "table", world.out / "valid", world.out / "quarantine")
    return judge(section, *places, home(world), dt.datetime(2027, 1, 1, tzinfo=dt.UTC))


def mend(world, change):
    """Export the quarantine, change its rows by `change`, and read it back."""
    file = world.inputs / "mended.csv"
    export_rows(world.out / "quarantine", file)
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = list(rows[0])
    rows = [row for row in (change(row) for row in rows) if row is not None]
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(rows)
    return file


def to_three(row):
    return row | {"x": "3"}


def test_mended_rows_come_back(world):
    section = prepared(world)
    decision, facts = run(world, section)
    assert (decision.verdict, facts["quarantined"], facts["mended"]) == ("fail", 3, 0)
    site = home(world)
    assert mended_rows(site, "demo") is None
    assert keep_mended(site, "demo", read_mended(section, mend(world, to_three), home(world))) == 3
    decision, facts = run(world, section)
    assert decision.verdict == "pass", decision.reasons
    assert (facts["valid"], facts["quarantined"], facts["mended"]) == (23, 0, 3)
    valid = read_frame(world.out / "valid")
    assert valid["who"].tolist()[-3:] == ["q1", "q2", "q3"]
    assert valid["x"].tolist()[-3:] == [3.0, 3.0, 3.0]
    assert all(rule["broken"] == 0 for rule in facts["rules"])
    assert len(read_frame(world.out / "quarantine")) == 0


def test_what_is_still_wrong_stays_away(world):
    section = prepared(world)
    run(world, section)
    site = home(world)
    changes = {"q1": {"x": "8"}, "q2": {"x": "2", "who": "p1"}, "q3": {"x": "1"}}
    keep_mended(site, "demo", read_mended(section, mend(world, lambda row: row | changes[row["who"]]), home(world)))
    _, facts = run(world, section)
    assert (facts["quarantined"], facts["mended"]) == (2, 1)
    assert read_frame(world.out / "quarantine")["who"].tolist() == ["q1", "q2"]
    # Mended again, the newer word counts.
    keep_mended(site, "demo", read_mended(section, mend(world, to_three), home(world)))
    assert run(world, section)[1]["mended"] == 3


def test_a_row_that_has_changed_at_its_source_is_another_row(world):
    section = prepared(world)
    run(world, section)
    site = home(world)
    keep_mended(site, "demo", read_mended(section, mend(world, to_three), home(world)))
    world.file(TABLE.replace("q1,9,1", "q1,8,1"))
    world.ingest(section.data)
    _, facts = run(world, section)
    assert (facts["quarantined"], facts["mended"]) == (1, 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row | {"x": "three"}, "mended.csv: 3 cells of 'x' do not fit its type"),
        (lambda row: row | {"_digest": "1"}, "`_digest` was expected to be kept as it was"),
        (lambda row: row | {"_digest": "0" * 64}, "rows with one `_digest` were expected to be mended alike"),
    ],
)
def test_files_that_cannot_be_replayed(world, change, said):
    section = prepared(world)
    run(world, section)
    with pytest.raises(InputError, match=said):
        read_mended(section, mend(world, change), home(world))


def test_a_file_without_a_column(world):
    section = prepared(world)
    world.file("who,y,_digest\na,1,x\n", "m.csv")
    with pytest.raises(InputError, match=r"m.csv: the column 'x' was expected, there is none"):
        read_mended(section, world.inputs / "m.csv", home(world))

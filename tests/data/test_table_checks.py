"""What a table must be as a whole: every check passes, blocks, and says when it cannot tell."""

import datetime as dt
from typing import Any

import pytest

from kubeloop.contract.sections import ValidateSection
from kubeloop.data.history import LastSnapshot, last_snapshot
from kubeloop.data.validation import judge, validate
from kubeloop.site import laptop

NOW = dt.datetime(2027, 1, 10, 12, tzinfo=dt.UTC)


def section_of(world, data, expires=None):
    return ValidateSection(
        name="demo", data=data, target=world.target("y", "binary"), quarantine_at_most=0.5, expires=expires or {}
    )


def judged(world, csv, columns, moment=NOW, last=None, expires=None, **more):
    world.file(csv)
    data = world.data(columns, **more)
    world.ingest(data)
    places = (world.out / "table", world.out / "valid", world.out / "quarantine")
    return validate(section_of(world, data, expires), *places, moment, last)


def the(decision, name):
    (found,) = (check for check in decision.checks if check.name == name)
    return found


def table(rows=20, x="{}"):
    return "x,y\n" + "".join(f"{x.format(place)},{place % 2}\n" for place in range(rows))


@pytest.mark.parametrize(
    ("bounds", "verdict", "said"),
    [
        ({"at_least": 20}, "pass", "the snapshot has 20 rows; at least 20 must be there"),
        ({"at_least": 21}, "fail", "the snapshot has 20 rows; at least 21 must be there"),
        ({"at_most": 19}, "fail", "at most 19 must be there"),
        ({"at_least": 1, "at_most": 20}, "pass", "at least 1 and at most 20 must be there"),
    ],
)
def test_row_count(world, bounds, verdict, said):
    decision, _ = judged(world, table(), {"x": "number", "y": "integer"}, checks={"rows": bounds})
    check = the(decision, "row_count")
    assert (check.verdict, decision.verdict) == (verdict, verdict)
    assert said in check.reason


@pytest.mark.parametrize(("at_most", "verdict"), [(0.1, "pass"), (0.09, "fail"), (0.0, "fail")])
def test_null_rate(world, at_most, verdict):
    csv = "x,y\n" + "".join(f"{'' if place < 2 else place},{place % 2}\n" for place in range(20))
    decision, facts = judged(world, csv, {"x": {"type": "number", "null_at_most": at_most}, "y": "integer"})
    assert the(decision, "null_rate:x").verdict == verdict
    assert decision.verdict == verdict
    assert facts["quarantined"] == 0
    assert "x is missing in 10% of the rows" in the(decision, "null_rate:x").reason


def dated(*days):
    return "t,x,y\n" + "".join(f"{day},{place},{place % 2}\n" for place, day in enumerate(days))


TIMED = {"t": "timestamp", "x": "number", "y": "integer"}


@pytest.mark.parametrize(
    ("newest", "moment", "verdict", "said"),
    [
        ("2027-01-09T12:00:00Z", NOW, "pass", "24.0 hours before the run; at most 7d may pass"),
        ("2027-01-03T12:00:00Z", NOW, "pass", "7.0 days before"),
        ("2027-01-03T11:59:59Z", NOW, "fail", "7.0 days before the run; at most 7d may pass"),
        ("2027-02-01T00:00:00Z", NOW, "fail", "21.5 days after the run began"),
        ("2027-01-09T12:00:00Z", None, "inconclusive", "the moment of the run is not known"),
    ],
)
def test_freshness(world, newest, moment, verdict, said):
    csv = dated("2026-12-01", "2026-12-02", newest, "2026-12-03")
    decision, _ = judged(world, csv, TIMED, moment, time="t", checks={"fresh_within": "7d"})
    assert the(decision, "fresh").verdict == verdict
    assert decision.verdict == verdict
    assert said in the(decision, "fresh").reason


def test_freshness_without_a_single_time(world):
    decision, _ = judged(world, dated("", "", "x", ""), TIMED, time="t", checks={"fresh_within": "7d"})
    assert the(decision, "fresh").verdict == "inconclusive"
    assert "no row has a time" in the(decision, "fresh").reason


@pytest.mark.parametrize(("share", "verdict"), [(0.1, "pass"), (0.11, "fail")])
def test_class_share(world, share, verdict):
    csv = "x,y\n" + "".join(f"{place},{int(place < 2)}\n" for place in range(20))
    decision, _ = judged(world, csv, {"x": "number", "y": "integer"}, checks={"class_share_at_least": share})
    assert the(decision, "class_share").verdict == verdict
    assert "the smallest class of the target 'y' (1) makes up 10% of the rows" in the(decision, "class_share").reason


@pytest.mark.parametrize(
    ("column", "share", "verdict", "said"),
    [
        ({"type": "category"}, 0.1, "pass", "(f) makes up 10%"),
        ({"type": "category"}, 0.2, "fail", "(f) makes up 10%"),
        ({"type": "category", "values": ("m", "f", "d")}, 0.01, "fail", "(d) makes up 0%"),
        ({"type": "category", "policy": "audit_only"}, 0.2, "fail", "the smallest group of 'g' makes up 10%"),
    ],
)
def test_group_share(world, column, share, verdict, said):
    csv = "g,x,y\n" + "".join(f"{'f' if place < 2 else 'm'},{place},{place % 2}\n" for place in range(20))
    checks = {"group_share_at_least": {"column": "g", "share": share}}
    decision, _ = judged(world, csv, {"g": column, "x": "number", "y": "integer"}, checks=checks)
    assert the(decision, "group_share").verdict == verdict
    assert said in the(decision, "group_share").reason


@pytest.mark.parametrize(
    ("day", "moment", "verdict", "said"),
    [
        ("2027-01-10", NOW, "pass", "the terms of s0 allow its use until 2027-01-10"),
        ("2027-01-09", NOW, "fail", "the terms of s0 ended on 2027-01-09: it may not be used any more"),
        ("2027-01-10", None, "inconclusive", "the moment of the run is not known"),
    ],
)
def test_terms_of_use(world, day, moment, verdict, said):
    decision, _ = judged(
        world, table(), {"x": "number", "y": "integer"}, moment, expires={"s0": dt.date.fromisoformat(day)}
    )
    assert (the(decision, "terms:s0").verdict, decision.verdict) == (verdict, verdict)
    assert said in the(decision, "terms:s0").reason


BEFORE: dict[str, Any] = {
    "rows": 20,
    "columns": {"x": {"null_rate": 0.0, "mean": 9.5, "deviation": 5.766}, "y": {"null_rate": 0.0, "mean": 0.5}},
}
BEFORE["columns"]["y"]["deviation"] = 0.5
KNOWN = LastSnapshot("known", "sha256-00", BEFORE)


@pytest.mark.parametrize(
    ("change", "rows", "x", "name", "verdict", "said"),
    [
        ({"rows_at_most": 0.5}, 30, "{}", "change:rows", "pass", "a change by 50%"),
        ({"rows_at_most": 0.5}, 31, "{}", "change:rows", "fail", "had 20 rows, this one has 31"),
        ({"rows_at_most": 0.5}, 8, "{}", "change:rows", "fail", "a change by 60%; at most 50%"),
        ({"mean_at_most": 3}, 20, "2{}", "change:mean", "fail", "has changed of x by "),
        ({"mean_at_most": 3}, 20, "{}", "change:mean", "pass", "of 2 columns has changed by at most"),
    ],
)
def test_change(world, change, rows, x, name, verdict, said):
    checks = {"change": change}
    decision, _ = judged(world, table(rows, x), {"x": "number", "y": "integer"}, last=KNOWN, checks=checks)
    assert (the(decision, name).verdict, decision.verdict) == (verdict, verdict)
    assert said in the(decision, name).reason


@pytest.mark.parametrize(("limit", "verdict"), [(0.1, "pass"), (0.09, "fail")])
def test_change_of_the_null_rate(world, limit, verdict):
    csv = "x,y\n" + "".join(f"{'' if place < 2 else place},{place % 2}\n" for place in range(20))
    checks = {"change": {"null_rate_at_most": limit}}
    decision, _ = judged(world, csv, {"x": "number", "y": "integer"}, last=KNOWN, checks=checks)
    assert the(decision, "change:null_rate").verdict == verdict


def test_a_constant_that_moves_is_far(world):
    before = {"rows": 20, "columns": {"x": {"null_rate": 0.0, "mean": 1.0, "deviation": 0.0}}}
    last = LastSnapshot("known", "sha256-00", before)
    checks = {"change": {"mean_at_most": 3}}
    decision, _ = judged(world, table(), {"x": "number", "y": "integer"}, last=last, checks=checks)
    assert the(decision, "change:mean").verdict == "fail"


@pytest.mark.parametrize("last", [None, LastSnapshot("unavailable", detail="ConnectionError")])
def test_a_baseline_that_does_not_answer_blocks(world, last):
    checks = {"change": {"rows_at_most": 0.5}}
    decision, _ = judged(world, table(), {"x": "number", "y": "integer"}, last=last, checks=checks)
    assert decision.verdict == "inconclusive"
    assert the(decision, "change").evidence == {"baseline": "unavailable"}
    assert "the last snapshot of demo cannot be read" in decision.reasons[0]


def run(world, csv, change):
    world.file(csv)
    data = world.data({"x": "number", "y": "integer"}, checks={"change": change})
    world.ingest(data)
    places = (world.out / "table", world.out / "valid", world.out / "quarantine")
    return judge(section_of(world, data), *places, laptop(world.out / "home", world.inputs), NOW)


def test_the_first_snapshot_is_said_to_be_the_first_and_becomes_the_next_one_s_measure(world):
    decision, _ = run(world, table(), {"rows_at_most": 0.5})
    assert decision.verdict == "pass"
    assert the(decision, "change").evidence == {"baseline": "none_yet"}
    assert "no snapshot of demo has passed yet" in the(decision, "change").reason
    decision, facts = run(world, table(25), {"rows_at_most": 0.5})
    assert decision.verdict == "pass"
    assert the(decision, "change:rows").evidence["before"] == 20
    site = laptop(world.out / "home", world.inputs)
    assert last_snapshot(site, "demo").digest == facts["snapshot"]
    decision, _ = run(world, table(100), {"rows_at_most": 0.5})
    assert decision.verdict == "fail"
    # What did not pass is no measure for what comes.
    assert last_snapshot(site, "demo").digest == facts["snapshot"]


def test_a_store_that_cannot_be_read_is_unavailable(world):
    place = world.out / "home" / "store" / "snapshots" / "default" / "demo.json"
    place.parent.mkdir(parents=True)
    place.write_text("{half", encoding="utf-8")
    decision, _ = run(world, table(), {"rows_at_most": 0.5})
    assert decision.verdict == "inconclusive"


def test_profiles_hold_no_means_of_personal_columns(world):
    columns = {"x": {"type": "number", "policy": "pii"}, "y": "integer"}
    last = LastSnapshot("none_yet")
    _, facts = judged(world, table(), columns, last=last, checks={"change": {"mean_at_most": 3}})
    assert set(facts["profile"]["columns"]["x"]) == {"null_rate"}
    assert set(facts["profile"]["columns"]["y"]) == {"null_rate", "mean", "deviation"}

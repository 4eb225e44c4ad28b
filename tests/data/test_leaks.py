"""What would let a model look at the answer is refused by the data gate; what would not, passes."""

import datetime as dt
import math
import random

import numpy as np
import pyarrow as pa
import pytest

from kubeloop.contract.features import Features
from kubeloop.contract.sections import ValidateSection
from kubeloop.contract.splitting import Split
from kubeloop.data.giveaway import giveaway
from kubeloop.data.leaks import features_of
from kubeloop.data.validation import validate


def judged(world, csv, columns, split=None, features=None, paths=("t.csv",), **more):
    if csv is not None:
        world.file(csv)
    data = world.data(columns, paths=paths, **more)
    world.ingest(data)
    section = ValidateSection(
        name="demo",
        data=data,
        target=world.target("y", "binary"),
        quarantine_at_most=0.05,
        split=split or Split(),
        features=features or Features(),
    )
    return validate(section, world.out / "table", world.out / "valid", world.out / "quarantine")[0]


def the(decision, name):
    (found,) = (check for check in decision.checks if check.name == name)
    return found


def table(rows=300, wrong=0.0, seed=0):
    """`late` is a number that tells y, but for a share `wrong` of the rows; `x` helps a little."""
    pick = random.Random(seed)
    lines = []
    for _ in range(rows):
        y = pick.randrange(2)
        told = 1 - y if pick.random() < wrong else y
        lines.append(f"{pick.gauss(y, 1):.3f},{told * 10 + pick.random() * 9:.3f},{y}")
    return "x,late,y\n" + "\n".join(lines) + "\n"


COLUMNS = {"x": "number", "late": "number", "y": "integer"}


@pytest.mark.parametrize("wrong", [0.0, 0.005])
def test_a_column_that_gives_the_target_away_blocks(world, wrong):
    decision = judged(world, table(wrong=wrong), COLUMNS)
    check = the(decision, "leak:target")
    assert (check.verdict, decision.verdict) == ("fail", "fail")
    assert check.reason.startswith("late (score ")
    assert "write `known_at: after`, else name it in features.drop" in check.reason
    assert list(check.evidence["scores"]) == ["late"]


@pytest.mark.parametrize(
    "way_out",
    [
        {"columns": COLUMNS | {"late": {"type": "number", "known_at": "after"}}},
        {"features": Features(drop=("late",))},
        {"features": Features(use=("x",))},
        {"columns": COLUMNS | {"late": {"type": "number", "policy": "audit_only"}}},
        {"group": "late"},
    ],
)
def test_a_column_that_is_no_feature_gives_nothing_away(world, way_out):
    decision = judged(world, table(), way_out.pop("columns", COLUMNS), **way_out)
    assert decision.verdict == "pass"
    assert "the best is x" in the(decision, "leak:target").reason


def test_a_strong_column_passes(world):
    decision = judged(world, table(wrong=0.1), COLUMNS)
    assert decision.verdict == "pass"
    assert the(decision, "leak:target").evidence["scores"]["late"] > 0.6


def test_too_few_rows_to_tell_is_said(world):
    decision = judged(world, table(40), COLUMNS)
    assert decision.verdict == "pass"
    assert the(decision, "leak:target").reason.startswith("not looked at whether a feature gives the target away")


def test_a_feature_that_is_known_too_late_blocks(world):
    columns = COLUMNS | {"late": {"type": "number", "known_at": "after"}}
    decision = judged(world, table(wrong=0.3), columns, features=Features(use=("x", "late")))
    check = the(decision, "leak:known_after")
    assert (check.verdict, decision.verdict) == ("fail", "fail")
    assert check.reason.startswith("late: known only after the decision")
    decision = judged(world, table(wrong=0.3), columns, features=Features(use=("x",), drop=("late",)))
    assert the(decision, "leak:known_after").verdict == "pass"


def hourly(world, rows=400, per_hour=8):
    """Rows of a few per hour, and the weather of each hour."""
    pick = random.Random(0)
    start = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    hours = [start + dt.timedelta(hours=hour) for hour in range(rows // per_hour)]
    world.file(
        "at,t,y\n"
        + "".join(
            f"A,{(hours[i // per_hour] + dt.timedelta(minutes=5 * (i % per_hour))).isoformat()},{pick.randrange(2)}\n"
            for i in range(rows)
        )
    )
    world.file("at,when,temp\n" + "".join(f"A,{hour.isoformat()},{pick.gauss(0, 9):.2f}\n" for hour in hours), "w.csv")
    return {
        "columns": {"at": "category", "t": "timestamp", "temp": "number", "y": "integer"},
        "paths": ("t.csv", "w.csv"),
        "joins": ({"source": "s1", "on": ("at",), "as_of": "when"},),
        "time": "t",
    }


@pytest.mark.parametrize(
    ("split", "verdict"),
    [
        (Split(), "fail"),
        (Split(by="stratified"), "fail"),
        (Split(by="group", column="at"), "pass"),
        (Split(by="group", column="t", unit="day"), "pass"),
        (Split(by="group", column="t", unit="row"), "fail"),
    ],
)
def test_a_random_split_of_rows_that_share_an_hour_is_refused(world, split, verdict):
    parts = hourly(world)
    for join in parts["joins"]:
        join["as_of"] = "t"
    world.file((world.inputs / "w.csv").read_text().replace("when", "t"), "w.csv")
    decision = judged(world, None, parts.pop("columns"), split, **parts)
    check = the(decision, "leak:shared:s1")
    assert (check.verdict, decision.verdict) == (verdict, verdict)
    if verdict == "fail":
        assert check.evidence["share"] == 1.0
        assert "share their hour of s1 (same at and hour)" in check.reason
        assert "`split: {by: time, unit: day}`" in check.reason


def test_a_split_by_time_has_nothing_to_share(world):
    parts = hourly(world)
    parts["joins"][0]["as_of"] = "t"
    world.file((world.inputs / "w.csv").read_text().replace("when", "t"), "w.csv")
    decision = judged(world, None, parts.pop("columns"), Split(by="time"), **parts)
    assert decision.verdict == "pass"
    assert not [check for check in decision.checks if check.name.startswith("leak:shared")]


def test_rows_alone_in_their_hour_may_be_split_at_random(world):
    parts = hourly(world, rows=100, per_hour=1)
    parts["joins"][0]["as_of"] = "t"
    world.file((world.inputs / "w.csv").read_text().replace("when", "t"), "w.csv")
    decision = judged(world, None, parts.pop("columns"), Split(), **parts)
    assert the(decision, "leak:shared:s1").verdict == "pass"


def test_features_of(world):
    data = world.data(
        {"a": "number", "b": "text", "c": "category", "t": "date", "part": "integer", "y": "integer"},
        id=("c",),
        time="t",
    )
    section = ValidateSection(
        name="demo",
        data=data,
        target=world.target({"expression": "y > 1", "name": "z"}, "binary"),
        quarantine_at_most=0,
        split=Split(by="column", column="part"),
    )
    assert features_of(section, dict.fromkeys(data.columns, "number")) == ["a"]


def array(values):
    return pa.array(list(values))


RNG = np.random.default_rng(0)
Y = RNG.integers(0, 2, 500)
NUMBERS = RNG.lognormal(0, 2, 500)


@pytest.mark.parametrize(
    ("column", "target", "classes", "leaks"),
    [
        (Y, Y, True, True),
        ([f"k{value}" for value in Y], Y, True, True),
        ([None if value else 3.5 for value in Y], Y, True, True),
        (Y * 5 + RNG.random(500), Y, True, True),
        (RNG.normal(0, 1, 500), Y, True, False),
        (RNG.permutation(500), Y, True, False),
        ([f"id{value}" for value in range(500)], Y, True, False),
        ([None] * 500, Y, True, False),
        ([7] * 500, Y, True, False),
        (NUMBERS * 1.19, NUMBERS, False, True),
        (-np.log(NUMBERS), NUMBERS, False, True),
        (NUMBERS + RNG.normal(0, 2, 500), NUMBERS, False, False),
        (RNG.normal(0, 1, 500), NUMBERS, False, False),
        ([f"id{value}" for value in range(500)], NUMBERS, False, False),
    ],
)
def test_giveaway(column, target, classes, leaks):
    found = giveaway(array(column), array(target), classes=classes)
    assert found is not None
    assert found.leaks is leaks
    assert math.isfinite(found.score)
    assert found.low <= found.score <= 1


def test_giveaway_needs_rows_and_classes():
    assert giveaway(array(Y[:49]), array(Y[:49]), classes=True) is None
    rare = np.arange(500) < 9
    assert giveaway(array(rare), array(rare), classes=True) is None
    some = [None if i % 2 else int(y) for i, y in enumerate(Y)]
    found = giveaway(array(Y), array(some), classes=True)
    assert found is not None
    assert found.rows == 250


def test_noise_is_hardly_ever_called_a_giveaway():
    rng = np.random.default_rng(1)
    found = []
    for number in range(300):
        rows = int(rng.integers(50, 400))
        target = rng.integers(0, 2, rows) if number % 2 else rng.normal(0, 1, rows)
        column = rng.integers(0, 5, rows) if number % 3 else rng.normal(0, 1, rows)
        seen = giveaway(array(column), array(target), classes=bool(number % 2), seed=number)
        found.append(seen is not None and seen.leaks)
    assert sum(found) == 0

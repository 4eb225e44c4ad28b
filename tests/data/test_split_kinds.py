"""Every kind of split keeps what belongs together on one side, and its description tells the training rows."""

import datetime as dt
import random

import numpy as np
import pyarrow as pa
import pytest

from kubeloop.contract.sections import SplitSection
from kubeloop.contract.splitting import Split
from kubeloop.data.splitting import split
from kubeloop.data.tables import read_arrow, read_frame, write_table
from kubeloop.data.training_rows import outside, training_rows
from kubeloop.errors import InputError, IntegrityError

START = dt.datetime(2027, 1, 1, 6, tzinfo=dt.UTC)
TYPES = {"row": "integer", "t": "timestamp", "g": "category", "x": "number", "part": "category", "y": "integer"}


def table_of(rows=600, seed=0, hours=12):
    pick = random.Random(seed)
    return pa.table(
        {
            "row": pa.array(range(rows)),
            "t": pa.array(
                [START + dt.timedelta(hours=hours * (i // 10)) for i in range(rows)], pa.timestamp("us", "UTC")
            ),
            "g": pa.array([f"g{pick.randrange(60)}" for _ in range(rows)]),
            "x": pa.array([pick.gauss(0, 1) for _ in range(rows)]),
            "part": pa.array([pick.choice(["a", "b", "c", "test"]) for _ in range(rows)]),
            "y": pa.array([int(pick.random() < 0.1) for _ in range(rows)]),
        }
    )


def run(world, table=None, ids=(), group=None, seed=0, task="binary", **how):
    table = table_of() if table is None else table
    write_table(table, world.out / "table", TYPES)
    section = SplitSection(
        name="demo", id=ids, time="t", group=group, target=world.target("y", task), split=Split(**how), seed=seed
    )
    return split(section, world.out / "table", world.out / "development", world.out / "test")


def sides(world):
    return read_frame(world.out / "development"), read_frame(world.out / "test")


HOWS = [
    {"by": "hash"},
    {"by": "time"},
    {"by": "time", "unit": "hour"},
    {"by": "time", "unit": "row"},
    {"by": "group", "column": "g"},
    {"by": "group", "column": "t"},
    {"by": "stratified"},
    {"by": "stratified", "column": "part"},
    {"by": "column", "column": "part"},
]


@pytest.mark.parametrize("how", HOWS)
def test_every_row_has_one_place_and_the_description_tells_the_training_rows(world, how):
    facts = run(world, **how)
    development, test = sides(world)
    assert sorted([*development["row"], *test["row"]]) == list(range(600))
    assert facts["development"] == len(development)
    assert facts["test"] == len(test)
    assert 0.1 < facts["test_share"] < 0.35
    assert np.bincount(development["_fold"]).tolist() == facts["folds"]
    assert all(facts["folds"])
    theirs = training_rows(world.out / "development")
    assert theirs["rows"] == len(development)
    # No training row is ever called unseen; most test rows are.
    unseen, reason = outside(theirs, read_arrow(world.out / "table"))
    assert reason == ""
    rows = read_frame(world.out / "table")
    assert not set(rows["row"][unseen]) & set(development["row"])
    assert unseen.sum() > (0.5 if how["by"] == "stratified" else 0.99) * len(test)


@pytest.mark.parametrize("how", HOWS)
def test_the_order_of_rows_and_columns_moves_none(world, how):
    run(world, **how)
    before = set(sides(world)[1]["row"])
    table = table_of()
    shuffled = table.take(np.random.default_rng(1).permutation(len(table))).select(table.column_names[::-1])
    run(world, shuffled, **how)
    assert set(sides(world)[1]["row"]) == before


def test_time_cuts_between_whole_days(world):
    facts = run(world, by="time")
    development, test = sides(world)
    assert facts["cut"] == "2027-01-25T00:00:00+00:00"
    assert development["t"].max() < dt.datetime(2027, 1, 25, tzinfo=dt.UTC) <= test["t"].min()
    assert not set(development["t"].dt.date) & set(test["t"].dt.date)
    # Folds are stretches of time, one after the other, of whole days.
    spans = development.groupby("_fold")["t"].agg(["min", "max"])
    assert (spans["min"].iloc[1:].to_numpy() > spans["max"].iloc[:-1].to_numpy()).all()
    assert development.groupby(development["t"].dt.date)["_fold"].nunique().max() == 1


def test_a_retraining_over_the_old_test_period_has_no_unseen_rows_there(world):
    run(world, by="time")
    old_test = read_arrow(world.out / "test")
    run(world, table_of(900), by="time")
    mask, reason = outside(training_rows(world.out / "development"), old_test)
    assert mask is None
    assert reason == "the champion may have been trained on every one of the test rows"


def test_rows_of_one_moment_stay_together(world):
    run(world, by="time", unit="row")
    development, test = sides(world)
    assert not set(development["t"]) & set(test["t"])


def test_group(world):
    facts = run(world, by="group", column="g")
    development, test = sides(world)
    assert not set(development["g"]) & set(test["g"])
    assert development.groupby("g")["_fold"].nunique().max() == 1
    assert facts["groups"] == 60
    by_role = run(world, by="group", group="g")
    assert by_role["test"] == facts["test"]


def test_group_by_day(world):
    run(world, by="group", column="t", unit="day")
    development, test = sides(world)
    assert not set(development["t"].dt.date) & set(test["t"].dt.date)
    assert test["t"].min() < development["t"].max()


def test_strata_have_equal_shares(world):
    facts = run(world, by="stratified")
    development, test = sides(world)
    for value in (0, 1):
        share = (test["y"] == value).sum() / ((test["y"] == value).sum() + (development["y"] == value).sum())
        assert share == pytest.approx(0.2, abs=0.02)
    assert set(facts["strata"]) == {"0", "1"}
    shares = development.groupby("_fold")["y"].mean()
    assert shares.max() - shares.min() < 0.03


def test_strata_keep_an_entity_together(world):
    run(world, ids=("g",), by="stratified")
    development, test = sides(world)
    assert not set(development["g"]) & set(test["g"])


def test_the_data_says_it(world):
    facts = run(world, by="column", column="part")
    development, test = sides(world)
    assert set(test["part"]) == {"test"}
    assert facts["values"] == ["a", "b", "c"]
    assert development.groupby("part")["_fold"].nunique().max() == 1
    assert training_rows(world.out / "development")["test"] == "test"


@pytest.mark.parametrize(
    ("values", "folds", "test"),
    [([0, 1, 2, 10], 3, 10), ([True, False], 5, True), (["train", "TEST"], 5, "TEST")],
)
def test_marks_of_test_rows(world, values, folds, test):
    table = table_of()
    marks = pa.array([values[i % len(values)] for i in range(len(table))])
    facts = run(world, table.set_column(4, "part", marks), by="column", column="part")
    assert len(facts["folds"]) == folds
    assert set(sides(world)[1]["part"]) == {test}


REFUSED = [
    ({"by": "column", "column": "g"}, {}, "the fold column 'g' was expected to mark test rows and others, it holds g0"),
    ({"by": "time"}, {"hours": 0}, "a split by time was expected between whole days, all 600 rows are of the same day"),
    ({"by": "group", "column": "nobody"}, {}, "the group column 'nobody' was expected in the table, there is none"),
    ({"by": "time", "folds": 20}, {"hours": 4, "rows": 200}, r"rows were expected in each of 20 folds, \d+ have none"),
]


@pytest.mark.parametrize(("how", "rows", "said"), REFUSED)
def test_what_cannot_be_split(world, how, rows, said):
    with pytest.raises(InputError, match=said):
        run(world, table_of(**rows), **how)
    assert not (world.out / "development").exists()


def test_a_placing_column_with_gaps(world):
    table = table_of()
    gaps = pa.array([None, *table.column("part").to_pylist()[1:]])
    with pytest.raises(InputError, match="value in the fold column 'part', 1 have none"):
        run(world, table.set_column(4, "part", gaps), by="column", column="part")


def test_descriptions_that_tell_nothing(world):
    table = table_of(20)
    for theirs, said in (
        ({"kind": "magic"}, "it cannot be told which rows the champion was trained on (magic)"),
        (
            {"kind": "time", "column": "when", "until": "2027-01-01"},
            "the champion's split is by when, and the test rows do not have when: what a model shall not learn from "
            "stays in data.columns and is named in features.drop",
        ),
        ({"kind": "hash", "key": [], "seed": 0, "test_share": 0.2}, "the champion's split is by nothing"),
    ):
        mask, reason = outside(theirs, table)
        assert mask is None
        assert said in reason
    write_table(table, world.out / "bare")
    with pytest.raises(IntegrityError, match="a description of how they were chosen"):
        training_rows(world.out / "bare")


def test_the_hash_kind_is_described_as_before(world):
    run(world, ids=("g",), seed=3, by="hash", test=0.3)
    found = training_rows(world.out / "development")
    assert found.pop("rows") == len(sides(world)[0])
    assert found == {"kind": "hash", "seed": 3, "test_share": 0.3, "id": ["g"], "key": ["g"]}

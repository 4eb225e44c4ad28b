"""What stands on both sides of a split is refused, with the count and the mend."""

import random

import pyarrow as pa
import pytest

from kubeloop.contract.sections import SplitSection
from kubeloop.contract.splitting import Split
from kubeloop.data.splitting import split
from kubeloop.data.tables import write_table
from kubeloop.errors import InputError


def table_of(rows=400, seed=0):
    pick = random.Random(seed)
    return {
        "who": [f"p{i // 4}" for i in range(rows)],
        "a": [round(pick.gauss(0, 1), 6) for _ in range(rows)],
        "b": [round(pick.lognormvariate(0, 1), 6) for _ in range(rows)],
        "c": [pick.choice("uvw") for _ in range(rows)],
        "d": [pick.randrange(10_000) for _ in range(rows)],
        "part": [pick.choice(["1", "2", "3", "test"]) for _ in range(rows)],
        "y": [pick.randrange(2) for _ in range(rows)],
    }


def run(world, columns, ids=(), group=None, **how):
    types = {
        "who": "text",
        "a": "number",
        "b": "number",
        "c": "category",
        "d": "integer",
        "part": "text",
        "y": "integer",
    }
    write_table(pa.table(columns), world.out / "table", types)
    section = SplitSection(
        name="demo", id=ids, group=group, target=world.target("y", "binary"), split=Split(**how), seed=0
    )
    return split(section, world.out / "table", world.out / "development", world.out / "test")


def twice(columns, blur):
    """The table and a second copy of each row, a little blurred."""
    again = {name: [blur(value) if name in "ab" else value for value in cells] for name, cells in columns.items()}
    again["c"] = [f" {value.upper()}" for value in columns["c"]]
    return {name: columns[name] + again[name] for name in columns}


def test_independent_rows_pass(world):
    facts = run(world, table_of())
    assert facts["looked_at"] == [
        {"what": "twins", "count": 0, "text": f"0 of {facts['test']} test rows are near-duplicates of development rows"}
    ]


def test_near_duplicates_are_refused(world):
    columns = {name: cells for name, cells in table_of().items() if name != "who"}
    with pytest.raises(InputError, match=r"\d+ of \d+ test rows are near-duplicates of development rows") as caught:
        run(world, twice(columns, lambda value: value * (1 + 1e-6)))
    assert caught.value.context["near_duplicates"] > 50
    assert "name in `data.id` what the copies have in common" in caught.value.fix
    assert not (world.out / "development").exists()


def test_near_duplicates_with_one_id_pass(world):
    columns = table_of()
    columns["who"] = [f"p{i}" for i in range(400)]
    facts = run(world, twice(columns, lambda value: value * (1 + 1e-6)), ids=("who",))
    assert facts["looked_at"][-1]["count"] == 0


def test_rows_of_few_values_are_alike_by_chance(world):
    columns = {name: cells for name, cells in table_of().items() if name in ("c", "part", "y")}
    columns["who"] = [str(i) for i in range(400)]
    assert run(world, columns, ids=("who",))["looked_at"][-1]["count"] == 0


def test_an_entity_on_both_sides_is_refused(world):
    with pytest.raises(InputError, match=r"\d+ of 100 entities \(who\) have rows on both sides of the split") as caught:
        run(world, table_of(), ids=("who",), by="column", column="part")
    assert "keep the rows of one entity together" in caught.value.fix
    assert caught.value.context["on_both_sides"] > 10


def test_a_group_on_both_sides_is_refused(world):
    with pytest.raises(InputError, match=r"groups \(who\) have rows on both sides") as caught:
        run(world, table_of(), group="who")
    assert "split: {by: group}" in caught.value.fix


def test_a_group_on_one_side_passes(world):
    facts = run(world, table_of(), group="who", by="group")
    assert facts["looked_at"][0]["text"] == "0 of 100 groups (who) have rows on both sides of the split"


def test_time_says_it_and_passes(world):
    import datetime as dt

    columns = table_of()
    columns["t"] = [dt.date(2027, 1, 1) + dt.timedelta(days=i % 50) for i in range(400)]
    write_table(pa.table(columns), world.out / "table")
    section = SplitSection(
        name="demo", id=("who",), time="t", target=world.target("y", "binary"), split=Split(by="time"), seed=0
    )
    facts = split(section, world.out / "table", world.out / "development", world.out / "test")
    assert facts["looked_at"][0]["count"] > 0

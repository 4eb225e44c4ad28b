"""No added row moves an old one, and one entity is never on both sides."""

import hashlib
import random
import struct

import numpy as np
import pyarrow as pa
import pytest

from kubeloop.data import splitting, tables
from kubeloop.data.splitting import key_columns, places
from kubeloop.data.tables import read_facts, read_frame, write_table
from kubeloop.errors import InputError


def rows_of(seed, count):
    pick = random.Random(seed)
    return [(i, f"p{pick.randrange(60)}", round(pick.gauss(0, 1), 3), pick.randrange(2)) for i in range(count)]


def write(world, rows, name="table", order=("row", "id", "x", "y")):
    columns = dict(zip(("row", "id", "x", "y"), zip(*rows, strict=True), strict=True))
    table = pa.table({name: pa.array(columns[name]) for name in order})
    write_table(table, world.out / name, {"row": "integer", "id": "text", "x": "number", "y": "integer"})


def sides(world):
    development, test = read_frame(world.out / "development"), read_frame(world.out / "test")
    place = {
        int(row): ("development", int(fold)) for row, fold in zip(development["row"], development["_fold"], strict=True)
    }
    return place | {int(row): ("test", -1) for row in test["row"]}


@pytest.mark.parametrize("ids", [(), ("id",), ("id", "row")])
@pytest.mark.parametrize("seed", range(5))
def test_added_rows_move_no_old_row(world, ids, seed):
    rows = rows_of(seed, 400)
    write(world, rows[:250])
    world.split(ids, seed=seed)
    before = sides(world)
    more = list(rows)
    random.Random(seed).shuffle(more)
    write(world, more, order=("y", "x", "row", "id"))
    world.split(ids, seed=seed)
    after = sides(world)
    assert len(after) == 400
    assert {row: after[row] for row in before} == before


def test_an_entity_is_on_one_side_and_in_one_fold(world):
    write(world, rows_of(1, 500))
    facts = world.split(("id",))
    development, test = read_frame(world.out / "development"), read_frame(world.out / "test")
    assert not set(development["id"]) & set(test["id"])
    assert development.groupby("id")["_fold"].nunique().max() == 1
    assert facts["by"] == "id"
    assert facts["key"] == ["id"]


def test_facts_and_shares(world):
    write(world, rows_of(2, 4000))
    facts = world.split(test=0.25, folds=4)
    assert facts["development"] + facts["test"] == 4000
    assert 0.22 < facts["test_share"] < 0.28
    assert sum(facts["folds"]) == facts["development"]
    assert all(650 < count < 850 for count in facts["folds"])
    development = read_frame(world.out / "development")
    assert np.bincount(development["_fold"]).tolist() == facts["folds"]
    assert read_facts(world.out / "development").types["_fold"] == "integer"
    assert "_fold" not in read_frame(world.out / "test").columns
    assert development["row"].is_monotonic_increasing


def test_another_seed_is_another_split(world):
    write(world, rows_of(3, 300))
    world.split(seed=1)
    one = sides(world)
    world.split(seed=2)
    assert sides(world) != one


def test_neither_label_nor_derived_target_moves_a_row(world):
    rows = rows_of(4, 300)
    write(world, rows)
    world.split()
    before = sides(world)
    write(world, [(row, entity, x, 1 - y) for row, entity, x, y in rows])
    world.split()
    assert sides(world) == before
    assert key_columns(["b", "y", "_bad", "a"], (), "y") == ("a", "b")


def test_the_formula(world):
    table = pa.table({"id": ["a", "b"]})
    uniform, fold = places(table, ("id",), 7, 5)
    for place, name in enumerate("ab"):
        digest = hashlib.sha256(struct.pack(">Q", 7) + b"\x05" + struct.pack(">I", 1) + name.encode()).digest()
        assert uniform[place] == pytest.approx(int.from_bytes(digest[:8], "big") / 2**64, abs=1e-15)
        assert fold[place] == int.from_bytes(digest[8:16], "big") % 5


def test_too_few_rows_for_a_test_side(world):
    write(world, rows_of(5, 6))
    with pytest.raises(InputError, match=r"none of 6 rows falls to the test side at a share of 0\.001") as caught:
        world.split(test=0.001, folds=2)
    assert caught.value.fix == "bring more rows, or raise `split.test`"
    assert not (world.out / "development").exists()


def test_too_few_rows_for_the_folds(world):
    write(world, rows_of(5, 12))
    with pytest.raises(InputError, match=r"rows were expected in each of 20 folds, \d+ have none") as caught:
        world.split(test=0.3, folds=20)
    assert "lower `split.folds`" in caught.value.fix


def test_id_without_a_value(world):
    write(world, [(0, "a", 1.0, 0), (1, None, 2.0, 1)])
    with pytest.raises(InputError, match="value in the id column 'id', 1 have none"):
        world.split(("id",))


def test_unknown_id(world):
    write(world, rows_of(1, 10))
    with pytest.raises(InputError, match="the id column 'nobody' was expected"):
        world.split(("nobody",))


def test_same_input_same_bytes(world):
    write(world, rows_of(6, 300))
    names = ("development/part-0.parquet", "test/part-0.parquet", "test/table.json")
    world.split()
    before = [(world.out / name).read_bytes() for name in names]
    world.split()
    assert [(world.out / name).read_bytes() for name in names] == before


@pytest.mark.parametrize("how", [{}, {"by": "column", "column": "part"}], ids=str)
def test_a_table_is_split_a_few_row_groups_at_a_time(world, how, monkeypatch):
    monkeypatch.setattr(tables, "GROUP_ROWS", 4_096)
    monkeypatch.setattr(splitting, "BATCH_ROWS", 4_096)
    rows = 40 * tables.GROUP_ROWS
    cells = dict(zip((f"x{place}" for place in range(20)), np.random.default_rng(0).random((20, rows)), strict=True))
    cells |= {"y": np.arange(rows) % 2, "part": np.where(np.arange(rows) % 5, np.arange(rows) % 3, -1)}
    table = pa.table(cells)
    write_table(table, world.out / "table", dict.fromkeys(cells, "number") | {"y": "integer", "part": "integer"})
    usual, counted = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(counted)
    try:
        facts = world.split(**how)
    finally:
        pa.set_memory_pool(usual)
    assert facts["development"] + facts["test"] == rows
    assert 0 < counted.max_memory() < table.nbytes / 2

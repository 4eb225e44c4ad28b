import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from kubeloop.errors import InputError, IntegrityError, PermanentError, TransientError
from kubeloop.site import laptop
from kubeloop.store import engine as engine_module
from kubeloop.store import open_engine, tables

ROW = {
    "namespace": "default",
    "name": "heart",
    "version": 1,
    "digest": "sha256-1",
    "address": "file:///x",
    "run_id": None,
    "created_at": "2026-01-01T00:00:00+00:00",
}


def test_head_is_the_newest_migration():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(engine_module.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [engine_module.HEAD]


def test_migrations_make_exactly_the_tables_of_the_code(site):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = open_engine(site)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    engine.dispose()


def test_a_current_database_is_opened_without_alembic(site, monkeypatch):
    open_engine(site).dispose()
    monkeypatch.setattr(engine_module, "_migrate", lambda engine: pytest.fail("migrated again"))
    open_engine(site).dispose()


def test_sqlite_runs_in_wal_with_foreign_keys_and_patience(tmp_path):
    with open_engine(laptop(tmp_path)).connect() as connection:
        read = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "busy_timeout")
        }
    assert read == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 30_000}


def test_eight_processes_open_a_fresh_store_at_once(site, together):
    def work(number):
        engine = open_engine(site)
        with engine.begin() as connection:
            connection.execute(sa.insert(tables.versions).values({**ROW, "version": number, "digest": f"d{number}"}))

    assert together(8, work) == [0] * 8
    engine = open_engine(site)
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.versions)).scalar() == 8
        assert connection.execute(sa.text("SELECT count(*) FROM alembic_version")).scalar() == 1
    engine.dispose()


def test_read_then_write_races_lose_no_update(site, together):
    open_engine(site).dispose()

    def work(number):
        engine = open_engine(site)
        for _ in range(25):
            done = 0
            while not done:
                with engine.begin() as connection:
                    found = connection.execute(sa.select(tables.champions.c.revision)).scalar()
                    done = connection.execute(
                        sa.update(tables.champions)
                        .where(tables.champions.c.revision == found)
                        .values(revision=found + 1)
                    ).rowcount

    engine = open_engine(site)
    row = {"namespace": "default", "name": "heart", "digest": "d", "revision": 0, "updated_at": "now"}
    with engine.begin() as connection:
        connection.execute(sa.insert(tables.champions).values(row))
    engine.dispose()
    assert together(4, work) == [0] * 4
    with engine.connect() as connection:
        assert connection.execute(sa.select(tables.champions.c.revision)).scalar() == 100
    engine.dispose()


def test_broken_constraints_stay_sqlalchemys(site):
    engine = open_engine(site)
    with engine.begin() as connection:
        connection.execute(sa.insert(tables.versions).values(ROW))
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.insert(tables.versions).values({**ROW, "version": 2}))
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.insert(tables.versions).values({**ROW, "digest": "other"}))
    engine.dispose()


def test_a_migration_that_breaks_off_leaves_nothing(tmp_path, monkeypatch):
    site = laptop(tmp_path)
    from alembic import command

    upgrade = command.upgrade

    def cut(config, revision):
        upgrade(config, revision)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "upgrade", cut)
    with pytest.raises(KeyboardInterrupt):
        open_engine(site)
    monkeypatch.undo()
    connection = sqlite3.connect(tmp_path / "kubeloop.db")
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()
    open_engine(site)


def test_a_store_of_a_later_version_is_refused(site):
    engine = open_engine(site)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(PermanentError, match="later version"):
        open_engine(site)


@pytest.mark.parametrize("wal", [True, False])
def test_a_file_that_is_no_database_is_named(tmp_path, wal):
    head = b"SQLite format 3\0" + b"\x10\0\x02\x02" if wal else b""
    (tmp_path / "kubeloop.db").write_bytes(head + b"not a database at all" * 300)
    with pytest.raises(IntegrityError, match="is not a whole SQLite database"):
        open_engine(laptop(tmp_path))


def test_a_held_database_is_transient(tmp_path, monkeypatch):
    site = laptop(tmp_path)
    open_engine(site)
    holder = sqlite3.connect(tmp_path / "kubeloop.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(engine_module, "BUSY_MS", 10)
    with pytest.raises(TransientError, match="held by another process"):
        open_engine(site)
    holder.close()


def test_a_database_that_another_tool_holds_is_transient_from_the_first_opening(tmp_path, monkeypatch):
    holder = sqlite3.connect(tmp_path / "kubeloop.db", isolation_level=None)
    holder.execute("CREATE TABLE theirs (x)")
    holder.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(engine_module, "BUSY_MS", 10)
    with pytest.raises(TransientError, match="held by another process"):
        open_engine(laptop(tmp_path))
    holder.close()


@pytest.mark.parametrize("sql", ["no url", "sqlite://", "nodialect://host/db"])
def test_a_wrong_url_is_the_users(tmp_path, sql):
    with pytest.raises(InputError, match=r"SQLite store is a file|no URL of a database"):
        open_engine(laptop(tmp_path).model_copy(update={"sql": sql}))


def test_a_folder_that_cannot_be_made_is_the_users(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        open_engine(laptop(tmp_path / "file" / "home"))


def test_a_server_that_is_down_is_transient_and_its_password_stays_unseen(tmp_path, monkeypatch):
    pytest.importorskip("psycopg", reason="PostgreSQL's driver is not installed")
    monkeypatch.setenv("KUBELOOP_SECRET_DB", "hunter2-canary")
    site = laptop(tmp_path).model_copy(update={"sql": "postgresql://me:${secret:db}@127.0.0.1:1/x"})
    with pytest.raises(TransientError, match="does not answer") as caught:
        open_engine(site)
    assert "canary" not in f"{caught.value} {caught.value.to_dict()}"


def test_a_full_disk_is_the_users(tmp_path):
    engine = open_engine(laptop(tmp_path))
    rows = [{**ROW, "version": number, "digest": str(number), "address": "x" * 4000} for number in range(100)]
    sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count = 1"))
    with pytest.raises(InputError, match="no space left on the disk of the database"), engine.begin() as connection:
        connection.execute(sa.insert(tables.versions), rows)
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.versions)).scalar() == 0


def test_the_migrations_are_modules_of_the_package():
    import importlib

    start = importlib.import_module("kubeloop.store.migrations.versions.0001_start")
    assert (start.revision, start.down_revision) == ("0001", None)

"""Labels by the words of a contract: from its source, and where the command line does not say otherwise."""

import datetime as dt
import json
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from kubeloop.cli.main import cli
from kubeloop.contract.data import Source
from kubeloop.contract.monitoring import Labels, Monitoring
from kubeloop.errors import InputError
from kubeloop.monitoring.labels.taking import take_from_source, words_of
from kubeloop.monitoring.log.models import LoggedModel
from kubeloop.monitoring.log.moving import move_all
from kubeloop.monitoring.log.reading import micros
from kubeloop.monitoring.log.records import Speaker
from kubeloop.monitoring.log.segments import log_root
from kubeloop.monitoring.log.writer import open_log
from kubeloop.packaging.build import build
from kubeloop.packaging.store import publish
from kubeloop.site.model import Site, laptop
from kubeloop.store import open_engine
from kubeloop.store.tables import champions
from kubeloop.store.tables import labels as labels_table
from tests.packaging import models

NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
WORDS = Labels(maturity="2h", key="patient", value="sick", source=Source(name="truth", path="truth.csv"))


def logged(site: Site, model: LoggedModel, rows: int = 20, age: dt.timedelta = dt.timedelta(hours=3)) -> None:
    """Answers to patients p0, p1, ... in the SQL store."""
    writer = open_log(log_root(site), Speaker(site.namespace, "heart", "predictor", model), "required")
    at = micros(dt.datetime.now(dt.UTC) - age)
    for number in range(rows):
        answer = 1.5 * number if model.task == "regression" else number % 2 == 0
        chances = None if model.task == "regression" else [[0.5, 0.5]]
        writer.append(f"e{number}", at, [[number, "1"]], [answer], chances, keys=[f"p{number}"])
    writer.close()
    engine = open_engine(site)
    move_all(engine, log_root(site), NOW)
    engine.dispose()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return laptop(tmp_path / "home", tmp_path)


def stored(site: Site) -> list[tuple[str, int, object]]:
    engine = open_engine(site)
    with engine.connect() as connection:
        table = labels_table
        query = sa.select(table.c.ident, table.c.revision, table.c.value).order_by(table.c.ident, table.c.revision)
        found = [(row.ident, row.revision, json.loads(row.value)) for row in connection.execute(query)]
    engine.dispose()
    return found


def test_a_source_is_taken_once_and_a_changed_value_is_a_correction(site, model, tmp_path):
    logged(site, model)
    (tmp_path / "truth.csv").write_text("patient,sick\np1,1\np2,0\n")
    facts = take_from_source(site, "heart", WORDS, NOW)
    counts = {"labels": 2, "new": 2, "corrected": 0, "duplicate": 0, "known": 2}
    assert facts == {"name": "heart", "source": "truth", "by": "key", **counts}
    (tmp_path / "truth.csv").write_text("patient,sick\np1,1\np2,1\np3,0\n")
    again = take_from_source(site, "heart", WORDS, NOW + dt.timedelta(days=1))
    assert [again[kind] for kind in ("new", "corrected", "duplicate")] == [1, 1, 1]
    assert stored(site) == [("p1", 1, 1), ("p2", 1, 0), ("p2", 2, 1), ("p3", 1, 0)]


def test_a_database_gives_text_and_a_regression_gets_numbers(site, model, tmp_path):
    logged(site, model.model_copy(update={"task": "regression", "classes": (), "positive": None}))
    with sqlite3.connect(tmp_path / "outcomes.db") as connection:
        connection.execute("CREATE TABLE outcomes (patient TEXT, price REAL)")
        connection.executemany("INSERT INTO outcomes VALUES (?, ?)", [("p1", 12.5), ("p2", None)])
    source = Source(name="outcomes", sql="sqlite:///outcomes.db", query="SELECT patient, price FROM outcomes")
    words = Labels(key="patient", value="price", source=source)
    assert take_from_source(site, "heart", words, NOW)["new"] == 2
    assert stored(site) == [("p1", 1, 12.5), ("p2", 1, None)]
    wrong = words.model_copy(update={"value": "patient"})
    with pytest.raises(InputError, match="label 1: a number was expected, for the model predicts numbers, got 'p1'"):
        take_from_source(site, "heart", wrong, NOW)
    assert len(stored(site)) == 2


def test_a_contract_without_a_source_says_what_to_write(site):
    with pytest.raises(InputError, match=r"a source of the labels of heart was expected under monitoring\.labels"):
        take_from_source(site, "heart", Labels(), NOW)


def test_the_contract_of_what_serves_says_columns_and_maturity(site, model, tmp_path):
    assert words_of(site, "heart") is None
    logged(site, model)
    watching = Monitoring(labels=WORDS)
    words = models.contract().model_copy(update={"monitoring": watching})
    build(models.train(tmp_path), words, models.evaluation(), models.DATA, tmp_path / "package")
    digest = publish(site, tmp_path / "package").rpartition("/")[2]
    row = {"namespace": "default", "name": "heart", "digest": digest, "revision": 1, "updated_at": NOW.isoformat()}
    engine = open_engine(site)
    with engine.begin() as connection:
        connection.execute(sa.insert(champions).values(row))
    engine.dispose()
    assert words_of(site, "heart") == WORDS
    (tmp_path / "truth.csv").write_text("patient,sick\n" + "".join(f"p{n},{n % 2}\n" for n in range(20)))
    home = ("--home", str(site.home), "--json")
    done = CliRunner().invoke(cli, ["labels", str(tmp_path / "truth.csv"), "--model", "heart", *home])
    assert json.loads(done.stdout)["new"] == 20
    # The rows are three hours old: mature by the contract's two hours, not by the thirty days of no contract.
    looked = json.loads(CliRunner().invoke(cli, ["log", "performance", "heart", *home]).stdout)
    assert looked["coverage"]["mature"] == 20
    other = CliRunner().invoke(cli, ["log", "performance", "heart", "--maturity", "1d", *home])
    assert json.loads(other.stdout)["coverage"]["mature"] == 0

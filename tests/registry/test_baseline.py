"""Only a registry that answered may say that there is no champion."""

from pathlib import Path

import pytest

from kubeloop.registry.baseline import champion_baseline
from kubeloop.registry.champions import move_champion
from kubeloop.registry.versions import register
from kubeloop.site.model import laptop
from kubeloop.tracking.record import RunRecord, TaskRecord, write_run, write_task

pytestmark = pytest.mark.usefixtures("no_mirror")


@pytest.fixture
def folder(engine, site, packages, now):
    """A champion's folder in the store."""
    version = register(engine, site, packages[0], "run", now)
    move_champion(engine, "default", "heart", version.digest, 0, now)
    return Path(version.address.removeprefix("file://"))


def test_an_empty_registry_and_a_name_without_champion_are_none_yet(engine, site, packages, now):
    assert champion_baseline(site, "heart").status == "none_yet"
    register(engine, site, packages[0], "run", now)
    found = champion_baseline(site, "heart")
    assert (found.status, found.predict, found.digest) == ("none_yet", None, None)


def test_a_lost_database_is_not_a_registry_without_champion(site, now):
    task = TaskRecord(task="deploy", status="done", started=now, finished=now, facts={"name": "heart"})
    write_run(site, RunRecord(run_id="heart-1", name="heart", status="done", started=now, finished=now))
    write_task(site, "heart-1", task)
    found = champion_baseline(site, "heart")
    assert found.status == "unavailable"
    assert "its database was lost or replaced" in found.detail
    assert champion_baseline(site, "another").status == "none_yet"


def test_the_champion_answers(site, folder):
    import pandas as pd

    found = champion_baseline(site, "heart")
    assert (found.status, found.digest) == ("champion", folder.name)
    assert found.training_rows
    assert list(found.classes) == ["no", "yes"]
    answers = found.predict(pd.DataFrame({"age": [30.0, 80.0], "smokes": [True, False], "pain": ["none", "much"]}))
    assert answers.labels.tolist() == ["no", "yes"]


def test_a_missing_package_is_unavailable(site, folder):
    folder.rename(folder.with_name("elsewhere"))
    found = champion_baseline(site, "heart")
    assert (found.status, found.digest, found.predict) == ("unavailable", folder.name, None)
    assert "the store has no such package" in found.detail


@pytest.mark.parametrize("name", ["manifest.json", "estimator.skops", "README.md"])
def test_an_altered_package_is_unavailable(site, folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    found = champion_baseline(site, "heart")
    assert found.status == "unavailable"
    assert name in found.detail


def test_a_database_that_is_none_is_unavailable(tmp_path):
    site = laptop(tmp_path / "home")
    site.home.mkdir()
    (site.home / "kubeloop.db").write_text("this was once a database" * 100)
    found = champion_baseline(site, "heart")
    assert found.status == "unavailable"
    assert found.detail


def test_a_database_that_does_not_answer_is_unavailable(tmp_path):
    (tmp_path / "file").write_text("")
    site = laptop(tmp_path / "home").model_copy(update={"sql": f"sqlite:///{tmp_path}/file/kubeloop.db"})
    assert champion_baseline(site, "heart").status == "unavailable"


def test_a_lost_table_is_unavailable(engine, site, folder):
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE champions")
    found = champion_baseline(site, "heart")
    assert (found.status, found.digest) == ("unavailable", None)

"""Versions are numbered without gaps, once per package, whoever registers at the same time."""

import multiprocessing
from pathlib import Path

import pytest

from kubeloop.errors import IntegrityError, RefusedError, TransientError
from kubeloop.ledger import entries, verify
from kubeloop.packaging.build import build
from kubeloop.registry import mirror
from kubeloop.registry.champions import move_champion
from kubeloop.registry.versions import challenger, judged_against, register, search, version_of, versions
from kubeloop.site.model import laptop
from kubeloop.store import open_engine


@pytest.mark.usefixtures("no_mirror")
def test_the_same_package_is_the_same_version(engine, site, packages, now):
    first = register(engine, site, packages[0], "run-1", now)
    assert (first.name, first.version, first.mirror) == ("heart", 1, "done")
    assert register(engine, site, packages[1], "run-2", now).version == 2
    again = register(engine, site, packages[0], "run-3", now)
    assert (again.version, again.digest, again.run_id) == (1, first.digest, "run-1")
    assert [version.version for version in versions(engine, "default", "heart")] == [2, 1]
    assert versions(engine, "elsewhere", "heart") == versions(engine, "default", "other") == []
    assert version_of(engine, "default", "heart", first.digest).address == first.address


@pytest.mark.usefixtures("no_mirror")
def test_every_judgement_is_in_the_ledger_once(engine, site, packages, now):
    for run in ("run-1", "run-1", "run-2"):
        version = register(engine, site, packages[0], run, now)
    assert [(entry.kind, entry.body["run"]) for entry in entries(engine, "default")] == [
        ("registration", "run-1"),
        ("registration", "run-2"),
    ]
    assert verify(engine, "default") == 2
    assert judged_against(engine, "default", "heart", version.digest) == {"baseline": "none_yet", "champion": None}
    assert judged_against(engine, "default", "heart", "sha256-" + "0" * 64) == {}


@pytest.mark.usefixtures("no_mirror")
def test_the_challenger_is_the_newest_that_is_not_champion(engine, site, packages, now):
    assert challenger(engine, "default", "heart") is None
    digests = [register(engine, site, package, "run", now).digest for package in packages]
    assert challenger(engine, "default", "heart").digest == digests[2]
    move_champion(engine, "default", "heart", digests[2], 0, now)
    assert challenger(engine, "default", "heart").digest == digests[1]


@pytest.mark.usefixtures("no_mirror")
def test_search_takes_text_literally(engine, site, packages, now):
    version = register(engine, site, packages[0], "run_1", now)
    assert search(engine, "default")[0].digest == version.digest
    for text in ("hea", version.digest[7:15], "run_1"):
        assert [found.version for found in search(engine, "default", text)] == [1], text
    assert search(engine, "default", "run%") == search(engine, "default", "unknown") == []


@pytest.mark.parametrize("verdict", ["fail", "inconclusive"])
def test_what_did_not_pass_is_not_registered(engine, site, packages, models, tmp_path, now, verdict):
    model = packages[0].parent / "model"
    build(model, models.contract(), models.evaluation(verdict), models.DATA, tmp_path / "package")
    with pytest.raises(RefusedError, match=f"it said {verdict}"):
        register(engine, site, tmp_path / "package", "run", now)
    assert versions(engine, "default", "heart") == []
    assert not list(site.home.rglob("store/packages/*"))


def test_a_spoilt_package_is_not_registered(engine, site, packages, tmp_path, now):
    (tmp_path / "package").mkdir()
    (tmp_path / "package/manifest.json").write_bytes((packages[0] / "manifest.json").read_bytes())
    with pytest.raises(IntegrityError, match=r"README\.md was expected"):
        register(engine, site, tmp_path / "package", "run", now)
    assert versions(engine, "default", "heart") == []


def test_a_mirror_that_fails_is_told_and_stops_nothing(engine, site, packages, now, monkeypatch):
    from kubeloop.tracking import mlflow_store

    def down(*_args):
        raise TransientError("MLflow does not answer", "start it")

    monkeypatch.setattr(mlflow_store, "register_version", down)
    version = register(engine, site, packages[0], "run", now)
    assert version.mirror == "failed: MLflow does not answer"
    assert version_of(engine, "default", "heart", version.digest).version == 1
    monkeypatch.setattr(mlflow_store, "set_alias", down)
    assert mirror.mirror_alias(site, "heart", "champion", 1) == "failed: MLflow does not answer"


def test_mlflow_knows_the_version_and_the_alias(engine, site, packages, now):
    import mlflow

    version = register(engine, site, packages[0], "run", now)
    assert version.mirror == "done"
    assert mirror.mirror_alias(site, "heart", "champion", version.version) == "done"
    found = mlflow.MlflowClient(site.tracking).get_model_version_by_alias("heart", "champion")
    assert version.digest in str(found.tags)


def _register_one(home: str, package: str, run: str) -> tuple[int, str]:
    import datetime as dt

    mirror._told = lambda tell: "done"
    site = laptop(Path(home))
    engine = open_engine(site)
    version = register(engine, site, Path(package), run, dt.datetime(2026, 1, 2, tzinfo=dt.UTC))
    engine.dispose()
    return version.version, version.digest


def test_eight_processes_on_a_fresh_store_lose_nothing(site, packages):
    work = [(str(site.home), str(packages[index % 3]), f"run-{index}") for index in range(8)]
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        found = pool.starmap(_register_one, work)
    assert sorted({number for number, _ in found}) == [1, 2, 3]
    assert len(set(found)) == 3
    engine = open_engine(site)
    assert len(versions(engine, "default", "heart")) == 3
    assert verify(engine, "default") == 8
    engine.dispose()

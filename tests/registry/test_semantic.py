"""The semantic number is derived: schema = major, features = minor, data = patch."""

import datetime as dt

import pytest
import sqlalchemy as sa

from kubeloop.errors import InputError
from kubeloop.ledger import entries, verify
from kubeloop.packaging.manifest import Feature, parse
from kubeloop.registry import reviews
from kubeloop.registry.champions import move_champion
from kubeloop.registry.find import find
from kubeloop.registry.semantic import following, shape_of
from kubeloop.registry.versions import challenger, register, search, versions
from kubeloop.store.engine import open_engine


@pytest.fixture
def manifest(packages):
    return parse((packages[0] / "manifest.json").read_bytes())


def number(old, new, previous="1.2.3"):
    return following(previous, shape_of(old), shape_of(new))


def test_the_first_is_1_0_0(manifest):
    assert following(None, None, shape_of(manifest)) == "1.0.0"
    assert following("3.1.4", None, shape_of(manifest)) == "1.0.0"


def test_data_is_a_patch(manifest):
    other = manifest.model_copy(update={"data": manifest.data.model_copy(update={"digest": "sha256-" + "e" * 64})})
    assert number(manifest, other) == "1.2.4"


def test_a_wider_range_of_the_data_is_a_patch(manifest):
    first = manifest.features[0]
    wider = manifest.model_copy(
        update={"features": (first.model_copy(update={"maximum": 200.0}), *manifest.features[1:])}
    )
    assert number(manifest, wider) == "1.2.4"


@pytest.mark.parametrize("part", ["features", "estimator"])
def test_features_and_learner_are_minor(manifest, part):
    changed = manifest.contract | {part: {"other": True}}
    assert number(manifest, manifest.model_copy(update={"contract": changed})) == "1.3.0"


@pytest.mark.parametrize(
    "change",
    [
        {"features": (Feature(name="new", kind="number"),)},
        {"classes": ("no", "perhaps", "yes")},
        {"positive": "no"},
        {"task": "multiclass"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_a_client_sees_is_major(manifest, change):
    assert number(manifest, manifest.model_copy(update=change)) == "2.0.0"


def test_registered_versions_carry_it(engine, site, packages, now, no_mirror):
    found = [register(engine, site, package, "run", now).semantic for package in packages]
    assert found == ["1.0.0", "1.1.0", "1.2.0"]  # another C is another parameter
    assert register(engine, site, packages[0], "again", now).semantic == "1.0.0"


def test_production_is_the_champion_and_nobody_else(engine, site, packages, now, no_mirror):
    first, second, _ = (register(engine, site, package, "run", now) for package in packages)
    assert {version.stage for version in versions(engine, "default", "heart")} == {"development"}
    reviews.move_stage(engine, "default", first, "staging", "ann", now)
    move_champion(engine, "default", "heart", first.digest, 0, now)
    stages = {version.version: version.stage for version in versions(engine, "default", "heart")}
    assert stages == {1: "production", 2: "development", 3: "development"}
    move_champion(engine, "default", "heart", second.digest, 1, now)
    stages = {version.version: version.stage for version in versions(engine, "default", "heart")}
    assert stages == {1: "staging", 2: "production", 3: "development"}
    assert challenger(engine, "default", "heart").version == 3
    champion = find(engine, "default", "heart", "champion")
    with pytest.raises(InputError, match="is the champion, and so in production"):
        reviews.move_stage(engine, "default", champion, "staging", "ann", now)
    with pytest.raises(InputError, match=r"development or staging, got 'production'[\s\S]*kubeloop promote"):
        reviews.move_stage(engine, "default", first, "production", "ann", now)


def test_notes_metadata_and_search(engine, site, packages, now, no_mirror):
    first, second, _ = (register(engine, site, package, f"run-{i}", now) for i, package in enumerate(packages))
    reviews.add_note(engine, "default", first, "ann", "calibration looked at", now)
    reviews.add_note(engine, "default", first, "bob", "agreed", now + dt.timedelta(hours=1))
    assert [(note.author, note.text) for note in reviews.notes(engine, "default", first)] == [
        ("ann", "calibration looked at"),
        ("bob", "agreed"),
    ]
    assert reviews.notes(engine, "default", second) == []
    reviews.set_metadata(engine, "default", second, {"ticket": "ML-12", "team": "ward"}, "ann", now)
    changed = reviews.set_metadata(engine, "default", second, {"team": ""}, "ann", now)
    assert changed.metadata == {"ticket": "ML-12"}
    reviews.move_stage(engine, "default", first, "staging", "ann", now)
    for text, numbers in {
        "ML-12": [2],
        "staging": [1],
        "1.2.0": [3],
        "run-1": [2],
        first.digest[:20]: [1],
        "%": [],
    }.items():
        assert [version.version for version in search(engine, "default", text)] == numbers, text
    assert {"review", "metadata", "stage"} <= {entry.kind for entry in entries(engine, "default")}
    verify(engine, "default")
    with pytest.raises(InputError, match="a note of 1 to 2000 characters"):
        reviews.add_note(engine, "default", first, "ann", "  ", now)
    with pytest.raises(InputError, match="a key of metadata"):
        reviews.set_metadata(engine, "default", first, {"a b": "c"}, "ann", now)


def test_find_understands_what_people_write(engine, site, packages, now, no_mirror):
    found = [register(engine, site, package, "run", now) for package in packages]
    for which in ("2", "v2", "1.1.0", found[1].digest, found[1].digest[:20], found[1].digest[7:15]):
        assert find(engine, "default", "heart", which).digest == found[1].digest
    assert find(engine, "default", "heart", "challenger").version == 3
    with pytest.raises(InputError, match="one version of heart was expected, and '9' is none"):
        find(engine, "default", "heart", "9")
    with pytest.raises(InputError, match="and 'champion' is none"):
        find(engine, "default", "heart", "champion")
    with pytest.raises(InputError, match="got 'haert'"):
        find(engine, "default", "haert", "1")


def test_a_store_of_the_first_release_is_brought_along(site, packages, now, no_mirror):
    from alembic import command
    from alembic.config import Config

    from kubeloop.store import engine as engines

    bare = engines._create(site.sql)
    config = Config()
    config.set_main_option("script_location", str(engines.Path(engines.__file__).parent / "migrations"))
    with bare.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            sa.text(
                "INSERT INTO versions (namespace, name, version, digest, address, run_id, created_at) "
                "VALUES ('default', 'heart', 1, :d, 'a', 'r', '2026-01-01T00:00:00+00:00')"
            ),
            {"d": "sha256-" + "0" * 64},
        )
    engine = open_engine(site)
    register(engine, site, packages[0], "run", now)
    new, old = versions(engine, "default", "heart")
    assert (old.version, old.semantic, old.stage, dict(old.metadata)) == (1, None, "development", {})
    assert (new.version, new.semantic) == (2, "1.0.0")

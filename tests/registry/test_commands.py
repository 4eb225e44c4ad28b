"""The commands over versions, as a person types them, in one process of the test."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from kubeloop.cli.main import COMMANDS, cli
from kubeloop.errors import InputError, IntegrityError, RefusedError
from kubeloop.registry.versions import register
from kubeloop.rollout.promotion import promote
from kubeloop.rollout.steps import answered_here


@pytest.fixture
def home(engine, site, packages, now, no_mirror) -> Path:
    """Three versions; the first is champion."""
    first, *_ = (register(engine, site, package, "run", now) for package in packages)
    promote(site, "heart", first.digest, "run", answered_here(site), now)
    return site.home


def run(home: Path, *words: str) -> str:
    done = CliRunner().invoke(cli, [*words, "--home", str(home)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_versions_lists_and_reviews(home):
    listed = run(home, "versions", "heart")
    assert "production (champion)" in listed
    assert [line.split()[1] for line in listed.splitlines()[1:]] == ["3", "2", "1"]
    shown = run(home, "versions", "heart@2", "--note", "good", "--set", "ticket=ML-1", "--stage", "staging")
    for part in ("version 2 (1.1.0)", "staging; not the champion", "ticket     ML-1", ": good"):
        assert part in shown
    found = json.loads(run(home, "versions", "--search", "ML-1", "--json"))["versions"]
    assert [version["version"] for version in found] == [2]
    assert json.loads(run(home, "versions", "heart@2", "--json"))["notes"][0]["text"] == "good"
    with pytest.raises(InputError, match="a review needs one version"):
        run(home, "versions", "heart", "--note", "x")


def test_no_cell_of_the_versions_is_cut(engine, site, packages, now, no_mirror):
    long_run = "a-model-with-quite-a-long-name-20260101-000000-abcd-of-somebody-else"
    made = register(engine, site, packages[0], long_run, now)
    heads, line = run(site.home, "versions", "heart").splitlines()
    assert heads.split() == ["model", "version", "number", "stage", "package", "run", "registered", "(UTC)"]
    assert {long_run, made.digest.removeprefix("sha256-")[:12], f"{made.created_at:%Y-%m-%d}"} <= set(line.split())


def test_compare_shows_all_four(home):
    shown = run(home, "compare", "heart@1", "2")
    for part in (
        "accuracy",
        "features   the same",
        "data       the same",
        "contract   estimator.parameters.C: 1.0 -> 0.5",
    ):
        assert part in shown
    assert json.loads(run(home, "compare", "heart@champion", "heart@3", "--json"))["change"] == "minor"


def test_reconcile_ledger_and_rollback_say_what_they_did(home, engine, site, now, no_mirror):
    assert "all agreed already" in run(home, "reconcile")
    assert "whole      5 entries of default" in run(home, "ledger", "verify")
    assert run(home, "ledger", "show", "--kind", "promotion").count("\n") == 1
    entry = json.loads(run(home, "ledger", "show", "--last", "1", "--json"))["entries"][0]
    assert entry["kind"] == "promotion"
    with pytest.raises(InputError, match="a champion before the present one"):
        run(home, "rollback", "heart")
    with pytest.raises(RefusedError, match="was judged against no champion"):
        run(home, "promote", "heart", "2")


def test_an_altered_byte_of_the_ledger_is_found(home, engine):
    import sqlalchemy as sa

    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE ledger SET body = replace(body, 'run', 'rum') WHERE seq = 2"))
    with pytest.raises(IntegrityError, match="entry 2 of the ledger of default was altered"):
        run(home, "ledger", "verify")


def test_every_command_has_help_with_examples():
    for name in ("versions", "compare", "promote", "rollback", "reconcile", "ledger"):
        assert name in COMMANDS
        done = CliRunner().invoke(cli, [name, "--help"])
        assert done.exit_code == 0
        assert "Examples:" in done.output

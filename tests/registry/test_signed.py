"""register signs; what came before is signed later, or refused."""

import json

import pytest
from click.testing import CliRunner

from kubeloop.cli.main import cli
from kubeloop.errors import InputError, IntegrityError
from kubeloop.ledger import entries
from kubeloop.packaging.read import read_package
from kubeloop.packaging.signing import SIGNATURE, fingerprint, make_pair
from kubeloop.packaging.store import fetch
from kubeloop.registry.baseline import champion_baseline
from kubeloop.registry.versions import register
from kubeloop.rollout.promotion import promote
from kubeloop.rollout.steps import answered_here
from kubeloop.site.model import laptop


def keys(home, *words):
    done = CliRunner().invoke(cli, ["keys", *words, "--home", str(home), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def copies(packages, tmp_path):
    """Packages that a test may sign."""
    import shutil

    return [shutil.copytree(package, tmp_path / f"copy-{i}") for i, package in enumerate(packages)]


def test_from_the_first_key_on(engine, site, copies, now, no_mirror, capsys):
    before = register(engine, site, copies[0], "run", now)
    assert "UNSIGNED" in capsys.readouterr().err
    promote(site, "heart", before.digest, "run", answered_here(site), now)
    made = keys(site.home, "make")
    assert (site.home / "secrets/signing-key").stat().st_mode & 0o777 == 0o600
    assert keys(site.home, "show") == {"trusted": [made["fingerprint"]], "allow_unsigned": False, "signs": True}
    with pytest.raises(InputError, match="there is a private key already"):
        keys(site.home, "make")
    strict = laptop(site.home)
    # What was registered before is refused everywhere, and is no baseline either.
    with pytest.raises(IntegrityError, match="it has none"):
        fetch(strict, before.digest)
    assert champion_baseline(strict, "heart").status == "unavailable"
    with pytest.raises(IntegrityError, match="it has none"):
        promote(strict, "heart", before.digest, "run", answered_here(strict), now)
    # A new one is signed as it is registered.
    capsys.readouterr()
    after = register(engine, strict, copies[1], "run", now)
    assert read_package(fetch(strict, after.digest), after.digest, strict).signature == made["fingerprint"]
    assert capsys.readouterr().err == ""
    said = {
        entry.body["digest"]: entry.body["signature"]
        for entry in entries(engine, "default")
        if "signature" in entry.body
    }
    assert said == {before.digest: "unsigned", after.digest: made["fingerprint"]}
    # The old one can be signed later; a second time there is nothing to do.
    assert [found["digest"] for found in keys(site.home, "sign")["signed"]] == [before.digest]
    assert keys(site.home, "sign") == {"signed": []}
    assert champion_baseline(strict, "heart").status == "champion"


def test_registering_a_stored_package_again_signs_the_stored_copy(engine, site, copies, now, no_mirror):
    found = register(engine, site, copies[0], "run", now)
    keys(site.home, "make")
    strict = laptop(site.home)
    assert register(engine, strict, copies[0], "again", now).version == found.version
    assert fetch(strict, found.digest).is_dir()


def test_what_was_altered_in_the_store_is_not_signed(engine, site, copies, now, no_mirror):
    found = register(engine, site, copies[0], "run", now)
    keys(site.home, "make")
    (site.home / "store/packages" / found.digest / "README.md").write_text("spoilt")
    with pytest.raises(IntegrityError, match=r"README\.md"):
        keys(site.home, "sign")
    assert not (site.home / "store/packages" / found.digest / SIGNATURE).exists()


def test_without_a_key_and_without_leave_nothing_is_registered(engine, site, copies, now, no_mirror):
    trusted = (make_pair()[1].decode(),)
    closed = site.model_copy(update={"allow_unsigned": False, "trusted_keys": trusted})
    with pytest.raises(InputError, match="gives no signing key, and does not allow unsigned packages"):
        register(engine, closed, copies[0], "run", now)
    assert not (site.home / "store").exists()


def test_keys_for_a_cluster_go_where_asked(site, tmp_path):
    site.home.mkdir(parents=True, exist_ok=True)
    made = keys(site.home, "make", "--out", str(tmp_path / "deploy"))
    public = (tmp_path / "deploy" / f"{made['fingerprint']}.pub").read_bytes()
    assert fingerprint(public) == made["fingerprint"]
    assert laptop(site.home).allow_unsigned

"""The package store on a real S3 over HTTP: moto's server on this machine."""

import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from kubeloop.errors import InputError, IntegrityError, TransientError
from kubeloop.packaging.read import read_package
from kubeloop.packaging.signing import SIGNATURE, make_pair, sign
from kubeloop.packaging.store import attach, fetch, publish
from kubeloop.packaging.verify import verify
from kubeloop.serving.fetch import main
from kubeloop.site.addresses import access, filesystem
from kubeloop.site.model import ObjectStore, Site, laptop
from tests.ports import free_port

CANARY = "canary-9f2c-secret-key"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    end = time.monotonic() + 240
    try:
        while True:
            try:
                urllib.request.urlopen(f"{url}/moto-api/data.json", timeout=60).read()
                break
            except OSError:
                assert child.poll() is None
                assert time.monotonic() < end
                threading.Event().wait(0.05)
        yield url
    finally:
        child.terminate()
        child.wait(timeout=180)


@pytest.fixture
def site(endpoint: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("KUBELOOP_SECRET_S3_KEY", "me")
    monkeypatch.setenv("KUBELOOP_SECRET_S3_SECRET", CANARY)
    bucket = f"b{abs(hash(request.node.name)) % 10**9}"
    objects = ObjectStore(
        endpoint=endpoint,
        region="us-east-1",
        key="${secret:s3-key}",
        secret="${secret:s3-secret}",
    )
    found = laptop(tmp_path / "home").model_copy(update={"store": f"s3://{bucket}/root", "objects": objects})
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{bucket}", method="PUT"), timeout=180).read()
    return found


def test_what_is_fetched_is_what_was_published(site, kept):
    digest = verify(kept)[1]
    address = publish(site, kept)
    assert address == f"{site.store}/packages/{digest}"
    assert publish(site, kept) == address
    assert read_package(fetch(site, digest), digest, site).prove() == 0.0


def test_a_pod_fetches_its_package_before_the_predictor_starts(site, kept, tmp_path, monkeypatch, capsys):
    digest = publish(site, kept).rpartition("/")[2]
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site.model_dump(mode="json", exclude={"home"})))
    monkeypatch.setenv("KUBELOOP_SITE_DIR", str(tmp_path))
    command = ["--package", digest, "--to", str(tmp_path / "pod")]
    assert [main(command), main(command)] == [0, 0]  # a pod whose containers start anew keeps its volume
    assert verify(tmp_path / "pod/cache/packages" / digest)[1] == digest
    assert main(["--package", "sha256-" + "0" * 64, "--to", str(tmp_path / "pod")]) != 0
    assert "the store has no such package" in capsys.readouterr().err


def test_a_torn_upload_is_never_a_package(site, kept):
    digest = verify(kept)[1]
    files, path = filesystem(site, f"{site.store}/packages/{digest}")
    files.pipe_file(f"{path}/estimator.skops", (kept / "estimator.skops").read_bytes()[:100])
    files.pipe_file(f"{path}/README.md", b"half")
    with pytest.raises(IntegrityError, match="the store has no such package"):
        fetch(site, digest)
    publish(site, kept)
    assert fetch(site, digest).name == digest


def test_an_altered_object_is_refused_and_named(site, kept):
    digest = verify(kept)[1]
    files, path = filesystem(site, publish(site, kept))
    files.pipe_file(f"{path}/estimator.skops", b"spoilt")
    with pytest.raises(IntegrityError, match=r"estimator\.skops"):
        fetch(site, digest)


def test_a_signature_that_came_later_reaches_the_cache(site, kept):
    digest = verify(kept)[1]
    publish(site, kept)
    fetch(site, digest)
    private, public = make_pair()
    (site.home / "secrets").mkdir(parents=True)
    (site.home / "secrets/signing-key").write_bytes(private)
    (site.home / "secrets/signing-key").chmod(0o600)
    keys = {"trusted_keys": (public.decode(),), "allow_unsigned": False, "signing_key": "${secret:signing-key}"}
    strict = site.model_copy(update=keys)
    with pytest.raises(IntegrityError, match="but it has none"):
        fetch(strict, digest)
    attach(strict, digest, SIGNATURE, sign((kept / "manifest.json").read_bytes(), strict))
    assert fetch(strict, digest).name == digest


def test_the_credential_is_nowhere(site, kept):
    digest = verify(kept)[1]
    fetch(site, publish(site, kept).rpartition("/")[2])
    told = access(site, f"{site.store}/packages/{digest}")
    assert CANARY not in repr(told) + repr(site) + site.model_dump_json()
    assert not [path for path in site.home.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


def test_a_wrong_bucket_or_a_silent_store_is_said(site, kept):
    nobody = site.model_copy(update={"objects": site.objects.model_copy(update={"endpoint": "http://127.0.0.1:9"})})
    with pytest.raises(TransientError, match="the package store should answer") as caught:
        publish(nobody, kept)
    assert CANARY not in str(caught.value)


def test_keys_in_clear_are_refused():
    with pytest.raises(InputError, match=r"objects\.secret should be a reference") as caught:
        ObjectStore(secret=CANARY)
    assert CANARY not in str(caught.value)

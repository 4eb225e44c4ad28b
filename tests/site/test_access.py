"""One function from an address to KServe's storageUri, a trial's address, and credentials by reference."""

from pathlib import Path

import pytest

from kubeloop.errors import InputError
from kubeloop.site.addresses import access, filesystem
from kubeloop.site.model import ObjectStore, Site, laptop


def at(store: str, tmp_path: Path, **objects: object) -> Site:
    return laptop(tmp_path).model_copy(update={"store": store, "objects": ObjectStore.model_validate(objects)})


def test_s3_with_an_endpoint(tmp_path):
    references = {"key": "${secret:s3-key}", "secret": "${secret:s3-secret}"}
    site = at("s3://models/root", tmp_path, endpoint="http://minio.ml:9000", region="eu-1", **references)
    found = access(site, f"{site.store}/packages/x")
    assert found.storage_uri == "s3://models/root/packages/x"
    assert found.environment == {"AWS_ENDPOINT_URL": "http://minio.ml:9000", "AWS_DEFAULT_REGION": "eu-1"}
    assert found.secrets == {"AWS_ACCESS_KEY_ID": "s3-key", "AWS_SECRET_ACCESS_KEY": "s3-secret"}
    assert found.annotations == {
        "serving.kserve.io/s3-endpoint": "minio.ml:9000",
        "serving.kserve.io/s3-usehttps": "0",
        "serving.kserve.io/s3-region": "eu-1",
    }


def test_s3_by_the_pods_own_identity(tmp_path):
    found = access(at("s3://models", tmp_path), "s3://models/packages/x")
    assert (found.environment, found.secrets, found.annotations, found.volume) == ({}, {}, {}, None)


@pytest.mark.parametrize(("store", "uri"), [("gs://m/r", "gs://m/r/p"), ("gcs://m/r", "gs://m/r/p")])
def test_gcs(tmp_path, store, uri):
    assert access(at(store, tmp_path), f"{store}/p").storage_uri == uri


def test_a_claim_is_read_where_it_is_mounted(tmp_path):
    site = at("pvc://models/root", tmp_path, mount=str(tmp_path / "mnt"))
    found = access(site, f"{site.store}/packages/x")
    assert found.storage_uri == "pvc://models/root/packages/x"
    assert found.volume == ("models", str(tmp_path / "mnt"))
    files, path = filesystem(site, f"{site.store}/packages/x")
    assert path == str(tmp_path / "mnt/root/packages/x")
    files.pipe_file(f"{path}/a", b"1")
    assert (tmp_path / "mnt/root/packages/x/a").read_bytes() == b"1"
    with pytest.raises(InputError, match="a path inside the claim"):
        filesystem(site, "pvc://models/../../etc")
    with pytest.raises(InputError, match="where the claim of pvc://models/x is mounted"):
        filesystem(at("pvc://models", tmp_path), "pvc://models/x")


def test_what_kserve_cannot_read_is_said(tmp_path):
    with pytest.raises(InputError, match="KServe reads from"):
        access(laptop(tmp_path), "memory://x")

import errno
import os
from pathlib import Path

import pytest

from kubeloop.errors import InputError
from kubeloop.site import laptop
from kubeloop.site.addresses import disk_full, filesystem, package_address, storage_uri, write_whole

DIGEST = "sha256-" + "a" * 64


@pytest.fixture
def site(tmp_path):
    return laptop(tmp_path)


def test_a_package_has_one_address(site, tmp_path):
    assert package_address(site, DIGEST) == f"file://{tmp_path}/store/packages/{DIGEST}"


@pytest.mark.parametrize("digest", ["", "latest", "../x", DIGEST[:-1], DIGEST + "\n", DIGEST.upper()])
def test_only_a_digest_is_an_address(site, digest):
    with pytest.raises(InputError, match="a digest is sha256- and 64 hexadecimal digits"):
        package_address(site, digest)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("file:///home/me/store/x", "file:///home/me/store/x"),
        ("s3://bucket/a b/x", "s3://bucket/a b/x"),
        ("gs://bucket/x", "gs://bucket/x"),
        ("gcs://bucket/x", "gs://bucket/x"),
        ("pvc://claim/x", "pvc://claim/x"),
    ],
)
def test_kserve_is_told_what_it_understands(address, expected):
    assert storage_uri(address) == expected


@pytest.mark.parametrize("address", ["memory://x", "/home/me/x", "minio://b/x", "ftp://h/x"])
def test_what_kserve_cannot_read_is_refused(address):
    with pytest.raises(InputError, match="KServe reads from file, gcs, gs, https, pvc, s3"):
        storage_uri(address)


def test_local_files_are_written_whole_and_folders_made(site, tmp_path):
    files, path = filesystem(site, f"{site.store}/runs/r-1/run.json")
    for content in (b"first", b"second"):
        write_whole(files, path, content)
    assert path == f"{tmp_path}/store/runs/r-1/run.json"
    assert files.cat_file(path) == b"second"
    assert [found.name for found in Path(path).parent.iterdir()] == ["run.json"]


def test_a_full_disk_leaves_the_old_file_and_no_rest(site, tmp_path, monkeypatch):
    files, path = filesystem(site, f"{site.store}/x")
    write_whole(files, path, b"old")

    def full(self, content):
        with self.open("wb") as stream:
            stream.write(content[:1])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="no space left on the disk while writing"):
        write_whole(files, path, b"new")
    assert Path(path).read_text() == "old"
    assert [found.name for found in Path(path).parent.iterdir()] == ["x"]


def test_other_failures_of_the_disk_stay_what_they_are(site, tmp_path):
    (tmp_path / "store").write_text("a file where a folder should be")
    files, path = filesystem(site, f"{site.store}/x")
    with pytest.raises(FileExistsError):
        write_whole(files, path, b"x")
    assert disk_full(OSError(errno.EACCES, "no"), "x") is None
    assert disk_full(OSError(errno.EDQUOT, "quota"), "x").exit_code == 2


def test_objects_are_put_in_one_piece(site):
    files, path = filesystem(site, "memory://bucket/a/b.json")
    write_whole(files, path, b"x")
    assert files.cat_file(path) == b"x"
    files.rm(path)


@pytest.mark.parametrize("address", ["nosuch://x/y", "nosuch://claim"])
def test_what_nothing_here_reads_is_refused(site, address):
    with pytest.raises(InputError, match=r"addresses of \w+:// cannot be read here"):
        filesystem(site, address)


def test_a_library_that_is_missing_is_named(site, monkeypatch):
    import fsspec.core

    def missing(*args, **kwargs):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(InputError, match="s3://") as caught:
        filesystem(site, "s3://bucket/x")
    assert caught.value.fix == "pip install s3fs"

"""Written once, never torn, verified at every fetch: on a local disk and on an object store."""

import errno
import multiprocessing
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import fsspec
import pytest

from kubeloop.errors import InputError, IntegrityError, TransientError
from kubeloop.packaging import store
from kubeloop.packaging.read import read_package
from kubeloop.packaging.store import fetch, publish
from kubeloop.packaging.verify import verify
from kubeloop.site.model import Site, laptop


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return laptop(tmp_path / "home")


@pytest.fixture
def objects(tmp_path: Path) -> Site:
    return laptop(tmp_path / "home").model_copy(update={"store": f"memory://{uuid.uuid4().hex}"})


def test_what_is_fetched_is_what_was_published(site, objects, kept):
    digest = verify(kept)[1]
    for where in (site, objects):
        address = publish(where, kept)
        assert address == f"{where.store}/packages/{digest}"
        assert publish(where, kept) == address
        folder = fetch(where, digest)
        assert read_package(folder, digest).prove() == 0.0
        assert (folder / "detached/host.json").is_file()
        assert fetch(where, digest) == folder


def test_a_spoilt_package_is_not_published(site, package):
    (package / "README.md").write_text("spoilt")
    with pytest.raises(IntegrityError, match=r"README\.md"):
        publish(site, package)
    assert not list((site.home).rglob("packages/*"))


def test_a_spoilt_store_is_said_and_not_written_over(site, kept):
    address = publish(site, kept)
    folder = Path(address.removeprefix("file://"))
    (folder / "estimator.skops").write_bytes(b"spoilt")
    for use in (lambda: publish(site, kept), lambda: fetch(site, folder.name)):
        with pytest.raises(IntegrityError, match=r"estimator\.skops"):
            use()
    assert (folder / "estimator.skops").read_bytes() == b"spoilt"


def test_a_spoilt_object_is_said(objects, kept):
    address = publish(objects, kept)
    files, path = fsspec.core.url_to_fs(address)
    files.pipe_file(f"{path}/estimator.skops", b"spoilt")
    for use in (lambda: publish(objects, kept), lambda: fetch(objects, Path(path).name)):
        with pytest.raises(IntegrityError, match=r"estimator\.skops"):
            use()
    assert not (objects.home / "cache/packages" / Path(path).name).exists()


def test_a_spoilt_cache_is_fetched_again(objects, kept):
    digest = verify(kept)[1]
    publish(objects, kept)
    (fetch(objects, digest) / "README.md").write_text("spoilt")
    assert read_package(fetch(objects, digest), digest).digest == digest


def test_a_missing_package_is_said(site, objects):
    for where in (site, objects):
        with pytest.raises(IntegrityError, match="the store has no such package"):
            fetch(where, "sha256-" + "0" * 64)
        with pytest.raises(InputError, match="64 hexadecimal digits"):
            fetch(where, "../../etc")


def test_objects_without_a_manifest_are_no_package_yet(objects, kept, monkeypatch):
    digest = verify(kept)[1]
    files, _ = fsspec.core.url_to_fs(objects.store)
    real = files.pipe_file
    written: list[Any] = []

    def dies(path, *args, **kwargs):
        if written:
            raise ConnectionError(errno.ECONNRESET, "reset")
        written.append(path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(files, "pipe_file", dies)
    with pytest.raises(TransientError, match="the package store should answer"):
        publish(objects, kept)
    monkeypatch.undo()
    assert written
    assert not written[0].endswith("manifest.json")
    with pytest.raises(IntegrityError, match="the store has no such package"):
        fetch(objects, digest)
    publish(objects, kept)
    assert fetch(objects, digest).name == digest


def test_a_full_disk_leaves_nothing(site, kept, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.shutil, "copytree", full)
    with pytest.raises(InputError, match="no space left on the disk"):
        publish(site, kept)
    assert list((site.home / "store/packages").iterdir()) == []


def test_a_publisher_killed_half_way_leaves_no_package(site, kept):
    code = (
        "import os, pathlib, shutil, signal, sys\n"
        "from kubeloop.packaging import store\nfrom kubeloop.site.model import laptop\n"
        "def half(source, target, **_):\n"
        "    shutil.copyfile(source / 'estimator.skops', target / 'estimator.skops')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "store.shutil.copytree = half\n"
        "store.publish(laptop(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(site.home), str(kept)], check=False)
    assert done.returncode == -signal.SIGKILL
    digest = verify(kept)[1]
    with pytest.raises(IntegrityError, match="the store has no such package"):
        fetch(site, digest)
    publish(site, kept)
    assert [path.name for path in (site.home / "store/packages").iterdir()] == [digest]


def _publish(home: str, folder: str) -> str:
    return publish(laptop(Path(home)), Path(folder))


def test_eight_publishers_at_once_agree(site, kept):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        found = pool.starmap(_publish, [(str(site.home), str(kept))] * 8)
    assert len(set(found)) == 1
    assert [path.name for path in (site.home / "store/packages").iterdir()] == [verify(kept)[1]]


def test_a_published_package_can_be_read_by_another_user(site, kept):
    folder = Path(publish(site, kept).removeprefix("file://"))
    assert folder.stat().st_mode & 0o055 == 0o055

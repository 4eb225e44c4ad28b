"""The package store: `<store>/packages/<digest>`, written once, never seen torn, verified at every fetch."""

import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from kubeloop.errors import IntegrityError, KubeloopError, TransientError
from kubeloop.packaging.manifest import MANIFEST
from kubeloop.packaging.staging import staged_folder
from kubeloop.packaging.verify import verify
from kubeloop.site.addresses import disk_full, filesystem, is_local, package_address, store_failures, write_whole
from kubeloop.site.model import Site
from kubeloop.store import lock

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

LOCK_WAIT_S = 60.0
"""How long a publisher waits for another one."""

_STAGED = ".publishing-"


def publish(site: Site, folder: Path) -> str:
    """Put a package into the store.

    Args:
        site: Its store takes it.
        folder: The package; verified first.

    Returns:
        Its address. A package that is there already, whole, is a success; its detached facts stay as they are.

    Raises:
        IntegrityError: The folder, or what the store has under this digest, is not what the digest says.
        InputError: The disk is full.
        TransientError: The store does not answer, or another publisher did not end in time.
    """
    _, digest = verify(folder)
    address = package_address(site, digest)
    files, path = filesystem(site, address)
    try:
        if is_local(files):
            _publish_local(site, folder, Path(path), digest)
        else:
            _publish_objects(files, folder, path, digest)
    except store_failures() as error:
        raise _silent(address, error) from error
    return address


def fetch(site: Site, digest: str) -> Path:
    """A verified package on the local disk.

    Args:
        site: Whose store has it.
        digest: Which package.

    Returns:
        The folder: of the store itself where it is local, else a copy below `<home>/cache/packages`.

    Raises:
        IntegrityError: The package is missing, or not what its digest says.
        InputError: The digest is none, or the disk is full.
        TransientError: The store does not answer.
    """
    address = package_address(site, digest)
    files, path = filesystem(site, address)
    if is_local(files):
        folder = Path(path)
        if not folder.is_dir():
            raise _missing(address, digest)
    else:
        try:
            folder = _cached(site, files, path, digest)
        except store_failures() as error:
            raise _silent(address, error) from error
    verify(folder, digest, site)
    return folder


def attach(site: Site, digest: str, name: str, content: bytes) -> None:
    """Write a detached file of a stored package, such as a signature that came later; it appears whole.

    Args:
        site: Whose store has it.
        digest: Which package.
        name: Its path in the package, below `detached/`.
        content: Its bytes.

    Raises:
        InputError: The disk is full.
        TransientError: The store does not answer.
    """
    address = package_address(site, digest)
    files, path = filesystem(site, address)
    try:
        write_whole(files, f"{path}/{name}", content)
    except store_failures() as error:
        raise _silent(address, error) from error


def _publish_local(site: Site, folder: Path, target: Path, digest: str) -> None:
    with lock(site, "packages", LOCK_WAIT_S, f"publishing {digest[7:19]}"):
        # Whoever holds the lock is alone: what lies staged belongs to a process that was killed.
        for left in target.parent.glob(f"{_STAGED}*"):
            shutil.rmtree(left)
        if not target.exists():
            with staged_folder(target, _STAGED) as stage:
                shutil.copytree(folder, stage, dirs_exist_ok=True)
                # The bytes in the stage are what gets the name, so they are what is verified.
                verify(stage, digest)
            return
    verify(target, digest)


def _publish_objects(files: "AbstractFileSystem", folder: Path, path: str, digest: str) -> None:
    """Object by object, the manifest last: a package without a manifest does not exist yet."""
    files.invalidate_cache()
    if files.exists(f"{path}/{MANIFEST}"):
        with tempfile.TemporaryDirectory(prefix="kubeloop-") as scratch:
            _download(files, path, Path(scratch) / digest, digest)
        return
    names = sorted(item.relative_to(folder).as_posix() for item in folder.rglob("*") if item.is_file())
    for name in sorted(names, key=lambda item: item == MANIFEST):
        files.pipe_file(f"{path}/{name}", (folder / name).read_bytes())


def _cached(site: Site, files: "AbstractFileSystem", path: str, digest: str) -> Path:
    root = site.home / "cache" if site.home else Path(tempfile.mkdtemp(prefix="kubeloop-"))
    target = root / "packages" / digest
    if target.exists():
        try:
            verify(target, digest, site)
        except KubeloopError:
            shutil.rmtree(target)  # a cache may be thrown away; the store's copy decides
        else:
            return target
    _download(files, path, target, digest)
    return target


def _download(files: "AbstractFileSystem", path: str, target: Path, digest: str) -> None:
    """Copy a package from the store to a local folder that appears only if it verifies."""
    files.invalidate_cache()  # others write there
    if not files.exists(f"{path}/{MANIFEST}"):
        raise _missing(path, digest)
    try:
        with staged_folder(target) as stage:
            for source in files.find(path):
                name = PurePosixPath(source.removeprefix(path.rstrip("/") + "/").lstrip("/"))
                if name.is_absolute() or ".." in name.parts:
                    raise IntegrityError(
                        f"package files were expected below {path}, but the store lists {source}",
                        "remove that object from the store",
                        file=str(source),
                    )
                (stage / name).parent.mkdir(parents=True, exist_ok=True)
                (stage / name).write_bytes(files.cat_file(source))
            verify(stage, digest)
    except FileExistsError:
        verify(target, digest)  # another process fetched it meanwhile


def _missing(address: str, digest: str) -> IntegrityError:
    return IntegrityError(
        f"package {digest} should be at {address}, but the store has no such package",
        "train and register again, or restore the store from its backup",
        package=digest,
    )


def _silent(address: str, error: Exception) -> KubeloopError:
    full = disk_full(error, address) if isinstance(error, OSError) else None
    said = getattr(error, "strerror", None) or type(error).__name__
    return full or TransientError(
        f"the package store should answer at {address}, but {type(error).__name__}: {said}",
        "see that the store is up and this account may use it, then run the same command again",
    )

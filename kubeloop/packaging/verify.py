"""Every byte of a package folder against its digest, before anything in it is loaded."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from kubeloop.digests import file_digest
from kubeloop.errors import IntegrityError
from kubeloop.packaging.manifest import DETACHED, DIGEST, MANIFEST, Manifest, parse
from kubeloop.packaging.signing import check
from kubeloop.site.model import Site

_FIX = "do not load it; fetch the package again, or train and judge again if the store itself holds these bytes"


def verify(folder: Path, expected_digest: str | None = None, site: Site | None = None) -> tuple[Manifest, str]:
    """The manifest of a package whose every byte is what its digest says.

    Args:
        folder: The package. A folder named by a digest must have it.
        expected_digest: The digest it must have; without it only the inner agreement is verified.
        site: Whose trust in signatures counts; None: the signature is not looked at.

    Returns:
        The manifest and the package's digest.

    Raises:
        IntegrityError: A file is missing, extra, altered, or no plain file, or nobody trusted signed it; the message
            names it.
    """
    if not folder.is_dir():
        raise _broken(folder, folder.name, "a package folder was expected", "there is none")
    found = dict(_entries(folder))
    if MANIFEST not in found:
        raise _broken(folder, MANIFEST, f"{MANIFEST} was expected", "it is missing")
    content = found[MANIFEST].read_bytes()
    digest = "sha256-" + hashlib.sha256(content).hexdigest()
    wanted = expected_digest or (folder.name if DIGEST.fullmatch(folder.name) else digest)
    if digest != wanted:
        raise _broken(folder, MANIFEST, f"{MANIFEST} should have the digest {wanted}", f"it has {digest}")
    if site is not None:
        check(folder, content, site)
    manifest = parse(content)
    _compare(folder, manifest, found)
    return manifest, digest


def read_verified(folder: Path, name: str, digest: str) -> bytes:
    """The bytes of one file, which are the very bytes that were hashed: nothing can change in between.

    Raises:
        IntegrityError: They have another digest, or cannot be read.
    """
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise _broken(folder, name, f"{name} should be readable", str(error.strerror)) from error
    got = "sha256-" + hashlib.sha256(content).hexdigest()
    if got != digest:
        raise _broken(folder, name, f"{name} should have the digest {digest}", f"it has {got}")
    return content


def _compare(folder: Path, manifest: Manifest, found: dict[str, Path]) -> None:
    content = {name for name in found if name != MANIFEST and not name.startswith(f"{DETACHED}/")}
    for name in sorted(manifest.files.keys() - content):
        raise _broken(folder, name, f"{name} was expected, for the manifest lists it", "it is missing")
    for name in sorted(content - manifest.files.keys()):
        raise _broken(folder, name, "no file but those of the manifest was expected", f"{name} is there")
    for name, digest in sorted(manifest.files.items()):
        got = file_digest(found[name])
        if got != digest:
            raise _broken(folder, name, f"{name} should have the digest {digest}", f"it has {got}")


def _entries(folder: Path, below: str = "") -> Iterator[tuple[str, Path]]:
    """All plain files as POSIX path and place; a link or a device is refused, even a detached one."""
    with os.scandir(folder / below) as entries:
        for entry in sorted(entries, key=lambda item: item.name):
            name = f"{below}{entry.name}"
            if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
                raise _broken(folder, name, "plain files were expected", f"{name} is a link or a device")
            if entry.is_dir():
                yield from _entries(folder, f"{name}/")
            else:
                yield name, folder / name


def _broken(folder: Path, file: str, expected: str, got: str) -> IntegrityError:
    return IntegrityError(f"in package {folder.name}: {expected}, but {got}", _FIX, file=file, package=str(folder))

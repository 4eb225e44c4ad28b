"""Digests of files and folders."""

import hashlib
from pathlib import Path

from kubeloop.digests.documents import document_digest


def file_digest(path: Path) -> str:
    """`sha256-...` of a file's bytes, read in blocks."""
    with path.open("rb") as stream:
        return "sha256-" + hashlib.file_digest(stream, "sha256").hexdigest()


def tree_digest(root: Path) -> str:
    """Digest of all files below `root`: of the map from POSIX path to file digest, so renaming counts, times do not.

    Raises:
        ValueError: The tree holds a symbolic link, which could point outside it.
    """
    files: dict[str, str] = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            raise ValueError(f"{path.relative_to(root)} is a symbolic link")
        if path.is_file():
            files[path.relative_to(root).as_posix()] = file_digest(path)
    return document_digest(files)

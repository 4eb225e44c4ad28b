"""Folders that appear whole or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kubeloop.site.addresses import disk_full


@contextmanager
def staged_folder(target: Path, prefix: str = ".incoming-") -> Iterator[Path]:
    """A folder beside `target` that takes its name once the block ends well, and is gone if it does not.

    Args:
        target: Must not exist, or be an empty folder.
        prefix: How the staging folder's name begins.

    Yields:
        The folder to fill.

    Raises:
        InputError: The disk is full.
        FileExistsError: `target` got content meanwhile.
    """
    with _full_disk_said(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
        try:
            # mkdtemp gives 0700; a predictor runs as another user.
            stage.chmod(0o755)
            yield stage
            sync_tree(stage)
            _rename(stage, target)
        finally:
            if stage.exists():
                shutil.rmtree(stage, ignore_errors=True)


def sync_tree(folder: Path) -> None:
    """Force all files and folders to disk, so that a rename cannot outlive the bytes it names."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _rename(stage: Path, target: Path) -> None:
    try:
        stage.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise FileExistsError(errno.EEXIST, "has content", str(target)) from error
        raise
    handle = os.open(target.parent, os.O_RDONLY)
    with suppress(OSError):  # some network file systems cannot sync a folder
        os.fsync(handle)
    os.close(handle)


@contextmanager
def _full_disk_said(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_full(error, target.name) or error from error.__cause__

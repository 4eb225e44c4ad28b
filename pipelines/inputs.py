"""A contract's files where a cluster's tasks can read them: `<store>/inputs/sha256-<digest>/<name>`, written once."""

import hashlib
import shutil
from pathlib import Path

from kubeloop.contract import Contract
from kubeloop.contract.data import Source
from kubeloop.errors import InputError, KubeloopError, TransientError
from kubeloop.site.addresses import disk_full, filesystem, is_local, store_failures, written_beside
from kubeloop.site.model import Site

FOLDER = "inputs"
"""Below the store."""


def has_files(contract: Contract) -> bool:
    """Whether a source is a file of this machine."""
    return any(_is_file(source) for source in contract.data.sources)


def with_sent_files(contract: Contract, folder: Path, site: Site) -> Contract:
    """Send the files of this machine to the store, and name them by their addresses there.

    Args:
        contract: As at the Site.
        folder: The base of relative paths: where loop.yaml lies.
        site: Its store takes them; what is there already, by its digest, is not sent again.

    Raises:
        InputError: A file is not there, or the store is full.
        TransientError: The store does not answer.
    """
    sources = tuple(_sent(source, folder, site) if _is_file(source) else source for source in contract.data.sources)
    return contract.model_copy(update={"data": contract.data.model_copy(update={"sources": sources})})


def _is_file(source: Source) -> bool:
    return source.path is not None and ("://" not in source.path or source.path.startswith("file://"))


def _sent(source: Source, folder: Path, site: Site) -> Source:
    assert source.path is not None
    file = folder / source.path.removeprefix("file://")
    if not file.is_file():
        raise InputError(
            f"the file {source.path} of source {source.name!r} was expected in {file.parent}, there is none",
            "correct the path in loop.yaml; it is relative to loop.yaml",
            file=source.path,
        )
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    address = f"{site.store}/{FOLDER}/sha256-{digest}/{file.name}"
    try:
        _put(file, address, site)
    except store_failures() as error:
        raise _failed(error, address) from error
    return source.model_copy(update={"path": address})


def _put(file: Path, address: str, site: Site) -> None:
    """Whole or not at all; an object store shows an object only once it is complete."""
    files, path = filesystem(site, address)
    files.invalidate_cache()
    if files.exists(path):
        return
    if not is_local(files):
        files.put_file(str(file), path)
        return
    with written_beside(Path(path)) as beside:
        shutil.copyfile(file, beside)


def _failed(error: Exception, address: str) -> KubeloopError:
    full = disk_full(error, address) if isinstance(error, OSError) else None
    return full or TransientError(
        f"the store should take {address}, but {type(error).__name__} came",
        "see that the store is up and this account may write to it, then run the same command again",
    )

"""What a search has in the Site's store: order and rows for its trials while it runs, and its trials afterwards."""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeloop.digests import canonical_json, tree_digest
from kubeloop.errors import InputError, IntegrityError, KubeloopError, TransientError
from kubeloop.experiments.search import Search
from kubeloop.experiments.trials import Outcome, best_trial, from_dict
from kubeloop.site.addresses import disk_full, filesystem, store_failures, write_whole
from kubeloop.site.model import Site

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

FOLDER = "searches"
"""Below the store: a folder a search, by its Experiment's name."""

RESULTS = "search-results"
"""Below the store: the trials of each search that ended well, by the digest of all that decided it."""

_ORDER, _ROWS = "order.json", "development"
_REFERENCE = re.compile(r"store:([a-z0-9-]{1,40})@([0-9a-f]{64})")


def send(site: Site, name: str, order: dict[str, Any], development: Path) -> str:
    """Put order and rows where trials can read them; again is a success.

    Args:
        site: Its store takes them.
        name: Of the Experiment.
        order: What all trials have in common; JSON types.
        development: Table folder.

    Returns:
        What a trial is given: name and digest of the order, which names the digest of the rows' files.

    Raises:
        InputError: The disk is full.
        TransientError: The store does not answer.
    """
    address = f"{site.store}/{FOLDER}/{name}"
    content = canonical_json(order | {"files": tree_digest(development)}).encode("ascii")
    reference = f"store:{name}@{hashlib.sha256(content).hexdigest()}"
    with _said(address):
        files, path = filesystem(site, address)
        # The order is written last, so where it is, its rows are, and perhaps trials that read them.
        if files.exists(f"{path}/{_ORDER}") and files.cat_file(f"{path}/{_ORDER}") == content:
            return reference
        for file in sorted(item for item in development.rglob("*") if item.is_file()):
            files.put_file(str(file), f"{path}/{_ROWS}/{file.relative_to(development).as_posix()}")
        write_whole(files, f"{path}/{_ORDER}", content)
    return reference


@contextmanager
def received(site: Site, reference: str) -> Iterator[dict[str, Any]]:
    """The order that `send` sent, its `development` a folder of this machine with the very files that were sent.

    Args:
        site: Whose store has it.
        reference: What `send` returned.

    Raises:
        IntegrityError: Order or rows are not those of the reference.
        InputError: The reference is none, or the disk is full.
        TransientError: The store does not answer.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise InputError(f"an order such as store:<name>@<digest> was expected, got {reference!r}", "see the trial")
    address = f"{site.store}/{FOLDER}/{found[1]}"
    with tempfile.TemporaryDirectory(prefix="kubeloop-") as scratch:
        with _said(address):
            files, path = filesystem(site, address)
            content = bytes(files.cat_file(f"{path}/{_ORDER}"))
            _hold("order", hashlib.sha256(content).hexdigest(), found[2], address)
            order: dict[str, Any] = json.loads(content)
            rows = _rows(files, f"{path}/{_ROWS}", Path(scratch) / _ROWS)
            _hold("rows", tree_digest(rows), order["files"], address)
        yield order | {"development": str(rows)}


def remove(site: Site, name: str) -> bool:
    """Take a search's order and rows out of the store; whether they were there.

    Raises:
        TransientError: The store does not answer.
    """
    address = f"{site.store}/{FOLDER}/{name}"
    with _said(address):
        files, path = filesystem(site, address)
        there = bool(files.exists(path))
        if there:
            files.rm(path, recursive=True)
    return there


def remember(site: Site, key: str, outcome: Outcome) -> None:
    """Keep a search that ended well, for the next run that asks the same.

    Raises:
        InputError: The disk is full.
        TransientError: The store does not answer.
    """
    document = {"trials": [trial.to_dict() for trial in outcome.trials], "ended": outcome.ended}
    content = canonical_json(document | {"reason": outcome.reason}).encode("ascii")
    address = f"{site.store}/{RESULTS}/{key}.json"
    with _said(address):
        files, path = filesystem(site, address)
        write_whole(files, path, content)


def remembered(site: Site, key: str, search: Search) -> Outcome | None:
    """What `remember` kept under this key, every trial of it `kept`; None where there is nothing.

    Raises:
        TransientError: The store does not answer.
    """
    address = f"{site.store}/{RESULTS}/{key}.json"
    with _said(address):
        files, path = filesystem(site, address)
        if not files.exists(path):
            return None
        document = json.loads(files.cat_file(path))
    trials = tuple(from_dict(each) for each in document["trials"])
    return Outcome(trials, best_trial(search, trials), document["ended"], document["reason"], len(trials))


def _rows(files: "AbstractFileSystem", path: str, target: Path) -> Path:
    from fsspec.implementations.local import LocalFileSystem

    if isinstance(files, LocalFileSystem):
        return Path(path)  # a claim that is mounted, read where it is
    target.mkdir()
    for source in files.find(path):
        name = Path(str(source).rpartition(f"/{_ROWS}/")[2])
        if name.is_absolute() or ".." in name.parts:
            raise IntegrityError(f"files below {path} were expected, the store lists {source}", "remove that object")
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        files.get_file(source, str(target / name))
    return target


def _hold(what: str, got: str, expected: str, address: str) -> None:
    if got != expected:
        raise IntegrityError(
            f"the search's {what} should have the digest {expected[:19]} at {address}, and has {got[:19]}",
            "run the pipeline again; nobody else should write there",
        )


@contextmanager
def _said(address: str) -> Iterator[None]:
    try:
        yield
    except KubeloopError:
        raise
    except store_failures() as error:
        full = disk_full(error, address) if isinstance(error, OSError) else None
        raise full or TransientError(
            f"the store should answer at {address}, but {type(error).__name__}: {getattr(error, 'strerror', '')}",
            "see that the store is up and this account may use it, then run again",
        ) from error

"""Marks of the chain's head in the package store: a chain that lost its end, or was written anew, does not fit them.

A mark is an object that is written once, its name says all: `<store>/ledger/<namespace>/<entries>.<digest of the
last>`. Database and store have different owners and different backups: a database that was restored from last week's
copy, or from which somebody deleted the newest rows, is told by the marks that it is younger than. What they cannot
tell: entries after the newest mark that are gone, and one who writes to database and store both. Against that a head
that somebody else keeps helps, held against the chain by `kubeloop ledger verify --expect`.
"""

import re

import sqlalchemy as sa

from kubeloop.errors import InputError, IntegrityError, KubeloopError
from kubeloop.ledger.chain import entries, head
from kubeloop.site.addresses import filesystem, store_failures, write_whole
from kubeloop.site.model import Site

DONE = "done"
_MARK = re.compile(r"(\d{10})\.(sha256-[0-9a-f]{64})")
_SHORTEST = 12


def mark_head(engine: sa.Engine, site: Site) -> str:
    """Leave a mark of the chain as it is; what is recorded stands in the chain, so a store that fails stops nothing.

    Args:
        engine: From `kubeloop.store.open_engine`.
        site: Whose store, and which chain.

    Returns:
        `done`, or why there is no mark.
    """
    seq, digest = head(engine, site.namespace)
    if not seq:
        return DONE
    try:
        files, path = filesystem(site, f"{_place(site)}/{seq:010d}.{digest}")
        if not files.exists(path):
            write_whole(files, path, b"")
    except KubeloopError as error:
        return f"failed: {error.problem}"
    except store_failures() as error:
        return f"failed: {type(error).__name__}"
    return DONE


def marks(site: Site) -> list[tuple[int, str]]:
    """Every mark of the namespace's chain, (entries, digest of the last one), the oldest first.

    Raises:
        IntegrityError: The store cannot be asked: without it nobody knows whether the chain is all there.
    """
    address = _place(site)
    try:
        files, path = filesystem(site, address)
        files.invalidate_cache()
        names = [str(found).rpartition("/")[2] for found in files.ls(path, detail=False)] if files.exists(path) else []
    except store_failures() as error:
        raise IntegrityError(
            f"the ledger's marks were expected at {address}, but the store said {type(error).__name__}",
            "see that the store is up and this account may read it, then verify again",
        ) from error
    found = [mark for name in names if (mark := _MARK.fullmatch(name))]
    return sorted((int(mark[1]), mark[2]) for mark in found)


def fits_marks(engine: sa.Engine, site: Site) -> int:
    """Hold the chain, itself verified, against its marks; returns how many entries the newest one covers.

    Raises:
        IntegrityError: The chain ends before a mark, or another entry stands in its place.
    """
    chain, newest = {entry.seq: entry.digest for entry in entries(engine, site.namespace)}, 0
    for seq, digest in marks(site):
        if seq not in chain:
            raise _apart(
                site, seq, f"ends at entry {max(chain, default=0)}, but the store's mark says that it had {seq}"
            )
        if chain[seq] != digest:
            raise _apart(site, seq, f"was written anew: its entry {seq} is not the one of the store's mark")
        newest = seq
    return newest


def followed_by(engine: sa.Engine, namespace: str, expected: str) -> int:
    """How many entries came after one whose digest was kept elsewhere.

    Args:
        engine: From `kubeloop.store.open_engine`.
        namespace: Which chain; itself verified.
        expected: The digest, `sha256-...`, or at least 12 of its digits.

    Raises:
        InputError: `expected` is too short to mean one entry.
        IntegrityError: The chain has no such entry.
    """
    digits = expected.removeprefix("sha256-")
    if not re.fullmatch(rf"[0-9a-f]{{{_SHORTEST},64}}", digits):
        raise InputError(
            f"a digest was expected, or at least {_SHORTEST} of its hexadecimal digits, got {expected!r}",
            "take the `head` that an earlier `kubeloop ledger verify` printed",
        )
    chain = entries(engine, namespace)
    for entry in reversed(chain):
        if entry.digest.removeprefix("sha256-").startswith(digits):
            return len(chain) - entry.seq
    raise IntegrityError(
        f"the ledger of {namespace} should hold the entry {expected}, but none of its {len(chain)} entries is that one",
        "its end was cut off or it was written anew: find out who had access to the database, and restore a copy",
        namespace=namespace,
        expected=expected,
    )


def _place(site: Site) -> str:
    return f"{site.store}/ledger/{site.namespace}"


def _apart(site: Site, seq: int, how: str) -> IntegrityError:
    return IntegrityError(
        f"the ledger of {site.namespace} {how}",
        "find out who had access to the database, or which backup it was restored from, and restore a newer copy",
        namespace=site.namespace,
        seq=seq,
    )

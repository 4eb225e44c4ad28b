"""Named locks: one holder at a time, let go by the kernel or the server when the holder dies."""

import datetime as dt
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from filelock import FileLock, Timeout

from kubeloop.errors import InputError, TransientError
from kubeloop.site.addresses import disk_full
from kubeloop.site.model import Site
from kubeloop.store.engine import open_engine


class BusyError(TransientError):
    """Somebody else is at it. Trying later helps, and until then it is the caller's to decide: exit 2."""

    exit_code: ClassVar[int] = 2


@contextmanager
def lock(site: Site, name: str, wait_s: float, what: str) -> Iterator[None]:
    """Hold the lock `name` of the Site's namespace.

    With SQLite it is a file below `<home>/locks` (else beside the database), for processes of one machine; with
    PostgreSQL an advisory lock, for all that share the database. Not reentrant: a second taker waits, in this process
    too.

    Args:
        site: Where.
        name: Which lock.
        wait_s: Seconds to wait for it; 0 tries once.
        what: What the holder is doing, for the message that others get, such as `a run of heart`.

    Raises:
        BusyError: It was not free in time; names the holder.
        InputError: The home cannot be written.
    """
    if site.sql.startswith("sqlite"):
        with _file_lock(site, name, wait_s, what):
            yield
    else:
        with _advisory_lock(site, name, wait_s, what):
            yield


@contextmanager
def _file_lock(site: Site, name: str, wait_s: float, what: str) -> Iterator[None]:
    root = site.home or Path(site.sql.partition(":///")[2]).parent
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", f"{site.namespace}.{name}")
    holder = root / "locks" / f"{safe}.holder"
    taken = FileLock(str(root / "locks" / f"{safe}.lock"), timeout=wait_s)
    try:
        holder.parent.mkdir(parents=True, exist_ok=True)
        taken.acquire()
    except Timeout:
        raise _busy(name, wait_s, what, _holder(holder)) from None
    except OSError as error:
        place = str(holder.parent)
        raise disk_full(error, place) or InputError(
            f"{place} cannot be written: {error.strerror}", "name a place that is yours with --home", path=place
        ) from None
    try:
        document = {"pid": os.getpid(), "what": what, "since": dt.datetime.now(dt.UTC).isoformat(timespec="seconds")}
        holder.write_text(json.dumps(document), encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        taken.release()


@contextmanager
def _advisory_lock(site: Site, name: str, wait_s: float, what: str) -> Iterator[None]:
    digest = hashlib.sha256(f"{site.namespace}/{name}".encode()).digest()
    key = {"key": int.from_bytes(digest[:8], "big", signed=True)}
    engine = open_engine(site)
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            # 0 would mean no limit at all.
            connection.execute(sa.text(f"SET lock_timeout = {max(1, int(wait_s * 1000))}"))
            try:
                connection.execute(sa.text("SELECT pg_advisory_lock(:key)"), key)
            except TransientError as error:
                raise _busy(name, wait_s, what, {}) from error
            yield  # closing the session lets go, however it ends
    finally:
        engine.dispose()


def _holder(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # it is just coming or going
        return {}
    return found if isinstance(found, dict) else {}


def _busy(name: str, wait_s: float, what: str, holder: dict[str, Any]) -> BusyError:
    if not holder:
        who = "another process"
    else:
        who = f"process {holder.get('pid')} ({holder.get('what')}, since {holder.get('since')})"
    return BusyError(
        f"{what} needs the lock {name}, which {who} holds; waited {wait_s:g} s",
        "wait until it has ended, then run the same command again",
        retry_after_s=wait_s or 1.0,
        lock=name,
    )

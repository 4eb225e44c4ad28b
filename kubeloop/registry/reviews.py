"""What people say and decide about a version: stage, metadata, review notes. Each is an entry in the ledger."""

import datetime as dt
import json
import re
from dataclasses import dataclass

import sqlalchemy as sa

from kubeloop.errors import InputError, PermanentError
from kubeloop.ledger import append, entries
from kubeloop.registry.versions import PRODUCTION, Version, version_of
from kubeloop.store.tables import versions as versions_table

REVIEW = "review"
STAGE = "stage"
METADATA = "metadata"
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LONGEST = 2000


@dataclass(frozen=True)
class Note:
    """A review note.

    Attributes:
        author: Who says so.
        text: What.
        at: When, UTC.
    """

    author: str
    text: str
    at: dt.datetime


def add_note(engine: sa.Engine, namespace: str, version: Version, author: str, text: str, now: dt.datetime) -> None:
    """Put a review note into the ledger; it is never changed or removed.

    Raises:
        InputError: Author or text is empty or too long.
    """
    for what, value in (("author", author), ("note", text)):
        if not value.strip() or len(value) > _LONGEST:
            raise InputError(
                f"a {what} of 1 to {_LONGEST} characters was expected, got {len(value.strip())}", f"shorten the {what}"
            )
    append(engine, namespace, REVIEW, {**_who(version), "author": author, "text": text}, now)


def notes(engine: sa.Engine, namespace: str, version: Version) -> list[Note]:
    """The review notes of a version, the oldest first."""
    return [
        Note(entry.body["author"], entry.body["text"], entry.at)
        for entry in entries(engine, namespace, (REVIEW,))
        if (entry.body["name"], entry.body["digest"]) == (version.name, version.digest)
    ]


def move_stage(
    engine: sa.Engine, namespace: str, version: Version, stage: str, author: str, now: dt.datetime
) -> Version:
    """Put a version on a stage.

    Args:
        engine: Of the Site.
        namespace: Whose registry.
        version: Which.
        stage: `development` or `staging`. `production` is what serves: that is moved by a promotion alone.
        author: Who decides.
        now: Aware.

    Raises:
        InputError: There is no such stage, or it is production's.
    """
    if stage not in ("development", "staging"):
        raise InputError(
            f"a stage is development or staging, got {stage!r}",
            "use `kubeloop promote`: the champion is what is in production"
            if stage == PRODUCTION
            else "give one of these",
            stage=stage,
        )
    if version.stage == PRODUCTION:
        raise InputError(
            f"version {version.version} of {version.name} is the champion, and so in production",
            "promote another version, or roll back; then this one can be moved",
        )
    if version.stage != stage:
        append(engine, namespace, STAGE, {**_who(version), "from": version.stage, "to": stage, "author": author}, now)
        _update(engine, namespace, version, {"stage": stage})
    return _again(engine, namespace, version)


def set_metadata(
    engine: sa.Engine, namespace: str, version: Version, changes: dict[str, str], author: str, now: dt.datetime
) -> Version:
    """Set keys of a version's metadata; an empty text removes a key.

    Raises:
        InputError: A key is no short name.
    """
    for key in changes:
        if not _KEY.fullmatch(key):
            raise InputError(
                f"a key of metadata is up to 63 letters, digits, '.', '_' and '-', got {key!r}", "use another key"
            )
    table = versions_table
    with engine.begin() as connection:
        mine = (table.c.namespace == namespace, table.c.name == version.name, table.c.digest == version.digest)
        found = json.loads(connection.execute(sa.select(table.c.metadata).where(*mine)).scalar_one())
        merged = {key: value for key, value in {**found, **changes}.items() if value}
        text = json.dumps(merged, sort_keys=True)
        connection.execute(sa.update(table).where(*mine).values(metadata=text))
    append(engine, namespace, METADATA, {**_who(version), "changes": dict(changes), "author": author}, now)
    return _again(engine, namespace, version)


def _who(version: Version) -> dict[str, str | int]:
    return {"name": version.name, "version": version.version, "digest": version.digest}


def _update(engine: sa.Engine, namespace: str, version: Version, values: dict[str, str]) -> None:
    table = versions_table
    mine = (table.c.namespace == namespace, table.c.name == version.name, table.c.digest == version.digest)
    with engine.begin() as connection:
        connection.execute(sa.update(table).where(*mine).values(values))


def _again(engine: sa.Engine, namespace: str, version: Version) -> Version:
    found = version_of(engine, namespace, version.name, version.digest)
    if found is None:
        raise PermanentError(f"version {version.version} of {version.name} vanished", "see `kubeloop doctor`")
    return found

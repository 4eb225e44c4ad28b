"""Which packages exist under a name."""

import datetime as dt
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from kubeloop.digests import canonical_json
from kubeloop.errors import IntegrityError, RefusedError, TransientError
from kubeloop.ledger import append, entries, mark_head
from kubeloop.packaging.manifest import DETACHED, MANIFEST
from kubeloop.packaging.read import read_package
from kubeloop.packaging.signing import SIGNATURE, check, sign
from kubeloop.packaging.store import attach, fetch, publish
from kubeloop.packaging.verify import verify
from kubeloop.registry.mirror import DONE, mirror_alias, mirror_version
from kubeloop.registry.semantic import Shape, following, shape_of
from kubeloop.site.model import Site
from kubeloop.store.tables import champions as champions_table
from kubeloop.store.tables import versions as versions_table

REGISTRATION = "registration"
PRODUCTION = "production"
_TRIES = 20


@dataclass(frozen=True)
class Version:
    """A package with its number.

    Attributes:
        name: The model.
        version: From 1 within the name, without gaps.
        digest: The package.
        address: Where it lies.
        run_id: The run that first registered it.
        created_at: When, UTC.
        mirror: `done`, or why MLflow does not know this version; empty where it was not asked.
        semantic: Derived number such as `1.2.0`; None for a version from before there were any.
        stage: `development`, `staging`, or `production`, which is the champion's and no other's.
        metadata: What people noted, by key.
        is_champion: Whether the champion row names it.
    """

    name: str
    version: int
    digest: str
    address: str
    run_id: str | None
    created_at: dt.datetime
    mirror: str = ""
    semantic: str | None = None
    stage: str = "development"
    metadata: Mapping[str, str] = field(default_factory=dict)
    is_champion: bool = False


def register(engine: sa.Engine, site: Site, folder: Path, run_id: str, now: dt.datetime) -> Version:
    """Publish a package and give it a number; the same package again is the same version.

    Args:
        engine: Of the Site.
        site: Where.
        folder: A package folder, from `kubeloop.packaging.build.build`.
        run_id: The run it comes from.
        now: Aware.

    Returns:
        The version, which is the challenger unless it is the champion. A mirror that failed is told in `mirror`.

    Raises:
        RefusedError: The gate did not pass it.
        IntegrityError: The folder or the store's copy is not what the digest says.
        TransientError: Store or database do not answer.
        InputError: The Site wants signatures and gives no key to sign with.
    """
    signature = sign_once(site, folder)
    package = read_package(folder, site=site)
    verdict = package.manifest.decision.verdict
    if verdict != "pass":
        raise RefusedError(
            f"a package whose gate said pass was expected, but for {package.name} it said {verdict}",
            "mend the data or the model and run again; only what passed is registered",
            digest=package.digest,
        )
    address = publish(site, folder)
    _sign_stored(site, package.digest, signature)
    wanted = Version(package.name, 0, package.digest, address, run_id, now)
    found = _enter(engine, site.namespace, wanted, shape_of(package.manifest))
    _note(engine, site.namespace, found, run_id, (_judged_against(folder), package.signature), now)
    mark_head(engine, site)
    return replace(found, mirror=_mirrored(engine, site, found, run_id))


def _mirrored(engine: sa.Engine, site: Site, found: Version, run_id: str) -> str:
    """Tell MLflow of a version, and that it is the challenger if it is."""
    told = mirror_version(site, found.name, found.version, found.address, found.digest, run_id)
    rival = challenger(engine, site.namespace, found.name)
    if told == DONE and rival is not None and rival.digest == found.digest:
        told = mirror_alias(site, found.name, "challenger", found.version)
    return told


def sign_once(site: Site, folder: Path) -> bytes | None:
    """Sign a package folder, unless somebody whom the Site trusts has; gives the signature, None where none is wanted.

    Raises:
        InputError: The Site wants signatures and gives no key to sign with.
    """
    if site.signing_key is None and site.allow_unsigned:
        return None
    verify(folder)
    content, file = (folder / MANIFEST).read_bytes(), folder / SIGNATURE
    try:
        check(folder, content, site.model_copy(update={"allow_unsigned": False}))
    except IntegrityError:
        made = sign(content, site)
        file.parent.mkdir(exist_ok=True)
        beside = file.with_name(f".{file.name}.{os.getpid()}")
        beside.write_bytes(made)
        beside.replace(file)
    return file.read_bytes()


def _sign_stored(site: Site, digest: str, signature: bytes | None) -> None:
    """Hand the signature to a stored copy that came before it, or was signed by a key that is not trusted any more."""
    if signature is None:
        return
    try:
        fetch(site, digest)
    except IntegrityError as error:
        if error.context.get("file") != SIGNATURE:
            raise
        attach(site, digest, SIGNATURE, signature)


def versions(engine: sa.Engine, namespace: str, name: str) -> list[Version]:
    """All versions of a model, the newest first."""
    return _select(engine, namespace, versions_table.c.name == name)


def version_of(engine: sa.Engine, namespace: str, name: str, digest: str) -> Version | None:
    """The version that a digest is registered as."""
    found = _select(engine, namespace, (versions_table.c.name == name) & (versions_table.c.digest == digest))
    return found[0] if found else None


def challenger(engine: sa.Engine, namespace: str, name: str) -> Version | None:
    """The newest version that is not the champion."""
    found = _select(engine, namespace, (versions_table.c.name == name) & ~_is_champion())
    return found[0] if found else None


def search(engine: sa.Engine, namespace: str, text: str = "") -> list[Version]:
    """The versions of which a text holds `text` (empty: all), by name, the newest first.

    Looked at are name, digest, run id, semantic number, stage and metadata.
    """
    table = versions_table
    if text == PRODUCTION:
        return _select(engine, namespace, _is_champion())
    columns = (table.c.name, table.c.digest, table.c.run_id, table.c.semantic, table.c.stage, table.c.metadata)
    return _select(engine, namespace, sa.or_(*(column.contains(text, autoescape=True) for column in columns)))


def judged_against(engine: sa.Engine, namespace: str, name: str, digest: str) -> dict[str, Any]:
    """What the newest registration of a package says about its judgement: `{"baseline": ..., "champion": digest|None}`.

    Empty where nothing is known.
    """
    for entry in reversed(entries(engine, namespace, (REGISTRATION,))):
        if (entry.body.get("name"), entry.body.get("digest")) == (name, digest):
            return dict(entry.body.get("judged_against") or {})
    return {}


def _enter(engine: sa.Engine, namespace: str, wanted: Version, shape: Shape) -> Version:
    """The row of a digest, inserted with the next numbers if there is none."""
    table = versions_table
    for _ in range(_TRIES):
        try:
            with engine.begin() as connection:
                mine = (table.c.namespace == namespace) & (table.c.name == wanted.name)
                query = sa.select(table).where(mine, table.c.digest == wanted.digest)
                there = connection.execute(query).mappings().first()
                if there is not None:
                    return _version(dict(there))
                newest = sa.select(table).where(mine).order_by(table.c.version.desc()).limit(1)
                last = dict(connection.execute(newest).mappings().first() or {})
                row = {
                    "namespace": namespace,
                    "name": wanted.name,
                    "version": last.get("version", 0) + 1,
                    "digest": wanted.digest,
                    "address": wanted.address,
                    "run_id": wanted.run_id,
                    "created_at": wanted.created_at.astimezone(dt.UTC).isoformat(),
                    "semantic": following(last.get("semantic"), json.loads(last.get("shape") or "null"), shape),
                    "shape": canonical_json(shape),
                }
                connection.execute(sa.insert(table).values(row))
                return _version(row)
        except sa.exc.IntegrityError:  # PostgreSQL: another took the number between our read and our write
            continue
    raise TransientError(f"{_TRIES} other versions came first", "run the same command again", retry_after_s=1.0)


def _note(
    engine: sa.Engine,
    namespace: str,
    found: Version,
    run_id: str,
    said: tuple[dict[str, Any], str],
    now: dt.datetime,
) -> None:
    """One ledger entry per package and run: a package that comes out again was judged again."""
    key = (found.name, found.digest, run_id)
    for entry in entries(engine, namespace, (REGISTRATION,)):
        if tuple(entry.body.get(k) for k in ("name", "digest", "run")) == key:
            return
    body = {
        "name": found.name,
        "version": found.version,
        "digest": found.digest,
        "run": run_id,
        "judged_against": said[0],
        "signature": said[1],
    }
    append(engine, namespace, REGISTRATION, body, now)


def _judged_against(folder: Path) -> dict[str, Any]:
    file = folder / DETACHED / "evaluation.json"
    if not file.is_file():
        return {}
    try:
        document = json.loads(file.read_text(encoding="ascii"))
        return {"baseline": document["decision"]["baseline"], "champion": document["champion"]}
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"{DETACHED}/{file.name} should say against whom the package was judged, but {error!r}",
            "build the package again",
            file=f"{DETACHED}/{file.name}",
        ) from error


def _select(engine: sa.Engine, namespace: str, where: sa.ColumnElement[bool]) -> list[Version]:
    table = versions_table
    columns = (table, _is_champion().label("is_champion"))
    query = sa.select(*columns).where(table.c.namespace == namespace, where)
    query = query.order_by(table.c.name, table.c.version.desc())
    with engine.connect() as connection:
        return [_version(dict(row)) for row in connection.execute(query).mappings()]


def _version(row: Mapping[str, Any]) -> Version:
    return Version(
        name=row["name"],
        version=row["version"],
        digest=row["digest"],
        address=row["address"],
        run_id=row["run_id"],
        created_at=dt.datetime.fromisoformat(row["created_at"]),
        semantic=row["semantic"],
        # Production is the champion row's word alone, so the two can never disagree.
        stage=PRODUCTION if row.get("is_champion") else row.get("stage", "development"),
        metadata=json.loads(row.get("metadata", "{}")),
        is_champion=bool(row.get("is_champion")),
    )


def _is_champion() -> sa.Exists:
    return sa.exists().where(
        champions_table.c.namespace == versions_table.c.namespace,
        champions_table.c.name == versions_table.c.name,
        champions_table.c.digest == versions_table.c.digest,
    )

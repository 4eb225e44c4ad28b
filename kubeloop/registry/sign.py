"""Sign registered packages later: those from before there was a key, or whose key is trusted no more."""

import datetime as dt

import sqlalchemy as sa

from kubeloop.errors import IntegrityError
from kubeloop.ledger import append
from kubeloop.packaging.manifest import MANIFEST
from kubeloop.packaging.signing import SIGNATURE, sign
from kubeloop.packaging.store import attach, fetch
from kubeloop.registry.versions import Version, search
from kubeloop.site.model import Site
from kubeloop.store import open_engine

SIGNED = "signature"


def sign_registered(site: Site, author: str, now: dt.datetime) -> list[Version]:
    """Sign every version whose package nobody trusted signed; gives them.

    What is signed is what the registry and the ledger name by digest, verified byte by byte: a package that was put
    into the store by hand is none of ours.

    Raises:
        InputError: The Site has no signing key.
        IntegrityError: A package is missing or altered.
    """
    engine = open_engine(site)
    try:
        return [
            version for version in search(engine, site.namespace) if _signed_now(engine, site, version, author, now)
        ]
    finally:
        engine.dispose()


def _signed_now(engine: sa.Engine, site: Site, version: Version, author: str, now: dt.datetime) -> bool:
    try:
        fetch(site.model_copy(update={"allow_unsigned": False}), version.digest)
    except IntegrityError as error:
        if error.context.get("file") != SIGNATURE:
            raise
    else:
        return False
    # Whatever the signature says, the bytes must be those of the digest.
    folder = fetch(site.model_copy(update={"allow_unsigned": True, "trusted_keys": ()}), version.digest)
    attach(site, version.digest, SIGNATURE, sign((folder / MANIFEST).read_bytes(), site))
    body = {"name": version.name, "version": version.version, "digest": version.digest, "author": author}
    append(engine, site.namespace, SIGNED, body, now)
    return True

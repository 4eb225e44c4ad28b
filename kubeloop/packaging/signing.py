"""Signatures over packages, in the form of OpenSSF model signing, with key pairs and offline.

What is signed is `manifest.json`, which names every other file by digest. A signature is detached: it is no part of the
package's identity, and one package may be signed again by another key. `register` alone holds the private key.
"""

import base64
import binascii
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from kubeloop.errors import InputError, IntegrityError
from kubeloop.packaging.manifest import DETACHED, MANIFEST
from kubeloop.site.model import Site
from kubeloop.site.secrets import resolve

SIGNATURE = f"{DETACHED}/signature.json"
UNSIGNED = "unsigned"
_FIX = "register it again where the signing key is; a signature by a key that the Site does not trust is worth nothing"
_SHOWN = 12
_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_STATEMENT = "application/vnd.in-toto+json"
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, binascii.Error)


def make_pair() -> tuple[bytes, bytes]:
    """A new key pair: private and public key as PEM, ECDSA on the curve P-256."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    return private, _public_pem(key.public_key())


def fingerprint(public: bytes | str) -> str:
    """The first 12 digits of the SHA-256 of a public key, as the signature itself names its key.

    Raises:
        InputError: It is no public key in PEM.
    """
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return _hint(public)[:_SHOWN]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(
            f"a public key in PEM was expected among the Site's trusted keys, but {error}",
            "put what `kubeloop keys make` wrote as public key there",
        ) from None


def sign(manifest: bytes, site: Site) -> bytes:
    """A signature over a manifest, by the Site's private key.

    Raises:
        InputError: The Site has no signing key, or what it refers to is none.
    """
    from model_signing import signing

    if site.signing_key is None:
        raise InputError(
            f"the Site {site.name} gives no signing key, and does not allow unsigned packages",
            "make a pair with `kubeloop keys make`, and let signing_key refer to the private one",
        )
    private = resolve(site.signing_key, site).encode()
    with _files(manifest) as folder, _in_memory(private) as key:
        try:
            config = cast(Any, signing).Config().use_elliptic_key_signer(private_key=key)
        except (ValueError, TypeError):
            # `from None`, and no words of the library: they could quote the key.
            raise InputError(
                "the Site's signing key should be an unencrypted private key in PEM on the curve P-256",
                "make a pair with `kubeloop keys make`",
            ) from None
        config.sign(folder / MANIFEST, folder / "signature")
        return _canonical((folder / "signature").read_bytes(), _public_of(private))


def check(folder: Path, manifest: bytes, site: Site) -> str:
    """See that somebody whom the Site trusts signed a manifest; nothing of the package is parsed before.

    Args:
        folder: The package, for its detached signature.
        manifest: The bytes of its manifest.
        site: Which keys it trusts, and whether it allows packages without a signature.

    Returns:
        The fingerprint of the key, or `unsigned`.

    Raises:
        IntegrityError: The signature is missing and the Site wants one, or is by another key, or over other bytes.
    """
    signature = _read(folder / SIGNATURE)
    if not site.trusted_keys or signature is None:
        if site.allow_unsigned:
            return UNSIGNED
        missing = "it has none" if signature is None else "the Site trusts no key"
        raise _refused(folder, f"a signature that the Site {site.name} trusts was expected, but {missing}")
    return verify_signature(manifest, signature, site.trusted_keys, folder)


def verify_signature(manifest: bytes, signature: bytes, keys: Sequence[str], folder: Path) -> str:
    """The fingerprint of the first of `keys` that signed a manifest.

    Raises:
        IntegrityError: None of them did.
    """
    trusted = {fingerprint(key): key for key in keys}
    with _files(manifest) as place:
        (place / "signature").write_bytes(signature)
        for name, key in trusted.items():
            (place / "key.pub").write_text(key, encoding="ascii")
            if _signed_by(place) and _canonical(signature, key) == signature:
                return name
    raise _refused(
        folder,
        f"{SIGNATURE} should be a signature over {MANIFEST} by {' or '.join(sorted(trusted))}, but it is by "
        "another key, over other bytes, or damaged",
    )


def _signed_by(place: Path) -> bool:
    from cryptography.exceptions import InvalidSignature
    from model_signing import verifying

    config = cast(Any, verifying).Config().use_elliptic_key_verifier(public_key=place / "key.pub")
    try:
        config.verify(place / MANIFEST, place / "signature")
    except (*_DAMAGE, InvalidSignature):
        return False
    return True


def _canonical(signature: bytes, public: bytes | str) -> bytes:
    """The one way to write a signature down; what else holds the same signed bytes was changed by somebody.

    A bundle (Sigstore's protobuf-specs, v0.3) has words that nothing signs: its media type, keys that readers skip,
    white space, the spare bits of base64. They could carry a message past the check, so none of them is free.
    """
    try:
        envelope = json.loads(signature)["dsseEnvelope"]
        payload, signed = (base64.b64decode(text) for text in (envelope["payload"], envelope["signatures"][0]["sig"]))
    except _DAMAGE:
        return b""
    bundle = {
        "mediaType": _BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": _hint(public)}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode("ascii"),
            "payloadType": _STATEMENT,
            "signatures": [{"sig": base64.b64encode(signed).decode("ascii"), "keyid": ""}],
        },
    }
    return json.dumps(bundle, separators=(",", ":")).encode("ascii")


@contextmanager
def _files(manifest: bytes) -> Iterator[Path]:
    """A private folder with these very bytes: what is verified is what is parsed, whatever happens to the package."""
    with tempfile.TemporaryDirectory(prefix="kubeloop-") as folder:
        (Path(folder) / MANIFEST).write_bytes(manifest)
        yield Path(folder)


@contextmanager
def _in_memory(content: bytes) -> Iterator[Path]:
    """A path to bytes that never reach a disk; Linux only."""
    handle = os.memfd_create("kubeloop", os.MFD_CLOEXEC)
    try:
        os.write(handle, content)
        yield Path(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)


def _read(file: Path) -> bytes | None:
    if file.is_symlink():  # a link could point at another package's
        return b""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _hint(public: bytes | str) -> str:
    """SHA-256 of a public key, by which a bundle names it."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = public.encode() if isinstance(public, str) else public
    return hashlib.sha256(_public_pem(load_pem_public_key(content))).hexdigest()


def _public_of(private: bytes) -> bytes:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return _public_pem(load_pem_private_key(private, None).public_key())


def _public_pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization as form

    found: bytes = key.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    return found


def _refused(folder: Path, problem: str) -> IntegrityError:
    return IntegrityError(f"in package {folder.name}: {problem}", _FIX, file=SIGNATURE, package=str(folder))

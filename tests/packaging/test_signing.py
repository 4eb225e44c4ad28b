"""A package is used only if somebody signed it whom the Site trusts, and that is known before anything is parsed."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from kubeloop.errors import InputError, IntegrityError
from kubeloop.packaging import verify as verification
from kubeloop.packaging.read import read_package
from kubeloop.packaging.signing import SIGNATURE, UNSIGNED, check, fingerprint, make_pair, sign
from kubeloop.packaging.store import fetch, publish
from kubeloop.packaging.verify import verify
from kubeloop.site.model import Site, laptop

PAIR = make_pair()
OTHER = make_pair()


@pytest.fixture
def strict(tmp_path: Path) -> Site:
    """A Site that trusts one key and holds its private half."""
    home = tmp_path / "home"
    (home / "secrets").mkdir(parents=True)
    (home / "keys").mkdir()
    (home / "secrets/signing-key").write_bytes(PAIR[0])
    (home / "secrets/signing-key").chmod(0o600)
    (home / "keys/first.pub").write_bytes(PAIR[1])
    return laptop(home)


def other(site: Site) -> Site:
    return site.model_copy(update={"trusted_keys": (OTHER[1].decode(),)})


def put(package: Path, signature: bytes) -> None:
    (package / SIGNATURE).write_bytes(signature)


@pytest.fixture
def signed(package: Path, strict: Site) -> Path:
    put(package, sign((package / "manifest.json").read_bytes(), strict))
    return package


def test_a_home_with_keys_signs_and_refuses_the_unsigned(strict, package):
    assert not strict.allow_unsigned
    assert strict.signing_key == "${secret:signing-key}"
    with pytest.raises(IntegrityError, match="a signature that the Site laptop trusts was expected, but it has none"):
        read_package(package, site=strict)


def test_what_was_signed_is_read_and_says_by_whom(strict, signed, capsys):
    assert read_package(signed, site=strict).signature == fingerprint(PAIR[1])
    assert capsys.readouterr().err == ""


def test_a_signature_is_no_part_of_the_identity(signed, kept):
    assert verify(signed)[1] == verify(kept)[1]


def test_another_key_is_refused(strict, signed):
    with pytest.raises(IntegrityError, match="it is by another key, over other bytes, or damaged"):
        read_package(signed, site=other(strict))


def test_two_trusted_keys_let_keys_be_changed(strict, signed):
    both = strict.model_copy(update={"trusted_keys": (OTHER[1].decode(), PAIR[1].decode())})
    assert read_package(signed, site=both).signature == fingerprint(PAIR[1])


def test_the_signature_of_another_package_is_refused(strict, signed, models, tmp_path):
    second = models.package(tmp_path / "second", c=0.3)
    put(second, (signed / SIGNATURE).read_bytes())
    with pytest.raises(IntegrityError, match="over other bytes"):
        read_package(second, site=strict)


def test_nothing_is_parsed_before_the_signature_holds(strict, signed, monkeypatch):
    (signed / "manifest.json").write_bytes(b'{"not": "ours"}')

    def never(_content):
        raise AssertionError("parsed")

    monkeypatch.setattr(verification, "parse", never)
    with pytest.raises(IntegrityError, match=r"signature\.json should be a signature over manifest\.json"):
        read_package(signed, site=strict)


def test_damaged_signatures_are_refused_and_never_crash(strict, signed):
    content = (signed / SIGNATURE).read_bytes()
    manifest = (signed / "manifest.json").read_bytes()
    draw = random.Random(0)
    document = json.loads(content)
    spoilt = [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps(document | {"dsseEnvelope": 1}).encode(),
    ]
    spoilt += [json.dumps({key: document[key] for key in document if key != gone}).encode() for gone in document]
    for _ in range(60):
        flipped = bytearray(content)
        flipped[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        spoilt.append(bytes(flipped))
    # What no key signs, and readers of such files skip: each is the same signature, written in another way.
    spoilt += [
        content + b"\n",
        json.dumps(document).encode(),
        json.dumps(dict(reversed(document.items())), separators=(",", ":")).encode(),
        *(
            json.dumps(document | more, separators=(",", ":")).encode()
            for more in ({"note": "x"}, {"mediaType": "application/vnd.dev.sigstore.bundle.v0.2+json"})
        ),
        content.replace(b'"keyid":""', b'"keyid":"x"'),
        content.replace(b'"payload":"', b'"payload":"\\n'),
    ]
    assert content not in spoilt
    for signature in spoilt:
        put(signed, signature)
        with pytest.raises(IntegrityError):
            check(signed, manifest, strict)
    put(signed, content)
    assert check(signed, manifest, strict) == fingerprint(PAIR[1])


def test_a_linked_signature_is_refused(strict, signed, tmp_path):
    (signed / SIGNATURE).rename(tmp_path / "elsewhere")
    (signed / SIGNATURE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError):
        read_package(signed, site=strict)


def test_unsigned_is_said_loudly_at_every_load(tmp_path, package, capsys):
    lax = laptop(tmp_path / "home")
    for _ in range(2):
        assert read_package(package, site=lax).signature == UNSIGNED
        said = capsys.readouterr().err
        assert "WARNING: package" in said
        assert "is UNSIGNED; it is loaded because the Site laptop says allow_unsigned" in said


def test_a_site_that_trusts_nobody_and_allows_nothing_loads_nothing(tmp_path, signed):
    closed = laptop(tmp_path / "other").model_copy(update={"allow_unsigned": False})
    with pytest.raises(IntegrityError, match="but the Site trusts no key"):
        read_package(signed, site=closed)


def test_the_private_key_is_a_reference_and_nothing_else(tmp_path):
    with pytest.raises(InputError, match="signing_key should be a reference") as caught:
        laptop(tmp_path).model_validate(laptop(tmp_path).model_dump() | {"signing_key": PAIR[0].decode()})
    assert "PRIVATE" not in str(caught.value)


def test_a_wrong_private_key_is_said_without_quoting_it(strict, package):
    (strict.home / "secrets/signing-key").write_text("-----BEGIN NONSENSE-----hunter2")
    with pytest.raises(InputError, match="an unencrypted private key in PEM") as caught:
        sign(b"{}", strict)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(InputError, match="a public key in PEM was expected"):
        fingerprint("nonsense")


def test_the_store_gives_only_what_is_signed(strict, signed, kept):
    digest = verify(kept)[1]
    publish(strict, kept)
    with pytest.raises(IntegrityError, match="but it has none"):
        fetch(strict, digest)
    from kubeloop.packaging.store import attach

    attach(strict, digest, SIGNATURE, (signed / SIGNATURE).read_bytes())
    assert read_package(fetch(strict, digest), digest, strict).signature == fingerprint(PAIR[1])


def test_the_signature_is_one_that_openssf_tools_verify(strict, signed, tmp_path):
    (tmp_path / "key.pub").write_bytes(PAIR[1])
    command = [sys.executable, "-m", "model_signing", "verify", "key", "--signature", str(signed / SIGNATURE)]
    command += ["--public_key", str(tmp_path / "key.pub"), str(signed / "manifest.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

"""From an address in the store to whoever has to read it: fsspec, KServe."""

import errno
import os
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kubeloop.errors import InputError
from kubeloop.site.model import Site
from kubeloop.site.secrets import resolve
from kubeloop.site.urls import REFERENCE

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

DIGEST = re.compile(r"sha256-[0-9a-f]{64}")
_KSERVE = {"file": "file", "s3": "s3", "gs": "gs", "gcs": "gs", "pvc": "pvc", "https": "https"}


def package_address(site: Site, digest: str) -> str:
    """Where a package lives: `<store>/packages/<digest>`.

    Raises:
        InputError: `digest` is not `sha256-` and 64 hexadecimal digits.
    """
    if not DIGEST.fullmatch(digest):
        raise InputError(
            f"a digest is sha256- and 64 hexadecimal digits, got {digest!r}", "take it from `kubeloop versions`"
        )
    return f"{site.store}/packages/{digest}"


def filesystem(site: Site, address: str) -> "tuple[AbstractFileSystem, str]":
    """The file system of an address, and the path in it; local file systems make missing folders.

    Raises:
        InputError: Nothing installed can read such an address.
    """
    from fsspec.core import url_to_fs

    scheme = address.partition("://")[0] if "://" in address else "file"
    try:
        found, path = url_to_fs(_mounted(site, resolve(address, site)), **_options(site, scheme))
    except (ImportError, ValueError) as error:
        needed = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}.get(scheme)
        raise InputError(
            f"addresses of {scheme}:// cannot be read here",
            f"pip install {needed}" if needed else "use a store of file://, s3:// or gs://",
            scheme=scheme,
        ) from error
    return found, str(path)


def _mounted(site: Site, address: str) -> str:
    """An address that fsspec reads: a claim's folder is where the claim is mounted."""
    if not address.startswith("pvc://"):
        return address
    if site.objects.mount is None:
        raise InputError(
            f"the place where the claim of {address} is mounted was expected in the Site, and is missing",
            "set objects.mount to the mount path",
            address=address,
        )
    _, _, inside = address.removeprefix("pvc://").partition("/")
    if ".." in inside.split("/"):
        raise InputError(f"a path inside the claim was expected, got {address}", "leave `..` out", address=address)
    return f"file://{site.objects.mount}/{inside}"


def _options(site: Site, scheme: str) -> dict[str, Any]:
    """What fsspec's file system of a scheme needs; values of secrets, so kept nowhere."""
    if scheme in ("file", "pvc"):
        return {"auto_mkdir": True}
    if scheme != "s3":
        return {}
    how = site.objects
    # Buckets are made by whoever owns them; and a listing of a second ago must not hide what another process wrote.
    options: dict[str, Any] = {"use_listings_cache": False}
    client = {"endpoint_url": how.endpoint, "region_name": how.region}
    if given := {key: value for key, value in client.items() if value is not None}:
        options["client_kwargs"] = given
    if how.key is not None and how.secret is not None:
        options |= {"key": resolve(how.key, site), "secret": resolve(how.secret, site)}
    return options


@dataclass(frozen=True)
class Access:
    """What somebody else needs to read an address: KServe, a Katib trial, any pod. Holds no credential.

    Attributes:
        address: Ours.
        storage_uri: KServe's `storageUri`.
        environment: Variables of a pod that are no secret.
        secrets: Variables of a pod that are: name -> the secret's name in our own Secret.
        annotations: Of the ServiceAccount's Secret from which KServe's storage initializer takes S3 settings.
        volume: The claim to mount, and where; None: none.
    """

    address: str
    storage_uri: str
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    volume: tuple[str, str] | None = None


def access(site: Site, address: str) -> Access:
    """The one function from an address in the store to KServe's `storageUri`, a trial's address, and credentials.

    S3's annotations are those of KServe 0.20 (`serving.kserve.io/s3-endpoint`, without a scheme, `s3-usehttps`,
    `s3-region`); its variables those that boto3 reads. On GCS the pod's own identity is used, on a claim the mount.

    Raises:
        InputError: KServe does not know its scheme.
    """
    uri, how = storage_uri(address), site.objects
    scheme = uri.partition("://")[0]
    if scheme == "pvc":
        claim = uri.removeprefix("pvc://").partition("/")[0]
        return Access(address, uri, volume=(claim, str(how.mount or "/mnt/store")))
    if scheme != "s3":
        return Access(address, uri)
    environment: dict[str, str] = {}
    annotations: dict[str, str] = {}
    if how.endpoint is not None:
        environment["AWS_ENDPOINT_URL"] = how.endpoint
        protocol, _, host = how.endpoint.partition("://")
        annotations["serving.kserve.io/s3-endpoint"] = host.rstrip("/")
        annotations["serving.kserve.io/s3-usehttps"] = "1" if protocol == "https" else "0"
    if how.region is not None:
        environment["AWS_DEFAULT_REGION"] = annotations["serving.kserve.io/s3-region"] = how.region
    names = {"AWS_ACCESS_KEY_ID": how.key, "AWS_SECRET_ACCESS_KEY": how.secret}
    secrets = {variable: _secret_name(reference) for variable, reference in names.items() if reference is not None}
    return Access(address, uri, environment, secrets, annotations)


def store_port(site: Site) -> int | None:
    """The port at which the store is reached over the network; None where it is a folder."""
    if "://" not in site.store or site.store.startswith(("file://", "pvc://")):
        return None
    url = urlsplit(site.objects.endpoint or "https://")
    return url.port or (80 if url.scheme == "http" else 443)


def _secret_name(reference: str) -> str:
    found = REFERENCE.fullmatch(reference)
    assert found is not None  # the Site's own validation
    return found[1]


def storage_uri(address: str) -> str:
    """The address as KServe's `storageUri`; KServe 0.20 downloads from file, s3, gs, pvc and https.

    Raises:
        InputError: KServe does not know its scheme.
    """
    scheme, colon, rest = address.partition("://")
    if not colon or scheme not in _KSERVE:
        raise InputError(
            f"KServe reads from {', '.join(sorted(_KSERVE))}, not from {address!r}",
            "set the Site's store to one of these",
            address=address,
        )
    return f"{_KSERVE[scheme]}://{rest}"


def write_whole(files: "AbstractFileSystem", path: str, content: bytes) -> None:
    """Write a file so that readers see all of it or nothing, also when this process is killed.

    Local: written beside and renamed. Object stores show an object only once it is complete.

    Raises:
        InputError: The disk is full.
    """
    if not is_local(files):
        files.pipe_file(path, content)
        return
    with written_beside(Path(path)) as beside:
        beside.write_bytes(content)


def is_local(files: "AbstractFileSystem") -> bool:
    """Whether a file system is this machine's, whose files can be renamed in one step."""
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(files, LocalFileSystem)


@contextmanager
def written_beside(final: Path) -> Iterator[Path]:
    """A path to write to that gets its name when the block ends well, and is taken away when it does not.

    Args:
        final: The name; missing folders are made.

    Raises:
        InputError: The disk is full.
    """
    beside = final.with_name(f".{final.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.replace(final)
    except OSError as error:
        raise disk_full(error, str(final)) or error from None
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def store_failures() -> tuple[type[Exception], ...]:
    """What fsspec's file systems raise where a store fails; only the libraries that are in use are asked."""
    found: list[type[Exception]] = [OSError]
    for module, name in (("botocore.exceptions", "BotoCoreError"), ("aiohttp", "ClientError")):
        if module in sys.modules:
            found.append(getattr(sys.modules[module], name))
    return tuple(found)


def disk_full(error: OSError, path: str) -> InputError | None:
    """The InputError for a disk or quota that is full; None for every other error."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return InputError(
        f"no space left on the disk while writing {path}",
        "free space there, then run the same command again",
        path=path,
    )

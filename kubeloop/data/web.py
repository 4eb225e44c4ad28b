"""Files behind HTTP(S): read to the end or not at all, taken up where a connection broke."""

import http.client
import socket
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit, urlunsplit

from kubeloop.data.patience import Patience, Tries
from kubeloop.errors import InputError, TransientError

_BLOCK = 1 << 20
_TIMEOUT_S = 30.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass
class _Partial:
    """What has been read so far.

    Attributes:
        shown: Address for messages, without secrets.
        done: Bytes on the disk.
        total: Bytes in all; None when the server sends chunks and does not say.
        mark: ETag or time of change, by which the server knows the version again.
    """

    shown: str
    done: int = 0
    total: int | None = None
    mark: str | None = None


def download(url: str, shown: str, into: Path, patience: Patience) -> None:
    """Copy what an address answers with into a file.

    After a broken connection the rest is asked for by `Range`, with `If-Range`, so that two versions of a file are
    never mixed; a server that cannot do that sends all of it again.

    Args:
        url: With `user:password@` where the server wants them; sent as Basic authentication.
        shown: The address as the contract has it.
        into: The file; complete when this returns, and not to be used otherwise.
        patience: For how long a broken source is tried again.

    Raises:
        InputError: The server says no, or does not say where the file ends.
        TransientError: It did not answer in time, or broke off again and again.
    """
    partial, tries = _Partial(shown), Tries(patience)
    with into.open("wb") as stream:
        while True:
            try:
                _pull(url, partial, stream)
            except TransientError as error:
                tries.again(error, partial.done)
            else:
                return


def _pull(url: str, partial: _Partial, stream: BinaryIO) -> None:
    """One connection: from where the last one broke to the end."""
    with _open(_request(url, partial), partial.shown) as answer:
        if answer.status == 206 and _continues(answer, partial):
            stream.seek(partial.done)
        else:
            partial.done, partial.mark = 0, _mark(answer)
            length = answer.headers.get("Content-Length")
            partial.total = int(length) if length is not None and length.isdigit() else None
            stream.seek(0)
        stream.truncate()
        if partial.total is None and not answer.chunked:
            raise InputError(
                f"{partial.shown}: the server says neither how long the file is nor where it ends, so half of it could "
                "pass for the whole",
                "serve it with Content-Length, or copy the file here",
                file=partial.shown,
            )
        while block := _read(answer, partial.shown):
            stream.write(block)
            partial.done += len(block)
    stream.flush()
    if partial.total is not None and partial.done < partial.total:
        raise _broken(partial.shown, f"{partial.done} of {partial.total} bytes came")


def _request(url: str, partial: _Partial) -> urllib.request.Request:
    parts = urlsplit(url)
    headers = {"Accept-Encoding": "identity", "User-Agent": "kubeloop"}
    login, at, host = parts.netloc.rpartition("@")
    if at:
        headers["Authorization"] = "Basic " + b64encode(unquote(login).encode()).decode("ascii")
    if partial.done and partial.mark is not None:
        headers |= {"Range": f"bytes={partial.done}-", "If-Range": partial.mark}
    bare = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    return urllib.request.Request(bare, headers=headers)  # noqa: S310 - only http and https come here


def _open(request: urllib.request.Request, shown: str) -> Any:
    try:
        return urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _PASSING:
            wait = error.headers.get("Retry-After", "")
            raise TransientError(
                f"{shown}: the server answered {error.code}",
                "run the same command again later",
                retry_after_s=float(wait) if wait.isdigit() else None,
                file=shown,
            ) from None
        raise InputError(
            f"{shown}: the file was expected, the server answered {error.code} {http.client.responses.get(error.code)}",
            "correct the address in loop.yaml, or the right to read it",
            file=shown,
        ) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise InputError(
                f"{shown}: the server's certificate is not trusted", "correct the address", file=shown
            ) from None
        if isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_NONAME:
            raise InputError(
                f"{shown}: no host has this name", "correct the address in loop.yaml", file=shown
            ) from None
        raise _broken(shown, type(reason).__name__) from None


def _read(answer: Any, shown: str) -> bytes:
    try:
        return bytes(answer.read(_BLOCK))
    except (OSError, http.client.HTTPException) as error:
        raise _broken(shown, type(error).__name__) from None


def _broken(shown: str, how: str) -> TransientError:
    return TransientError(
        f"{shown}: the connection broke ({how}); nothing was kept", "run the same command again", file=shown
    )


def _mark(answer: Any) -> str | None:
    """A strong ETag, else the time of the last change; a weak tag may stand for other bytes."""
    tag = answer.headers.get("ETag")
    found = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified")
    return None if found is None else str(found)


def _continues(answer: Any, partial: _Partial) -> bool:
    """Whether the part that came is the rest of what we have."""
    span = str(answer.headers.get("Content-Range", ""))
    total = "*" if partial.total is None else str(partial.total)
    if span.startswith(f"bytes {partial.done}-") and span.rpartition("/")[2] in (total, "*"):
        return True
    partial.done = 0
    raise _broken(partial.shown, "the server sent another part than asked for")

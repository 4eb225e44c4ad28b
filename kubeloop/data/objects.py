"""Files in object storage, by fsspec: read in ranges, so that a broken connection costs one range."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeloop.data.patience import Patience, Tries
from kubeloop.errors import InputError, TransientError
from kubeloop.site.addresses import filesystem

if TYPE_CHECKING:
    from kubeloop.site import Site

_RANGE = 8 << 20


def download(place: str, shown: str, into: Path, site: "Site", patience: Patience) -> None:
    """Copy an object into a file.

    Args:
        place: Address that fsspec knows: s3://, gs://, memory://.
        shown: The address as the contract has it.
        into: The file; complete when this returns, and not to be used otherwise.
        site: Says how its object storage is reached.
        patience: For how long a broken source is tried again.

    Raises:
        InputError: There is no such object, it may not be read, or nothing installed reads such addresses.
        TransientError: The store did not answer in time, or the object changed again and again while it was read.
    """
    files, path = filesystem(site, place)
    tries = Tries(patience)
    with into.open("wb") as stream:
        version: tuple[Any, ...] = ()
        while True:
            try:
                found = _version(files, path, shown)
                if found != version:
                    version = found
                    stream.seek(0)
                    stream.truncate()
                while stream.tell() < found[0]:
                    stream.write(_range(files, path, stream.tell(), found[0], shown))
                if _version(files, path, shown) != found:
                    raise _broken(shown, "it changed while it was read")
            except TransientError as error:
                tries.again(error, stream.tell())
            else:
                return


def _version(files: Any, path: str, shown: str) -> tuple[Any, ...]:
    """Size, then what tells versions apart."""
    info = _ask(lambda: (files.invalidate_cache(), files.info(path))[1], shown)
    if info.get("type") == "directory" or info.get("size") is None:
        raise InputError(f"{shown}: one object was expected, this is a folder", "name the object", file=shown)
    marks = [str(info.get(key)) for key in ("ETag", "etag", "md5Hash", "generation", "LastModified", "created")]
    return (int(info["size"]), *marks)


def _range(files: Any, path: str, start: int, size: int, shown: str) -> bytes:
    end = min(start + _RANGE, size)
    block = bytes(_ask(lambda: files.cat_file(path, start=start, end=end), shown))
    if len(block) != end - start:
        raise _broken(shown, f"{len(block)} of {end - start} bytes came")
    return block


def _ask(question: Any, shown: str) -> Any:
    try:
        return question()
    except FileNotFoundError:
        raise InputError(f"{shown}: there is no such object", "correct the path in loop.yaml", file=shown) from None
    except PermissionError:
        raise InputError(
            f"{shown}: may not be read: permission denied", "give the site's key the right to read it", file=shown
        ) from None
    except _failures() as error:
        if "Credentials" in type(error).__name__:
            raise InputError(
                f"{shown}: no key for the object storage was found",
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what your object storage wants",
                file=shown,
            ) from None
        raise _broken(shown, type(error).__name__) from None


def _failures() -> tuple[type[Exception], ...]:
    """What clients of object storage raise besides OSError; only a module that is loaded can have raised."""
    names = (
        ("botocore.exceptions", "BotoCoreError"),
        ("botocore.exceptions", "ClientError"),
        ("aiohttp", "ClientError"),
    )
    return (OSError, *(getattr(sys.modules[module], name) for module, name in names if module in sys.modules))


def _broken(shown: str, how: str) -> TransientError:
    return TransientError(
        f"{shown}: reading broke off ({how}); nothing was kept", "run the same command again", file=shown
    )

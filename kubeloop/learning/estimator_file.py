"""The file a fitted estimator is kept in: skops, the same bytes for the same estimator, and an explicit list of types.

skops writes memory addresses (`id()`) as object ids and member names, and the wall time into the zip. Both are taken
out here: object ids are dropped (skops reads every node on its own without them), arrays are named in order of first
use and kept once, times are fixed.

skops trusts several thousand types by default. Here a file may hold only the types that our own pipelines hold, each
under the one loader that writes it; what else comes is refused before skops sees it, and nothing of it is imported.
"""

import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kubeloop.errors import InputError, IntegrityError, PermanentError
from kubeloop.learning.allowed_types import ALLOWED
from kubeloop.learning.tree_check import check_constructors, check_places

_SCHEMA = "schema.json"
_TIME = (1980, 1, 1, 0, 0, 0)
_ENOSPC = 28

_TRUSTED = sorted(set().union(*ALLOWED.values()))
_DAMAGE = (
    *(zipfile.BadZipFile, NotImplementedError, ValueError, TypeError, KeyError, AttributeError, IndexError),
    *(OSError, EOFError, RecursionError, SyntaxError, MemoryError),
)
_FIX_REFUSED = "do not use this file; train the model again, or fetch it again from the package store"


def write_estimator(estimator: Any, path: Path) -> None:
    """Write a fitted pipeline; the same estimator gives the same bytes in any process and folder.

    Args:
        estimator: A fitted scikit-learn pipeline of the types in `ALLOWED`.
        path: The file; replaced at once or not at all.

    Raises:
        PermanentError: The estimator holds a type that `read_estimator` would refuse.
        InputError: The disk is full.
    """
    data = estimator_bytes(estimator)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        if error.errno == _ENOSPC:
            raise InputError(
                f"no space left on the disk for {path.name}", "free space, then run again", file=str(path)
            ) from error
        raise


def estimator_bytes(estimator: Any) -> bytes:
    """What `write_estimator` writes.

    Raises:
        PermanentError: The estimator holds a type that `read_estimator` would refuse.
    """
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(estimator))) as source:
        schema = json.loads(source.read(_SCHEMA))
        raw = {name: source.read(name) for name in source.namelist() if name != _SCHEMA}
    refused = _refused(schema)
    if refused:
        raise PermanentError(
            f"the estimator holds {', '.join(refused)}, which are not on the list of types a model file may hold",
            "use the estimators and features of the contract; a new one needs its types in ALLOWED first",
        )
    arrays = _canonical(schema, raw)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as out:
        for name, content in [*arrays.items(), (_SCHEMA, json.dumps(schema, separators=(",", ":")).encode("ascii"))]:
            info = zipfile.ZipInfo(name, _TIME)
            info.create_system = 3  # the same on every operating system
            info.external_attr = 0o600 << 16
            out.writestr(info, content)
    return target.getvalue()


def _canonical(schema: dict[str, Any], raw: dict[str, bytes]) -> dict[str, bytes]:
    """Drop ids from the schema in place, name arrays by first use; give name -> bytes, equal arrays kept once."""
    names: dict[bytes, str] = {}
    for node in _nodes(schema):
        node.pop("__id__", None)
        if "file" in node:
            content = _settled(raw[node["file"]])
            node["file"] = names.setdefault(content, f"array-{len(names)}.npy")
    return {name: content for content, name in names.items()}


def _settled(content: bytes) -> bytes:
    """An array's bytes with nothing undefined in them: records of trees have gaps that hold what the memory held."""
    import numpy as np

    if b"'descr': [" not in content[:128]:
        return content
    array = np.load(io.BytesIO(content), allow_pickle=False)
    clean = np.zeros(array.shape, array.dtype)
    for name in array.dtype.names or ():
        clean[name] = array[name]
    out = io.BytesIO()
    np.save(out, clean, allow_pickle=False)
    return out.getvalue()


def read_estimator(path: Path) -> Any:
    """Read a file that `write_estimator` wrote.

    Returns:
        The fitted pipeline.

    Raises:
        IntegrityError: The file is missing or unreadable, or holds a type that is not in `ALLOWED`, nothing of which
            was imported or run; or its trees point at what there is not.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise IntegrityError(f"{path.name} is missing", _FIX_REFUSED, file=str(path)) from error
    return read_estimator_bytes(data, path.name)


def read_estimator_bytes(data: bytes, name: str = "estimator.skops") -> Any:
    """As `read_estimator`, from bytes; `name` is used in messages only.

    Raises:
        IntegrityError: As `read_estimator`.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    schema = _schema(data, name)
    refused = _refused(schema)
    if refused:
        raise IntegrityError(f"{name} holds types that no model of ours holds: {', '.join(refused)}", _FIX_REFUSED)
    try:
        check_constructors(_nodes(schema))
        found = skops.io.loads(data, trusted=_TRUSTED)
        check_places(found)
    except UntrustedTypesFoundException as error:
        raise IntegrityError(f"{name} was refused: {error}", _FIX_REFUSED) from error
    except _DAMAGE as error:
        raise IntegrityError(f"{name} is damaged ({type(error).__name__}: {error})", _FIX_REFUSED) from error
    return found


def _schema(data: bytes, name: str) -> dict[str, Any]:
    """The file's schema, once the container itself is known to be harmless."""
    from skops.io._protocol import PROTOCOL

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as source:
            members = source.infolist()
            # Stored members cannot be a decompression bomb: what is read is no larger than the file.
            if any(info.compress_type != zipfile.ZIP_STORED for info in members):
                raise IntegrityError(f"{name} is compressed, which ours never are", _FIX_REFUSED)
            if len({info.filename for info in members}) != len(members):
                raise IntegrityError(f"{name} holds two members of one name", _FIX_REFUSED)
            schema = json.loads(source.read(_SCHEMA))
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError, NotImplementedError, RecursionError) as error:
        raise IntegrityError(f"{name} is no readable model file ({error})", _FIX_REFUSED) from error
    if not isinstance(schema, dict) or "__loader__" not in schema:
        raise IntegrityError(f"{name} holds no estimator", _FIX_REFUSED)
    if schema.get("protocol") != PROTOCOL:  # other protocols select other, older readers
        raise IntegrityError(f"{name} has protocol {schema.get('protocol')!r}, expected {PROTOCOL}", _FIX_REFUSED)
    return schema


def _nodes(document: Any) -> Iterator[dict[str, Any]]:
    """Every object in the JSON document, in a fixed order, without recursion."""
    stack = [document]
    while stack:
        found = stack.pop()
        if isinstance(found, dict):
            yield found
            stack.extend(reversed(list(found.values())))
        elif isinstance(found, list):
            stack.extend(reversed(found))


def _refused(schema: dict[str, Any]) -> list[str]:
    """The types in a schema that `ALLOWED` does not have, sorted."""
    refused = set()
    for node in _nodes(schema):
        if "__loader__" not in node and "__class__" not in node and "__module__" not in node:
            continue
        loader, name = str(node.get("__loader__")), f"{node.get('__module__')}.{node.get('__class__')}"
        if name not in ALLOWED.get(loader, frozenset()):
            refused.add(f"{name} ({loader})")
    return sorted(refused)
